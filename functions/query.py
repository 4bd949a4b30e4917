"""Database queries of user functions: index ranges, operators, pages (spec 03 2.2, 2.3; spec 04 4.3, 4.4).

A serialized query is turned into an interval of one index plus a pipeline of filters and limits over the
rows of a `Scan`; the scan records what was read. Nothing here knows JavaScript.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack
import orjson

from functions import errors
from functions.catalog import BACKFILLING, BY_CREATION_TIME, ENABLED, Catalog, Index, Table
from functions.filter import parse_filter
from functions.scan import Scan
from functions.snapshot import Row
from functions.transaction import Transaction
from log import limits, secrets, values
from log.errors import BackendError, ErrorKind, not_supported_yet
from log.keys import PREFIX_END, encode_item

_SPLIT_RECOMMENDED_SHARE = 3 / 4
_PAGE_ROWS_SPLIT = 6_144  # 3/4 of the array length limit (spec 01 5.3)


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """A checked query: which interval of which index, in which direction, through which operators.

    `table` None: the table does not exist, so nothing is found (and the catalog has been read).
    """

    table: Table | None
    index: Index | None
    start: bytes
    end: bytes | None
    is_descending: bool
    operators: tuple[Callable[[dict[str, Any]], bool] | int, ...]  # a predicate or a limit
    fingerprint: bytes


def plan_query(tree: dict[str, Any], catalog: Catalog) -> QueryPlan:
    """Check a serialized query against the catalog; refusals have the texts of spec 03 2.2."""
    source = tree["source"]
    operators = tree.get("operators", [])
    if len(operators) > limits.QUERY_OPERATORS_MAX:
        raise errors.too_many_operators(len(operators))
    kind = source["type"]
    if kind == "Search":
        raise not_supported_yet("Full-text search")
    is_range = kind == "IndexRange"
    table_name, _, index_name = (
        source["indexName"].partition(".") if is_range else (source["tableName"], "", BY_CREATION_TIME)
    )
    table = catalog.tables.get(table_name)
    if table is not None and table.is_system:
        table = None  # private system tables look empty (spec 03 2.2)
    index = _index_of(table, table_name, index_name) if table is not None else None
    start, end = b"", None
    if index is not None and is_range:
        start, end = _interval_of(source["range"], f"{table_name}.{index_name}", index)
    return QueryPlan(
        table=table,
        index=index,
        start=start,
        end=end,
        is_descending=source.get("order") == "desc",
        operators=tuple(_operator_of(operator) for operator in operators),
        fingerprint=_fingerprint(tree, index),
    )


def _index_of(table: Table, table_name: str, index_name: str) -> Index:
    index = table.index(index_name)
    if index is None:
        raise errors.index_not_found(table_name, index_name)
    if index.state == ENABLED:
        return index
    if index.is_staged and index.state != BACKFILLING:
        raise errors.index_staged(table_name, index_name)
    raise errors.index_backfilling(table_name, index_name)


def _operator_of(operator: dict[str, Any]) -> Callable[[dict[str, Any]], bool] | int:
    if "filter" in operator:
        return parse_filter(operator["filter"])
    if "limit" in operator:
        return int(operator["limit"])
    raise errors.invalid_argument("query", "queryStream", "an operator is a filter or a limit")


def _fingerprint(tree: dict[str, Any], index: Index | None) -> bytes:
    fields = list(index.field_names) if index is not None else []
    return hashlib.sha256(orjson.dumps([tree, fields], option=orjson.OPT_SORT_KEYS)).digest()[:16]


# --- index ranges -----------------------------------------------------------------------------------


def _interval_of(items: list[dict[str, Any]], name: str, index: Index) -> tuple[bytes, bytes | None]:
    """The key interval of a range: equalities on a prefix of the fields, then bounds on the next."""
    equal, lower, upper = _collect_bounds(items)
    all_fields = [*index.field_names, "_id"]
    inequality_field = (lower or upper or {}).get("fieldPath")
    _check_field_order(name, all_fields, list(equal), inequality_field)
    prefix = b"".join(encode_item(equal[field]) for field in all_fields[: len(equal)])
    start = prefix
    end: bytes | None = prefix + PREFIX_END if prefix else None
    if lower is not None:
        start = prefix + encode_item(_bound_value(lower))
        if lower["type"] == "Gt":
            start += PREFIX_END
    if upper is not None:
        end = prefix + encode_item(_bound_value(upper))
        if upper["type"] == "Lte":
            end += PREFIX_END
    return start, end


def _bound_value(item: dict[str, Any]) -> Any:
    return values.decode_operand(item["value"])


def _collect_bounds(
    items: list[dict[str, Any]],
) -> tuple[dict[str, Any], dict[str, Any] | None, dict[str, Any] | None]:
    equal: dict[str, Any] = {}
    lower: dict[str, Any] | None = None
    upper: dict[str, Any] | None = None
    for item in items:
        kind, field = item["type"], item["fieldPath"]
        if kind == "Eq":
            if field in equal:
                raise _already_bound("equality", item)
            equal[field] = _bound_value(item)
        elif kind in ("Gt", "Gte"):
            if lower is not None:
                raise _already_bound("lower", item)
            lower = item
        elif kind in ("Lt", "Lte"):
            if upper is not None:
                raise _already_bound("upper", item)
            upper = item
        else:
            raise errors.invalid_argument("query", "queryStream", f"unknown range operator {kind}")
    if lower is not None and upper is not None and lower["fieldPath"] != upper["fieldPath"]:
        raise errors.bounds_on_multiple_fields()
    return equal, lower, upper


def _already_bound(kind: str, item: dict[str, Any]) -> BackendError:
    sign = {"Eq": "==", "Gt": ">", "Gte": ">=", "Lt": "<", "Lte": "<="}[item["type"]]
    return errors.already_defined_bound(
        kind, f'"{item["fieldPath"]}"', sign, values.display(_bound_value(item))
    )


def _check_field_order(
    name: str, index_fields: list[str], equal_fields: list[str], inequality_field: str | None
) -> None:
    query_fields = equal_fields + ([inequality_field] if inequality_field is not None else [])
    shown_fields = index_fields[:-1]  # the printed list has no `_id` (spec 04 4.3)
    for field in query_fields:
        if field not in index_fields:
            raise errors.field_not_in_index(field, name, shown_fields)
    expected = set(index_fields[: len(equal_fields)])
    for field in equal_fields:
        if field not in expected:
            raise errors.invalid_index_range(name, shown_fields, query_fields, field)
    if inequality_field is not None and inequality_field != index_fields[len(equal_fields)]:
        raise errors.invalid_index_range(name, shown_fields, query_fields, inequality_field)


# --- streams ----------------------------------------------------------------------------------------


class RowOperators:
    """The filters and limits of one run of a plan; limits are used up as rows pass."""

    __slots__ = ("_left", "_operators")

    def __init__(self, plan: QueryPlan) -> None:
        self._operators = plan.operators
        self._left = [operator for operator in plan.operators if isinstance(operator, int)]

    @property
    def is_used_up(self) -> bool:
        """Whether a limit has been reached, so that no further row can pass."""
        return 0 in self._left

    def passes(self, row: Row) -> bool:
        document: Any = None
        limit_position = 0
        for operator in self._operators:
            if isinstance(operator, int):
                self._left[limit_position] -= 1
                limit_position += 1
            else:
                document = values.loads_canonical(row.document) if document is None else document
                if not operator(document):
                    return False
        return True


class QueryStream:
    """The rows of a plan that pass its operators, one at a time."""

    __slots__ = ("_operators", "_scan")

    def __init__(self, plan: QueryPlan, transaction: Transaction) -> None:
        self._operators = RowOperators(plan) if plan.operators else None
        self._scan: Scan | None = None
        if plan.table is not None and plan.index is not None:
            self._scan = transaction.scan(
                plan.index, plan.table, plan.start, plan.end, descending=plan.is_descending
            )

    def next(self) -> Row | None:
        """The next row, or None at the end. A used-up limit ends the stream without reading on."""
        scan, operators = self._scan, self._operators
        if scan is None:
            return None
        if operators is None:
            return scan.next()
        while not operators.is_used_up:
            row = scan.next()
            if row is None or operators.passes(row):
                return row
        return None


# --- pages ------------------------------------------------------------------------------------------


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
    split = codec.encode(rows[len(rows) // 2].key, plan.fingerprint) if len(rows) > 2 else None
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
    if bounds is None or plan.table is None or plan.index is None:
        return [], [], False, True
    scan = transaction.scan(plan.index, plan.table, *bounds, descending=plan.is_descending)
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
