"""Starts that go on from a copy of the view (design D6): the same bytes as a fold of the whole log."""

from __future__ import annotations

import asyncio
import random
import shutil
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from actors.index_view import IndexView
from functions.catalog import BACKFILLING, Index, index_fields, load_catalog
from functions.system.tables import index_row_id
from functions.transaction import Transaction
from log import limits

from ..support.core_deployment import CoreDeployment, digest_of

SEED = 20261126


@pytest.fixture(autouse=True)
def few_documents_per_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BACKFILL_DOCUMENTS_PER_STEP", 5)


def write(rng: random.Random) -> Callable[[Transaction], None]:
    """Some inserts, an overwrite, a delete."""

    def run(transaction: Transaction) -> None:
        ids = [transaction.insert("things", {"key": str(rng.randrange(50))}) for _ in range(5)]
        table = transaction.catalog.tables["things"]
        transaction.patch(table, ids[0], {"key": "moved"})
        transaction.delete(table, ids[1])

    return run


def create_index(transaction: Transaction) -> None:
    """An index over documents that are already there: the core's maintenance fills it."""
    table = transaction.catalog.tables["things"]
    index = Index(b"new-index-------", "by_key", (("key",), ("_creationTime",)), state=BACKFILLING)
    transaction.insert_with_id(
        transaction.catalog.tables["_index"], index_row_id(index.index_id), index_fields(table, index)
    )


def play(folder: Path, scene: Callable[[CoreDeployment], Awaitable[None]]) -> None:
    async def whole() -> None:
        deployment = CoreDeployment(folder, SEED)
        await deployment.open()
        try:
            await scene(deployment)
        finally:
            await deployment.close()

    asyncio.run(whole())


async def many_writes(deployment: CoreDeployment, count: int = 10) -> None:
    for _ in range(count):
        await deployment.transact(write(deployment.rng))


async def checkpoint(deployment: CoreDeployment) -> int:
    """Take one as the core's job does; returns the seq it covers."""
    await asyncio.get_running_loop().run_in_executor(None, deployment.core._shard.take_checkpoint)
    return deployment.core._shard.checkpoint_seq


async def restart_without_view(deployment: CoreDeployment, *, keep_checkpoints: bool = True) -> None:
    """What a power cut leaves: the view of an earlier boot, which is not trusted."""
    await deployment.close()
    for path in (deployment.folder / "views").iterdir():
        if path.name != "checkpoints" or not keep_checkpoints:
            shutil.rmtree(path)
    await deployment.open()


def test_a_start_from_a_checkpoint_folds_only_the_tail_and_holds_the_same_bytes(tmp_path: Path) -> None:
    async def scene(deployment: CoreDeployment) -> None:
        await many_writes(deployment)
        covered = await checkpoint(deployment)
        assert covered == deployment.core._shard.applied_seq > 0
        await many_writes(deployment, 3)
        before, end = deployment.digests(), deployment.core._shard.applied_seq
        await restart_without_view(deployment)
        assert deployment.core.records_replayed == end - covered
        assert deployment.digests() == before
        await restart_without_view(deployment, keep_checkpoints=False)
        assert deployment.core.records_replayed > end
        assert deployment.digests() == before, "the fold of the whole log says the same"

    play(tmp_path, scene)


def test_writes_go_on_while_the_copy_is_made_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end, copy = threading.Event(), threading.Event(), IndexView.copy_to

    def slow_copy(view: IndexView, target: Path) -> None:
        begun.set()
        assert may_end.wait(30)
        copy(view, target)

    monkeypatch.setattr(IndexView, "copy_to", slow_copy)

    async def scene(deployment: CoreDeployment) -> None:
        await many_writes(deployment)
        copying = asyncio.create_task(checkpoint(deployment))
        await asyncio.get_running_loop().run_in_executor(None, begun.wait)
        await many_writes(deployment, 3)
        may_end.set()
        covered = await copying
        await many_writes(deployment, 3)
        before, end = deployment.digests(), deployment.core._shard.applied_seq
        await restart_without_view(deployment)
        assert deployment.core.records_replayed == end - covered
        assert deployment.digests() == before

    play(tmp_path, scene)


