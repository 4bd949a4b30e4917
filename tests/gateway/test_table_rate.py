"""The dashboard's chart of the rows of a table (spec 02 21)."""

from __future__ import annotations

import pytest

from .test_app_metrics import FIRST, HOUR, answered, asking, numbers, time_of


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"name": "notes", "metric": "rowsRead"}, {0: 8, 2: 4}),
        ({"name": "notes", "metric": "rowsWritten"}, {59: 1}),
        ({"name": "notes", "metric": "rowsRead", "componentPath": "ledger"}, {1: 2}),
        ({"name": "nowhere", "metric": "rowsRead"}, {}),
    ],
)
def test_rows_of_a_table_are_answered_in_the_parts_of_the_window(
    arguments: dict[str, str], expected: dict[int, float]
) -> None:
    series = answered("table_rate", {"window": HOUR, **arguments})
    assert numbers(series) == [expected.get(part, 0) for part in range(60)]
    assert series[0][0] == time_of(FIRST * 60)


@pytest.mark.parametrize(
    "arguments",
    [
        {"metric": "rowsRead", "window": HOUR},
        {"name": "notes", "window": HOUR},
        {"name": "notes", "metric": "rows", "window": HOUR},
        {"name": "notes", "metric": "rowsRead"},
    ],
)
def test_rows_of_no_table_of_no_metric_or_of_no_time_are_refused(arguments: dict[str, str]) -> None:
    refused = asking("table_rate", arguments)
    assert (refused.status_code, refused.json()["code"]) == (400, "BadQueryArgs")
    assert asking("table_rate", {"window": HOUR, "name": "n", "metric": "rowsRead"}, {}).status_code == 403
