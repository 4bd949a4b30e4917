"""Who waits for a turn is told, and no turn is held for ever. Plain asyncio, no core and no disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from actors.turn_keeper import TurnKeeper
from log.errors import BackendError
from log.turns import EVERYTHING, Footprint

PATIENCE_SECONDS = 10
FIRST_TICKET = 1_000
HERE = Footprint(frozenset({(b"index", b"a", b"b")}))
THERE = Footprint(frozenset({(b"index", b"x", b"y")}))


class SilentClient:
    """actors.runtime.Client; nothing is pushed to it."""

    def push(self, event: str, *arguments: Any) -> None:
        raise AssertionError(f"a turn is answered, not pushed: {event} {arguments}")


class Scene:
    """A keeper, and the tickets in the order in which their askers were told."""

    def __init__(self) -> None:
        self.keeper = TurnKeeper(FIRST_TICKET)
        self.told: list[int] = []

    async def ask(self, client: SilentClient, footprint: Footprint = HERE) -> asyncio.Task[int]:
        """Start asking; on return the request has its place in the queue."""
        queued_before = self.keeper.turns_taken
        task = asyncio.create_task(self._take(client, footprint))
        while self.keeper.turns_taken == queued_before:
            await asyncio.sleep(0)
        return task

    async def _take(self, client: SilentClient, footprint: Footprint) -> int:
        ticket = await self.keeper.take(client, footprint)
        self.told.append(ticket)
        return ticket

    def is_idle(self) -> bool:
        """Nothing is kept for anybody: a keeper lives as long as its process."""
        keeper = self.keeper
        return not (keeper.turns or keeper._clients or keeper._granted or keeper._timers)


def play(scene: Callable[[Scene], Awaitable[None]]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(scene(Scene()), PATIENCE_SECONDS)

    asyncio.run(whole())


async def settle() -> None:
    """Let everything happen that waits for no clock."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_turns_are_granted_in_the_order_of_asking_one_at_a_time() -> None:
    async def scene(world: Scene) -> None:
        tasks = [await world.ask(SilentClient()) for _ in range(5)]
        for number in range(5):
            await settle()
            assert [task.done() for task in tasks] == [True] * (number + 1) + [False] * (4 - number)
            world.keeper.end(await tasks[number])
        assert world.told == [FIRST_TICKET + number for number in range(5)]
        assert world.is_idle()

    play(scene)


def test_a_request_for_another_place_waits_for_nobody() -> None:
    async def scene(world: Scene) -> None:
        await world.keeper.take(SilentClient(), HERE)
        there = await world.keeper.take(SilentClient(), THERE)
        assert world.keeper.turns.holds(there)

    play(scene)


def test_a_turn_that_ends_lets_everybody_go_on_who_waited_for_it_alone() -> None:
    async def scene(world: Scene) -> None:
        everything = await world.keeper.take(SilentClient(), EVERYTHING)
        tasks = [await world.ask(SilentClient(), footprint) for footprint in (HERE, HERE, THERE)]
        world.keeper.end(everything)
        await settle()
        assert [task.done() for task in tasks] == [True, False, True]
        world.keeper.end(await tasks[0])
        await tasks[1]

    play(scene)


def test_the_turns_and_requests_of_a_lost_client_end_and_those_behind_go_on() -> None:
    async def scene(world: Scene) -> None:
        lost, other = SilentClient(), SilentClient()
        held = await world.keeper.take(lost, HERE)
        there = await world.keeper.take(other, THERE)
        others = await world.ask(other, HERE)
        waiting = await world.ask(lost, THERE)
        behind = await world.ask(other, THERE)
        world.keeper.disconnected(lost)
        assert world.keeper.turns.holds(await others) and not world.keeper.turns.holds(held)
        assert (await asyncio.gather(waiting, return_exceptions=True))[0].__class__ is asyncio.CancelledError
        assert not behind.done(), "the turn before it is another client's"
        world.keeper.end(there)
        assert world.keeper.turns.holds(await behind)
        for task in (others, behind):
            world.keeper.end(await task)
        assert world.is_idle()

    play(scene)


