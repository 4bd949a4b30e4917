"""Searches as queries: refusals with their texts, pages, the cap on results, the read set."""

from __future__ import annotations

from typing import Any

import pytest

from functions.catalog import index_fields
from functions.indexes import BACKFILLED, SEARCH, Index
from functions.pages import CursorCodec, Page, PageRequest, read_page
from functions.query import QueryStream, plan_query
from functions.transaction import Transaction
from log.errors import BackendError
from log.limits import SEARCH_RESULTS_MAX

from ...support.memory_database import MemoryDatabase
from .test_text_search import found, search_tree, searchable

CODEC = CursorCodec(b"s" * 32)


def text_filter(value: str = "word", field: str = "body") -> dict[str, Any]:
    return {"type": "Search", "fieldPath": field, "value": value}


def equality(field: str, value: Any = 1.0) -> dict[str, Any]:
    return {"type": "Eq", "fieldPath": field, "value": value}


def search_of(*filters: dict[str, Any], name: str = "notes.by_body") -> dict[str, Any]:
    return {"source": {"type": "Search", "indexName": name, "filters": list(filters)}, "operators": []}


def refusal(database: MemoryDatabase, tree: dict[str, Any]) -> str:
    transaction = database.begin()
    with pytest.raises(BackendError) as refused:
        plan_query(tree, transaction.catalog)
    return f"{refused.value.code}: {refused.value.message}"


NOT_FILTERED = "but that field isn't indexed for filtering in `filterFields`."


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (search_of(text_filter(field="title")), "IncorrectSearchField: Search query against notes.by_body "),
        (search_of(text_filter(), text_filter()), "DuplicateSearchFiltersError: Search query against notes."),
        (search_of(equality("kind")), "MissingSearchFilterError: Search query against notes.by_body "),
        (
            search_of(text_filter(), equality("body")),
            "IncorrectFilterFieldError: Search query against notes.by_body contains an equality filter on "
            f"body {NOT_FILTERED}",
        ),
        (
            search_of(text_filter(), *[equality("kind", float(number)) for number in range(9)]),
            "TooManyFilterConditionsInSearchQueryError: Search query against notes.by_body has too many "
            "filter conditions. Max: 8 Actual: 9",
        ),
        (
            search_of(text_filter(), name="notes.by_id"),
            "IndexNotASearchIndexError: Index notes.by_id is not a search index",
        ),
        (
            search_of(text_filter(), name="notes.nowhere"),
            "IndexNotFoundError: Index notes.nowhere not found.",
        ),
        (search_of(text_filter(), name="nowhere.x"), "IndexNotFoundError: Index nowhere.x not found."),
        (search_of(text_filter(), name="_modules.x"), "IndexNotFoundError: Index _modules.x not found."),
        (
            {"source": {"type": "IndexRange", "indexName": "notes.by_body", "range": []}},
            "IndexNotADatabaseIndex: Index notes.by_body is not a database index",
        ),
    ],
)
def test_a_wrong_search_is_refused_by_its_code(tree: dict[str, Any], expected: str) -> None:
    assert refusal(searchable(), tree).startswith(expected)


@pytest.mark.parametrize(("is_staged", "state"), [(True, "staged"), (False, "backfilling")])
def test_an_index_that_is_not_enabled_says_so(is_staged: bool, state: str) -> None:
    database = searchable()

    def add(transaction: Transaction) -> None:
        index = Index(b"", "later", (("title",),), BACKFILLED, is_staged, kind=SEARCH)
        transaction.insert("_index", index_fields(transaction.catalog.tables["notes"], index))

    database.transact(add)
    refused = refusal(database, search_of(text_filter(field="title"), name="notes.later"))
    assert f"Index notes.later is currently {state} and not available to query" in refused


def fill(database: MemoryDatabase, count: int) -> list[str]:
    """Ids in the order of results: all score the same, the newest is the first."""

    def run(transaction: Transaction) -> list[str]:
        return [transaction.insert("notes", {"body": "word", "kind": number % 2}) for number in range(count)]

    return database.transact(run)[::-1]


def test_the_last_row_that_is_kept_is_answered_and_the_next_one_refused() -> None:
    database = searchable()
    ids = fill(database, SEARCH_RESULTS_MAX)
    limited = search_tree("word", operators=[{"limit": SEARCH_RESULTS_MAX}])
    assert found(database.begin(), limited) == ids
    with pytest.raises(BackendError, match=r"Search query scanned too many documents \(fetched 1024\)\."):
        found(database.begin(), search_tree("word"))


def page_of(database: MemoryDatabase, cursor: str | None, size: int, end: str | None = None) -> Page:
    transaction = database.begin()
    plan = plan_query(search_tree("word"), transaction.catalog)
    return read_page(plan, transaction, PageRequest(cursor, end, size), None, CODEC)


def test_pages_give_every_result_once_and_never_ask_for_a_split() -> None:
    database = searchable()
    ids = fill(database, 10)
    seen: list[bytes] = []
    cursor, is_done = None, False
    while not is_done:
        page = page_of(database, cursor, 4)
        assert (page.split_cursor, page.status) == (None, None)
        seen += page.documents
        cursor, is_done = page.continue_cursor, page.is_done
    assert [str(document).count(each) for document, each in zip(seen, ids, strict=True)] == [1] * 10


def test_a_page_with_an_end_is_read_to_that_end_whatever_its_size() -> None:
    database = searchable()
    fill(database, 6)
    first = page_of(database, None, 2)
    second = page_of(database, first.continue_cursor, 3)
    again = page_of(database, None, 1, end=second.continue_cursor)
    assert again.documents == [*first.documents, *second.documents]
    assert (again.continue_cursor, again.is_done) == (second.continue_cursor, False)


def test_the_1025th_row_of_a_page_is_refused_like_any_other() -> None:
    database = searchable()
    fill(database, SEARCH_RESULTS_MAX)
    first = page_of(database, None, SEARCH_RESULTS_MAX)
    with pytest.raises(BackendError, match="scanned too many documents"):
        page_of(database, first.continue_cursor, 1)


def test_a_search_without_a_word_depends_on_its_table_and_an_empty_text_on_nothing() -> None:
    database = searchable()
    transaction = database.begin()
    by_id = transaction.catalog.tables["notes"].by_id
    found(transaction, search_tree(""))
    assert not transaction.reads.overlaps(by_id.index_id, b"", None)
    found(transaction, search_tree(" - "))
    assert transaction.reads.overlaps(by_id.index_id, b"", None)


def test_filters_and_limits_work_on_results_in_their_order() -> None:
    database = searchable()
    ids = fill(database, 6)
    is_odd = {"filter": {"$eq": [{"$field": "kind"}, {"$literal": {"$integer": "AQAAAAAAAAA="}}]}}
    assert found(database.begin(), search_tree("wor", operators=[is_odd, {"limit": 2}])) == ids[0:4:2]


def test_a_result_deleted_meanwhile_is_passed_over() -> None:
    database = searchable()
    ids = fill(database, 3)
    transaction = database.begin()
    stream = QueryStream(plan_query(search_tree("word"), transaction.catalog), transaction)
    assert ids[0] in str(stream.next())
    transaction.delete(transaction.catalog.tables["notes"], ids[1])
    assert ids[2] in str(stream.next())
    assert stream.next() is None
