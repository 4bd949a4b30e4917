"""Queries: ranges, filters and pages against dumb models, and the specified refusals."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import pytest

from functions.filter import parse_filter
from functions.pages import CursorCodec, PageRequest, read_page
from functions.query import QueryStream, plan_query
from functions.transaction import Transaction
from log import values
from log.errors import BackendError

from ..support.memory_database import MemoryDatabase
from .test_transaction import add_index

CODEC = CursorCodec(b"s" * 32)
INT64_ONE, INT64_ZERO = {"$integer": "AQAAAAAAAAA="}, {"$integer": "AAAAAAAAAAA="}


def index_range(*items: tuple[str, str, Any], order: str = "asc", index: str = "things.by_letter") -> dict:
    fields = [{"type": kind, "fieldPath": field, "value": value} for kind, field, value in items]
    source = {"type": "IndexRange", "indexName": index, "range": fields, "order": order}
    return {"source": source, "operators": []}


def full_scan(table: str = "things", order: str | None = None, operators: list | None = None) -> dict:
    source = {"type": "FullTableScan", "tableName": table, "order": order}
    return {"source": source, "operators": operators or []}


def collect(tree: dict, transaction: Transaction) -> list[dict]:
    stream = QueryStream(plan_query(tree, transaction.catalog), transaction)
    found = []
    while (row := stream.next()) is not None:
        found.append(values.loads(row.document))
    return found


@pytest.fixture
def database() -> MemoryDatabase:
    database = MemoryDatabase()
    add_index(database, "things", "letter")

    def fill(transaction: Transaction) -> None:
        for number, letter in enumerate("abcabcabc"):
            transaction.insert("things", {"letter": letter, "n": float(number)})

    database.transact(fill)
    return database


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([("Eq", "letter", "b")], "bbb"),
        ([("Gt", "letter", "a")], "bbbccc"),
        ([("Gte", "letter", "b"), ("Lt", "letter", "c")], "bbb"),
        ([("Lte", "letter", "b")], "aaabbb"),
        ([("Lt", "letter", {"$undefined": None})], ""),
        ([("Gt", "letter", None)], "aaabbbccc"),
        ([], "aaabbbccc"),
    ],
)
def test_a_range_finds_what_lies_in_it_in_key_order(
    database: MemoryDatabase, items: list, expected: str
) -> None:
    transaction = database.begin()
    found = collect(index_range(*items), transaction)
    assert "".join(document["letter"] for document in found) == expected
    found = collect(index_range(*items, order="desc"), transaction)
    assert "".join(document["letter"] for document in found) == expected[::-1]


RANGE_VALUES: list[Any] = [{"$undefined": None}, None, 1.0, "a", "ab", "b"]
COMPARISONS: dict[str, Callable[[int], bool]] = {
    "Eq": lambda order: order == 0,
    "Gt": lambda order: order > 0,
    "Gte": lambda order: order >= 0,
    "Lt": lambda order: order < 0,
    "Lte": lambda order: order <= 0,
}


def test_every_combination_of_bounds_finds_what_a_comparison_of_each_document_finds() -> None:
    """One bound of each kind, and every lower with every upper one, at every pair of values."""
    database = MemoryDatabase()
    add_index(database, "things", "letter")
    for value in RANGE_VALUES:
        for n in (0.0, 1.0):
            fields = {"n": n} if isinstance(value, dict) else {"letter": value, "n": n}
            database.insert("things", fields)
    transaction = database.begin()
    stored = collect(full_scan(), transaction)
    pairs = [("Gt", "Lt"), ("Gt", "Lte"), ("Gte", "Lt"), ("Gte", "Lte")]
    combinations = [((kind, a),) for kind in COMPARISONS for a in RANGE_VALUES]
    combinations += [
        ((lower, a), (upper, b)) for lower, upper in pairs for a in RANGE_VALUES for b in RANGE_VALUES
    ]
    for bounds in combinations:
        expected = [document for document in stored if all(holds(document, *bound) for bound in bounds)]
        expected.sort(key=lambda each: sort_key(each.get("letter", values.UNDEFINED)))
        items = [(kind, "letter", value) for kind, value in bounds]
        assert collect(index_range(*items), transaction) == expected, bounds
        if bounds[0][0] != "Eq":
            reversed_ = collect(index_range(*items, order="desc"), transaction)
            assert reversed_ == expected[::-1], bounds


def holds(document: dict, kind: str, value: Any) -> bool:
    bound = values.UNDEFINED if isinstance(value, dict) else value
    return COMPARISONS[kind](values.compare(document.get("letter", values.UNDEFINED), bound))


def sort_key(value: Any) -> Any:
    return functools.cmp_to_key(values.compare)(value)


def test_equality_does_not_find_longer_strings_that_continue_with_a_zero(database: MemoryDatabase) -> None:
    database.transact(lambda transaction: transaction.insert("things", {"letter": "b\x00"}))
    found = collect(index_range(("Eq", "letter", "b")), database.begin())
    assert [document["letter"] for document in found] == ["b", "b", "b"]


@pytest.mark.parametrize(
    ("items", "code", "part"),
    [
        ([("Eq", "_creationTime", 1)], "InvalidIndexRange", "First incorrect field: _creationTime"),
        ([("Eq", "n", 1)], "FieldNotInIndex", 'comparison with "n"'),
        ([("Gt", "letter", "a"), ("Gt", "letter", "b")], "AlreadyDefinedBound", "lower bound"),
        ([("Eq", "letter", "a"), ("Eq", "letter", "b")], "AlreadyDefinedBound", "equality bound"),
        ([("Gt", "letter", "a"), ("Lt", "_creationTime", 1)], "BoundsOnMultipleFields", "single index field"),
    ],
)
def test_a_wrong_range_is_refused_with_its_code(
    database: MemoryDatabase, items: list, code: str, part: str
) -> None:
    with pytest.raises(BackendError) as refused:
        collect(index_range(*items), database.begin())
    assert refused.value.code == code and part in refused.value.message


def test_an_unknown_index_is_refused_and_an_unknown_table_is_empty(database: MemoryDatabase) -> None:
    transaction = database.begin()
    with pytest.raises(BackendError, match=r"Index things.by_x not found."):
        collect(index_range(index="things.by_x"), transaction)
    assert collect(full_scan("nothing"), transaction) == []
    assert collect(full_scan("_modules"), transaction) == [], "private system tables look empty"


def test_limits_and_filters_apply_in_their_order(database: MemoryDatabase) -> None:
    is_b = {"filter": {"$eq": [{"$field": "letter"}, {"$literal": "b"}]}}
    transaction = database.begin()
    first = collect(full_scan(operators=[{"limit": 4}, is_b]), transaction)
    assert [document["n"] for document in first] == [1.0]
    second = collect(full_scan(operators=[is_b, {"limit": 2}]), transaction)
    assert [document["n"] for document in second] == [1.0, 4.0]


def test_a_used_up_limit_reads_no_further(database: MemoryDatabase) -> None:
    transaction = database.begin()
    collect(full_scan(operators=[{"limit": 2}]), transaction)
    assert transaction.budget.documents_read == 2


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"$lt": [{"$literal": None}, {"$literal": False}]}, True),
        ({"$eq": [{"$literal": 1}, {"$literal": {"$integer": "AQAAAAAAAAA="}}]}, False),
        ({"$eq": [{"$add": [{"$literal": 1}, {"$literal": 2}]}, {"$literal": 3}]}, True),
        ({"$eq": [{"$field": "no.where"}, {"$literal": {"$undefined": None}}]}, True),
        ({"$and": [{"$literal": False}, {"$literal": 1}]}, False),
        ({"$or": [{"$literal": True}, {"$literal": 1}]}, True),
        ({"$not": {"$gt": [{"$literal": "a"}, {"$literal": "b"}]}}, True),
        ({"$neq": [{"$mod": [{"$literal": 7}, {"$literal": 4}]}, {"$literal": 3}]}, False),
    ],
)
def test_filter_expressions_have_the_values_of_the_specification(expression: dict, expected: bool) -> None:
    assert parse_filter(expression)({"_id": "x"}) is expected


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ({"$literal": 1}, "Cannot use value 1.0 (type Float64) as a Boolean"),
        (
            {"$add": [{"$literal": "a"}, {"$literal": 1}]},
            'Cannot add "a" (type String) and 1.0 (type Float64)',
        ),
        (
            {
                "$div": [
                    {"$literal": {"$integer": "AQAAAAAAAAA="}},
                    {"$literal": {"$integer": "AAAAAAAAAAA="}},
                ]
            },
            "Cannot divide 1 by zero",
        ),
        (
            {"$mod": [{"$literal": INT64_ONE}, {"$literal": INT64_ZERO}]},
            "Cannot mod 1 by zero",
        ),
        (
            {"$mul": [{"$literal": INT64_ONE}, {"$literal": 2}]},
            "Cannot multiply 1 (type Int64) and 2.0 (type Float64)",
        ),
        (
            {"$add": [{"$literal": {"$integer": "/////////38="}}, {"$literal": INT64_ONE}]},
            "Cannot add 9223372036854775807 and 1: the result is out of range for Int64",
        ),
    ],
)
def test_a_filter_that_cannot_be_evaluated_says_why(expression: dict, text: str) -> None:
    with pytest.raises(BackendError) as refused:
        parse_filter(expression)({})
    assert refused.value.message == text and refused.value.code == "EvalError"


@pytest.mark.parametrize("seed", range(40))
def test_pages_concatenate_to_one_collect_under_concurrent_changes(seed: int) -> None:
    """Pages with journals stay gapless while documents come and go (spec 01 5.4)."""
    rng = random.Random(seed)
    database = MemoryDatabase(seed)
    add_index(database, "things", "letter")
    ids = [insert_random(rng, database) for _ in range(10)]
    order = rng.choice(["asc", "desc"])
    tree = index_range(order=order)
    journals: list[str | None] = []
    cursors: list[str | None] = [None]
    for _ in range(6):
        pages = reread(tree, database, cursors, journals)
        last = pages[-1]
        expected = collect(tree, database.begin())
        shown = [values.loads(document) for page in pages for document in page.documents]
        assert shown == expected[: len(shown)], (seed, order)
        if last.is_done:
            assert shown == expected, (seed, order)
        else:
            cursors.append(last.continue_cursor)
        if rng.random() < 0.5:
            ids.append(insert_random(rng, database))
        elif ids:
            gone = ids.pop(rng.randrange(len(ids)))
            database.transact(lambda t, gone=gone: t.delete(t.catalog.tables["things"], gone))


def insert_random(rng: random.Random, database: MemoryDatabase) -> str:
    return database.transact(lambda t: t.insert("things", {"letter": rng.choice("abcdef")}))


def reread(tree: dict, database: MemoryDatabase, cursors: list, journals: list) -> list:
    """Every page again in one snapshot, each with the journal of its last run."""
    transaction = database.begin()
    plan = plan_query(tree, transaction.catalog)
    pages = []
    for number, cursor in enumerate(cursors):
        journal = journals[number] if number < len(journals) else None
        page = read_page(plan, transaction, PageRequest(cursor, None, 3), journal, CODEC)
        if number < len(journals):
            journals[number] = page.continue_cursor
        else:
            journals.append(page.continue_cursor)
        pages.append(page)
    return pages


def test_a_page_that_exactly_fills_is_not_done_and_the_next_is_empty(database: MemoryDatabase) -> None:
    transaction = database.begin()
    plan = plan_query(full_scan(), transaction.catalog)
    first = read_page(plan, transaction, PageRequest(None, None, 9), None, CODEC)
    assert len(first.documents) == 9 and not first.is_done
    second = read_page(plan, transaction, PageRequest(first.continue_cursor, None, 9), None, CODEC)
    assert second.documents == [] and second.is_done


def test_a_split_cursor_divides_a_page_into_two_with_the_same_rows(database: MemoryDatabase) -> None:
    transaction = database.begin()
    plan = plan_query(full_scan(), transaction.catalog)
    whole = read_page(plan, transaction, PageRequest(None, None, 7), None, CODEC)
    first = read_page(plan, transaction, PageRequest(None, whole.split_cursor, 7), None, CODEC)
    second = read_page(
        plan, transaction, PageRequest(whole.split_cursor, whole.continue_cursor, 7), None, CODEC
    )
    assert first.documents + second.documents == whole.documents
    assert 0 < len(first.documents) < 7


def test_a_row_limit_cuts_the_page_and_requires_a_split(database: MemoryDatabase) -> None:
    transaction = database.begin()
    plan = plan_query(full_scan(), transaction.catalog)
    page = read_page(plan, transaction, PageRequest(None, None, 9, rows_read_max=4), None, CODEC)
    assert (len(page.documents), page.status, page.is_done) == (4, "SplitRequired", False)


def test_cursors_of_other_queries_and_forged_ones_are_refused(database: MemoryDatabase) -> None:
    transaction = database.begin()
    plan = plan_query(full_scan(), transaction.catalog)
    other = plan_query(full_scan(order="desc"), transaction.catalog)
    cursor = read_page(plan, transaction, PageRequest(None, None, 2), None, CODEC).continue_cursor
    with pytest.raises(BackendError, match="InvalidCursor: Tried to run a query") as refused:
        read_page(other, transaction, PageRequest(cursor, None, 2), None, CODEC)
    assert refused.value.data == {"isConvexSystemError": True, "paginationError": "InvalidCursor"}
    for forged in ("", "x", cursor[:-2] + "AA", "ÿ"):
        with pytest.raises(BackendError, match="Failed to parse cursor"):
            read_page(plan, transaction, PageRequest(forged, None, 2), None, CODEC)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (PageRequest(None, None, 0), "NoDocumentsForPagination"),
        (PageRequest(None, None, 32_001), "PageSizeTooLarge"),
        (PageRequest(None, None, 1, rows_read_max=0), "InvalidPaginationLimit"),
    ],
)
def test_impossible_pages_are_refused(database: MemoryDatabase, request_: PageRequest, code: str) -> None:
    transaction = database.begin()
    with pytest.raises(BackendError) as refused:
        read_page(plan_query(full_scan(), transaction.catalog), transaction, request_, None, CODEC)
    assert refused.value.code == code
