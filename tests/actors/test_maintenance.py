"""Maintenance beside a busy writer: it waits for its place, and takes nobody down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from functions.transaction import Transaction

from .test_transactor import World, play


def test_a_full_queue_of_commits_makes_maintenance_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(world: World) -> None:
        await world.make_counters("one", "two", "three")
        world.store.gate.clear()
        monkeypatch.setattr("log.limits.COMMIT_QUEUE_LENGTH_MAX", 1)
        waiting = [asyncio.create_task(world.run(world.add(name, 1))) for name in ("one", "two", "three")]
        await asyncio.sleep(0.05)

        def change(transaction: Transaction) -> None:
            transaction.insert("counters", {"name": "maintained", "count": 0.0})

        maintaining = asyncio.create_task(world.core._maintenance._commit("_system/test", change))
        await asyncio.sleep(0.05)
        assert not maintaining.done(), "there is no room yet"
        world.store.gate.set()
        await maintaining
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert any(not isinstance(each, float) for each in ended), "the queue was full"
        monkeypatch.undo()
        names = await world.run(
            lambda tx: [row["name"] for row in tx.all_documents(tx.catalog.tables["counters"])]
        )
        assert "maintained" in names

    play(tmp_path, scene)
