"""The filters of the dashboard's table page, against a twin that goes through the clauses one by one."""

from __future__ import annotations

import base64
import random
from typing import Any

import orjson
import pytest

from functions.system.document_filters import parse_filters
from log import values
from log.errors import BackendError
from log.ids import encode_id

AN_ID = encode_id(10_001, bytes(16))
VALUES: list[Any] = [None, True, False, 1.5, -0.0, 7, b"\x01", "text", AN_ID, [], [1.0], {}, {"b": 1.0}]
NAMES = ["a", "b", "c"]
OPERATORS = ["eq", "neq", "lt", "lte", "gt", "gte", "anyOf", "noneOf"]


def encoded(*clauses: dict[str, Any], **rest: Any) -> str:
    return base64.b64encode(orjson.dumps({"clauses": clauses, **rest})).decode()


def clause(operator: str, value: Any, field: str = "a", **rest: Any) -> dict[str, Any]:
    return {"op": operator, "field": field, "value": value, "id": "1", "enabled": True, **rest}


def shown(filters: str, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    _, holds = parse_filters(filters)
    return [document for document in documents if holds is None or holds(document)]


def twin_holds(operator: str, document: dict[str, Any], field: str, value: Any) -> bool:
    found = document.get(field, values.UNDEFINED)
    match operator:
        case "anyOf":
            return any(values.compare(found, each) == 0 for each in value)
        case "noneOf":
            return not twin_holds("anyOf", document, field, value)
    order = values.compare(found, value)
    return {
        "eq": order == 0,
        "neq": order != 0,
        "lt": order < 0,
        "lte": order <= 0,
        "gt": order > 0,
        "gte": order >= 0,
    }[operator]


@pytest.mark.parametrize("seed", range(20))
def test_a_document_is_shown_when_every_enabled_clause_holds(seed: int) -> None:
    rng = random.Random(seed)
    documents = [{name: rng.choice(VALUES) for name in NAMES if rng.random() < 0.7} for _ in range(40)]
    clauses, expected = [], documents
    for _ in range(rng.randrange(4)):
        operator, field, is_enabled = rng.choice(OPERATORS), rng.choice(NAMES), rng.random() < 0.8
        value = rng.sample(VALUES, 3) if operator.endswith("Of") else rng.choice(VALUES)
        tree = values.encode(value)
        clauses.append(clause(operator, tree, field, enabled=is_enabled))
        if is_enabled:
            expected = [each for each in expected if twin_holds(operator, each, field, value)]
    assert shown(encoded(*clauses), documents) == expected, f"seed {seed}"


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("null", [None]),
        ("boolean", [True, False]),
        ("number", [1.5, -0.0]),
        ("bigint", [7]),
        ("bytes", [b"\x01"]),
        ("string", ["text", AN_ID]),
        ("id", [AN_ID]),
        ("array", [[], [1.0]]),
        ("object", [{}, {"b": 1.0}]),
    ],
)
def test_a_type_is_that_of_the_field(name: str, members: list[Any]) -> None:
    documents = [{"a": value} for value in VALUES]
    found = shown(encoded(clause("type", name)), documents)
    assert [document["a"] for document in found] == members
    others = shown(encoded(clause("notype", name)), documents)
    assert len(found) + len(others) == len(documents)


def test_a_field_that_is_not_there_is_unset_and_is_found_by_its_path() -> None:
    documents: list[dict[str, Any]] = [{}, {"a": {"b": 1.0}}]
    assert shown(encoded(clause("type", "unset")), documents) == [{}]
    assert shown(encoded({"op": "eq", "field": "a", "enabled": True}), documents) == [{}]
    assert shown(encoded(clause("eq", 1.0, "a.b")), documents) == [{"a": {"b": 1.0}}]


def test_the_newest_come_first_unless_it_is_said_otherwise() -> None:
    assert parse_filters(None) == ("desc", None)
    assert parse_filters(encoded())[0] == "desc"
    assert parse_filters(encoded(order="asc"))[0] == "asc"


@pytest.mark.parametrize(
    "filters",
    [
        "%",
        "bm90IGpzb24=",
        base64.b64encode(b"[1]").decode(),
        encoded(clause("like", 1)),
        encoded(clause("anyOf", 1)),
    ],
)
def test_what_is_no_filter_is_refused(filters: str) -> None:
    with pytest.raises(BackendError) as raised:
        parse_filters(filters)
    assert raised.value.code == "InvalidArgument"


def test_filters_by_an_index_are_not_there_yet() -> None:
    with pytest.raises(BackendError) as raised:
        parse_filters(encoded(index={"name": "by_a", "clauses": []}))
    assert raised.value.code == "NotSupportedYet"


def test_filters_that_would_take_long_to_apply_are_refused() -> None:
    many = [float(number) for number in range(10_000)]
    with pytest.raises(BackendError, match="more than 16384 bytes"):
        parse_filters(encoded(clause("anyOf", many)))
