"""What a function is told when it comes near a limit, with the numbers of the specification (spec 03 3.5)."""

from __future__ import annotations

from typing import Any

import pytest

from functions.budget import Budget
from functions.limit_warnings import size_warnings, usage_warnings
from log import values

MIB = 1024 * 1024
HELP = (
    "Consider using smaller limits in your queries, paginating your queries, or using indexed queries "
    "with a selective index range expressions."
)


def warned(**usage: int) -> list[str]:
    return list(usage_warnings(Budget(**usage)))


@pytest.mark.parametrize(
    ("usage", "text"),
    [
        ({"documents_read": 25_601}, "Many documents read {} (actual: 25601, limit: 32000). {help}"),
        ({"intervals_read": 4_096}, "Many reads {} (actual: 4096, limit: 4096). {help}"),
        (
            {"bytes_read": 14 * MIB},
            "Many bytes read {} (actual: 14680064 bytes, limit: 16777216 bytes). {help}",
        ),
        ({"documents_written": 12_801}, "Many writes {} (actual: 12801, limit: 16000)."),
        (
            {"bytes_written": 14 * MIB},
            "Many bytes written {} (actual: 14680064 bytes, limit: 16777216 bytes).",
        ),
        (
            {"functions_scheduled": 801},
            "Many functions scheduled by this mutation (actual: 801, limit: 1000).",
        ),
        (
            {"scheduled_args_bytes": 14 * MIB},
            "Large total size of the arguments of scheduled functions from this mutation "
            "(actual: 14680064 bytes, limit: 16777216 bytes).",
        ),
    ],
)
def test_more_than_four_fifths_of_a_limit_is_told(usage: dict[str, int], text: str) -> None:
    assert warned(**usage) == [text.format("in a single function execution", help=HELP)]


def test_four_fifths_are_not_told_and_neither_is_what_was_refused_anyway() -> None:
    assert warned(documents_read=25_600) == []
    assert warned(documents_read=32_001) == []


def test_a_large_document_is_told_by_its_id() -> None:
    budget = Budget()
    budget.write_document("small", 4 * MIB // 5, is_system=False)
    budget.write_document("large", 900_000, is_system=False)
    assert list(usage_warnings(budget)) == [
        'Large document written with ID "large" (actual: 900000 bytes, limit: 1048576 bytes).'
    ]


@pytest.mark.parametrize(
    ("value", "is_told"),
    [(["x" * 14 * MIB], True), (["x" * 12 * MIB], False), ([0.0] * 1_600_000, True), ([1.0], False)],
)
def test_a_value_is_told_by_its_size_and_not_by_the_length_of_its_text(value: Any, *, is_told: bool) -> None:
    told = list(size_warnings("function return value", values.dumps(value), 16 * MIB))
    expected = f"Large size of the function return value (actual: {values.size_of(value)} bytes, limit: "
    assert [each.startswith(expected) for each in told] == [True] * is_told
