"""Vector search over a database in memory, against the cosine of every document; refusals with their texts.

Most vectors have one or four entries of 1 or -1, so that their lengths are 1 and 2: scores are exact,
and ties are the rule.
"""

from __future__ import annotations

import math
import random
import struct
from typing import Any

import orjson
import pytest

from functions.catalog import index_fields
from functions.indexes import BACKFILLED, SEARCH, VECTOR, Index
from functions.search.vector_search import vector_search
from functions.transaction import Transaction
from log.errors import BackendError

from ...support.memory_database import MemoryDatabase

DIMENSIONS = 4
KINDS = ["one", "two", 3.0, None]


def with_vectors(seed: int = 0) -> MemoryDatabase:
    """A database with the index notes.by_vector over `v`, filtered by `kind` and `deep.kind`."""
    database = MemoryDatabase(seed)

    def run(transaction: Transaction) -> None:
        table = transaction.create_table("notes")
        fields = (("v",), ("kind",), ("deep", "kind"))
        indexes = [
            Index(b"", "by_vector", fields, kind=VECTOR, dimensions=DIMENSIONS),
            Index(b"", "staged", fields, BACKFILLED, True, kind=VECTOR, dimensions=DIMENSIONS),
            Index(b"", "pending", fields, BACKFILLED, kind=VECTOR, dimensions=DIMENSIONS),
            Index(b"", "by_body", (("body",),), kind=SEARCH),
        ]
        for index in indexes:
            transaction.insert("_index", index_fields(table, index))

    database.transact(run)
    return database


def ask(database: MemoryDatabase, vector: list[float], **rest: Any) -> list[tuple[str, float]]:
    query = {"indexName": "notes.by_vector", "vector": vector, "expressions": None, **rest}
    answer = orjson.loads(vector_search(database.begin(is_read_only=True), {"query": query}))
    return [(result["_id"], result["_score"]) for result in answer["results"]]


def equals(field: str, value: Any) -> dict[str, Any]:
    return {"$eq": [{"$field": field}, {"$literal": {"$undefined": None} if value is ... else value}]}


def random_vector(rng: random.Random) -> list[float]:
    if rng.random() < 0.1:
        return [0.0] * DIMENSIONS
    if rng.random() < 0.5:
        return [rng.choice([1.0, -1.0]) for _ in range(DIMENSIONS)]
    vector = [0.0] * DIMENSIONS
    vector[rng.randrange(DIMENSIONS)] = rng.choice([1.0, -1.0])
    return vector


def random_note(rng: random.Random) -> dict[str, Any]:
    note: dict[str, Any] = {"v": random_vector(rng)}
    if rng.random() < 0.2:
        note["v"] = rng.choice([[1.0], [1.0] * 5, "v", None, [1, 0, 0, 0], [1.0, None, 1.0, 1.0]])
    if rng.random() < 0.8:
        note["kind"] = rng.choice(KINDS)
    if rng.random() < 0.5:
        note["deep"] = {"kind": rng.choice(KINDS)}
    return note


def cosine(left: list[float], right: list[float]) -> float:
    lengths = math.hypot(*left) * math.hypot(*right)
    return sum(a * b for a, b in zip(left, right, strict=True)) / lengths if lengths else 0.0


def is_vector(value: Any) -> bool:
    return isinstance(value, list) and [type(number) for number in value] == [float] * DIMENSIONS


def twin_search(
    documents: list[dict[str, Any]], vector: list[float], limit: int, kinds: list[Any] | None, deep: list[Any]
) -> list[tuple[str, float]]:
    found = []
    for document in documents:
        values = document.get("kind", ...), document.get("deep", {}).get("kind", ...)
        fits = kinds is None or values[0] in kinds or values[1] in deep
        if is_vector(document.get("v")) and fits:
            found.append((cosine(document["v"], vector), document["_id"]))
    found.sort(reverse=True)
    return [(document_id, score) for score, document_id in found[:limit]]


@pytest.mark.parametrize("seed", range(30))
def test_a_search_finds_what_the_twin_finds_in_its_order(seed: int) -> None:
    rng = random.Random(seed)
    database = with_vectors(seed)
    for step in range(40):
        for _ in range(rng.choice([0, 1, 3])):
            documents = database.documents("notes")
            victim = rng.choice(documents)["_id"] if documents and rng.random() < 0.6 else None
            is_deleted = rng.random() < 0.4

            def change(
                transaction: Transaction, victim: str | None = victim, is_deleted: bool = is_deleted
            ) -> None:
                table = transaction.catalog.tables["notes"]
                if victim is None:
                    transaction.insert("notes", random_note(rng))
                elif is_deleted:
                    transaction.delete(table, victim)
                else:
                    transaction.replace(table, victim, random_note(rng))

            database.transact(change)
        vector, limit = random_vector(rng), rng.choice([1, 3, 10, 256])
        kinds = rng.sample([*KINDS, ...], rng.randrange(3)) if rng.random() < 0.6 else None
        deep = rng.sample([*KINDS, ...], rng.randrange(2)) if kinds is not None else []
        parts = [equals("kind", value) for value in kinds or ()]
        parts += [equals("deep.kind", value) for value in deep]
        tree = {"$or": [{"$or": parts[:1]}, *parts[1:]]} if kinds is not None else None
        expected = twin_search(database.documents("notes"), vector, limit, kinds, deep)
        assert ask(database, vector, limit=limit, expressions=tree) == expected, (seed, step)


