"""Ranges of an index against a sorted list of its documents: pages, and own writes (spec 04 9, I4 and I5).

`--cases` says how many (`make soak`: 100,000). The world is small: documents that share a key, and bounds
that are the keys of documents, are common.
"""

from __future__ import annotations

import random
from typing import Any

from functions.pages import PageRequest, read_page
from functions.query import plan_query
from functions.transaction import Transaction
from log import values

from ..functions.test_query import CODEC, COMPARISONS, collect, index_range, sort_key
from ..functions.test_transaction import add_index
from ..support.memory_database import MemoryDatabase

Bounds = tuple[tuple[str, Any], ...]

UNDEFINED = {"$undefined": None}
INTEGER = {"$integer": "AQAAAAAAAAA="}
LETTERS: list[Any] = [UNDEFINED, None, INTEGER, -0.0, 0.0, True, "", "a", "a\0", "ab", "b", [], ["a"], {}]
CASES_PER_WORLD = 50
DOCUMENTS_MAX = 8


def test_pages_of_every_size_concatenate_to_the_sorted_filter_of_the_documents(cases: int) -> None:
    seed, played = 201, 0
    rng = random.Random(seed)
    while played < cases:
        transaction, stored = small_table(rng)
        for _ in range(CASES_PER_WORLD):
            bounds, order, number = random_bounds(rng), rng.choice(("asc", "desc")), rng.choice((None, 0, 1))
            expected = [document for document in stored if matches(document, bounds, number)]
            expected.sort(key=position, reverse=order == "desc")
            page_size = rng.randrange(1, DOCUMENTS_MAX + 2)
            found = all_pages(transaction, tree_of(bounds, order, number), page_size)
            assert found == expected, (seed, played, bounds, order, number, page_size)
            played += 1


def test_own_writes_are_scanned_as_they_are_after_the_commit(cases: int) -> None:
    seed, played = 202, 0
    rng = random.Random(seed)
    while played < cases:
        database = MemoryDatabase(rng.randrange(1 << 30))
        add_index(database, "things", "letter")
        database.transact(lambda transaction: write_some(rng, transaction))
        own = database.begin()
        write_some(rng, own)
        trees = [
            tree_of(random_bounds(rng), rng.choice(("asc", "desc")), None) for _ in range(CASES_PER_WORLD)
        ]
        before = [collect(tree, own) for tree in trees]
        database.commit(own)
        committed = database.begin()
        for tree, seen in zip(trees, before, strict=True):
            assert collect(tree, committed) == seen, (seed, played, tree)
            played += 1


# --- the world ----------------------------------------------------------------------------------------


def small_table(rng: random.Random) -> tuple[Transaction, list[dict[str, Any]]]:
    """A snapshot of a table of a few documents, and these."""
    database = MemoryDatabase(rng.randrange(1 << 30))
    add_index(database, "things", "letter")
    database.transact(lambda transaction: write_some(rng, transaction))
    transaction = database.begin()
    return transaction, transaction.all_documents(transaction.catalog.tables["things"])


def write_some(rng: random.Random, transaction: Transaction) -> None:
    """Insert, move, change and delete a few documents."""
    table = transaction.catalog.tables["things"]
    ids = [document["_id"] for document in transaction.all_documents(table)]
    for _ in range(rng.randrange(1, DOCUMENTS_MAX)):
        gone = bool(ids) and rng.random() < 0.3
        if gone and rng.random() < 0.5:
            transaction.delete(table, ids.pop(rng.randrange(len(ids))))
        elif gone:
            transaction.replace(table, rng.choice(ids), random_fields(rng))
        else:
            ids.append(transaction.insert("things", random_fields(rng)))


def random_fields(rng: random.Random) -> dict[str, Any]:
    letter, n = rng.choice(LETTERS), float(rng.randrange(2))
    return {"n": n} if letter is UNDEFINED else {"letter": values.decode(letter), "n": n}


def random_bounds(rng: random.Random) -> Bounds:
    """None, an equality, a lower one, an upper one, or both of these."""
    if rng.random() < 0.2:
        return (("Eq", rng.choice(LETTERS)),)
    lower = [(rng.choice(("Gt", "Gte")), rng.choice(LETTERS))] if rng.random() < 0.5 else []
    upper = [(rng.choice(("Lt", "Lte")), rng.choice(LETTERS))] if rng.random() < 0.5 else []
    return (*lower, *upper)


def tree_of(bounds: Bounds, order: str, number: int | None) -> dict[str, Any]:
    """The query as JavaScript sends it; `number` is what a filter compares the field n with."""
    tree = index_range(*((kind, "letter", value) for kind, value in bounds), order=order)
    if number is not None:
        tree["operators"] = [{"filter": {"$eq": [{"$field": "n"}, {"$literal": number}]}}]
    return tree


# --- the model ----------------------------------------------------------------------------------------


def matches(document: dict[str, Any], bounds: Bounds, number: int | None) -> bool:
    letter = document.get("letter", values.UNDEFINED)
    is_inside = all(COMPARISONS[kind](values.compare(letter, operand(bound))) for kind, bound in bounds)
    return is_inside and number in (None, document["n"])


def operand(letter: Any) -> values.Operand:
    return values.UNDEFINED if letter is UNDEFINED else values.decode(letter)


def position(document: dict[str, Any]) -> tuple[Any, ...]:
    return sort_key(document.get("letter", values.UNDEFINED)), document["_creationTime"], document["_id"]


def all_pages(transaction: Transaction, tree: dict[str, Any], page_size: int) -> list[dict[str, Any]]:
    plan, cursor, found = plan_query(tree, transaction.catalog), None, []
    while True:
        page = read_page(plan, transaction, PageRequest(cursor, None, page_size), None, CODEC)
        assert page.is_done or len(page.documents) == page_size, "only the last page has fewer"
        found += [values.loads(document) for document in page.documents]
        if page.is_done:
            return found
        cursor = page.continue_cursor
