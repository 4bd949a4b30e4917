"""The database at any ts the log covers: a throw-away view, folded forward from the first record.

It is the node's own kind of view (actors/index_shard.py) in a temporary folder, not the in-memory twin: the
twin keeps every version of every entry, so a log of some gigabytes would need more memory than a laptop
has, while here memory stays flat and the folder is as large as the data. It also means that a replayed call
reads through the code it was first run with.

Moving forward is cheap, so ask in order of ts. Reads a little before the newest ts asked for are answered
too, as the node's view would: a commit may have begun before its predecessor was published.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from actors.history import body_of
from actors.index_shard import IndexShard
from actors.node_reader import NodeReader
from actors.runtime import Pauses
from functions.catalog import BACKFILLING, Catalog
from functions.snapshot import SnapshotReader
from functions.system.tables import INDEX_TABLET
from log import limits
from log.committer import NANOSECONDS, Commit
from log.proven_log import ProvenLog

_BATCH_RECORDS = 1_000
_LAG_NS_MAX = limits.WRITE_WINDOW_SECONDS_MAX * NANOSECONDS
"""No commit began longer than this before its predecessor was admitted (log/write_log.py)."""


class PastView:
    """One fold of `records` in `folder`, which the caller removes after `close`."""

    def __init__(self, records: ProvenLog, folder: Path) -> None:
        self._shard = IndexShard(folder, Pauses())
        self._reader = NodeReader()
        self._reader.attach(self._shard.view_folder)
        self._commits = self._read(records)
        self._next = next(self._commits, None)
        self._filled: set[bytes] = set()

    def snapshot(self, ts: int) -> SnapshotReader:
        """The database at `ts`, which must be that of a record."""
        self._fold_to(ts)
        return self._reader.snapshot(ts)

    def catalog(self, snapshot: SnapshotReader) -> Catalog:
        return self._reader.catalog(snapshot)

    def close(self) -> None:
        self._reader.close()
        self._shard.close(clean=False)

    def _read(self, records: ProvenLog) -> Iterator[Commit]:
        for record in records.read_from(1):
            yield Commit(record, body_of(record))

    def _fold_to(self, ts: int) -> None:
        batch: list[Commit] = []
        while self._next is not None and self._next.ts <= ts:
            batch.append(self._next)
            makes_index = any(write.tablet_id == INDEX_TABLET for write in self._next.body.writes)
            self._next = next(self._commits, None)
            if makes_index or len(batch) == _BATCH_RECORDS:
                self._fold(batch, makes_index=makes_index)
                batch = []
        if batch:
            self._fold(batch, makes_index=False)

    def _fold(self, batch: list[Commit], *, makes_index: bool) -> None:
        self._shard.follow(batch)
        if makes_index:
            self._fill_new_indexes()
        if len(batch) == _BATCH_RECORDS:
            undo_ns = limits.UNDO_SECONDS * NANOSECONDS
            while self._shard.prune(batch[-1].ts - _LAG_NS_MAX + undo_ns):
                pass

    def _fill_new_indexes(self) -> None:
        """The log does not say how far an index was filled, and need not: a filled one holds every document
        that was there when it was made, and what commits have written since. So it is filled right here."""
        for table in self._shard.catalog().tables.values():
            for index in table.indexes:
                if index.state == BACKFILLING and index.index_id not in self._filled:
                    self._filled.add(index.index_id)
                    while not self._shard.fill_step(table, index):
                        pass
