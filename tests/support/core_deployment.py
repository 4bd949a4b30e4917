"""A core on a folder without executors: its work is Python over a transaction."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Callable
from pathlib import Path

from actors.core import Core
from cluster.stores import open_log_store
from functions.catalog import Index, load_catalog
from functions.snapshot import SnapshotReader
from functions.transaction import Transaction
from log.committer import CommitRequest
from log.record import CallTrace
from log.write_log import Conflict


class CoreDeployment:
    """A core on a folder, driven from Python; `transact` commits what a function did."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        self.failures: list[BaseException] = []

    async def open(self) -> None:
        store = open_log_store("", self.folder / "log")
        self.core = Core(store, self.folder / "views", time.time_ns, self.failures.append)
        try:
            await self.core.start()
        except BaseException:
            store.close()
            raise

    async def close(self) -> None:
        await self.core.stop()
        assert self.failures == []

    async def transact(self, run: Callable[[Transaction], None]) -> None:
        """Commit what `run` does; again when work of the core's own came in between."""
        while not await self._is_committed(run):
            await asyncio.sleep(0)

    async def _is_committed(self, run: Callable[[Transaction], None]) -> bool:
        ts = self.core.published_ts
        snapshot = self.core.view_reader().snapshot(ts)
        transaction = Transaction(
            snapshot, load_catalog(snapshot), now_ms=ts / 1e6, random_bytes=self.rng.randbytes
        )
        run(transaction)
        body = transaction.commit_body(self.rng.randbytes(16), CallTrace(path="test"))
        outcome = await self.core.commit(CommitRequest(transaction.reads, body, body.encode()))
        assert isinstance(outcome, int | Conflict), outcome
        return isinstance(outcome, int)

    def digests(self) -> dict[str, str]:
        """A digest of every index: keys, revisions and documents in order."""
        snapshot = self.core.view_reader().snapshot(self.core.published_ts)
        return {
            f"{table.name}.{index.name}": digest_of(snapshot, index)
            for table in load_catalog(snapshot).tables.values()
            for index in table.indexes
        }


def digests_of_everything(core: Core) -> dict[str, str]:
    """The same of every table there is, those of components and hidden ones too."""
    snapshot = core.view_reader().snapshot(core.published_ts)
    catalog = load_catalog(snapshot)
    return {
        f"{table.name}.{index.name} {index.index_id.hex()}": digest_of(snapshot, index)
        for table in (*catalog.every_table(), *catalog.hidden_tables.values())
        for index in table.indexes
    }


def digest_of(snapshot: SnapshotReader, index: Index) -> str:
    digest, start = hashlib.sha256(), b""
    while True:
        rows = snapshot.scan(index.index_id, start, None, descending=False, limit=2_000)
        for row in rows:
            digest.update(b"%d %d %d|" % (len(row.key), row.revision_ts, row.size_bytes))
            digest.update(row.key + row.document)
        if len(rows) < 2_000:
            return digest.hexdigest()
        start = rows[-1].key + b"\x00"
