"""Which subscribers' intervals hold a key: exact keys in a dictionary, everything else in sorted blocks.

Promises:
  - a stab compares the key with one end a block, and opens the block where the key would stand; another one
    it opens, and a second entry it looks at, only on the way to an interval that holds the key;
  - adding and removing change one block: every re-run replaces a read set, so change is as cheap as search.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate

from log.keys import PREFIX_END

_BLOCK_LENGTH_MAX = 128

_Entry = tuple[bytes, int, bytes]  # start, subscriber, end


class _Block:
    """Entries in order of start. `reaches[i]` is the largest end among the first i + 1: none of them holds
    a key at or above it."""

    __slots__ = ("entries", "reaches")

    def __init__(self, entries: list[_Entry]) -> None:
        self.entries = entries
        self.reaches = list(accumulate((end for _, _, end in entries), max))

    def add(self, entry: _Entry) -> None:
        position = bisect_left(self.entries, entry)
        self.entries.insert(position, entry)
        self.reaches.insert(position, b"")
        self._refresh(position)

    def remove(self, entry: _Entry) -> None:
        position = bisect_left(self.entries, entry)
        del self.entries[position], self.reaches[position]
        self._refresh(position)

    def stab(self, key: bytes) -> list[int]:
        position = bisect_left(self.entries, (key + b"\x00",))  # behind the last start at or before the key
        found = []
        while position and self.reaches[position - 1] > key:
            position -= 1
            _start, subscriber, end = self.entries[position]
            if end > key:
                found.append(subscriber)
        return found

    def _refresh(self, position: int) -> None:
        """Mend the reaches from a changed entry on, up to the first one that is as it was."""
        reach = self.reaches[position - 1] if position else b""
        for later in range(position, len(self.entries)):
            reach = max(reach, self.entries[later][2])
            if self.reaches[later] == reach:
                return
            self.reaches[later] = reach


class IntervalIndex:
    """The intervals of one database index, each owned by a subscriber number."""

    def __init__(self) -> None:
        self._points: dict[bytes, set[int]] = {}
        self._blocks: list[_Block] = []
        # Of each block, side by side with it:
        self._firsts: list[_Entry] = []
        self._reaches: list[bytes] = []

    def add(self, subscriber: int, start: bytes, end: bytes | None) -> None:
        if _is_point(start, end):
            self._points.setdefault(start, set()).add(subscriber)
            return
        entry = _entry(subscriber, start, end)
        if not self._blocks:
            self._set_blocks(0, 0, _Block([entry]))
            return
        position = self._position(entry)
        block = self._blocks[position]
        block.add(entry)
        if len(block.entries) > _BLOCK_LENGTH_MAX:
            middle = len(block.entries) // 2
            halves = _Block(block.entries[:middle]), _Block(block.entries[middle:])
            self._set_blocks(position, position + 1, *halves)
        else:
            self._note_change(position)

    def remove(self, subscriber: int, start: bytes, end: bytes | None) -> None:
        """Forget one interval added before."""
        if _is_point(start, end):
            owners = self._points[start]
            owners.discard(subscriber)
            if not owners:
                del self._points[start]
            return
        entry = _entry(subscriber, start, end)
        position = self._position(entry)
        block = self._blocks[position]
        block.remove(entry)
        if block.entries:
            self._note_change(position)
        else:
            self._set_blocks(position, position + 1)

    def stab(self, key: bytes) -> list[int]:
        """Subscribers with an interval that holds `key`; one may appear more than once."""
        found = list(self._points.get(key, ()))
        last = bisect_left(self._firsts, (key + b"\x00",)) - 1  # its first start is at or before the key
        if last >= 0:
            for position, reach in enumerate(self._reaches[:last]):
                if reach > key:
                    found += self._blocks[position].stab(key)
            found += self._blocks[last].stab(key)
        return found

    def __bool__(self) -> bool:
        return bool(self._points or self._blocks)

    def _position(self, entry: _Entry) -> int:
        """The block where the entry stands or would stand."""
        return max(0, bisect_right(self._firsts, entry) - 1)

    def _note_change(self, position: int) -> None:
        block = self._blocks[position]
        self._firsts[position], self._reaches[position] = block.entries[0], block.reaches[-1]

    def _set_blocks(self, start: int, end: int, *blocks: _Block) -> None:
        """Put `blocks` in the place of those in [start, end)."""
        self._blocks[start:end] = blocks
        self._firsts[start:end] = [block.entries[0] for block in blocks]
        self._reaches[start:end] = [block.reaches[-1] for block in blocks]


def _entry(subscriber: int, start: bytes, end: bytes | None) -> _Entry:
    return start, subscriber, PREFIX_END if end is None else end


def _is_point(start: bytes, end: bytes | None) -> bool:
    return end is not None and len(end) == len(start) + 1 and end[-1] == 0 and end.startswith(start)
