"""How much each function is used, counted since this gateway began. Pure: the clock arrives as an argument.

Read in this order: FunctionUsage.count, _row_of. Every number only rises. The number of rows is bounded: what
finds no room counts in one row, `OTHER`. Whoever calls from outside may make names up, so names that nothing
proves (functions that never succeeded, addresses of HTTP actions) have a small part of the rows only, and can
take none away from the app's functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from gateway.backend import Usage
from gateway.concurrency import Concurrency
from gateway.recent_usage import Activity, FunctionKey, RecentUsage
from log.limits import USAGE_FUNCTIONS_MAX, USAGE_UNPROVEN_MAX

HTTP_ACTION = "HttpAction"
OTHER = FunctionKey("", "other", "")


@dataclass(slots=True)
class Tally(Activity):
    """What is counted of one function; of what ran, also how long, and what it read and wrote."""

    seconds: float = 0.0
    read_bytes: int = 0
    read_documents: int = 0
    write_bytes: int = 0
    write_documents: int = 0

    def count_usage(self, usage: Usage, seconds: float) -> None:
        self.seconds += seconds
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
        self.recent = RecentUsage()
        self.concurrency = Concurrency()

    def note_concurrency(self, now_seconds: float) -> None:
        """What ran at once since the last time, into the minute of now."""
        self.recent.count_concurrency(self.concurrency.take_most(), now_seconds)

    def count(
        self,
        key: FunctionKey,
        usage: Usage,
        seconds: float,
        now_seconds: float,
        *,
        failed: bool,
        cached: bool,
    ) -> None:
        """One call that ended."""
        key = self._row_of(key, failed)
        tally = self._tallies[key]
        tally.count(seconds, failed=failed, cached=cached)
        if not cached:
            tally.count_usage(usage, seconds)
        self.recent.count(key, seconds, now_seconds, failed=failed, cached=cached)

    def count_invalidation(self, key: FunctionKey, now_seconds: float) -> None:
        """A commit ended a result that somebody watched."""
        if key not in self._tallies:
            key = OTHER
        self._tallies.setdefault(key, Tally()).invalidations += 1
        self.recent.count_invalidation(key, now_seconds)

    def tallies(self) -> Iterator[tuple[FunctionKey, Tally]]:
        """A copy of each row, which may be read while calls go on."""
        for key, tally in self._tallies.items():
            yield key, replace(tally, latencies=tally.latencies[:])

    def _row_of(self, key: FunctionKey, failed: bool) -> FunctionKey:
        """Where a call of this function counts; the row is there."""
        if key not in self._tallies:
            return self._new_row(key, failed)
        if not failed and key in self._unproven and key.udf_type != HTTP_ACTION:
            self._unproven.discard(key)
        return key

    def _new_row(self, key: FunctionKey, failed: bool) -> FunctionKey:
        is_unproven = failed or key.udf_type == HTTP_ACTION
        has_room = len(self._tallies) < self._functions_max
        if not has_room or (is_unproven and len(self._unproven) >= self._unproven_max):
            self._tallies.setdefault(OTHER, Tally())
            return OTHER
        if is_unproven:
            self._unproven.add(key)
        self._tallies[key] = Tally()
        return key