def test_scores_are_cosines_in_32_bits_whatever_the_lengths() -> None:
    database, rng = with_vectors(), random.Random(1)
    vectors = {
        database.insert("notes", {"v": vector}): vector
        for vector in [[rng.gauss(0, 10 ** rng.randrange(6)) for _ in range(4)] for _ in range(50)]
    }
    asked = [rng.gauss(0, 100) for _ in range(4)]
    found = ask(database, asked, limit=50)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    for document_id, score in found:
        assert score == struct.unpack("f", struct.pack("f", score))[0]
        assert score == pytest.approx(cosine(vectors[document_id], asked), abs=1e-6)


def test_vectors_without_a_direction_score_0() -> None:
    database = with_vectors()
    for vector in ([0.0] * 4, [float("inf")] * 4, [float("nan"), 1.0, 1.0, 1.0]):
        database.insert("notes", {"v": vector})
    assert [score for _, score in ask(database, [1.0, 0.0, 0.0, 0.0])] == [0.0] * 3


def test_ten_results_are_found_unless_a_limit_is_named() -> None:
    database = with_vectors()

    def fill(transaction: Transaction) -> None:
        for _ in range(300):
            transaction.insert("notes", {"v": [1.0, 0.0, 0.0, 0.0]})

    database.transact(fill)
    for asked, count in ((None, 10), (0, 0), (256.0, 256)):
        assert len(ask(database, [1.0, 1.0, 1.0, 1.0], limit=asked)) == count


def test_a_table_that_does_not_exist_has_no_vectors() -> None:
    assert ask(with_vectors(), [1.0], indexName="nowhere.by_vector") == []
    assert ask(with_vectors(), [1.0], indexName="_modules.by_vector") == []


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (
            {"limit": 257},
            "VectorLimitTooLargeError: Vector queries can fetch at most 256 results, requested 257.",
        ),
        (
            {"vector": [1.0] * 5},
            "VectorDimensionsMismatch: Expected a vector with dimensions 4, received 5.",
        ),
        (
            {"expressions": {"$or": [equals("kind", float(number)) for number in range(65)]}},
            "TooManyElementsInVectorQueryError: Vector query against notes.by_vector has too many "
            "conditions. Max: 64 Actual: 65",
        ),
        (
            {"expressions": equals("body", 1.0)},
            "IncorrectVectorFilterField: Vector query against notes.by_vector contains a filter on body but "
            "that field isn't indexed for filtering in `filterFields`.",
        ),
        (
            {"expressions": {"$and": []}},
            "InvalidVectorSearchFilter: Filters should be a combination of `q.eq` and `q.or`.",
        ),
        (
            {"expressions": {"$eq": [1.0, {"$field": "kind"}]}},
            "InvalidVectorSearchFilter: `q.eq` must take a field path as its first argument and a value as "
            "its second",
        ),
        (
            {"indexName": "notes.by_body"},
            "IndexNotAVectorIndexError: Index notes.by_body is not a vector index",
        ),
        ({"indexName": "notes.nowhere"}, "IndexNotFoundError: Index notes.nowhere not found."),
        (
            {"indexName": "notes.staged"},
            "IndexStagedError: Index notes.staged is currently staged and not available to query until it is "
            "enabled.",
        ),
        (
            {"indexName": "notes.pending"},
            "IndexBackfillingError: Index notes.pending is currently backfilling and not available to query "
            "yet.",
        ),
        ({"limit": 1.5}, "InvalidArgument: Invalid argument `limit` for `vectorSearch`: "),
        ({"vector": "x"}, "InvalidArgument: Invalid argument `vector` for `vectorSearch`: "),
        ({"indexName": 7}, "InvalidArgument: Invalid argument `query` for `vectorSearch`: "),
    ],
)
def test_a_wrong_search_is_refused_with_its_text(rest: dict[str, Any], expected: str) -> None:
    with pytest.raises(BackendError) as refused:
        ask(with_vectors(), **{"vector": [1.0] * 4, **rest})
    assert f"{refused.value.code}: {refused.value.message}".startswith(expected)


def test_checks_come_in_the_specified_order() -> None:
    wrong_filter, wrong_vector = equals("body", 1.0), [1.0]
    with pytest.raises(BackendError, match="at most 256"):
        ask(with_vectors(), wrong_vector, limit=257, expressions=wrong_filter)
    with pytest.raises(BackendError, match="isn't indexed for filtering"):
        ask(with_vectors(), wrong_vector, expressions=wrong_filter)