def test_an_index_made_after_the_checkpoint_is_whole_after_the_start(tmp_path: Path) -> None:
    async def scene(deployment: CoreDeployment) -> None:
        await many_writes(deployment)
        await checkpoint(deployment)
        await deployment.transact(create_index)
        await _filled(deployment)
        await many_writes(deployment, 2)
        before = deployment.digests()
        await restart_without_view(deployment)
        assert deployment.digests() == before
        assert "things.by_key" in before

    play(tmp_path, scene)


def test_a_rebuilt_view_answers_old_timestamps_through_an_index_made_meanwhile(tmp_path: Path) -> None:
    def move_all(transaction: Transaction) -> None:
        table = transaction.catalog.tables["things"]
        for document in transaction.all_documents(table):
            transaction.patch(table, document["_id"], {"key": f"later {document['key']}"})

    def keys_at(deployment: CoreDeployment, ts: int) -> list[bytes]:
        snapshot = deployment.core.view_reader().snapshot(ts)
        rows = snapshot.scan(b"new-index-------", b"", None, descending=False, limit=1_000)
        return [row.key for row in rows]

    async def scene(deployment: CoreDeployment) -> None:
        await many_writes(deployment, 3)
        await deployment.transact(create_index)
        await _filled(deployment)
        ts = deployment.core.published_ts
        before = keys_at(deployment, ts)
        await deployment.transact(move_all)
        assert keys_at(deployment, ts) == before
        await restart_without_view(deployment)
        assert keys_at(deployment, ts) == before

    play(tmp_path, scene)


def test_what_was_read_at_a_ts_is_read_again_whatever_the_view_went_through(tmp_path: Path) -> None:
    """Later commits, pruning, a checkpoint, a start from the view, from the checkpoint, from the log (T6)."""
    seen: dict[int, dict[str, str]] = {}

    def read(deployment: CoreDeployment, ts: int) -> dict[str, str]:
        snapshot = deployment.core.view_reader().snapshot(ts)
        indexes = load_catalog(snapshot).tables["things"].indexes
        return {index.name: digest_of(snapshot, index) for index in indexes}

    async def write_and_look(deployment: CoreDeployment) -> None:
        for _ in range(4):
            await deployment.transact(write(deployment.rng))
            seen[deployment.core.published_ts] = read(deployment, deployment.core.published_ts)
        for ts, before in seen.items():
            assert read(deployment, ts) == before, (SEED, ts)

    async def scene(deployment: CoreDeployment) -> None:
        await write_and_look(deployment)
        deployment.core._shard.prune(time.time_ns())
        await write_and_look(deployment)
        await checkpoint(deployment)
        await write_and_look(deployment)
        await deployment.close()
        await deployment.open()
        await write_and_look(deployment)
        await restart_without_view(deployment)
        await write_and_look(deployment)
        await restart_without_view(deployment, keep_checkpoints=False)
        await write_and_look(deployment)
        assert len(set(map(str, seen.values()))) == len(seen) == 24, "each commit changed what is read"

    play(tmp_path, scene)


async def _filled(deployment: CoreDeployment) -> None:
    """Until the maintenance has marked the new index as filled."""
    while any(
        index.state == BACKFILLING
        for table in deployment.core._shard.catalog().tables.values()
        for index in table.indexes
    ):
        assert deployment.failures == []
        await asyncio.sleep(0.001)


