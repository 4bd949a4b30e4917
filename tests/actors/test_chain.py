"""Calls that share a turn, run one upon the other over a real core."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from functions.transaction import Transaction
from log.chains import settled
from log.errors import BackendError

from .test_transactor import World, _admit, play


def test_who_asks_for_a_ts_that_is_not_known_yet_runs_again_where_it_is(tmp_path: Path) -> None:
    """The ts a run reads at is known at the head of a chain only."""

    def add_and_look(world: World) -> Callable[[Transaction], int]:
        def work(transaction: Transaction) -> int:
            world.add("hot", 1)(transaction)
            return settled(transaction.begin_ts)

        return work

    async def scene(world: World) -> None:
        await world.make_counters("hot")
        await asyncio.gather(*(world.run(world.add("hot", 1)) for _ in range(4)))
        seen = await asyncio.gather(*(world.run(add_and_look(world)) for _ in range(6)))
        commits = {record.ts for record in world.core.read_log()}
        assert len(set(seen)) == 6 and set(seen) <= commits
        assert await world.run(lambda transaction: world.read(transaction, "hot")) == 10

    play(tmp_path, scene, transactors=1)


def test_a_call_that_fails_in_a_chain_takes_none_of_the_others_with_it(tmp_path: Path) -> None:
    def fail(world: World) -> Callable[[Transaction], None]:
        def work(transaction: Transaction) -> None:
            world.add("hot", 1000)(transaction)
            transaction.insert("counters", {"_id": "mine"})  # no document may bring its own id

        return work

    async def scene(world: World) -> None:
        await world.make_counters("hot")
        await asyncio.gather(*(world.run(world.add("hot", 1)) for _ in range(4)))
        works = [world.add("hot", 1), fail(world), world.add("hot", 1), fail(world), world.add("hot", 1)]
        ended = await asyncio.gather(*map(world.run, works), return_exceptions=True)
        assert [type(each) for each in ended] == [float, BackendError, float, BackendError, float]
        assert sorted(each for each in ended if isinstance(each, float)) == [5.0, 6.0, 7.0]

    play(tmp_path, scene, transactors=1)


def test_a_call_that_only_looks_is_told_what_it_read_at_one_moment(tmp_path: Path) -> None:
    """Nobody judges what is not proposed. So it runs at the head of a chain, where it read one snapshot: not
    in the middle, upon a predecessor that was admitted after somebody else's commit."""

    async def scene(world: World) -> None:
        await world.make_counters("hot", "x", "y")
        await asyncio.gather(*(world.run(world.add("hot", 1)) for _ in range(4)))

        def raise_y(transaction: Transaction) -> None:
            world.add("hot", 1)(transaction)
            world.add("y", 1)(transaction)

        def look(transaction: Transaction) -> tuple[float, float]:
            world.read(transaction, "hot")
            y = world.read(transaction, "y")
            if y and not meanwhile.done():  # upon the one before: now somebody else comes first
                _admit(world, copy_y_to_x, "m.js:other")
                meanwhile.set_result(None)
            return world.read(transaction, "x"), y

        def copy_y_to_x(transaction: Transaction) -> None:
            world.add("x", 1 if world.read(transaction, "y") == 0 else 0.5)(transaction)

        meanwhile: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        _, seen = await asyncio.gather(world.run(raise_y), world.run(look))
        assert meanwhile.done(), "the two shared a turn"
        assert seen == (1.0, 1.0), "y was 0 when x was written, so who sees y at 1 sees x"

    play(tmp_path, scene, transactors=2)