def test_a_lost_client_that_waited_for_itself_leaves_nothing_behind() -> None:
    async def scene(world: Scene) -> None:
        lost, other = SilentClient(), SilentClient()
        await world.keeper.take(lost, HERE)
        own = [await world.ask(lost), await world.ask(lost, EVERYTHING)]
        behind = await world.ask(other)
        world.keeper.disconnected(lost)
        ticket = await behind
        assert world.keeper.turns.holds(ticket) and len(world.keeper.turns) == 1
        await asyncio.gather(*own, return_exceptions=True)
        assert not any(world.keeper.turns.holds(FIRST_TICKET + number) for number in range(3))
        world.keeper.end(ticket)
        assert world.is_idle()

    play(scene)


def test_a_client_that_held_nothing_is_lost_without_a_trace() -> None:
    async def scene(world: Scene) -> None:
        held = await world.keeper.take(SilentClient(), HERE)
        world.keeper.disconnected(SilentClient())
        assert world.keeper.turns.holds(held) and len(world.keeper.turns) == 1

    play(scene)


def test_a_turn_that_is_not_given_back_ends_by_itself_and_the_next_is_granted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.turn_keeper.TURN_SECONDS_MAX", 0.01)

    async def scene(world: Scene) -> None:
        forgotten = await world.keeper.take(SilentClient(), HERE)
        second = await world.keeper.take(SilentClient(), HERE)  # comes when the first has run out
        assert world.keeper.turns.holds(second) and not world.keeper.turns.holds(forgotten)
        third = await world.keeper.take(SilentClient(), HERE)
        assert world.keeper.turns.holds(third)

    play(scene)


def test_only_the_holding_of_a_turn_is_limited_and_not_the_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(world: Scene) -> None:
        held = await world.keeper.take(SilentClient(), HERE)  # within the usual limit
        monkeypatch.setattr("actors.turn_keeper.TURN_SECONDS_MAX", 0.01)
        waiting = await world.ask(SilentClient())
        elsewhere = await world.keeper.take(SilentClient(), THERE)
        await world.keeper.take(SilentClient(), THERE)  # a whole limit has passed
        assert not world.keeper.turns.holds(elsewhere) and not waiting.done()
        world.keeper.end(held)
        assert world.keeper.turns.holds(await waiting)

    play(scene)


def test_giving_a_turn_back_twice_changes_nothing() -> None:
    async def scene(world: Scene) -> None:
        first = await world.keeper.take(SilentClient(), HERE)
        second, third = await world.ask(SilentClient()), await world.ask(SilentClient())
        world.keeper.end(first)
        world.keeper.end(first)
        await settle()
        assert world.keeper.turns.holds(await second) and not third.done()
        world.keeper.end(FIRST_TICKET - 1)
        await settle()
        assert not third.done(), "nor does a ticket of an earlier writer"
        world.keeper.end(await second)
        world.keeper.end(await third)
        assert world.is_idle()

    play(scene)


def test_one_request_more_than_the_queue_holds_is_refused_and_leaves_it_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.turn_keeper.COMMIT_QUEUE_LENGTH_MAX", 2)

    async def scene(world: Scene) -> None:
        held = await world.keeper.take(SilentClient(), HERE)
        waiting = await world.ask(SilentClient())
        with pytest.raises(BackendError) as refused:
            await world.keeper.take(SilentClient(), THERE)
        assert refused.value.code == "CommitterFullError" and len(world.keeper.turns) == 2
        world.keeper.end(held)
        await waiting
        assert world.keeper.turns.holds(await world.keeper.take(SilentClient(), THERE))

    play(scene)


def test_an_asker_that_was_cancelled_while_it_waited_is_passed_over() -> None:
    """In one process a caller that is cancelled cancels the wait itself, and its connection lives on."""

    async def scene(world: Scene) -> None:
        held = await world.keeper.take(SilentClient(), HERE)
        cancelled, behind = await world.ask(SilentClient()), await world.ask(SilentClient())
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        world.keeper.end(held)
        world.keeper.end(await behind)
        assert world.is_idle()

    play(scene)
