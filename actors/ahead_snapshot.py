"""A snapshot that is ahead of the disk: a published one, and the admitted commits after it (design D4).

Only the holder of a turn reads so, and nothing it found is told to anyone before those commits are durable.
The last of them may be its own, which have no ts yet (log/chains.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from functions.search.kept_indexes import KeptIndexes
from functions.snapshot import UNBOUNDED, Row, SnapshotReader, TableSize, bounded, size_of
from log.record import CommitBody


class AheadSnapshot:
    """functions.snapshot.SnapshotReader. `commits` are (ts, body) in order, each after `base.ts`, without
    a change of the catalog. Grows by `append`, when no transaction reads it."""

    def __init__(self, base: SnapshotReader, commits: Sequence[tuple[int, CommitBody]] = ()) -> None:
        self._base = base
        self.ts = base.ts
        self._rows: dict[bytes, dict[bytes, Row | None]] = {}  # index -> key -> what stands there now
        for ts, body in commits:
            self.append(ts, body)

    def append(self, ts: int, body: CommitBody) -> None:
        """Show one commit more; `ts` is above every shown one."""
        self.ts = ts
        for write in body.writes:
            for index_id, old_key, new_key in write.keys:
                rows = self._rows.setdefault(index_id, {})
                if old_key is not None:
                    rows[old_key] = None
                if new_key is not None:
                    assert write.document is not None
                    rows[new_key] = Row(new_key, ts, write.size_bytes, write.document)

    @property
    def catalog_ts(self) -> int:
        return self._base.catalog_ts

    def get(self, index_id: bytes, key: bytes) -> Row | None:
        rows = self._rows.get(index_id, {})
        return rows[key] if key in rows else self._base.get(index_id, key)

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
        changed = {
            key: row
            for key, row in self._rows.get(index_id, {}).items()
            if start <= key and (end is None or key < end)
        }
        # As many more as may have gone, of any size: then `limit` rows are left, or that is all there is.
        found = self._base.scan(index_id, start, end, descending=descending, limit=limit + len(changed))
        rows = [row for row in found if row.key not in changed]
        rows.extend(row for row in changed.values() if row is not None)
        rows.sort(key=lambda row: row.key, reverse=descending)
        return bounded(rows, limit, bytes_max)

    def table_size(self, by_id: bytes) -> TableSize:
        size = self._base.table_size(by_id)
        for key, row in self._rows.get(by_id, {}).items():
            before = self._base.get(by_id, key)
            size = size.replaced(size_of(before), size_of(row))
        return size

    @property
    def published(self) -> SnapshotReader:
        return self._base

    def changed_keys(self, index_id: bytes, ts: int) -> set[bytes] | None:
        changed = self._base.changed_keys(index_id, ts)
        return changed | self._rows.get(index_id, {}).keys() if changed is not None else None

    @property
    def kept(self) -> KeptIndexes:
        return self._base.kept
