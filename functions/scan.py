"""A range of one index as a transaction sees it: the snapshot's rows overlaid with its own writes.

`Overlay` holds what the transaction changed in one index; `Scan` merges it with rows fetched from the
snapshot, row by row, and records what was consumed.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from functions.catalog import Index, Table
from functions.snapshot import Row
from log import limits

if TYPE_CHECKING:
    from functions.transaction import Transaction

SCAN_ROWS_FIRST = 16


class Overlay:
    """One index's keys as this transaction changed them: a row, or None for a key that is gone."""

    __slots__ = ("keys", "rows")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.rows: dict[bytes, Row | None] = {}

    def set(self, key: bytes, row: Row | None) -> None:
        if key not in self.rows:
            insort(self.keys, key)
        self.rows[key] = row

    def unset(self, key: bytes) -> None:
        if key in self.rows:
            del self.rows[key]
            del self.keys[bisect_left(self.keys, key)]

    def next_key(self, start: bytes, end: bytes | None, *, descending: bool) -> bytes | None:
        """The first changed key of [start, end) in the direction of the scan."""
        if descending:
            position = (len(self.keys) if end is None else bisect_left(self.keys, end)) - 1
            return self.keys[position] if position >= 0 and self.keys[position] >= start else None
        position = bisect_left(self.keys, start)
        if position == len(self.keys) or (end is not None and self.keys[position] >= end):
            return None
        return self.keys[position]


class Scan:
    """A range of one index, read row by row. The read set grows as rows are consumed.

    Rows come from the snapshot in buffers and are merged with the overlay at every step, so writes made
    while the scan is open are seen in the part not yet consumed.
    """

    __slots__ = (
        "_buffer",
        "_descending",
        "_fetch_rows",
        "_high",
        "_index",
        "_is_done",
        "_is_fetched",
        "_low",
        "_snapshot_high",
        "_snapshot_low",
        "_table",
        "_transaction",
    )

    def __init__(
        self,
        transaction: Transaction,
        index: Index,
        table: Table,
        start: bytes,
        end: bytes | None,
        *,
        descending: bool,
    ) -> None:
        self._transaction, self._index, self._table = transaction, index, table
        self._descending = descending
        self._low, self._high = start, end  # what is not yet consumed
        self._snapshot_low, self._snapshot_high = start, end  # what is not yet fetched
        self._buffer: list[Row] = []  # fetched rows, the next one last
        self._is_fetched = False  # nothing of the snapshot's part is left to fetch
        self._is_done = False
        self._fetch_rows = SCAN_ROWS_FIRST

    def next(self) -> Row | None:
        """The next row in key order, or None when the interval is exhausted (then all of it is read)."""
        if self._is_done:
            return None
        row = self._next_row()
        transaction = self._transaction
        if row is None:
            self._is_done = True
            transaction.record_read(self._index, self._low, self._high)
            return None
        after = row.key + b"\x00"
        if self._descending:
            transaction.record_read(self._index, row.key, self._high)
            self._high = row.key
        else:
            transaction.record_read(self._index, self._low, after)
            self._low = after
        table = self._table
        transaction.budget.read_document(table.tablet_id, row.size_bytes, is_system=table.is_system)
        return row

    def _next_row(self) -> Row | None:
        """The next visible row; keys the transaction deleted are passed over."""
        overlay = self._transaction.overlay_of(self._index)
        low, high = self._low, self._high
        while True:
            if not self._buffer and not self._is_fetched:
                self._fetch()
            base = self._buffer[-1] if self._buffer else None
            changed = overlay.next_key(low, high, descending=self._descending) if overlay else None
            if changed is None or (base is not None and self._is_before(base.key, changed)):
                return self._buffer.pop() if base is not None else None
            if base is not None and base.key == changed:
                self._buffer.pop()
            assert overlay is not None
            row = overlay.rows[changed]
            if row is not None:
                return row
            low, high = (low, changed) if self._descending else (changed + b"\x00", high)

    def _is_before(self, left: bytes, right: bytes) -> bool:
        return left > right if self._descending else left < right

    def _fetch(self) -> None:
        """The next rows of the snapshot. Starts small: most scans want few rows."""
        rows = self._transaction.snapshot.scan(
            self._index.index_id,
            self._snapshot_low,
            self._snapshot_high,
            descending=self._descending,
            limit=self._fetch_rows,
        )
        if len(rows) < self._fetch_rows:
            self._is_fetched = True
        elif self._descending:
            self._snapshot_high = rows[-1].key
        else:
            self._snapshot_low = rows[-1].key + b"\x00"
        rows.reverse()
        self._buffer = rows
        self._fetch_rows = min(self._fetch_rows * 4, limits.SCAN_ROWS_PER_FETCH_MAX)
