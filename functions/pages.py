"""Pages of a query, and the cursors between them (spec 03 2.3; spec 04 4.4).

A cursor is sealed with the instance's secret: it names a place in the index of one query, and no other
query accepts it.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgpack
import orjson

from functions import errors
from functions.query import QueryPlan, RowOperators, open_scan
from functions.snapshot import Row
from functions.transaction import Transaction
from log import limits, secrets
from log.errors import BackendError, ErrorKind

_SPLIT_RECOMMENDED_SHARE = 3 / 4
_PAGE_ROWS_SPLIT = 6_144  # 3/4 of the array length limit (spec 01 5.3)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What `.paginate()` asked for. `journal_end` applies when there is no explicit end cursor."""

    cursor: str | None
    end_cursor: str | None
    page_size: int
    rows_read_max: int | None = None
    bytes_read_max: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page; `documents` are canonical bytes."""

    documents: list[bytes]
    is_done: bool
    continue_cursor: str
    split_cursor: str | None
    status: str | None

    def to_json(self) -> bytes:
        rest = {
            "isDone": self.is_done,
            "continueCursor": self.continue_cursor,
            "splitCursor": self.split_cursor,
            "pageStatus": self.status,
        }
        return b'{"page":[' + b",".join(self.documents) + b"]," + orjson.dumps(rest)[1:]


class CursorCodec:
    """Cursors: sealed `(position key | None for the end, query fingerprint)`; equal for equal places."""

    def __init__(self, instance_secret: bytes) -> None:
        self._secret = instance_secret

    def encode(self, position: bytes | None, fingerprint: bytes) -> str:
        return secrets.seal(self._secret, "cursor", msgpack.packb((position, fingerprint)))

    def decode(self, token: str, fingerprint: bytes) -> bytes | None:
        """The position; refuses what is no cursor of ours and cursors of other queries."""
        payload = secrets.unseal(self._secret, "cursor", token)
        if payload is None:
            raise errors.unparsable_cursor()
        position, of_query = msgpack.unpackb(payload)
        if of_query != fingerprint:
            raise errors.cursor_of_another_query()
        return position


def read_page(
    plan: QueryPlan,
    transaction: Transaction,
    request: PageRequest,
    journal_end: str | None,
    codec: CursorCodec,
) -> Page:
    """Rows after the cursor: `page_size` of them, or all through the end cursor when there is one.

    A pagination-class limit met after at least one row cuts the page and asks for a split.
    """
    _check_page_request(request)
    end_token = request.end_cursor if request.end_cursor is not None else journal_end
    bounded = _bounded(plan, request.cursor, end_token, codec)
    rows, passed, is_cut, is_exhausted = _collect_page(
        bounded, plan, transaction, request, end_token is not None
    )
    if end_token is not None:
        continue_position = codec.decode(end_token, plan.fingerprint)
        continue_cursor = end_token
    else:
        continue_position = None if is_exhausted else rows[-1].key
        continue_cursor = codec.encode(continue_position, plan.fingerprint)
    can_split = len(rows) > 2 and plan.search is None  # never for a search (spec 04 4.4)
    split = codec.encode(rows[len(rows) // 2].key, plan.fingerprint) if can_split else None
    status = "SplitRequired" if is_cut else _recommendation(rows, passed, request)
    return Page(passed, continue_position is None, continue_cursor, split, status)


def _check_page_request(request: PageRequest) -> None:
    if request.page_size == 0:
        raise errors.no_documents_for_pagination()
    if request.page_size > limits.PAGE_ITEMS_MAX:
        raise errors.page_size_too_large(request.page_size)
    if request.rows_read_max == 0 or request.bytes_read_max == 0:
        raise errors.invalid_pagination_limit()


def _bounded(
    plan: QueryPlan, cursor: str | None, end_cursor: str | None, codec: CursorCodec
) -> tuple[bytes, bytes | None] | None:
    """The part of the plan's interval in (cursor, end cursor]; None when the cursor is the end."""
    low, high = plan.start, plan.end
    if cursor is not None:
        position = codec.decode(cursor, plan.fingerprint)
        if position is None:
            return None
        low, high = (low, position) if plan.is_descending else (position + b"\x00", high)
    if end_cursor is not None:
        position = codec.decode(end_cursor, plan.fingerprint)
        if position is not None:
            low, high = (position, high) if plan.is_descending else (low, position + b"\x00")
    return low, high


def _collect_page(
    bounds: tuple[bytes, bytes | None] | None,
    plan: QueryPlan,
    transaction: Transaction,
    request: PageRequest,
    has_end: bool,
) -> tuple[list[Row], list[bytes], bool, bool]:
    """(scanned rows, passing documents, was cut by a limit, interval exhausted)."""
    scan = open_scan(plan, transaction, *bounds) if bounds is not None else None
    if scan is None:
        return [], [], False, True
    operators = RowOperators(plan)
    rows: list[Row] = []
    documents: list[bytes] = []
    bytes_read = 0
    while has_end or len(documents) < request.page_size:
        if not has_end and rows and _is_over(request, len(rows), bytes_read):
            return rows, documents, True, False
        try:
            row = scan.next()
        except BackendError as refusal:
            if refusal.kind is ErrorKind.PAGINATION_LIMIT and rows:
                return rows, documents, True, False
            raise
        if row is None:
            return rows, documents, False, True
        rows.append(row)
        bytes_read += row.size_bytes
        if operators.passes(row):
            documents.append(row.document)
    return rows, documents, False, False


def _is_over(request: PageRequest, rows_read: int, bytes_read: int) -> bool:
    if request.rows_read_max is not None and rows_read >= request.rows_read_max:
        return True
    return request.bytes_read_max is not None and bytes_read >= request.bytes_read_max


def _recommendation(rows: list[Row], documents: list[bytes], request: PageRequest) -> str | None:
    rows_max = min(request.rows_read_max or limits.PAGE_ITEMS_MAX, limits.TRANSACTION_DOCUMENTS_READ_MAX)
    bytes_max = min(
        request.bytes_read_max or limits.TRANSACTION_BYTES_READ_MAX, limits.TRANSACTION_BYTES_READ_MAX
    )
    bytes_read = sum(row.size_bytes for row in rows)
    is_large = (
        len(rows) > rows_max * _SPLIT_RECOMMENDED_SHARE
        or bytes_read > bytes_max * _SPLIT_RECOMMENDED_SHARE
        or len(documents) > _PAGE_ROWS_SPLIT
    )
    return "SplitRecommended" if is_large else None
