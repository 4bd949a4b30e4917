"""Calls that know, or guess, where others of their function lost, over one real core."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson

from log.limits import HOT_USES_UNWANTED_MAX

from .test_transactor import World, play


def test_a_call_that_lost_queues_before_it_runs_the_next_time_until_nobody_else_wants_it(
    tmp_path: Path,
) -> None:
    async def scene(world: World) -> None:
        await world.make_counters("hot")
        await asyncio.gather(*(world.run(world.add("hot", 1)) for _ in range(8)))
        transactor = world.transactor()
        lost, taken = transactor.conflicts_met, transactor.turns_taken
        await asyncio.gather(*(world.run(world.add("hot", 1)) for _ in range(8)))
        assert transactor.conflicts_met == lost, "nobody runs in vain any more"
        shared = transactor.turns_taken - taken
        assert 1 <= shared <= 2, "who waits together shares a turn"
        for _ in range(HOT_USES_UNWANTED_MAX + 2):
            await world.run(world.add("hot", 1))
        alone = transactor.turns_taken - taken - shared
        assert 0 < alone <= HOT_USES_UNWANTED_MAX, "alone it queues a few times more, and then no longer"

    play(tmp_path, scene, transactors=1)


def test_a_call_that_names_a_hot_place_waits_its_turn_before_it_runs(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.make_counters("hot", "cold")
        transactor = world.transactor()
        await asyncio.gather(*(world.run(world.add("hot", 1)) for _ in range(8)))
        stopped, taken = transactor.runs_stopped, transactor.turns_taken
        naming_hot, naming_cold = (orjson.dumps({"id": world.ids[name]}) for name in ("hot", "cold"))
        await asyncio.gather(*(world.run(world.add("hot", 1), arguments=naming_hot) for _ in range(8)))
        assert transactor.runs_stopped == stopped and transactor.turns_taken > taken
        taken = transactor.turns_taken
        await world.run(world.add("cold", 1), arguments=naming_cold)
        assert transactor.turns_taken == taken, "what is not hot needs no turn"
        await world.run(world.add("hot", 1), arguments=naming_cold)
        assert transactor.runs_stopped == stopped + 1, "who reads what it did not name is stopped there"
        assert await world.run(lambda transaction: world.read(transaction, "hot")) == 17

    play(tmp_path, scene, transactors=1)
