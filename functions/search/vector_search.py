"""`ctx.vectorSearch` of actions: what it asks for, checked, and what is found (spec 03 5.7, spec 04 6.1).

It reads one snapshot, the newest when it is called. Nothing is recorded: an action has no read set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from functions import errors
from functions.catalog import Table
from functions.indexes import VECTOR, Index
from functions.query import enabled_index
from functions.search import errors as search_errors
from functions.search.text_index import filter_term
from functions.transaction import Transaction
from log import limits, values
from log.keys import decode_items

_METHOD = "vectorSearch"


def vector_search(transaction: Transaction, args: dict[str, Any]) -> bytes:
    """`1.0/actions/vectorSearch`: {"results": [{"_id", "_score"}]}, the best first."""
    query = args.get("query")
    if not isinstance(query, dict) or not isinstance(query.get("indexName"), str):
        raise errors.invalid_argument("query", _METHOD, "a query is an object that names an index")
    name: str = query["indexName"]
    limit, vector = _limit_of(query), _vector_of(query)
    table_name, _, index_name = name.partition(".")
    table = transaction.catalog.tables.get(table_name)
    if table is None or table.is_system:
        return _answer([])
    index = enabled_index(table, table_name, index_name)
    if index.kind != VECTOR:
        raise search_errors.index_not_a_vector_index(name)
    conditions = _conditions_of(query.get("expressions"), name, index)
    if len(vector) != index.dimensions:
        raise search_errors.vector_dimensions_mismatch(index.dimensions, len(vector))
    return _answer(_nearest(transaction, table, index, vector, limit, conditions))


def _nearest(
    transaction: Transaction,
    table: Table,
    index: Index,
    vector: list[float],
    limit: int,
    conditions: set[tuple[int, bytes]] | None,
) -> list[tuple[float, bytes]]:
    snapshot = transaction.snapshot
    with snapshot.kept.showing(snapshot, table.by_id.index_id, index, {}) as content:
        found: list[tuple[float, bytes]] = content.nearest(vector, limit, conditions)
    return found


def _answer(found: list[tuple[float, bytes]]) -> bytes:
    results = [{"_id": decode_items(key)[0], "_score": score} for score, key in found]
    return orjson.dumps({"results": results})


# --- arguments ----------------------------------------------------------------------------------------


def _limit_of(query: dict[str, Any]) -> int:
    limit = query.get("limit")
    if limit is None:
        return limits.VECTOR_RESULTS_DEFAULT
    if isinstance(limit, bool) or not isinstance(limit, int | float) or limit < 0 or limit != limit // 1:
        raise errors.invalid_argument("limit", _METHOD, "expected a whole number that is not negative")
    if limit > limits.VECTOR_RESULTS_MAX:
        raise search_errors.vector_limit_too_large(limits.VECTOR_RESULTS_MAX, int(limit))
    return int(limit)


def _vector_of(query: dict[str, Any]) -> list[float]:
    vector = query.get("vector")
    if not isinstance(vector, list) or not all(type(number) in (int, float) for number in vector):
        raise errors.invalid_argument("vector", _METHOD, "expected an array of numbers")
    return vector


def _conditions_of(tree: Any, name: str, index: Index) -> set[tuple[int, bytes]] | None:
    """(position of the filter field, term): a document meets the filter if it meets one. None: no filter."""
    if tree is None:
        return None
    filter_fields = index.field_names[1:]
    conditions = []
    for field, value in _equalities(tree):
        if field not in filter_fields:
            raise search_errors.incorrect_vector_filter_field(name, field)
        conditions.append((filter_fields.index(field), filter_term(values.decode_operand(value))))
    if len(conditions) > limits.VECTOR_CONDITIONS_MAX:
        raise search_errors.too_many_vector_conditions(name, limits.VECTOR_CONDITIONS_MAX, len(conditions))
    return set(conditions)


def _equalities(tree: Any) -> Iterator[tuple[str, Any]]:
    """(field, value as it was sent) of every `q.eq`, in order. However deep they nest: without recursion."""
    waiting = [tree]
    while waiting:
        expression = waiting.pop()
        match expression:
            case {"$or": list(parts), **rest} if not rest:
                waiting.extend(reversed(parts))
            case {"$eq": [{"$field": str(field)}, {"$literal": value}], **rest} if not rest:
                yield field, value
            case {"$eq": _, **rest} if not rest:
                raise search_errors.invalid_vector_equality()
            case _:
                raise search_errors.invalid_vector_filter()
