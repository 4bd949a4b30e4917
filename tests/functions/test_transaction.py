"""Transactions against a dumb model: reads see the snapshot plus own writes, rollback leaves no trace."""

from __future__ import annotations

import random
from typing import Any

import pytest

from functions.budget import Ceilings
from functions.catalog import Index, Table
from functions.snapshot import TableSize
from functions.system.tables import table_row_id
from functions.transaction import Transaction
from log import values
from log.errors import BackendError
from log.ids import encode_id
from log.keys import PREFIX_END, encode_item, index_key
from log.record import CallTrace

from ..support.memory_database import MemoryDatabase

LETTERS = ("a", "b", "c")


def add_index(database: MemoryDatabase, table_name: str, field: str) -> None:
    """A table with an enabled index on one field, made while it is empty."""

    def run(transaction: Transaction) -> None:
        table = transaction.create_table(table_name)
        config = {"type": "database", "fields": [field, "_creationTime"], "onDiskState": {"type": "Enabled"}}
        row = {"table_id": table_row_id(table.tablet_id), "descriptor": f"by_{field}", "config": config}
        transaction.insert("_index", row)

    database.transact(run)


def rows_of(transaction: Transaction, table: Table, index: Index, bounds: Any, *, descending: bool) -> list:
    scan = transaction.scan(index, table, *bounds, descending=descending)
    found = []
    while (row := scan.next()) is not None:
        found.append(values.loads(row.document))
    return found


@pytest.mark.parametrize("seed", range(60))
def test_reads_equal_a_sorted_model_of_snapshot_and_own_writes(seed: int) -> None:
    rng = random.Random(seed)
    database = MemoryDatabase(seed)
    add_index(database, "things", "letter")
    model: dict[str, dict[str, Any]] = {}
    for _ in range(4):
        transaction = database.begin()
        ours = dict(model)
        savepoints: list[tuple[Any, dict]] = []
        for _ in range(15):
            step(rng, transaction, ours, savepoints)
            compare(rng, transaction, ours, seed)
        if rng.random() < 0.7:
            database.commit(transaction)
            model = ours


def step(rng: random.Random, transaction: Transaction, model: dict, savepoints: list) -> None:
    table = transaction.catalog.tables["things"]
    action = rng.choice(["insert", "insert", "patch", "replace", "delete", "savepoint", "rollback"])
    if action == "insert":
        fields = {"letter": rng.choice(LETTERS), "n": rng.randrange(3)}
        document_id = transaction.insert("things", fields)
        row = transaction.get(table, document_id)
        assert row is not None
        model[document_id] = values.loads(row.document)
    elif action == "savepoint":
        savepoints.append((transaction.savepoint(), dict(model)))
    elif action == "rollback" and savepoints:
        savepoint, kept = savepoints.pop()
        transaction.roll_back(savepoint)
        model.clear()
        model.update(kept)
    elif model:
        change(rng, transaction, table, model, action)


def change(rng: random.Random, transaction: Transaction, table: Table, model: dict, action: str) -> None:
    document_id = rng.choice(list(model))
    if action == "patch":
        changes: dict[str, Any] = {"letter": rng.choice(LETTERS)}
        if rng.random() < 0.3:
            changes["n"] = values.UNDEFINED
        transaction.patch(table, document_id, changes)
        model[document_id] = {**model[document_id], **changes}
        model[document_id] = {k: v for k, v in model[document_id].items() if v is not values.UNDEFINED}
    elif action == "replace":
        fields = {"letter": rng.choice(LETTERS)}
        transaction.replace(table, document_id, fields)
        system = {name: model[document_id][name] for name in values.SYSTEM_FIELDS}
        model[document_id] = {**fields, **system}
    elif action == "delete":
        transaction.delete(table, document_id)
        del model[document_id]


