"""`document_deltas`: what was written after a moment, commit by commit, for connectors (spec 02 20). Pure.

Documents are told as each commit wrote them, older revisions included, so that whoever applies them in order
to a snapshot has what the database has. The cursor is a ts: a commit is never split between two pages.

Which tables there are is what the catalog says now. Documents of tables that were deleted since are left out;
so are those that an import still writes. A table that an import has put in place is no matter of deltas: part
of it was written before anybody could see it, and what it replaced is gone without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from functions.catalog import Catalog
from functions.system.tables import TABLES_TABLET
from functions.system.transfer_errors import table_was_imported
from functions.transfer.streamed import (
    StreamedTable,
    Wanted,
    int_of,
    shown_deletion,
    shown_document,
    streamed_tables,
    wanted_of,
)
from log import limits, values
from log.errors import bad_json_body
from log.ids import decode_id
from log.record import CommitBody, DocumentWrite, Record, RecordKind


class DeltaRequest:
    """A request, checked. `cursor` is the ts after which to begin."""

    def __init__(self, body: Mapping[str, Any], catalog: Catalog) -> None:
        cursor = int_of(body, "cursor")
        if cursor is None:
            raise bad_json_body("`cursor` must be the timestamp to go on behind: a `snapshot`, or a `cursor`")
        self.cursor: int = cursor
        self.wanted: Wanted = wanted_of(body)
        self.tables: Mapping[bytes, StreamedTable] = streamed_tables(catalog, self.wanted)


class DeltaPage:
    """What was found behind the cursor, whole commits. `cursor` and `seq` are those of the last record that
    was read; `seq` 0: none was."""

    def __init__(self, request: DeltaRequest) -> None:
        self.cursor, self.seq, self.has_more = request.cursor, 0, False
        self._request = request
        self._documents: list[bytes] = []
        self._documents_bytes = self._records_read = self._bytes_read = 0

    @property
    def is_full(self) -> bool:
        return (
            len(self._documents) >= limits.STREAM_PAGE_ROWS_MAX
            or self._documents_bytes >= limits.STREAM_PAGE_BYTES_MAX
            or self._records_read >= limits.DELTA_RECORDS_READ_MAX
            or self._bytes_read >= limits.DELTA_BYTES_READ_MAX
        )

    def add(self, record: Record) -> None:
        for shown in _shown(self._request, record):
            self._documents.append(shown)
            self._documents_bytes += len(shown)
        self._records_read += 1
        self._bytes_read += len(record.body)
        self.cursor, self.seq = record.ts, record.seq

    def to_json(self) -> bytes:
        rest = orjson.dumps({"cursor": self.cursor, "hasMore": self.has_more})
        return b'{"values":[' + b",".join(self._documents) + b"]," + rest[1:]


def read_page(request: DeltaRequest, records: Iterator[Record], published_ts: int) -> DeltaPage:
    """The page that begins with `records`, those behind the cursor, in order. What is not published yet is no
    part of it."""
    page = DeltaPage(request)
    for record in records:
        if record.ts > published_ts:
            break
        if page.is_full:
            page.has_more = True
            break
        page.add(record)
    return page


def _shown(request: DeltaRequest, record: Record) -> Iterator[bytes]:
    if record.kind is not RecordKind.COMMIT:
        return
    for write in CommitBody.decode(record.body).writes:
        if write.tablet_id == TABLES_TABLET:
            _refuse_imported(request.tables, write)
        place = request.tables.get(write.tablet_id)
        if place is None:
            continue
        if write.document is None:
            yield shown_deletion(place, record.ts, write.document_id)
        else:
            yield shown_document(place, record.ts, write.document, request.wanted.output, _deleted=False)


def _refuse_imported(tables: Mapping[bytes, StreamedTable], write: DocumentWrite) -> None:
    """Rows of tables are changed for one reason only: they were hidden, and are active now."""
    place = tables.get(decode_id(write.document_id).internal_id)
    if place is None or write.document is None or write.previous_ts == 0:
        return
    row: Any = values.loads_canonical(write.document)
    if row["state"] == "active":
        raise table_was_imported(place.table.name)
