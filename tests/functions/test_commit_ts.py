"""Inside a mutation the ts of the coming commit is a placeholder, the largest Int64 to every order
(spec 03 2.9)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from functions.catalog import Index, Table
from functions.filter import parse_filter
from functions.query import QueryStream, plan_query
from functions.transaction import Transaction
from functions.validator_json import parse_validator
from log import values
from log.keys import index_key
from log.record import CallTrace
from log.values import COMMIT_TS, INT64_MAX

from ..support.memory_database import MemoryDatabase
from .test_transaction import add_index

PLACEHOLDER = {"$commitTs": None}
THINGS = "things"
LARGEST = {"$integer": "/////////38="}


@pytest.fixture
def database() -> MemoryDatabase:
    """A table `things` with an index on `at`."""
    database = MemoryDatabase()
    add_index(database, THINGS, "at")
    return database


def table_of(transaction: Transaction) -> tuple[Table, Index]:
    table = transaction.catalog.tables[THINGS]
    index = table.index("by_at")
    assert index is not None
    return table, index


def query(transaction: Transaction, *bounds: tuple[str, Any], where: Any = None) -> list[Any]:
    """What stands in `name` of the documents that a query by `at` finds."""
    items = [{"type": kind, "fieldPath": "at", "value": value} for kind, value in bounds]
    source = {"type": "IndexRange", "indexName": f"{THINGS}.by_at", "order": "asc", "range": items}
    operators = [] if where is None else [{"filter": where}]
    stream = QueryStream(
        plan_query({"source": source, "operators": operators}, transaction.catalog), transaction
    )
    found = []
    while (row := stream.next()) is not None:
        document: Any = values.loads_canonical(row.document)
        found.append(document["name"])
    return found


def commit(database: MemoryDatabase, transaction: Transaction) -> int:
    database.commit(transaction)
    return database.committer.published_ts


def test_a_staged_document_reads_back_as_the_placeholder_and_a_committed_one_as_the_ts(
    database: MemoryDatabase,
) -> None:
    transaction = database.begin()
    fields = {"name": "a", "at": COMMIT_TS, "deep": [{"at": [COMMIT_TS]}]}
    document_id = transaction.insert(THINGS, fields)
    row = transaction.get(table_of(transaction)[0], document_id)
    assert row is not None and row.document.count(b'{"$commitTs":null}') == 2
    ts = commit(database, transaction)
    (found,) = database.documents(THINGS)
    assert (found["at"], found["deep"]) == (ts, [{"at": [ts]}])
    after = database.begin()
    assert query(after, ("Eq", values.encode(ts))) == ["a"], "its index key holds the ts too"
    assert query(after, ("Gte", LARGEST)) == []
    row = after.get(table_of(after)[0], document_id)
    assert row is not None and row.revision_ts == ts and row.size_bytes == values.size_of(found)


def test_patch_and_replace_write_the_placeholder_at_every_depth(database: MemoryDatabase) -> None:
    ids = [database.insert(THINGS, {"name": name, "at": 1, "kept": [True]}) for name in "ab"]
    transaction = database.begin()
    table, _ = table_of(transaction)
    patch = values.decode_patch({"at": {"of": PLACEHOLDER}, "kept": {"$undefined": None}})
    assert b'"at":{"of":{"$commitTs":null}}' in transaction.patch(table, ids[0], patch)
    transaction.replace(table, ids[1], {"name": "b", "at": [COMMIT_TS, COMMIT_TS]})
    ts = commit(database, transaction)
    written = {document["name"]: document for document in database.documents(THINGS)}
    assert written["a"]["at"] == {"of": ts} and "kept" not in written["a"]
    assert written["b"]["at"] == [ts, ts]
    assert query(database.begin(), ("Eq", {"of": values.encode(ts)})) == ["a"]
    assert query(database.begin(), ("Eq", values.encode([ts, ts]))) == ["b"]


def test_a_staged_document_stands_behind_every_int64_and_before_every_float(database: MemoryDatabase) -> None:
    for name, at in (("small", 5), ("below", INT64_MAX - 1), ("float", -1.0), ("null", None)):
        database.insert(THINGS, {"name": name, "at": at})
    transaction = database.begin()
    transaction.insert(THINGS, {"name": "now", "at": COMMIT_TS})
    assert query(transaction) == ["null", "small", "below", "now", "float"]
    for bound in (PLACEHOLDER, LARGEST):
        assert query(transaction, ("Gte", bound)) == ["now", "float"]
        assert query(transaction, ("Eq", bound)) == ["now"]
        assert query(transaction, ("Lt", bound)) == ["null", "small", "below"]
        assert query(transaction, ("Gt", bound)) == ["float"]
    commit(database, transaction)
    assert query(database.begin()) == ["null", "small", "now", "below", "float"]


def test_filters_compare_the_placeholder_as_the_largest_int64() -> None:
    document = {"at": COMMIT_TS, "n": 5}
    for literal in (PLACEHOLDER, LARGEST):
        for operator, expected in (("$eq", True), ("$neq", False), ("$gte", True), ("$gt", False)):
            tree = {operator: [{"$field": "at"}, {"$literal": literal}]}
            assert parse_filter(tree)(document) is expected, (operator, literal)
    assert parse_filter({"$lt": [{"$field": "n"}, {"$literal": PLACEHOLDER}]})(document)


def test_a_stored_int64_of_the_same_order_is_overwritten_and_the_placeholder_itself_is_not(
    database: MemoryDatabase,
) -> None:
    document_id = database.insert(THINGS, {"name": "a", "at": INT64_MAX})
    transaction = database.begin()
    table, _ = table_of(transaction)
    transaction.patch(table, document_id, {"at": COMMIT_TS})
    writes = transaction.budget.metrics()["documentsWritten"]["used"]
    transaction.patch(table, document_id, {"at": COMMIT_TS})
    assert transaction.budget.metrics()["documentsWritten"]["used"] == writes == 1
    ts = commit(database, transaction)
    assert [document["at"] for document in database.documents(THINGS)] == [ts]


def test_a_placeholder_rolled_back_or_overwritten_leaves_no_blank(database: MemoryDatabase) -> None:
    document_id = database.insert(THINGS, {"name": "a", "at": 1})
    transaction = database.begin()
    table, _ = table_of(transaction)
    savepoint = transaction.savepoint()
    transaction.insert(THINGS, {"name": "lost", "at": COMMIT_TS})
    transaction.roll_back(savepoint)
    transaction.patch(table, document_id, {"at": COMMIT_TS})
    transaction.patch(table, document_id, {"at": 2})
    body = transaction.commit_body(b"call", CallTrace(path="test"))
    assert body.blanks == () and len(body.writes) == 1


@pytest.mark.parametrize(
    ("validator", "accepted"),
    [
        ({"type": "bigint"}, True),
        ({"type": "commitTs"}, True),
        ({"type": "any"}, True),
        ({"type": "number"}, False),
        ({"type": "null"}, False),
        ({"type": "string"}, False),
        ({"type": "literal", "value": LARGEST}, False),
        ({"type": "union", "value": [{"type": "null"}, {"type": "commitTs"}]}, True),
        ({"type": "array", "value": {"type": "bigint"}}, False),
    ],
)
def test_the_placeholder_validates_as_an_int64_whose_value_is_not_known(
    validator: Any, accepted: bool
) -> None:
    tables = MemoryDatabase().catalog
    assert (parse_validator(validator).check(COMMIT_TS, tables) is None) is accepted
    items = parse_validator({"type": "array", "value": validator})
    assert (items.check([COMMIT_TS], tables) is None) is accepted


def test_a_mismatch_shows_the_placeholder_as_the_npm_package_prints_it() -> None:
    text = parse_validator({"type": "string"}).check(COMMIT_TS, MemoryDatabase().catalog)
    assert text == (
        "Value does not match validator.\n\nValue: [unresolved commit timestamp]\nValidator: v.string()"
    )


@pytest.mark.parametrize("seed", range(40))
def test_commits_with_placeholders_equal_a_model_that_is_told_the_ts_afterwards(seed: int) -> None:
    """Random inserts, patches, replaces and deletes; after each commit every document and key is compared."""
    rng = random.Random(seed)
    database = MemoryDatabase(seed)
    add_index(database, THINGS, "at")
    model: dict[str, Any] = {}
    for _ in range(8):
        transaction, ours = database.begin(), dict(model)
        for _ in range(rng.randrange(1, 6)):
            step(rng, transaction, ours)
        ts = commit(database, transaction) if transaction.has_writes else transaction.begin_ts
        model = {name: with_ts(fields, ts) for name, fields in ours.items()}
        compare(database, model, seed)


def step(rng: random.Random, transaction: Transaction, ours: dict[str, Any]) -> None:
    table, _ = table_of(transaction)
    fields = {"name": rng.choice("ab"), "at": random_part(rng), "more": random_part(rng)}
    known = rng.choice([*ours, None])
    if known is None:
        ours[transaction.insert(THINGS, fields)] = fields
    elif (kind := rng.randrange(3)) == 0:
        transaction.patch(table, known, {"at": fields["at"]})
        ours[known] = {**ours[known], "at": fields["at"]}
    elif kind == 1:
        transaction.replace(table, known, fields)
        ours[known] = fields
    else:
        transaction.delete(table, known)
        del ours[known]


def random_part(rng: random.Random) -> Any:
    makers: list[Callable[[], Any]] = [
        lambda: COMMIT_TS,
        lambda: [1, COMMIT_TS, "x"],
        lambda: {"a": COMMIT_TS, "": [COMMIT_TS]},
        lambda: INT64_MAX,
        lambda: rng.randrange(3),
        lambda: '{"$commitTs":null}',
    ]
    return rng.choice(makers)()


def with_ts(value: Any, ts: int) -> Any:
    if isinstance(value, dict):
        return {name: with_ts(item, ts) for name, item in value.items()}
    if isinstance(value, list):
        return [with_ts(item, ts) for item in value]
    return ts if value is COMMIT_TS else value


def compare(database: MemoryDatabase, model: dict[str, Any], seed: int) -> None:
    documents = database.documents(THINGS)
    shown = {
        document["_id"]: {name: item for name, item in document.items() if not name.startswith("_")}
        for document in documents
    }
    assert shown == model, seed
    transaction = database.begin(is_read_only=True)
    _, index = table_of(transaction)
    rows = transaction.snapshot.scan(index.index_id, b"", None, descending=False, limit=1000)
    expected = sorted(index_key(index.fields, document, document["_id"]) for document in documents)
    assert [row.key for row in rows] == expected, seed
