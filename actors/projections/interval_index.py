"""Which subscribers' intervals hold a key: exact keys in a dictionary, everything else in sorted blocks.

A stab looks at each block's smallest start and largest end and scans only blocks that may hold the key;
adding and removing touch one block. Every re-run replaces a read set, so change is as cheap as search.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

_BLOCK_LENGTH_MAX = 128

_Entry = tuple[bytes, int, bytes | None]  # start, subscriber, end (None = unbounded)


class _Block:
    """Entries in order of start; `end_max` is the largest end, None = unbounded."""

    __slots__ = ("end_max", "entries")

    def __init__(self, entries: list[_Entry]) -> None:
        self.entries = entries
        self.refresh()

    def refresh(self) -> None:
        ends = [entry[2] for entry in self.entries]
        self.end_max = None if None in ends else max(ends)  # type: ignore[type-var]


class IntervalIndex:
    """The intervals of one database index, each owned by a subscriber number."""

    def __init__(self) -> None:
        self._points: dict[bytes, set[int]] = {}
        self._blocks: list[_Block] = []
        self._starts: list[bytes] = []  # first start of each block

    def add(self, subscriber: int, start: bytes, end: bytes | None) -> None:
        if _is_point(start, end):
            self._points.setdefault(start, set()).add(subscriber)
            return
        entry = (start, subscriber, end)
        if not self._blocks:
            self._blocks.append(_Block([entry]))
            self._starts.append(start)
            return
        position = max(0, bisect_right(self._starts, start) - 1)
        block = self._blocks[position]
        insort(block.entries, entry, key=_order)
        self._starts[position] = block.entries[0][0]
        if block.end_max is not None and (end is None or end > block.end_max):
            block.end_max = end
        if len(block.entries) > _BLOCK_LENGTH_MAX:
            self._split(position)

    def remove(self, subscriber: int, start: bytes, end: bytes | None) -> None:
        """Forget one interval added before."""
        if _is_point(start, end):
            owners = self._points[start]
            owners.discard(subscriber)
            if not owners:
                del self._points[start]
            return
        position = max(0, bisect_left(self._starts, start) - 1)
        entry = (start, subscriber, end)
        while entry not in self._blocks[position].entries:
            position += 1
        block = self._blocks[position]
        block.entries.remove(entry)
        if not block.entries:
            del self._blocks[position], self._starts[position]
            return
        block.refresh()
        self._starts[position] = block.entries[0][0]

    def stab(self, key: bytes) -> Iterator[int]:
        """Subscribers with an interval that holds `key`; one may appear more than once."""
        yield from self._points.get(key, ())
        for position in range(bisect_right(self._starts, key)):
            block = self._blocks[position]
            if block.end_max is not None and block.end_max <= key:
                continue
            for start, subscriber, end in block.entries:
                if start > key:
                    break
                if end is None or key < end:
                    yield subscriber

    def __bool__(self) -> bool:
        return bool(self._points or self._blocks)

    def _split(self, position: int) -> None:
        entries = self._blocks[position].entries
        middle = len(entries) // 2
        self._blocks[position : position + 1] = [_Block(entries[:middle]), _Block(entries[middle:])]
        self._starts.insert(position + 1, entries[middle][0])


def _order(entry: _Entry) -> tuple[bytes, int]:
    return entry[0], entry[1]


def _is_point(start: bytes, end: bytes | None) -> bool:
    return end is not None and len(end) == len(start) + 1 and end[-1] == 0 and end.startswith(start)
