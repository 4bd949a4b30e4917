"""Database queries of user functions: index ranges and operators (spec 03 2.2; spec 04 4.3).

A serialized query is turned into an interval of one index plus a pipeline of filters and limits over the
rows of a `Scan`, a search into one over its results; the scan records what was read. Nothing here knows
JavaScript. Pages: functions/pages.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from functions import errors
from functions.catalog import BACKFILLING, BY_CREATION_TIME, ENABLED, Catalog, Index, Table
from functions.filter import parse_filter
from functions.indexes import DATABASE, SEARCH
from functions.scan import Scan
from functions.search.errors import index_not_a_search_index
from functions.search.search_query import SearchQuery, parse_search
from functions.search.search_scan import SearchScan
from functions.snapshot import Row
from functions.transaction import Transaction
from functions.virtual_tables import VIRTUAL_INDEXES, VIRTUAL_TABLES, VirtualScan, VirtualTable
from log import limits, values
from log.errors import BackendError
from log.keys import PREFIX_END, encode_item


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """A checked query: which interval of which index, in which direction, through which operators.

    `table` None: the table does not exist, so nothing is found (and the catalog has been read). `virtual`:
    what makes the rows that user code sees of the stored ones. `search`: the index is a search index, and the
    interval one of places among the results.
    """

    table: Table | None
    index: Index | None
    start: bytes
    end: bytes | None
    is_descending: bool
    operators: tuple[Callable[[dict[str, Any]], bool] | int, ...]  # a predicate or a limit
    fingerprint: bytes
    virtual: VirtualTable | None = None
    search: SearchQuery | None = None


def plan_query(tree: dict[str, Any], catalog: Catalog) -> QueryPlan:
    """Check a serialized query against the catalog; refusals have the texts of spec 03 2.2."""
    source = tree["source"]
    operators = tree.get("operators", [])
    if len(operators) > limits.QUERY_OPERATORS_MAX:
        raise errors.too_many_operators(len(operators))
    if source["type"] == "Search":
        return _plan_search(tree, catalog)
    is_range = source["type"] == "IndexRange"
    table_name, _, index_name = (
        source["indexName"].partition(".") if is_range else (source["tableName"], "", BY_CREATION_TIME)
    )
    virtual = VIRTUAL_TABLES.get(table_name)
    table = catalog.tables.get(virtual.stored_name if virtual is not None else table_name)
    if virtual is not None and index_name not in VIRTUAL_INDEXES:
        raise errors.index_not_found(table_name, index_name)
    if virtual is None and table is not None and table.is_system:
        table = None  # private system tables look empty (spec 03 2.2)
    index = enabled_index(table, table_name, index_name) if table is not None else None
    if index is not None and index.kind != DATABASE:
        raise errors.index_not_a_database_index(f"{table_name}.{index_name}")
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
        virtual=virtual,
    )


def _plan_search(tree: dict[str, Any], catalog: Catalog) -> QueryPlan:
    """A search is of one index, so unlike a range it needs its table (spec 04 4.1)."""
    source = tree["source"]
    name: str = source["indexName"]
    table_name, _, index_name = name.partition(".")
    table = catalog.tables.get(table_name)
    if table is None or table.is_system:
        raise errors.index_not_found(table_name, index_name)
    index = enabled_index(table, table_name, index_name)
    if index.kind != SEARCH:
        raise index_not_a_search_index(name)
    return QueryPlan(
        table=table,
        index=index,
        start=b"",
        end=None,
        is_descending=False,
        operators=tuple(_operator_of(operator) for operator in tree.get("operators", [])),
        fingerprint=_fingerprint(tree, index),
        search=parse_search(source["filters"], name, index),
    )


def enabled_index(table: Table, table_name: str, index_name: str) -> Index:
    """The index a query names, of whatever kind; refused while it cannot be queried."""
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


def open_scan(
    plan: QueryPlan, transaction: Transaction, start: bytes, end: bytes | None
) -> Scan | VirtualScan | SearchScan | None:
    """The rows of a part of the plan's interval; None when there is nothing to scan."""
    if plan.table is None or plan.index is None:
        return None
    if plan.search is not None:
        return SearchScan(transaction, plan.table, plan.index, plan.search, start, end)
    scan = transaction.scan(plan.index, plan.table, start, end, descending=plan.is_descending)
    return scan if plan.virtual is None else VirtualScan(scan, plan.virtual, transaction)


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
        self._scan = open_scan(plan, transaction, plan.start, plan.end)

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
