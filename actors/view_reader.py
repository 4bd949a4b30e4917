"""Reads of a node's view as it was at one timestamp: current rows overlaid with what was replaced since.

A read transaction lives for one call, never across JavaScript or an await: an open reader keeps the
writer from reusing pages (design D6). Any process of the node may read; none but the writer writes.

Read in this order: ViewSnapshot.scan, _replaced, _iterate, _overlaid.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from actors.view_environment import (
    CATALOG_KEY,
    CATALOG_TS,
    OpenedView,
    ViewCursor,
    ViewState,
    ViewTransaction,
    close_shared,
    open_shared,
    read_state,
)
from actors.view_layout import (
    KEY_PREFIX_BYTES,
    is_grouped,
    stored_key,
    undo_start,
    unpack_row,
    unpack_undo,
    unpack_undo_key,
)
from functions.snapshot import Row
from log.errors import out_of_retention, view_behind


class ViewReader:
    """Reads a view of this node in place. One thread; cheap to make."""

    def __init__(self, folder: Path) -> None:
        self._opened = open_shared(folder, writable=False)

    def state(self) -> ViewState:
        with self._opened.environment.begin(db=self._opened.meta) as transaction:
            return read_state(transaction, self._opened)

    def snapshot(self, ts: int) -> ViewSnapshot:
        """The database at `ts`, which the view must have applied (see `state`)."""
        return ViewSnapshot(self._opened, ts)

    def close(self) -> None:
        close_shared(self._opened)


class ViewSnapshot:
    """functions.snapshot.SnapshotReader over LMDB."""

    __slots__ = ("_catalog_ts", "_opened", "ts")

    def __init__(self, opened: OpenedView, ts: int) -> None:
        self._opened, self.ts = opened, ts
        self._catalog_ts: int | None = None

    @property
    def catalog_ts(self) -> int:
        if self._catalog_ts is None:
            with self._begin() as transaction, transaction.cursor(db=self._opened.meta) as cursor:
                self._catalog_ts = _last_catalog_ts(cursor, self.ts)
        return self._catalog_ts

    def get(self, index_id: bytes, key: bytes) -> Row | None:
        opened = self._opened
        with self._begin() as transaction:
            state = self._check(transaction)
            if state.applied_ts > self.ts:
                replaced = self._replaced(transaction, index_id, state.applied_ts)
                if key in replaced:
                    return replaced[key]
            stored = stored_key(key)
            value = transaction.get(index_id + stored, db=opened.current)
            return unpack_row(stored, value) if value is not None else None

    def scan(
        self, index_id: bytes, start: bytes, end: bytes | None, *, descending: bool, limit: int
    ) -> list[Row]:
        rows: list[Row] = []
        with self._begin() as transaction:
            state = self._check(transaction)
            found = _iterate(transaction, self._opened, index_id, start, end, descending=descending)
            if state.applied_ts > self.ts:
                replaced = {
                    key: row
                    for key, row in self._replaced(transaction, index_id, state.applied_ts).items()
                    if start <= key and (end is None or key < end)
                }
                found = _overlaid(found, replaced, descending=descending) if replaced else found
            for row in found:
                rows.append(row)
                if len(rows) == limit:
                    break
        return rows

    def _begin(self) -> ViewTransaction:
        return self._opened.environment.begin()

    def _check(self, transaction: ViewTransaction) -> ViewState:
        state = read_state(transaction, self._opened)
        if state.applied_ts < self.ts:
            raise view_behind(state.applied_ts, self.ts)
        if self.ts < state.min_ts:
            raise out_of_retention()
        return state

    def _replaced(
        self, transaction: ViewTransaction, index_id: bytes, applied_ts: int
    ) -> dict[bytes, Row | None]:
        """Full key -> what stood there at our ts, for every key replaced since (earliest wins)."""
        replaced: dict[bytes, Row | None] = {}
        limit = undo_start(index_id, applied_ts + 1)
        with transaction.cursor(db=self._opened.undo) as cursor:
            found = cursor.set_range(undo_start(index_id, self.ts + 1))
            while found and cursor.key() < limit:
                _index, _ts, stored = unpack_undo_key(cursor.key())
                key, row = unpack_undo(stored, cursor.value())
                replaced.setdefault(key, row)
                found = cursor.next()
        return replaced


def _last_catalog_ts(cursor: ViewCursor, ts: int) -> int:
    found = cursor.set_range(CATALOG_KEY + CATALOG_TS.pack(ts + 1))
    found = cursor.prev() if found else cursor.last()
    while found and cursor.key() > CATALOG_KEY + CATALOG_TS.pack(ts):
        found = cursor.prev()
    if not found or not cursor.key().startswith(CATALOG_KEY):
        return 0
    return CATALOG_TS.unpack_from(cursor.key(), len(CATALOG_KEY))[0]


def _iterate(
    transaction: ViewTransaction,
    opened: OpenedView,
    index_id: bytes,
    start: bytes,
    end: bytes | None,
    *,
    descending: bool,
) -> Iterator[Row]:
    """Current rows of [start, end) in key order, or reversed."""
    with transaction.cursor(db=opened.current) as cursor:
        step = cursor.prev if descending else cursor.next
        found = _seek_end(cursor, index_id, end) if descending else _seek_start(cursor, index_id, start)
        group_prefix, group = b"", list[Row]()
        while found:
            physical = cursor.key()
            stored = physical[len(index_id) :]
            if physical[: len(index_id)] != index_id or _is_past(stored, start, end, descending):
                break
            if group and (not is_grouped(stored) or stored[:KEY_PREFIX_BYTES] != group_prefix):
                yield from _ordered(group, start, end, descending)
                group = []
            row = unpack_row(stored, cursor.value())
            if is_grouped(stored):
                group_prefix = stored[:KEY_PREFIX_BYTES]
                group.append(row)
            elif start <= row.key and (end is None or row.key < end):
                yield row
            found = step()
        yield from _ordered(group, start, end, descending)


def _seek_start(cursor: ViewCursor, index_id: bytes, start: bytes) -> bool:
    return cursor.set_range(index_id + start[:KEY_PREFIX_BYTES])


def _seek_end(cursor: ViewCursor, index_id: bytes, end: bytes | None) -> bool:
    """On the last entry that may lie below `end`; 0xff is above every byte a key begins with."""
    if end is None:
        bound = index_id + b"\xff"
    elif len(end) <= KEY_PREFIX_BYTES:
        bound = index_id + end
    else:
        bound = index_id + end[:KEY_PREFIX_BYTES] + b"\xff" * (len(end) - KEY_PREFIX_BYTES)
        bound = bound[:511]
    return cursor.prev() if cursor.set_range(bound) else cursor.last()


def _is_past(stored: bytes, start: bytes, end: bytes | None, descending: bool) -> bool:
    """Whether no further entry in this direction can lie in the interval."""
    prefix = stored[:KEY_PREFIX_BYTES]
    if descending:
        return prefix < start[:KEY_PREFIX_BYTES]
    if end is None:
        return False
    return prefix > end[:KEY_PREFIX_BYTES] or (len(end) <= KEY_PREFIX_BYTES and prefix >= end)


def _ordered(group: list[Row], start: bytes, end: bytes | None, descending: bool) -> list[Row]:
    inside = [row for row in group if start <= row.key and (end is None or row.key < end)]
    return sorted(inside, key=lambda row: row.key, reverse=descending)


def _overlaid(
    current: Iterator[Row], replaced: dict[bytes, Row | None], *, descending: bool
) -> Iterator[Row]:
    """Merge: keys in `replaced` show what they were; absent ones vanish."""
    earlier = sorted((row for row in replaced.values() if row is not None), key=lambda row: row.key)
    if not descending:
        earlier.reverse()  # popped from the end
    for row in current:
        if row.key in replaced:
            continue
        while earlier and (earlier[-1].key > row.key if descending else earlier[-1].key < row.key):
            yield earlier.pop()
        yield row
    while earlier:
        yield earlier.pop()
