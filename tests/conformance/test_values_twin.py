"""Sizes, order, encodings, validators and schemas as the published npm package has them."""

from __future__ import annotations

import json
import math
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from functions.schema import parse_schema
from functions.validators import parse_validator
from log import values
from log.values import UNDEFINED, Operand

from ..support.values import SCALARS, random_operand

HERE = Path(__file__).parent
SEED = 201
VALUES, PAIRS = 3_000, 12_000

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (HERE.parent / "npm/node_modules/convex").is_dir(),
        reason="the npm packages are not installed (npm ci in tests/npm)",
    ),
]


def has_unusual_nan(value: Operand) -> bool:
    """JavaScript may change the sign and payload of a NaN, so only the ordinary one is compared."""
    if isinstance(value, float):
        return math.isnan(value) and not values.same(value, math.nan)
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(has_unusual_nan, items))


@pytest.fixture(scope="module")
def samples() -> list[Operand]:
    rng = random.Random(SEED)
    drawn: list[Operand] = [UNDEFINED, *SCALARS, *(random_operand(rng) for _ in range(VALUES))]
    return [value for value in drawn if not has_unusual_nan(value)]


@pytest.fixture(scope="module")
def pairs(samples: list[Operand]) -> list[tuple[int, int]]:
    rng = random.Random(SEED)
    return [(rng.randrange(len(samples)), rng.randrange(len(samples))) for _ in range(PAIRS)]


@pytest.fixture(scope="module")
def twin(samples: list[Operand], pairs: list[tuple[int, int]]) -> dict[str, Any]:
    """What the npm package answers."""
    trees = [{"$undefined": None} if value is UNDEFINED else values.encode(value) for value in samples]  # type: ignore[arg-type]
    done = subprocess.run(
        ["node", str(HERE / "values_twin.mjs")],
        input=json.dumps({"trees": trees, "pairs": pairs}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_sizes_are_those_of_the_client(samples: list[Operand], twin: dict[str, Any]) -> None:
    for value, size in zip(samples, twin["sizes"], strict=True):
        if value is not UNDEFINED:
            assert values.size_of(value) == size, (SEED, value)  # type: ignore[arg-type]


def test_what_the_client_encodes_is_the_same_value(samples: list[Operand], twin: dict[str, Any]) -> None:
    for value, tree in zip(samples, twin["encoded"], strict=True):
        if value is not UNDEFINED:
            assert values.same(values.decode(tree), value), (SEED, value, tree)


def test_the_order_is_that_of_the_client(
    samples: list[Operand], pairs: list[tuple[int, int]], twin: dict[str, Any]
) -> None:
    for (left, right), order in zip(pairs, twin["orders"], strict=True):
        found = values.compare(samples[left], samples[right])
        assert found == order, (SEED, samples[left], samples[right])


def test_exported_validators_are_read_and_written_without_a_change(twin: dict[str, Any]) -> None:
    for tree in twin["validators"]:
        assert parse_validator(tree).to_json() == tree


def test_an_exported_schema_is_read_and_written_without_a_loss(twin: dict[str, Any]) -> None:
    schema = parse_schema(twin["schema"])
    assert [index.fields for index in schema.tables["messages"].indexes] == [
        ("author", "n", "_creationTime"),
        ("body", "_creationTime"),
    ]
    stored = json.loads(schema.to_json())
    exported = json.loads(twin["schema"])
    exported["tables"].sort(key=lambda table: table["tableName"])
    assert stored == exported
