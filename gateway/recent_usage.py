"""What functions did in the last hours, minute by minute, for the dashboard's charts. Pure.

A bounded ring of minutes. A minute without calls is not there. The clock arrives as an argument; one that
steps back goes on in the newest minute, so that minutes only rise.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from log.limits import USAGE_MINUTE_ROWS_MAX, USAGE_MINUTES_MAX

MINUTE_SECONDS = 60
LATENCY_BOUNDS_SECONDS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 30.0, 120.0, 600.0),
)
"""Upper bounds of the classes of latencies, each included; a last class has none."""


def no_latencies() -> array[int]:
    return array("Q", bytes(8 * (len(LATENCY_BOUNDS_SECONDS) + 1)))


class FunctionKey(NamedTuple):
    """Which function: its component ("" = the app), canonical path, and type."""

    component: str
    path: str
    udf_type: str


@dataclass(slots=True)
class Activity:
    """What a function did in some time. `calls` has the failed and the cached ones in it; `invalidations` are
    commits that ended a result of it while somebody watched."""

    calls: int = 0
    errors: int = 0
    cached: int = 0
    invalidations: int = 0
    latencies: array[int] = field(default_factory=no_latencies)

    def count(self, seconds: float, *, failed: bool, cached: bool) -> None:
        """One call that ended. A cached answer ran nothing: it has neither failed nor a latency."""
        self.calls += 1
        if cached:
            self.cached += 1
            return
        if failed:
            self.errors += 1
        self.latencies[bisect_left(LATENCY_BOUNDS_SECONDS, seconds)] += 1

    def add(self, other: Activity) -> None:
        """All but the latencies, which most who sum up do not want."""
        self.calls += other.calls
        self.errors += other.errors
        self.cached += other.cached
        self.invalidations += other.invalidations

    def add_latencies(self, other: Activity) -> None:
        for place, count in enumerate(other.latencies):
            self.latencies[place] += count


@dataclass(slots=True)
class Minute:
    """`number` counts minutes since 1970. `late_seconds` is how late the latest scheduled job began;
    `concurrency` the most calls there were at once, by (type, state)."""

    number: int
    functions: dict[FunctionKey, Activity] = field(default_factory=dict)
    late_seconds: float | None = None
    concurrency: dict[tuple[str, str], int] = field(default_factory=dict)


class RecentUsage:
    """The ring."""

    def __init__(self, minutes_max: int = USAGE_MINUTES_MAX, rows_max: int = USAGE_MINUTE_ROWS_MAX) -> None:
        self._minutes_max, self._rows_max = minutes_max, rows_max
        self._minutes: deque[Minute] = deque()
        self._rows = 0

    def __iter__(self) -> Iterator[Minute]:
        """Oldest first."""
        return iter(self._minutes)

    def count(
        self, key: FunctionKey, seconds: float, now_seconds: float, *, failed: bool, cached: bool
    ) -> None:
        self._activity(key, now_seconds).count(seconds, failed=failed, cached=cached)

    def count_invalidation(self, key: FunctionKey, now_seconds: float) -> None:
        self._activity(key, now_seconds).invalidations += 1

    def count_job(self, late_seconds: float, now_seconds: float) -> None:
        minute = self._minute(now_seconds)
        minute.late_seconds = max(late_seconds, minute.late_seconds or 0.0)

    def count_concurrency(self, most: Mapping[tuple[str, str], int], now_seconds: float) -> None:
        if most:
            known = self._minute(now_seconds).concurrency
            for state, number in most.items():
                known[state] = max(number, known.get(state, 0))

    def _activity(self, key: FunctionKey, now_seconds: float) -> Activity:
        functions = self._minute(now_seconds).functions
        activity = functions.get(key)
        if activity is None:
            activity = functions[key] = Activity()
            self._rows += 1
            self._shrink()
        return activity

    def _minute(self, now_seconds: float) -> Minute:
        number = int(now_seconds // MINUTE_SECONDS)
        if not self._minutes or number > self._minutes[-1].number:
            self._minutes.append(Minute(number))
            self._shrink()
        return self._minutes[-1]

    def _shrink(self) -> None:
        """The newest minute stays, whatever is in it: no more functions than are counted at all."""
        oldest_number = self._minutes[-1].number - self._minutes_max + 1
        while len(self._minutes) > 1 and (
            self._minutes[0].number < oldest_number or self._rows > self._rows_max
        ):
            self._rows -= len(self._minutes.popleft().functions)


def percentile_seconds(latencies: Sequence[int], percent: float) -> float | None:
    """The upper bound of the class in which so many per cent of the runs are reached; None without runs. Of
    the last class the bound before it: that many seconds at least."""
    wanted = max(1.0, sum(latencies) * percent / 100)
    reached = 0
    for place, count in enumerate(latencies):
        reached += count
        if reached >= wanted:
            return LATENCY_BOUNDS_SECONDS[min(place, len(LATENCY_BOUNDS_SECONDS) - 1)]
    return None