def compare(rng: random.Random, transaction: Transaction, model: dict, seed: int) -> None:
    table = transaction.catalog.tables["things"]
    index = rng.choice(table.indexes)
    prefix = encode_item(rng.choice(LETTERS)) if index.name == "by_letter" and rng.random() < 0.5 else b""
    bounds = (prefix, prefix + PREFIX_END if prefix else None)
    descending = rng.random() < 0.5
    keyed = sorted(
        ((index_key(index.fields, document, document["_id"]), document) for document in model.values()),
        key=lambda pair: pair[0],
        reverse=descending,
    )
    expected = [document for key, document in keyed if key.startswith(prefix)]
    found = rows_of(transaction, table, index, bounds, descending=descending)
    assert found == expected, (seed, index.name, descending)
    sizes = [values.size_of(document) for document in model.values()]
    assert transaction.table_size(table) == TableSize(len(sizes), sum(sizes)), seed


def test_a_scan_records_only_what_was_consumed() -> None:
    database = MemoryDatabase()
    add_index(database, "things", "letter")
    for letter in "abcde":
        database.transact(lambda transaction, letter=letter: transaction.insert("things", {"letter": letter}))
    transaction = database.begin()
    table = transaction.catalog.tables["things"]
    index = table.index("by_letter")
    scan = transaction.scan(index, table, b"", None, descending=False)
    scan.next(), scan.next()
    held = transaction.reads.by_index[index.index_id]
    assert held.contains(encode_item("a")) and held.contains(encode_item("b"))
    assert not held.contains(encode_item("c")), "prefetched rows are not read"
    backwards = transaction.scan(index, table, b"", None, descending=True)
    backwards.next()
    assert held.contains(encode_item("zzz")) and not held.contains(encode_item("d"))


def test_a_missing_document_is_read_too() -> None:
    database = MemoryDatabase()
    add_index(database, "things", "letter")
    transaction = database.begin()
    table = transaction.catalog.tables["things"]
    missing = encode_id(table.number, bytes(16))
    assert transaction.get(table, missing) is None
    assert transaction.reads.find(table.by_id.index_id, encode_item(missing)) is not None


def test_creation_times_strictly_increase_within_a_transaction() -> None:
    transaction = MemoryDatabase().begin()
    table_name = "things"
    ids = [transaction.insert(table_name, {}) for _ in range(20)]
    table = transaction.catalog.tables[table_name]
    times = [
        values.loads(transaction.get(table, document_id).document)["_creationTime"] for document_id in ids
    ]
    assert times == sorted(set(times))


def test_a_patch_that_changes_nothing_writes_nothing() -> None:
    database = MemoryDatabase()
    document_id = database.transact(lambda transaction: transaction.insert("things", {"n": 1.0}))
    transaction = database.begin()
    transaction.patch(transaction.catalog.tables["things"], document_id, {"n": 1.0})
    assert not transaction.has_writes


def test_inserting_and_deleting_leaves_no_write() -> None:
    database = MemoryDatabase()
    database.transact(lambda transaction: transaction.insert("things", {}))
    transaction = database.begin()
    table = transaction.catalog.tables["things"]
    transaction.delete(table, transaction.insert("things", {"n": 1.0}))
    assert transaction.commit_body(b"call", CallTrace()).writes == ()


def test_system_fields_cannot_be_changed() -> None:
    database = MemoryDatabase()
    document_id = database.transact(lambda transaction: transaction.insert("things", {"n": 1.0}))
    transaction = database.begin()
    table = transaction.catalog.tables["things"]
    for changes in ({"_id": "other"}, {"_creationTime": 1.0}, {"_creationTime": values.UNDEFINED}):
        with pytest.raises(BackendError):
            transaction.patch(table, document_id, changes)
    assert not transaction.has_writes


def test_the_limit_on_documents_read_is_met_at_the_limit_and_passed_above() -> None:
    database = MemoryDatabase()
    for number in range(4):
        database.transact(lambda transaction, n=number: transaction.insert("things", {"n": float(n)}))
    transaction = database.begin()
    transaction.budget.ceilings = Ceilings(documents_read=3)
    table = transaction.catalog.tables["things"]
    scan = transaction.scan(table.by_id, table, b"", None, descending=False)
    assert all(scan.next() for _ in range(3))
    with pytest.raises(BackendError) as refused:
        scan.next()
    assert refused.value.code == "TooManyDocumentsRead"
