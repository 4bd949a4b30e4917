"""What a record does to documents and index entries; the in-memory twin of the view.

`MemoryView` keeps every version of every index entry for ever. It is the model the LMDB view is tested
against, and what unit tests of the rooms above read from.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

from functions.search.kept_indexes import KeptIndexes
from functions.snapshot import UNBOUNDED, Row, TableSize, bounded
from log.record import DocumentWrite


class MemoryView:
    """All index entries at all timestamps. `catalog_tablets` mark the commits that move catalog_ts."""

    def __init__(self, catalog_tablets: frozenset[bytes]) -> None:
        self._catalog_tablets = catalog_tablets
        self._keys: dict[bytes, list[bytes]] = {}
        self._versions: dict[tuple[bytes, bytes], list[tuple[int, Row | None]]] = {}
        self._catalog_ts: list[int] = [0]
        self.applied_ts = 0
        self.kept = KeptIndexes()

    def apply(self, ts: int, writes: Iterable[DocumentWrite]) -> None:
        """Fold one commit."""
        for write in writes:
            for index_id, old_key, new_key in write.keys:
                if old_key is not None and old_key != new_key:
                    self._put(index_id, old_key, ts, None)
                if new_key is not None and write.document is not None:
                    self._put(index_id, new_key, ts, Row(new_key, ts, write.size_bytes, write.document))
            if write.tablet_id in self._catalog_tablets:
                self._catalog_ts.append(ts)
        self.applied_ts = ts

    def snapshot(self, ts: int) -> MemorySnapshot:
        return MemorySnapshot(self, ts)

    def catalog_ts_at(self, ts: int) -> int:
        return self._catalog_ts[bisect_right(self._catalog_ts, ts) - 1]

    def version_at(self, index_id: bytes, key: bytes, ts: int) -> Row | None:
        for version_ts, row in reversed(self._versions.get((index_id, key), ())):
            if version_ts <= ts:
                return row
        return None

    def keys_changed(self, index_id: bytes, after_ts: int, last_ts: int) -> set[bytes]:
        return {
            key
            for key in self._keys.get(index_id, ())
            if any(after_ts < ts <= last_ts for ts, _row in self._versions[(index_id, key)])
        }

    def keys_between(self, index_id: bytes, start: bytes, end: bytes | None) -> list[bytes]:
        keys = self._keys.get(index_id, [])
        return keys[bisect_left(keys, start) : None if end is None else bisect_left(keys, end)]

    def _put(self, index_id: bytes, key: bytes, ts: int, row: Row | None) -> None:
        versions = self._versions.get((index_id, key))
        if versions is None:
            versions = self._versions[(index_id, key)] = []
            insort(self._keys.setdefault(index_id, []), key)
        versions.append((ts, row))


class MemorySnapshot:
    """A SnapshotReader over a MemoryView."""

    def __init__(self, view: MemoryView, ts: int) -> None:
        self._view, self.ts = view, ts

    @property
    def catalog_ts(self) -> int:
        return self._view.catalog_ts_at(self.ts)

    def get(self, index_id: bytes, key: bytes) -> Row | None:
        return self._view.version_at(index_id, key, self.ts)

    def scan(
        self,
        index_id: bytes,
        start: bytes,
        end: bytes | None,
        *,
        descending: bool,
        limit: int,
        bytes_max: int = UNBOUNDED,
    ) -> list[Row]:
        keys = self._view.keys_between(index_id, start, end)
        found = (self.get(index_id, key) for key in (reversed(keys) if descending else keys))
        return bounded((row for row in found if row is not None), limit, bytes_max)

    def table_size(self, by_id: bytes) -> TableSize:
        rows = self.scan(by_id, b"", None, descending=False, limit=-1)
        return TableSize(len(rows), sum(row.size_bytes for row in rows))

    @property
    def published(self) -> MemorySnapshot:
        return self

    def changed_keys(self, index_id: bytes, ts: int) -> set[bytes] | None:
        first, last = sorted((ts, self.ts))
        return self._view.keys_changed(index_id, first, last)

    @property
    def kept(self) -> KeptIndexes:
        return self._view.kept
