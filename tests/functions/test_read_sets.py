"""What each way to read is invalidated by, and what it is not (spec 03 6.2): real queries, real commits.

There is one document for each letter from a to e, in an index on the letter. Each case is a way to read,
commits that must touch it, and commits that must not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.projections.subscriptions import Subscriptions
from functions.pages import PageRequest, read_page
from functions.query import QueryStream, plan_query
from functions.system.tables import CATALOG_TABLETS
from functions.transaction import Transaction
from log import values
from log.ids import encode_id
from log.keys import encode_item
from log.read_set import ReadSet
from log.record import CallTrace, DocumentWrite

from ..support.memory_database import MemoryDatabase
from .test_query import CODEC, full_scan, index_range
from .test_transaction import add_index

Read = Callable[[Transaction], Any]
ABSENT = bytes(16)


def take(tree: dict, count: int | None) -> Read:
    """`.take(count)`; None collects."""

    def read(transaction: Transaction) -> None:
        stream = QueryStream(plan_query(tree, transaction.catalog), transaction)
        rows = 0
        while (count is None or rows < count) and stream.next() is not None:
            rows += 1

    return read


def where(tree: dict, *operators: dict) -> dict:
    return {**tree, "operators": list(operators)}


def get_absent(transaction: Transaction) -> None:
    table = transaction.catalog.tables["things"]
    assert transaction.get(table, encode_id(table.number, ABSENT)) is None


def get_c(transaction: Transaction) -> None:
    (document,) = (each for each in documents(transaction) if each["letter"] == "c")
    transaction.reads = ReadSet()  # of the look-up alone
    transaction.get(transaction.catalog.tables["things"], document["_id"])


def count(transaction: Transaction) -> None:
    table = transaction.catalog.tables["things"]
    assert transaction.table_size(table).documents == 5


def page(transaction: Transaction) -> None:
    plan = plan_query(index_range(), transaction.catalog)
    assert len(read_page(plan, transaction, PageRequest(None, None, 2), None, CODEC).documents) == 2


def created_only(transaction: Transaction) -> None:
    QueryStream(plan_query(index_range(), transaction.catalog), transaction)


AFTER_A = index_range(("Gt", "letter", "a"))
IS_D = {"filter": {"$eq": [{"$field": "letter"}, {"$literal": "d"}]}}
CASES: dict[str, tuple[Read, str, str]] = {
    "first of a range": (take(AFTER_A, 1), "+ab patch-b delete-b", "+a +b +c patch-c patch-e +z"),
    "first descending": (take(index_range(order="desc"), 1), "+z +e patch-e", "+a +d patch-d delete-c"),
    "take two": (take(AFTER_A, 2), "+ab +b +bb patch-c delete-b", "+a +c +d patch-d delete-e"),
    "take more than there is": (take(AFTER_A, 9), "+b +z patch-e", "+a patch-a"),
    "equality": (take(index_range(("Eq", "letter", "c")), None), "+c patch-c delete-c", "+b +d +ca patch-b"),
    "an empty equality": (take(index_range(("Eq", "letter", "x")), None), "+x", "+w +y patch-c"),
    "a range": (
        take(index_range(("Gt", "letter", "b"), ("Lt", "letter", "d")), None),
        "+c patch-c +ba",
        "+b +d patch-b patch-d",
    ),
    "first that a filter lets through": (
        take(where(index_range(), IS_D), 1),
        "+a +c patch-a patch-d delete-b",
        "+d +e +z patch-e",
    ),
    "a filter over the table": (take(where(full_scan(), IS_D), None), "+a +z patch-a delete-e", "other"),
    "count": (count, "+a +z delete-c", "other"),
    "a page of two": (page, "+a patch-a delete-b", "+b +c +z patch-c patch-e"),
    "get": (get_c, "patch-c delete-c", "other"),
    "get of what is missing": (get_absent, "absent", "+a patch-a other"),
    "a query that nobody advanced": (created_only, "table", "+a patch-a delete-e other"),
    "a table that is missing": (take(full_scan("nothing"), None), "table", "+a patch-a other"),
}


def documents(transaction: Transaction) -> list[dict[str, Any]]:
    table = transaction.catalog.tables["things"]
    return transaction.all_documents(table)


@pytest.fixture
def database() -> MemoryDatabase:
    database = MemoryDatabase()
    add_index(database, "things", "letter")

    def fill(transaction: Transaction) -> None:
        for number, letter in enumerate("abcde"):
            transaction.insert("things", {"letter": letter, "n": float(number)})

    database.transact(fill)
    database.insert("other", {"n": 0.0})
    return database


def writes_of(database: MemoryDatabase, commit: str) -> tuple[DocumentWrite, ...]:
    """What a commit would write: `+x` inserts that letter, `patch-x` changes the document of it."""
    transaction = database.begin()
    table = transaction.catalog.tables["things"]
    verb, _, letter = commit.partition("-")
    if verb == "other":
        transaction.insert("other", {"n": 1.0})
    elif verb == "table":
        transaction.insert("nothing", {"n": 1.0})
    elif verb == "absent":
        row = {"_id": encode_id(table.number, ABSENT), "_creationTime": 1.0, "letter": "q"}
        key = (table.by_id.index_id, None, encode_item(str(row["_id"])))
        return (DocumentWrite(table.tablet_id, str(row["_id"]), 0, 1, values.dumps(row), (key,)),)
    elif verb.startswith("+"):
        transaction.insert("things", {"letter": verb[1:], "n": 9.0})
    else:
        (document_id,) = (each["_id"] for each in documents(transaction) if each["letter"] == letter)
        if verb == "patch":
            transaction.patch(table, document_id, {"n": 9.0})
        else:
            transaction.delete(table, document_id)
    return transaction.commit_body(bytes(16), CallTrace()).writes


def is_hit(reads: ReadSet, writes: tuple[DocumentWrite, ...]) -> bool:
    live = Subscriptions(0, CATALOG_TABLETS)
    live.register(1, reads, 0)
    return bool(live.advance(1, "a commit", writes))


@pytest.mark.parametrize("name", CASES)
def test_what_was_read_is_touched_by_what_could_change_it_and_by_nothing_else(
    database: MemoryDatabase, name: str
) -> None:
    read, touching, sparing = CASES[name]
    transaction = database.begin()
    read(transaction)
    for commit in touching.split():
        assert is_hit(transaction.reads, writes_of(database, commit)), commit
    for commit in sparing.split():
        assert not is_hit(transaction.reads, writes_of(database, commit)), commit
