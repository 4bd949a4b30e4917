"""The disk refuses: what was acknowledged stays, what was not is whole or absent, and nobody is told more.

A full disk is a file-size limit of the operating system on a process of its own, so that SQLite meets the
real error. No root, no mount.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import signal
import stat
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from actors.core import Core
from functions.catalog import load_catalog
from functions.transaction import Transaction
from log.committer import Admitted, CommitRequest
from log.record import CallTrace, Record
from log.sqlite_store import SqliteStore
from log.store import MemoryStore

from ..contracts.log_store_contract import make_records

ANSWER_SECONDS_MAX = 60


def append_until_full(folder: Path, bytes_max: int, pipe: Connection) -> None:
    """Append with every file limited to `bytes_max`; tell the last acknowledged seq, then how it ended."""
    store = SqliteStore(folder)
    epoch = store.claim_epoch()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead of killing us
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, bytes_max))
    try:
        while True:
            store.append_and_sync(epoch, make_records(store.end(), 3, epoch))
            pipe.send(store.end().seq)
    except Exception as failure:
        pipe.send(f"{type(failure).__name__}: {failure}")
    os._exit(0)  # as the commit log does: the fate of the batch is unknown


@pytest.mark.parametrize("bytes_max", [40_000, 100_000, 333_333])
def test_a_full_disk_fails_the_append_and_keeps_what_was_acknowledged(tmp_path: Path, bytes_max: int) -> None:
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    writer = spawning.Process(target=append_until_full, args=(tmp_path, bytes_max, theirs), daemon=True)
    writer.start()
    acknowledged = 0
    try:
        while True:
            assert ours.poll(ANSWER_SECONDS_MAX), "the writer does not answer"
            said = ours.recv()
            if isinstance(said, str):
                break
            acknowledged = said
        writer.join(ANSWER_SECONDS_MAX)
    finally:
        writer.kill()
        writer.join()
    assert said.startswith("OperationalError"), said
    assert acknowledged > 0
    reopened = SqliteStore(tmp_path)  # proves the chain; the disk has room again
    assert acknowledged <= reopened.end().seq <= acknowledged + 3, "all of the last batch, or none of it"
    assert reopened.end().seq % 3 == 0
    epoch = reopened.claim_epoch()
    reopened.append_and_sync(epoch, make_records(reopened.end(), 3, epoch))
    reopened.close()


def test_a_folder_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere: there is no read-only folder for it")
    store = SqliteStore(tmp_path)
    store.close()
    for path in tmp_path.iterdir():
        path.chmod(stat.S_IRUSR)
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(OSError):
            SqliteStore(tmp_path)
    finally:
        tmp_path.chmod(stat.S_IRWXU)


class FailingStore(MemoryStore):
    """Syncs fail from a moment on, before or after the records are stored."""

    def __init__(self, *, stores_first: bool) -> None:
        super().__init__()
        self.stores_first, self.is_failing = stores_first, False

    def append_and_sync(self, epoch: int, records: Sequence[Record]) -> None:
        if not self.is_failing or self.stores_first:
            super().append_and_sync(epoch, records)
        if self.is_failing:
            raise OSError("fsync: input/output error")


@pytest.mark.parametrize("stores_first", [False, True])
def test_a_failing_sync_stops_the_core_and_nobody_is_told_of_the_commit(
    tmp_path: Path, stores_first: bool
) -> None:
    store = FailingStore(stores_first=stores_first)
    stopped: list[BaseException] = []

    async def scene() -> None:
        core = Core(store, tmp_path / "views", time.time_ns, stopped.append)
        await core.start()
        published_ts = core.published_ts
        store.is_failing = True
        waiting = asyncio.ensure_future(core._log.durable(await _admit(core)))
        while not stopped:
            await asyncio.sleep(0)
        assert not waiting.done(), "its fate is unknown: it is not answered"
        assert core.published_ts == published_ts, "nothing of it is shown"
        waiting.cancel()
        core._shard.close(clean=False)
        for task in core._tasks:
            task.cancel()

    asyncio.run(scene())
    assert isinstance(stopped[0], OSError)


async def _admit(core: Core) -> int:
    """A commit that waits for its sync; returns its ts."""
    snapshot = core.view_reader().snapshot(core.published_ts)
    transaction = Transaction(snapshot, load_catalog(snapshot), now_ms=1.0, random_bytes=os.urandom)
    transaction.insert("things", {"n": 1.0})
    body = transaction.commit_body(b"call-id---------", CallTrace(path="test"))
    (admitted,) = core._log.propose_chain([CommitRequest(transaction.reads, body, body.encode())])
    assert isinstance(admitted, Admitted)
    return admitted.ts
