"""`list_snapshot`: all documents of one moment, page by page, for connectors (spec 02 20).

The first page chooses the moment, the newest there is, and every later one reads at it, for as long as the
view knows it: `limits.UNDO_SECONDS`. What was committed after the moment is told by `document_deltas`
(functions/transfer/deltas.py), so that both together miss nothing and tell nothing twice.

A cursor is sealed: it names the moment, a table, and a place in its index by id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgpack
import orjson

from functions.errors import unparsable_cursor
from functions.snapshot import Row, SnapshotReader
from functions.system.operation import SystemContext
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

_Body = dict[str, Any]


class Place(NamedTuple):
    """Where a page ended: behind `key` of the table."""

    snapshot_ts: int
    tablet_id: bytes
    key: bytes


def snapshot_ts_of(body: _Body, context: SystemContext) -> int | None:
    """The moment a page is of; None: the newest."""
    asked_ts, place = int_of(body, "snapshot"), _place_of(body, context)
    if place is None:
        return asked_ts
    if asked_ts not in (None, place.snapshot_ts):
        raise bad_json_body("`cursor` is of another `snapshot`")
    return place.snapshot_ts


def list_snapshot(
    transaction: Transaction, body: _Body, _prepared: None, context: SystemContext
) -> dict[str, Any]:
    """One page of the snapshot that the transaction reads. Rows come from beside its read set: nothing
    depends on them."""
    snapshot, wanted = transaction.snapshot, wanted_of(body)
    snapshot.get(transaction.catalog.tables["_tables"].by_id.index_id, b"")  # refused if it is too old
    page, tables = _Page(wanted), streamed_tables(transaction.catalog, wanted)
    for tablet_id, row in _rows(snapshot, tables, _place_of(body, context)):
        if page.is_full:
            return page.answer(snapshot.ts, context, page.last)
        document = shown_document(tables[tablet_id], row.revision_ts, row.document, wanted.output)
        page.add(Place(snapshot.ts, tablet_id, row.key), document)
    return page.answer(snapshot.ts, context, None)


def _rows(
    snapshot: SnapshotReader, tables: Mapping[bytes, StreamedTable], after: Place | None
) -> Iterator[tuple[bytes, Row]]:
    """The rows behind a place, by tablet id and by id; few at a time, because each may be as large as a
    document can be."""
    for tablet_id, place in tables.items():
        if after is not None and tablet_id < after.tablet_id:
            continue
        start = after.key + b"\x00" if after is not None and tablet_id == after.tablet_id else b""
        count = min(limits.EXPORT_ROWS_PER_STEP, limits.STREAM_PAGE_ROWS_MAX + 1)
        while rows := snapshot.scan(place.table.by_id.index_id, start, None, descending=False, limit=count):
            yield from ((tablet_id, row) for row in rows)
            start = rows[-1].key + b"\x00"


class _Page:
    """What fits into one answer; at least one document."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._documents: list[bytes] = []
        self._bytes = 0
        self.last: Place | None = None

    @property
    def is_full(self) -> bool:
        is_long = len(self._documents) >= limits.STREAM_PAGE_ROWS_MAX
        return is_long or self._bytes >= limits.STREAM_PAGE_BYTES_MAX

    def add(self, place: Place, document: bytes) -> None:
        self._documents.append(document)
        self._bytes += len(document)
        self.last = place

    def answer(self, ts: int, context: SystemContext, end: Place | None) -> dict[str, Any]:
        """`end`: where the next page goes on; None when there is none."""
        cursor = None
        if end is not None:
            cursor = context.codec.encode(msgpack.packb(tuple(end)), _fingerprint(self._wanted))
        return {
            "values": [orjson.Fragment(document) for document in self._documents],
            "snapshot": ts,
            "cursor": cursor,
            "hasMore": end is not None,
        }


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
