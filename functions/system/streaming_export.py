"""`list_snapshot`: all documents of one moment, page by page, for connectors (spec 02 20).

The first page chooses the moment, the newest there is, and every later one reads at it, for as long as the
view knows it: `limits.UNDO_SECONDS`. After that a page reads the newest there is, and leaves out what was
written since. `document_deltas` (functions/transfer/deltas.py) tells what was committed after the moment, all
that was left out included: so both together miss nothing, however long the pages take.

Promise: no page shows a document as it was not at the moment.

A cursor is sealed: it names the moment, a table, and a place in its index by id.

Read in this order: list_snapshot, _tables_at, _Page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgpack
import orjson

from functions.catalog import Table
from functions.errors import unparsable_cursor
from functions.snapshot import Row, SnapshotReader, is_exhausted
from functions.system.operation import SystemContext
from functions.system.tables import index_row_id, table_row_id
from functions.system.transfer_errors import table_was_imported
from functions.transaction import Transaction
from functions.transfer.streamed import (
    StreamedTable,
    Wanted,
    int_of,
    shown_document,
    streamed_tables,
    wanted_of,
)
from log import limits
from log.errors import bad_json_body
from log.invariant import invariant
from log.keys import encode_item

_Body = dict[str, Any]


class Place(NamedTuple):
    """Where a page ended: behind `key` of the table."""

    snapshot_ts: int
    tablet_id: bytes
    key: bytes


def snapshot_ts_of(body: _Body, context: SystemContext) -> int | None:
    """The moment a page is of; None: the newest."""
    return _asked_ts(body, _place_of(body, context))


def list_snapshot(
    transaction: Transaction, body: _Body, _prepared: None, context: SystemContext
) -> dict[str, Any]:
    """One page of a snapshot, out of what the transaction reads: that snapshot itself, or the newest. Rows
    come from beside its read set: nothing depends on them. 400 TableWasImported."""
    snapshot, wanted, place = transaction.snapshot, wanted_of(body), _place_of(body, context)
    snapshot.get(transaction.catalog.tables["_tables"].by_id.index_id, b"")  # refused if it is too old
    asked_ts = _asked_ts(body, place)
    ts = snapshot.ts if asked_ts is None else asked_ts
    tables = streamed_tables(transaction.catalog, wanted)
    if snapshot.ts > ts:
        tables = _tables_at(ts, transaction, tables)
    page = _Page(ts, wanted)
    for tablet_id, row in _rows(snapshot, tables, place, page):
        if page.is_full:
            return page.answer(context, has_more=True)
        page.add(tables[tablet_id], row)
    return page.answer(context, has_more=False)


def _tables_at(
    ts: int, transaction: Transaction, tables: Mapping[bytes, StreamedTable]
) -> dict[bytes, StreamedTable]:
    """Those of the tables of now that were there at an earlier ts.

    Refused where an import has put one in place since: rows it had filled in before were seen by nobody, and
    what was there is gone. Deltas refuse the same. It shows in the catalog: the row of a table is written
    with those of its indexes, and again only when the table is put in place; that of its index by id is not.
    """
    rows_of_tables, rows_of_indexes = (transaction.catalog.tables[name] for name in ("_tables", "_index"))
    found: dict[bytes, StreamedTable] = {}
    for tablet_id, streamed in tables.items():
        changed_ts = _revision_ts(transaction.snapshot, rows_of_tables, table_row_id(tablet_id))
        if changed_ts <= ts:
            found[tablet_id] = streamed
            continue
        by_id_row = index_row_id(streamed.table.by_id.index_id)
        if _revision_ts(transaction.snapshot, rows_of_indexes, by_id_row) != changed_ts:
            raise table_was_imported(streamed.table.name)
    return found


def _revision_ts(snapshot: SnapshotReader, table: Table, document_id: str) -> int:
    row = snapshot.get(table.by_id.index_id, encode_item(document_id))
    invariant(row is not None, "what the catalog of a snapshot names is in the snapshot", id=document_id)
    assert row is not None
    return row.revision_ts


def _rows(
    snapshot: SnapshotReader, tables: Mapping[bytes, StreamedTable], after: Place | None, page: _Page
) -> Iterator[tuple[bytes, Row]]:
    """The rows behind a place, by tablet id and by id; at a time, what the page has room for, and so no more
    than it may read."""
    for tablet_id, place in tables.items():
        if after is not None and tablet_id < after.tablet_id:
            continue
        start = after.key + b"\x00" if after is not None and tablet_id == after.tablet_id else b""
        is_done = False
        while not is_done:
            index_id = place.table.by_id.index_id
            count, bytes_max = page.rows_left + 1, max(1, page.bytes_left)  # one shows whether there are more
            rows = snapshot.scan(index_id, start, None, descending=False, limit=count, bytes_max=bytes_max)
            yield from ((tablet_id, row) for row in rows)
            is_done = is_exhausted(rows, count, bytes_max)
            start = rows[-1].key + b"\x00" if rows else start


class _Page:
    """What fits into one answer about the snapshot at `ts`. One row at least is read; none may be shown."""

    def __init__(self, ts: int, wanted: Wanted) -> None:
        self._ts, self._wanted = ts, wanted
        self._documents: list[bytes] = []
        self._documents_bytes = self._rows_read = self._bytes_read = 0
        self._last: Place | None = None  # of the rows that were read

    @property
    def rows_left(self) -> int:
        """How many more it may show, or read."""
        shown_max, read_max = limits.STREAM_PAGE_ROWS_MAX, limits.STREAM_ROWS_READ_MAX
        return max(0, min(shown_max - len(self._documents), read_max - self._rows_read))

    @property
    def bytes_left(self) -> int:
        """The same in bytes, before the last row."""
        shown_max, read_max = limits.STREAM_PAGE_BYTES_MAX, limits.STREAM_BYTES_READ_MAX
        return max(0, min(shown_max - self._documents_bytes, read_max - self._bytes_read))

    @property
    def is_full(self) -> bool:
        return self.rows_left == 0 or self.bytes_left == 0

    def add(self, place: StreamedTable, row: Row) -> None:
        """The next row. It is shown if nobody has written it since the snapshot."""
        if row.revision_ts <= self._ts:
            document = shown_document(place, row.revision_ts, row.document, self._wanted.output)
            self._documents.append(document)
            self._documents_bytes += len(document)
        self._rows_read += 1
        self._bytes_read += len(row.document)
        self._last = Place(self._ts, place.table.tablet_id, row.key)

    def answer(self, context: SystemContext, *, has_more: bool) -> dict[str, Any]:
        cursor = None
        if has_more:
            assert self._last is not None, "a page with one behind it has read a row"
            cursor = context.codec.encode(msgpack.packb(tuple(self._last)), _fingerprint(self._wanted))
        return {
            "values": [orjson.Fragment(document) for document in self._documents],
            "snapshot": self._ts,
            "cursor": cursor,
            "hasMore": has_more,
        }


def _asked_ts(body: _Body, place: Place | None) -> int | None:
    asked_ts = int_of(body, "snapshot")
    if place is None:
        return asked_ts
    if asked_ts not in (None, place.snapshot_ts):
        raise bad_json_body("`cursor` is of another `snapshot`")
    return place.snapshot_ts


def _place_of(body: _Body, context: SystemContext) -> Place | None:
    cursor = body.get("cursor")
    if cursor is None:
        return None
    if not isinstance(cursor, str):
        raise bad_json_body("`cursor` is what the page before answered")
    position = context.codec.decode(cursor, _fingerprint(wanted_of(body)))
    if position is None:
        raise unparsable_cursor()
    return Place(*msgpack.unpackb(position))


def _fingerprint(wanted: Wanted) -> bytes:
    """A cursor counts for the same documents only."""
    return hashlib.sha256(orjson.dumps(["list_snapshot", wanted.component, wanted.table])).digest()[:16]
