"""One search index that outlives transactions: what its table was, published, at one ts.

It comes to be, and comes forward, in steps, so that a large table keeps nobody waiting. A step first takes up
what changed since the index's ts, then goes on comparing the table with what it holds, in key order, if that
is not done yet. A new index has all of its table to compare; so has one that was left alone for longer than
the view remembers, but what has not changed costs it no more than reading the row.

Promise: up to `_compared`, the index holds exactly the revisions of its table at `ts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from functions.indexes import SEARCH, Index
from functions.search.text_index import TextIndex
from functions.snapshot import Row, SnapshotReader, is_exhausted
from log import limits


class Content(Protocol):
    """What an index holds of each document, named by its key in `by_id`. An entry is what it knows of one
    revision; `put(key, put(key, entry))` changes nothing."""

    def keys(self) -> Iterator[bytes]: ...

    def revision_of(self, key: bytes) -> int | None:
        """Of what is held; None: nothing is."""

    def entry_of(self, row: Row) -> Any: ...

    def put(self, key: bytes, entry: Any) -> Any:
        """Hold an entry, None = nothing; returns what was held instead."""


def content_of(index: Index) -> Content:
    indexed, *filter_fields = index.fields
    if index.kind == SEARCH:
        return TextIndex(indexed, tuple(filter_fields))
    from functions.search.vector_index import VectorIndex  # NumPy takes 0.1 s: for whoever has vectors

    return VectorIndex(indexed, index.dimensions, tuple(filter_fields))


class KeptIndex:
    """See the module text. `by_id` is the id of the table's index of that name."""

    def __init__(self, index: Index, by_id: bytes) -> None:
        self.content = content_of(index)
        self.ts = 0
        self._by_id = by_id
        self._compared: bytes | None = b""  # the first key that is not compared; None: all are
        self._unmet: set[bytes] = set()  # held when comparing began, and neither met nor changed since

    def step(self, published: SnapshotReader, rows_max: int) -> bool:
        """Come forward to a published snapshot, reading about `rows_max` rows; whether all is compared."""
        if published.ts >= self.ts:
            self._take_up(published, rows_max)
            self._compare(published, rows_max)
        return self._compared is None

    def differences(self, snapshot: SnapshotReader) -> dict[bytes, Row | None] | None:
        """What a snapshot shows otherwise: commits ahead of the view, or revisions from before. None: the
        snapshot is older than what is remembered."""
        changed = snapshot.changed_keys(self._by_id, self.ts)
        if changed is None:
            return None
        return {key: snapshot.get(self._by_id, key) for key in changed}

    def put(self, key: bytes, row: Row | None) -> Any:
        """Hold this revision; returns the entry that was held instead."""
        return self.content.put(key, self.content.entry_of(row) if row is not None else None)

    def _take_up(self, published: SnapshotReader, rows_max: int) -> None:
        changed = published.changed_keys(self._by_id, self.ts) if self.ts else set[bytes]()
        if changed is None or len(changed) > rows_max:  # then compare, in steps
            self._compared, self._unmet = b"", set(self.content.keys())
        else:
            for key in changed:
                self._unmet.discard(key)
                self.put(key, published.get(self._by_id, key))
        self.ts = published.ts

    def _compare(self, published: SnapshotReader, rows_max: int) -> None:
        while self._compared is not None and rows_max > 0:
            count, bytes_max = min(rows_max, limits.SEARCH_ROWS_PER_STEP), limits.VIEW_READ_BYTES_PER_STEP
            rows = published.scan(
                self._by_id, self._compared, None, descending=False, limit=count, bytes_max=bytes_max
            )
            for row in rows:
                self._unmet.discard(row.key)
                if self.content.revision_of(row.key) != row.revision_ts:
                    self.put(row.key, row)
            rows_max -= len(rows)
            is_done = is_exhausted(rows, count, bytes_max)
            self._compared = None if is_done else rows[-1].key + b"\x00"
        if self._compared is None:
            for key in self._unmet:
                self.put(key, None)
            self._unmet.clear()
