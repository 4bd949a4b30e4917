"""What commits put into each table is counted as one sees it by comparing the tables before and after."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from actors.table_writes import TableWrites
from functions.transaction import Transaction
from log import values
from log.committer import Commit
from log.record import CallTrace, RecordKind, make_record

from ..support.memory_database import MemoryDatabase

TABLES = ("notes", "counters", "signatures")


class Watched:
    """A database whose every commit is followed."""

    def __init__(self, tablets_max: int = 100) -> None:
        self.database = MemoryDatabase()
        self.writes = TableWrites(lambda: self.database.catalog, tablets_max)

    def commit(self, transaction: Transaction) -> None:
        body = transaction.commit_body(b"call", CallTrace())
        self.database.commit(transaction)
        record = make_record(0, 1, self.database.committer.published_ts, 1, RecordKind.COMMIT, body.encode())
        self.writes.follow([Commit(record, body)])

    def documents(self) -> dict[tuple[str, str], Any]:
        return {
            (name, document["_id"]): document for name in TABLES for document in self.database.documents(name)
        }

    def facts(self) -> dict[str, tuple[int, int]]:
        return {name: (documents, size) for _component, name, documents, size in self.writes.facts()}


def change(rng: random.Random, transaction: Transaction, number: int) -> None:
    """Something in one of the tables; what is inserted here may be changed or deleted here too."""
    name = rng.choice(TABLES)
    table = transaction.catalog.tables.get(name)
    there = transaction.all_documents(table) if table is not None else []
    if table is None or not there or rng.random() < 0.5:
        transaction.insert(name, {"number": float(number), "text": "x" * rng.randrange(50)})
    elif rng.random() < 0.5:
        transaction.patch(table, rng.choice(there)["_id"], {"number": float(number)})
    else:
        transaction.delete(table, rng.choice(there)["_id"])


@pytest.mark.parametrize("seed", range(20))
def test_each_committed_document_is_counted_in_its_table_with_its_new_bytes(seed: int) -> None:
    rng, watched = random.Random(seed), Watched()
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for number in range(30):
        before = watched.documents()
        transaction = watched.database.begin()
        for step in range(rng.randrange(1, 4)):
            change(rng, transaction, 10 * number + step)
        watched.commit(transaction)
        after = watched.documents()
        for key in before.keys() | after.keys():
            if before.get(key) != after.get(key):
                count[key[0]] += 1
                size[key[0]] += values.size_of(after[key]) if key in after else 0
        assert watched.facts() == {name: (count[name], size[name]) for name in count}, f"seed {seed}"
        for name in count:
            recent = watched.writes.recent.of_table(watched.database.catalog, "", name)
            assert sum(rows for _minute, rows in recent) == count[name], f"seed {seed}"


def test_tables_that_are_gone_are_forgotten_when_there_are_many() -> None:
    watched = Watched(tablets_max=5)
    for number in range(30):
        transaction = watched.database.begin()
        transaction.insert("notes", {"number": float(number)})
        watched.commit(transaction)
        watched.writes._written[b"a tablet of old %d" % number] = [1, 1]
    assert watched.facts()["notes"][0] == 30, "what is there keeps its count"
    assert sum(tablet.startswith(b"a tablet") for tablet in watched.writes._written) <= 5