def test_none_is_taken_while_an_index_is_being_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(deployment: CoreDeployment) -> None:
        await many_writes(deployment)
        monkeypatch.setattr(deployment.core._shard, "fill_step", lambda table, index: False)
        await deployment.transact(create_index)
        monkeypatch.setattr(limits, "CHECKPOINT_RECORDS", 1)
        assert not deployment.core._shard.is_checkpoint_due()
        await checkpoint(deployment)  # it may have begun in between
        assert list((tmp_path / "views" / "checkpoints").iterdir()) == []
        monkeypatch.undo()
        await _filled(deployment)
        covered = await checkpoint(deployment)
        assert (tmp_path / "views" / "checkpoints" / f"{covered:016d}").exists()

    play(tmp_path, scene)


def test_a_damaged_checkpoint_is_passed_over_for_an_older_one(tmp_path: Path) -> None:
    async def scene(deployment: CoreDeployment) -> None:
        await many_writes(deployment)
        older = await checkpoint(deployment)
        await many_writes(deployment)
        newer = await checkpoint(deployment)
        before, end = deployment.digests(), deployment.core._shard.applied_seq
        (tmp_path / "views" / "checkpoints" / f"{newer:016d}" / "data.mdb").write_bytes(b"damage" * 1_000)
        await restart_without_view(deployment)
        assert deployment.core.records_replayed == end - older
        assert deployment.digests() == before

    play(tmp_path, scene)


def test_a_disk_that_refuses_the_copy_costs_nothing_but_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(view: IndexView, target: Path) -> None:
        (target / "data.mdb").write_bytes(b"half")
        raise OSError("No space left on device")

    async def scene(deployment: CoreDeployment) -> None:
        await many_writes(deployment)
        monkeypatch.setattr(IndexView, "copy_to", refuse)
        tried_at = await checkpoint(deployment)
        assert tried_at == deployment.core._shard.applied_seq, "the next one is not tried at once"
        assert list((tmp_path / "views" / "checkpoints").iterdir()) == [], "nothing half is left"
        monkeypatch.undo()
        await many_writes(deployment, 1)
        assert await checkpoint(deployment) > tried_at

    play(tmp_path, scene)


def test_a_checkpoint_of_another_log_is_not_used(tmp_path: Path) -> None:
    async def another(deployment: CoreDeployment) -> None:
        await many_writes(deployment)
        await checkpoint(deployment)

    async def scene(deployment: CoreDeployment) -> None:
        await many_writes(deployment, 20)
        before, end = deployment.digests(), deployment.core._shard.applied_seq
        shutil.copytree(tmp_path / "theirs/views/checkpoints", tmp_path / "ours/views/checkpoints")
        await restart_without_view(deployment)
        assert deployment.core.records_replayed >= end
        assert deployment.digests() == before
        assert list((tmp_path / "ours/views/checkpoints").iterdir()) == [], "nor kept"

    play(tmp_path / "theirs", another)
    play(tmp_path / "ours", scene)


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    async def scene(deployment: CoreDeployment) -> None:
        covered = []
        for _ in range(limits.CHECKPOINTS_HELD_MAX + 2):
            await many_writes(deployment, 1)
            covered.append(await checkpoint(deployment))
        kept = sorted(int(path.name) for path in (tmp_path / "views" / "checkpoints").iterdir())
        assert kept == covered[-limits.CHECKPOINTS_HELD_MAX :]

    play(tmp_path, scene)


def test_the_core_takes_one_by_itself_when_enough_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHECKPOINT_RECORDS", 10)
    monkeypatch.setattr(limits, "CHECKPOINT_LOOK_SECONDS", 0.01)

    async def scene(deployment: CoreDeployment) -> None:
        await many_writes(deployment, 5)
        assert deployment.core._shard.checkpoint_seq == 0
        await many_writes(deployment, 10)
        while deployment.core._shard.checkpoint_seq == 0:
            assert deployment.failures == []
            await asyncio.sleep(0.001)
        assert deployment.core._shard.checkpoint_seq >= limits.CHECKPOINT_RECORDS

    play(tmp_path, scene)
