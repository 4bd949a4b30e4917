"""Figures as tables for people and JSON lines for programs. Pure: text in, text out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from .goals import Medians, Verdict
from .shapes import Figure

_LOAD_COLUMNS = (
    ("p50 ms", "p50_ms"),
    ("p99 ms", "p99_ms"),
    ("ops/s", "ops_s"),
    ("errors", "errors"),
    ("server CPU us/op", "server_cpu_us_op"),
    ("client CPU us/op", "client_cpu_us_op"),
)
_FAN_OUT_COLUMNS = (
    ("to all p50 ms", "send_to_all_p50_ms"),
    ("to first p50 ms", "send_to_first_p50_ms"),
    ("server CPU us/notification", "server_cpu_us_notification"),
    ("client CPU us/notification", "client_cpu_us_notification"),
    ("KiB/subscriber", "kib_per_subscriber"),
    ("subscribe all s", "subscribe_all_s"),
)


def load_table(medians: Medians) -> str:
    return _table("shape", _LOAD_COLUMNS, medians)


def fan_out_table(medians: Medians) -> str:
    return _table("fan-out", _FAN_OUT_COLUMNS, medians)


def other_lines(medians: Medians) -> str:
    """One line per figure that is in no table."""
    lines = []
    for (system, shape), values in medians.items():
        if _LOAD_COLUMNS[0][1] not in values and _FAN_OUT_COLUMNS[0][1] not in values:
            shown = ", ".join(f"{name} {_shown(value)}" for name, value in values.items())
            lines.append(f"{system:<9} {shape}: {shown}")
    return "\n".join(lines)


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    rows = [("goal (first)", "owed", "found", "verdict")]
    for verdict in verdicts:
        goal = verdict.goal
        owed = f"{'<=' if goal.at_most else '>='} {goal.bound:g} {goal.unit}"
        found = "-" if verdict.found is None else _shown(round(verdict.found, 2))
        rows.append((goal.name, owed, found, verdict.word))
    return _aligned(rows)


def json_lines(figures: Iterable[Figure]) -> str:
    """Every round of every shape, unmerged."""
    return "".join(
        json.dumps({"system": figure.system, "shape": figure.shape, **figure.values}) + "\n"
        for figure in figures
    )


def _table(title: str, columns: Sequence[tuple[str, str]], medians: Medians) -> str:
    rows: list[tuple[str, ...]] = [(title, "system", *(heading for heading, _ in columns))]
    shapes = dict.fromkeys(shape for _, shape in medians)
    for shape in shapes:
        for (system, its_shape), values in medians.items():
            if its_shape == shape and columns[0][1] in values:
                shown = (_shown(values.get(name, "-")) for _, name in columns)
                rows.append((shape, system, *shown))
    return _aligned(rows)


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table whose columns line up, so that it reads the same in a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(row: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(rows[0]), rule, *map(line, rows[1:])])


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
