"""The dashboard's charts over what functions did recently (spec 02 21). Pure.

A chart has a window, cut into equal parts; a minute counts in the part it begins in. Counts are 0 where
nothing happened; what is a share of something is None where there was nothing to share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.backend import ROWS_READ, ROWS_WRITTEN, MinuteRows
from gateway.concurrency import COUNTED_STATES
from gateway.function_log import display_path
from gateway.recent_usage import MINUTE_SECONDS, Activity, FunctionKey, RecentUsage, percentile_seconds

NANOSECONDS = 1_000_000_000
Number = float | None
Series = list[list[Any]]
"""[[{"secs_since_epoch", "nanos_since_epoch"}, number or None], ...]: when a part begins, and its value."""
Measure = Callable[[Activity], Number]


@dataclass(frozen=True, slots=True)
class Window:
    """From `start_ns` to before `end_ns`, in `parts` equal parts."""

    start_ns: int
    end_ns: int
    parts: int

    def part_of(self, minute: int) -> int | None:
        """In which part a minute begins; None when it lies outside."""
        at_ns = minute * MINUTE_SECONDS * NANOSECONDS
        if not self.start_ns <= at_ns < self.end_ns:
            return None
        return (at_ns - self.start_ns) * self.parts // (self.end_ns - self.start_ns)

    def series(self, values: Iterable[Number]) -> Series:
        length_ns = self.end_ns - self.start_ns
        starts = (self.start_ns + length_ns * part // self.parts for part in range(self.parts))
        return [[_time(start_ns), value] for start_ns, value in zip(starts, values, strict=True)]


def _time(at_ns: int) -> dict[str, int]:
    seconds, nanoseconds = divmod(at_ns, NANOSECONDS)
    return {"secs_since_epoch": seconds, "nanos_since_epoch": nanoseconds}


# --- what is measured -------------------------------------------------------------------------------


def failure_percentage(activity: Activity) -> Number:
    return _percentage(activity.errors, activity.calls)


def cache_hit_percentage(activity: Activity) -> Number:
    return _percentage(activity.cached, activity.calls)


def _percentage(some: int, of_all: int) -> Number:
    return 100 * some / of_all if of_all else None


RATES: dict[str, Measure] = {
    "invocations": lambda activity: float(activity.calls),
    "errors": lambda activity: float(activity.errors),
    "cacheHits": lambda activity: float(activity.cached),
    "cacheMisses": lambda activity: float(activity.calls - activity.cached),
    "subscriptionInvalidations": lambda activity: float(activity.invalidations),
}
"""`metric` of udf_rate."""
TABLE_METRICS = (ROWS_READ, ROWS_WRITTEN)
"""`metric` of table_rate."""


# --- charts -----------------------------------------------------------------------------------------


def chart(
    recent: RecentUsage, window: Window, is_wanted: Callable[[FunctionKey], bool], measure: Measure
) -> Series:
    """One number for each part, of all wanted functions together."""
    return window.series(map(measure, _parts(recent, window, is_wanted)))


def percentiles_chart(
    recent: RecentUsage,
    window: Window,
    is_wanted: Callable[[FunctionKey], bool],
    percentiles: Sequence[float],
) -> list[list[Any]]:
    """[[percentile, series of seconds], ...]"""
    parts = _parts(recent, window, is_wanted, Activity.add_latencies)

    def series_of(percentile: float) -> Series:
        return window.series(percentile_seconds(part.latencies, percentile) for part in parts)

    return [[percentile, series_of(percentile)] for percentile in percentiles]


def top_charts(
    recent: RecentUsage,
    window: Window,
    is_wanted: Callable[[FunctionKey], bool],
    measure: Measure,
    length_max: int,
) -> list[list[Any]]:
    """[[name, series], ...] of the functions for which the whole window measures most. Equal ones are in the
    order of their calls, then of their names."""
    in_all: dict[str, Activity] = {}
    for _part, key, activity in _activities(recent, window, is_wanted):
        in_all.setdefault(name_of(key), Activity()).add(activity)

    def rank(name: str) -> tuple[float, int, str]:
        return -(measure(in_all[name]) or 0.0), -in_all[name].calls, name

    top = {name: _no_parts(window) for name in sorted(in_all, key=rank)[:length_max]}
    for part, key, activity in _activities(recent, window, is_wanted):
        if (parts := top.get(name_of(key))) is not None:
            parts[part].add(activity)
    return [[name, window.series(map(measure, parts))] for name, parts in top.items()]


def job_lag_chart(recent: RecentUsage, window: Window) -> Series:
    """How many seconds after its time the latest job of each part began; None where none did."""
    latest: list[Number] = [None] * window.parts
    for minute in recent:
        part = window.part_of(minute.number)
        if part is not None and minute.late_seconds is not None:
            latest[part] = max(latest[part] or 0.0, minute.late_seconds)
    return window.series(latest)


def concurrency_charts(recent: RecentUsage, window: Window) -> dict[str, Series]:
    """A series of the most there were at once, for each type and state that is counted."""
    most = {state: [0] * window.parts for state in COUNTED_STATES}
    for minute in recent:
        part = window.part_of(minute.number)
        if part is not None:
            for state, number in minute.concurrency.items():
                most[state][part] = max(number, most[state][part])
    return {
        f"outstanding_functions:isolate:{udf_type}:{state}": window.series(map(float, numbers))
        for (udf_type, state), numbers in most.items()
    }


def table_chart(rows: Iterable[MinuteRows], window: Window) -> Series:
    """How many rows of a table."""
    counted = [0] * window.parts
    for minute, number in rows:
        part = window.part_of(minute)
        if part is not None:
            counted[part] += number
    return window.series(map(float, counted))


def name_of(key: FunctionKey) -> str:
    """As people write it: `messages:list`, with the component in front."""
    shown = display_path(key.path)
    return f"{key.component}/{shown}" if key.component else shown


def _parts(
    recent: RecentUsage,
    window: Window,
    is_wanted: Callable[[FunctionKey], bool],
    add: Callable[[Activity, Activity], None] = Activity.add,
) -> list[Activity]:
    parts = _no_parts(window)
    for part, _key, activity in _activities(recent, window, is_wanted):
        add(parts[part], activity)
    return parts


def _no_parts(window: Window) -> list[Activity]:
    return [Activity() for _ in range(window.parts)]


def _activities(
    recent: RecentUsage, window: Window, is_wanted: Callable[[FunctionKey], bool]
) -> Iterator[tuple[int, FunctionKey, Activity]]:
    """What wanted functions did within the window, and in which part of it."""
    for minute in recent:
        part = window.part_of(minute.number)
        if part is None:
            continue
        for key, activity in minute.functions.items():
            if is_wanted(key):
                yield part, key, activity
