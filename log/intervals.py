"""Sets of half-open intervals of byte keys: what was read, and what is held.

An interval is `(start, end)`: start inclusive, end exclusive, end None = unbounded above.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Interval = tuple[bytes, bytes | None]


def point(key: bytes) -> Interval:
    """The interval holding exactly `key`."""
    return key, key + b"\x00"


class IntervalSet:
    """Disjoint intervals in key order; adding merges what overlaps or touches.

    Guarantees: `_starts` ascends strictly; `_ends[i]` is above `_starts[i]` and below `_starts[i+1]`;
    only the last end may be None.
    """

    __slots__ = ("_ends", "_starts")

    def __init__(self, intervals: Iterable[Interval] = ()) -> None:
        self._starts: list[bytes] = []
        self._ends: list[bytes | None] = []
        for start, end in intervals:
            self.add(start, end)

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Interval]:
        return iter(zip(self._starts, self._ends, strict=True))

    def add(self, start: bytes, end: bytes | None) -> None:
        """Include [start, end); an empty interval adds nothing."""
        if end is not None and end <= start:
            return
        starts, ends = self._starts, self._ends
        first = bisect_left(starts, start)
        if first and (ends[first - 1] is None or ends[first - 1] >= start):  # type: ignore[operator]
            first -= 1
            start = starts[first]
        last = first
        while last < len(starts) and (end is None or starts[last] <= end):
            held_end = ends[last]
            if end is not None and (held_end is None or held_end > end):
                end = held_end
            last += 1
        starts[first:last] = [start]
        ends[first:last] = [end]

    def contains(self, key: bytes) -> bool:
        return self.find(key) is not None

    def find(self, key: bytes) -> Interval | None:
        """The interval that holds `key`, or None."""
        position = bisect_right(self._starts, key) - 1
        if position < 0:
            return None
        end = self._ends[position]
        return (self._starts[position], end) if end is None or key < end else None

    def overlapping(self, start: bytes, end: bytes | None) -> Iterator[Interval]:
        """The intervals of ours that share a key with the (not empty) interval [start, end)."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        for position in range(first, len(self._starts)):
            own_start, own_end = self._starts[position], self._ends[position]
            if end is not None and own_start >= end:
                return
            if own_end is None or own_end > start:
                yield own_start, own_end

    def copy(self) -> IntervalSet:
        twin = IntervalSet()
        twin._starts, twin._ends = self._starts.copy(), self._ends.copy()
        return twin
