"""Reads of a node's view as it was at one timestamp: current rows overlaid with what was replaced since.

A read transaction lives for one call, never across JavaScript or an await: an open reader keeps the
writer from reusing pages (design D6). Any process of the node may read; none but the writer writes.

Read in this order: ViewSnapshot.scan, _Replaced, _iterate, _overlaid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from actors.view_environment import (
    CATALOG_KEY,
    CATALOG_TS,
    OpenedView,
    ViewCursor,
    ViewState,
    ViewTransaction,
    close_shared,
    copy_compacted,
    open_shared,
    read_state,
)
from actors.view_layout import (
    HASH_BYTES,
    INDEX_ID_BYTES,
    KEY_PREFIX_BYTES,
    PieceReader,
    is_grouped,
    size_in_row,
    stored_key,
    undo_start,
    unpack_row,
    unpack_undo,
)
from actors.view_pieces import Pieces
from actors.view_sizes import read_size
from functions.search.kept_indexes import KeptIndexes
from functions.snapshot import UNBOUNDED, Row, TableSize, bounded, size_of
from log.errors import out_of_retention, view_behind
from log.keys import PREFIX_END

_ABOVE_ANY_HASH = b"\xff" * (HASH_BYTES + 1)

_Bounds = tuple[bytes, bytes]  # of full keys: start, end (exclusive)
_Found = TypeVar("_Found", Row, Row | None)


class ViewReader:
    """Reads a view of this node in place. One thread; cheap to make."""

    def __init__(self, folder: Path, search_rows_max: int | None = None) -> None:
        """`search_rows_max`: see KeptIndexes."""
        self._opened = open_shared(folder, writable=False)
        self._kept = KeptIndexes(search_rows_max)

    def state(self) -> ViewState:
        with self._opened.environment.begin(db=self._opened.meta) as transaction:
            return read_state(transaction, self._opened)

    def snapshot(self, ts: int) -> ViewSnapshot:
        """The database at `ts`, which the view must have applied (see `state`)."""
        return ViewSnapshot(self._opened, ts, self._kept)

    @property
    def folder(self) -> Path:
        return self._opened.folder

    def copy_to(self, target: Path) -> None:
        """Copy what one moment shows into an empty folder. Any thread; OSError when the disk refuses."""
        copy_compacted(self._opened, target)

    def close(self) -> None:
        close_shared(self._opened)


class ViewSnapshot:
    """functions.snapshot.SnapshotReader over LMDB."""

    __slots__ = ("_catalog_ts", "_opened", "_replaced_last", "kept", "ts")

    def __init__(self, opened: OpenedView, ts: int, kept: KeptIndexes) -> None:
        self._opened, self.ts, self.kept = opened, ts, kept
        self._catalog_ts: int | None = None
        self._replaced_last: _Replaced | None = None  # of the index that was read last

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
            if value is None:
                return None
            return unpack_row(stored, value, Pieces(transaction, opened).read)

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
        with self._begin() as transaction:
            state = self._check(transaction)
            bounds = start, PREFIX_END if end is None else end
            found = _iterate(transaction, self._opened, index_id, bounds, descending=descending)
            if state.applied_ts > self.ts:
                replaced = self._replaced(transaction, index_id, state.applied_ts)
                found = _overlaid(found, _within(bounds, replaced), descending=descending)
            return bounded(found, limit, bytes_max)

    def table_size(self, by_id: bytes) -> TableSize:
        with self._begin() as transaction:
            state = self._check(transaction)
            size = read_size(transaction, self._opened, by_id)
            if state.applied_ts == self.ts:
                return size
            replaced = self._replaced(transaction, by_id, state.applied_ts)
            for key, before in replaced.items():
                now = transaction.get(by_id + stored_key(key), db=self._opened.current)
                size = size.replaced(size_in_row(now), size_of(before))
        return size

    @property
    def published(self) -> ViewSnapshot:
        return self

    def changed_keys(self, index_id: bytes, ts: int) -> set[bytes] | None:
        first, last = sorted((ts, self.ts))
        if first == last:
            return set()
        with self._begin() as transaction:
            if first < read_state(transaction, self._opened).min_ts:
                return None
            replaced = _Replaced(index_id, first)
            replaced.read_on(transaction, self._opened, last)
            return set(replaced.rows)

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
        self, transaction: ViewTransaction, index_id: bytes, last_ts: int
    ) -> Mapping[bytes, Row | None]:
        """Full key -> what stood there at this snapshot, for every key replaced later, up to `last_ts`, which
        the view has applied. Kept until another index is read: whoever pages reads the same again, and under
        load the view has moved on a little each time."""
        replaced = self._replaced_last
        if replaced is None or replaced.index_id != index_id:
            replaced = self._replaced_last = _Replaced(index_id, self.ts)
        replaced.read_on(transaction, self._opened, last_ts)
        return replaced.rows


class _Replaced:
    """Full key -> the row that stood there at `after_ts`, for every key of one index replaced since."""

    __slots__ = ("_last_ts", "index_id", "rows")

    def __init__(self, index_id: bytes, after_ts: int) -> None:
        self.index_id, self._last_ts = index_id, after_ts
        self.rows: dict[bytes, Row | None] = {}  # the earliest wins

    def read_on(self, transaction: ViewTransaction, opened: OpenedView, last_ts: int) -> None:
        """Up to `last_ts`; never less far than before, because the view only moves on."""
        if last_ts == self._last_ts:
            return
        rows, read_pieces = self.rows, Pieces(transaction, opened).read
        start, limit = undo_start(self.index_id, self._last_ts + 1), undo_start(self.index_id, last_ts + 1)
        with transaction.cursor(db=opened.undo) as cursor:
            found = cursor.set_range(start)
            while found and (physical := cursor.key()) < limit:
                stored = physical[len(start) :]
                if stored not in rows:  # one that was cut never is: its full key is known once it is unpacked
                    key, row = unpack_undo(stored, cursor.value(), read_pieces)
                    rows.setdefault(key, row)
                found = cursor.next()
        self._last_ts = last_ts


def _last_catalog_ts(cursor: ViewCursor, ts: int) -> int:
    cursor.set_range(CATALOG_KEY + CATALOG_TS.pack(ts + 1))
    cursor.prev()  # from behind the last key, too
    key = cursor.key()
    return CATALOG_TS.unpack_from(key, len(CATALOG_KEY))[0] if key.startswith(CATALOG_KEY) else 0


def _iterate(
    transaction: ViewTransaction, opened: OpenedView, index_id: bytes, bounds: _Bounds, *, descending: bool
) -> Iterator[Row]:
    """Current rows within the bounds in key order, or reversed.

    The bounds are compared with stored keys here. Only where one was cut can the two orders differ: there a
    group is collected, and ordered and bounded by full keys.
    """
    start, end = bounds
    read_pieces = Pieces(transaction, opened).read
    with transaction.cursor(db=opened.current) as cursor:
        step = cursor.prev if descending else cursor.next
        if descending:
            _seek_end(cursor, index_id, end)
        else:
            cursor.set_range(index_id + start[:KEY_PREFIX_BYTES])
        while (physical := cursor.key()).startswith(index_id):  # no key behind the last one
            stored = physical[len(index_id) :]
            if _is_past(stored, bounds, descending=descending):
                return
            if is_grouped(stored):
                group = _group(cursor, step, physical[: len(index_id) + KEY_PREFIX_BYTES], read_pieces)
                inside = _within(bounds, group)
                yield from (inside[key] for key in sorted(inside, reverse=descending))
            else:
                if stored >= start:  # below an `end` it is, else it were past
                    yield unpack_row(stored, cursor.value(), read_pieces)
                step()


def _seek_end(cursor: ViewCursor, index_id: bytes, end: bytes) -> None:
    """On the last entry that may lie below `end`. Behind a whole prefix any hash may follow, whatever the
    rest of `end` says."""
    bound = end if len(end) <= KEY_PREFIX_BYTES else end[:KEY_PREFIX_BYTES] + _ABOVE_ANY_HASH
    cursor.set_range(index_id + bound)
    cursor.prev()  # from behind the last key, too


def _is_past(stored: bytes, bounds: _Bounds, *, descending: bool) -> bool:
    """Whether neither this entry nor a further one in this direction can lie within the bounds."""
    prefix = stored[:KEY_PREFIX_BYTES]
    return prefix < bounds[0][:KEY_PREFIX_BYTES] if descending else prefix >= bounds[1]


def _group(
    cursor: ViewCursor, step: Callable[[], bool], prefix: bytes, read_pieces: PieceReader
) -> dict[bytes, Row]:
    """Full key -> row of the entries that share `prefix`; the cursor is behind them afterwards."""
    group: dict[bytes, Row] = {}
    while (physical := cursor.key()).startswith(prefix):
        row = unpack_row(physical[INDEX_ID_BYTES:], cursor.value(), read_pieces)
        group[row.key] = row
        step()
    return group


def _within(bounds: _Bounds, rows: Mapping[bytes, _Found]) -> dict[bytes, _Found]:
    start, end = bounds
    return {key: row for key, row in rows.items() if start <= key < end}


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
