"""How much each function is used, counted since this gateway began. Pure: it knows no clock.

Read in this order: FunctionUsage.count, _row_of. Every number only rises. The number of rows is bounded: what
finds no room counts in one row, `OTHER`. Whoever calls from outside may make names up, so names that nothing
proves (functions that never succeeded, addresses of HTTP actions) have a small part of the rows only, and can
take none away from the app's functions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from gateway.backend import Usage
from log.limits import USAGE_FUNCTIONS_MAX, USAGE_UNPROVEN_MAX

LATENCY_BOUNDS_SECONDS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 30.0, 120.0, 600.0),
)
"""Upper bounds of the classes of latencies, each included; a last class has none."""

HTTP_ACTION = "HttpAction"


class FunctionKey(NamedTuple):
    """Which function: its component ("" = the app), canonical path, and type."""

    component: str
    path: str
    udf_type: str


OTHER = FunctionKey("", "other", "")


@dataclass(slots=True)
class Tally:
    """What is counted of one function. `calls` has the failed and the cached ones in it; a cached answer ran
    nothing, so that it has neither seconds nor a latency."""

    calls: int = 0
    errors: int = 0
    cached: int = 0
    seconds: float = 0.0
    read_bytes: int = 0
    read_documents: int = 0
    write_bytes: int = 0
    write_documents: int = 0
    latencies: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_SECONDS) + 1))

    def count(self, usage: Usage, seconds: float, *, failed: bool, cached: bool) -> None:
        self.calls += 1
        if cached:
            self.cached += 1
            return
        if failed:
            self.errors += 1
        self.seconds += seconds
        self.latencies[bisect_left(LATENCY_BOUNDS_SECONDS, seconds)] += 1
        self.read_bytes += usage.database_read_bytes
        self.read_documents += usage.database_read_documents
        self.write_bytes += usage.database_write_bytes
        self.write_documents += usage.database_write_documents


class FunctionUsage:
    """One per gateway."""

    def __init__(
        self, functions_max: int = USAGE_FUNCTIONS_MAX, unproven_max: int = USAGE_UNPROVEN_MAX
    ) -> None:
        self._functions_max, self._unproven_max = functions_max, unproven_max
        self._tallies: dict[FunctionKey, Tally] = {}
        self._unproven: set[FunctionKey] = set()

    def count(self, key: FunctionKey, usage: Usage, seconds: float, *, failed: bool, cached: bool) -> None:
        """One call that ended."""
        self._row_of(key, failed).count(usage, seconds, failed=failed, cached=cached)

    def tallies(self) -> Iterator[tuple[FunctionKey, Tally]]:
        """A copy of each row, which may be read while calls go on."""
        for key, tally in self._tallies.items():
            yield key, replace(tally, latencies=list(tally.latencies))

    def _row_of(self, key: FunctionKey, failed: bool) -> Tally:
        tally = self._tallies.get(key)
        if tally is None:
            return self._new_row(key, failed)
        if not failed and key in self._unproven and key.udf_type != HTTP_ACTION:
            self._unproven.discard(key)
        return tally

    def _new_row(self, key: FunctionKey, failed: bool) -> Tally:
        is_unproven = failed or key.udf_type == HTTP_ACTION
        has_room = len(self._tallies) < self._functions_max
        if not has_room or (is_unproven and len(self._unproven) >= self._unproven_max):
            return self._tallies.setdefault(OTHER, Tally())
        if is_unproven:
            self._unproven.add(key)
        tally = self._tallies[key] = Tally()
        return tally
