"""Text search over a database in memory, against the twin that scores every document anew."""

from __future__ import annotations

import random
from typing import Any

import pytest

from functions.catalog import index_fields
from functions.indexes import SEARCH, Index
from functions.query import QueryStream, plan_query
from functions.search.scoring import best_hits
from functions.transaction import Transaction
from log import values

from ...support.memory_database import MemoryDatabase
from .twin import twin_search

VOCABULARY = ["a", "an", "ant", "ants", "bee", "beetle", "be", "Bear", "red", "reed", "read", "x1", "x10"]
CHANNELS = ["one", "two", 3.0, "long " * 20, None]


def searchable(seed: int = 0) -> MemoryDatabase:
    """A database with the index notes.by_body over `body`, filtered by `channel` and `kind`."""
    database = MemoryDatabase(seed)

    def run(transaction: Transaction) -> None:
        table = transaction.create_table("notes")
        fields = (("body",), ("channel",), ("kind",))
        transaction.insert("_index", index_fields(table, Index(b"", "by_body", fields, kind=SEARCH)))

    database.transact(run)
    return database


def search_tree(text: str, *equal: tuple[str, Any], operators: Any = ()) -> dict[str, Any]:
    filters = [{"type": "Search", "fieldPath": "body", "value": text}]
    filters += [{"type": "Eq", "fieldPath": field, "value": value} for field, value in equal]
    source = {"type": "Search", "indexName": "notes.by_body", "filters": filters}
    return {"source": source, "operators": list(operators)}


def found(transaction: Transaction, tree: dict[str, Any]) -> list[str]:
    """Ids, the best first."""
    stream = QueryStream(plan_query(tree, transaction.catalog), transaction)
    ids = []
    while (row := stream.next()) is not None:
        ids.append(values.loads(row.document)["_id"])  # type: ignore[index,call-overload]
    return ids


def random_note(rng: random.Random) -> dict[str, Any]:
    note: dict[str, Any] = {"body": " ".join(rng.choices(VOCABULARY, k=rng.choice([1, 2, 3, 5, 45, 70])))}
    if rng.random() < 0.1:
        note["body"] = rng.choice([7.0, None, "", "x" * 32])
    if rng.random() < 0.7:
        note["channel"] = rng.choice(CHANNELS)
    return note


def random_change(rng: random.Random, transaction: Transaction) -> None:
    table = transaction.catalog.tables["notes"]
    ids = [document["_id"] for document in transaction.all_documents(table)]
    kind = rng.choice(["insert", "insert", "replace", "delete"]) if ids else "insert"
    if kind == "insert":
        transaction.insert("notes", random_note(rng))
    elif kind == "replace":
        transaction.replace(table, rng.choice(ids), random_note(rng))
    else:
        transaction.delete(table, rng.choice(ids))


def random_question(rng: random.Random) -> tuple[str, list[tuple[str, Any]]]:
    words = rng.choices([*VOCABULARY, "re", "b", "nowhere", "RE"], k=rng.choice([0, 1, 1, 2, 3, 20]))
    equal = [("channel", rng.choice(CHANNELS))] if rng.random() < 0.4 else []
    if rng.random() < 0.1:
        equal *= 2
    return "- ".join(words), equal


@pytest.mark.parametrize("seed", range(40))
def test_a_search_finds_what_the_twin_finds_in_its_order(seed: int) -> None:
    rng = random.Random(seed)
    database = searchable(seed)
    old: list[Transaction] = []
    for step in range(30):
        transaction = database.begin()
        for _ in range(rng.choice([0, 1, 1, 2])):
            random_change(rng, transaction)
        asked = [transaction, rng.choice(old)] if old else [transaction]
        for reader in asked:  # own writes, and a snapshot from before
            documents = reader.all_documents(reader.catalog.tables["notes"])
            text, equal = random_question(rng)
            expected = [document["_id"] for document in twin_search(documents, text, equal)]
            assert found(reader, search_tree(text, *equal)) == expected, (seed, step, text, equal)
        if rng.random() < 0.8:
            database.commit(transaction)
        else:
            old.append(transaction)
    assert old, seed


def test_the_only_document_of_one_word_scores_as_specified() -> None:
    database = searchable()
    database.insert("notes", {"body": "word"})
    transaction = database.begin()
    table = transaction.catalog.tables["notes"]
    snapshot = transaction.snapshot
    with snapshot.kept.showing(snapshot, table.by_id.index_id, table.kept_indexes[0], {}) as index:
        assert [f"{hit.score:.7f}" for hit in best_hits(index, ["word"], [])] == ["0.2876821"]
