"""Who may go first: turns on intervals of indexes, first come, first served (design D4).

A call that lost a race asks for a *turn* on what it raced for, and runs again when it has it. While the
turn is held, whoever else reads or writes there is told to queue too, so the holder loses to no other call.
(A change of the catalog is no place, maintenance does not queue, and a turn held for too long ends.) Turns
are held on intervals and not on keys: a range read meets a new key each time.

Law 1: no clock, no await. Who waits, and for how long, is the shell's business (`actors/turn_keeper.py`).
Law 2: a request waits only for requests asked before it, and asks for everything at once. So nobody waits
       in a circle, and nobody waits for ever as long as turns end.

Bounded like the commit queue, and mostly empty: overlaps are looked for one by one.
Read in this order: ask, end, blocks, contended.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile

from log.invariant import invariant
from log.read_set import Place, ReadSet
from log.record import DocumentWrite


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a turn is asked for: some places, or everything."""

    places: frozenset[Place] = frozenset()
    is_everything: bool = False

    def overlaps(self, other: Footprint) -> bool:
        if self.is_everything or other.is_everything:
            return True
        if not self.places.isdisjoint(other.places):
            return True  # nearly always what decides
        return any(overlap(ours, theirs) for ours in self.places for theirs in other.places)


EVERYTHING = Footprint(is_everything=True)


@dataclass(slots=True)
class _Request:
    footprint: Footprint
    waits_for: set[int]  # tickets asked before it; empty = it has its turn
    waited_for_by: set[int] = field(default_factory=set)


class Turns:
    """All turns of one log, held and waited for. A ticket stands for one request; tickets ascend."""

    def __init__(self) -> None:
        self._requests: dict[int, _Request] = {}  # in the order of asking

    def __len__(self) -> int:
        return len(self._requests)

    def ask(self, ticket: int, footprint: Footprint) -> bool:
        """Queue for a turn; True when it is held at once."""
        invariant(ticket not in self._requests, "a ticket is asked for once", ticket=ticket)
        earlier = {other for other, held in self._requests.items() if held.footprint.overlaps(footprint)}
        self._requests[ticket] = _Request(footprint, earlier)
        for other in earlier:
            self._requests[other].waited_for_by.add(ticket)
        return not earlier

    def end(self, ticket: int) -> list[int]:
        """Give a turn back, or stop waiting for it; returns who has a turn now because of that, in the
        order of asking. An unknown ticket ended before: nothing changes."""
        request = self._requests.pop(ticket, None)
        if request is None:
            return []
        for other in request.waits_for:
            self._requests[other].waited_for_by.discard(ticket)
        granted = []
        for later in sorted(request.waited_for_by):
            waiting = self._requests[later]
            waiting.waits_for.discard(ticket)
            if not waiting.waits_for:
                granted.append(later)
        return granted

    def holds(self, ticket: int) -> bool:
        request = self._requests.get(ticket)
        return request is not None and not request.waits_for

    def is_wanted(self, ticket: int) -> bool:
        """Whether somebody waits for this turn to end."""
        request = self._requests.get(ticket)
        return request is not None and bool(request.waited_for_by)

    def blocks(self, reads: ReadSet, writes: Sequence[DocumentWrite], ticket: int | None) -> bool:
        """Whether a proposal touches what somebody else has the turn on: admitting it could make the
        holder lose."""
        return any(
            other != ticket and not request.waits_for and _places_touched(request, reads, writes)
            for other, request in self._requests.items()
        )

    def contended(
        self, reads: ReadSet, writes: Sequence[DocumentWrite], ticket: int | None
    ) -> frozenset[Place]:
        """The places of the proposal's own that others hold or wait for: what it should ask for."""
        found: set[Place] = set()
        for other, request in self._requests.items():
            if other != ticket:
                found.update(_places_touched(request, reads, writes))
        return frozenset(found)


def overlap(ours: Place, theirs: Place) -> bool:
    """Whether two places have a key in common."""
    return ours[0] == theirs[0] and _is_below(ours[1], theirs[2]) and _is_below(theirs[1], ours[2])


def _is_below(key: bytes, end: bytes | None) -> bool:
    return end is None or key < end


def _places_touched(request: _Request, reads: ReadSet, writes: Sequence[DocumentWrite]) -> set[Place]:
    """Own places of a proposal that overlap a request's. Everything overlaps the exclusive lane, and
    something of it stands for all: a request's order is decided by its first overlap."""
    if request.footprint.is_everything:
        return set(islice(_own_places(reads, writes), 1))
    touched: set[Place] = set()
    for index_id, start, end in request.footprint.places:
        held = reads.by_index.get(index_id)
        if held is not None:
            touched.update((index_id, *interval) for interval in held.overlapping(start, end))
        for key in _keys_written(writes, index_id, start, end):
            touched.add((index_id, key, key + b"\x00"))
    return touched


def _own_places(reads: ReadSet, writes: Sequence[DocumentWrite]) -> Iterator[Place]:
    """Every place of a proposal, those it writes first."""
    for write in writes:
        for index_id, keys in write.touched():
            for key in keys:
                yield index_id, key, key + b"\x00"
    yield from reads.intervals()


def _keys_written(
    writes: Sequence[DocumentWrite], index_id: bytes, start: bytes, end: bytes | None
) -> Iterator[bytes]:
    """Those in [start, end) of the index. Of words there may be thousands, but they are in order."""
    for write in writes:
        for written_index, keys in write.touched():
            if written_index == index_id:
                if len(keys) > 2:
                    keys = keys[bisect_left(keys, start) :]
                    yield from takewhile(lambda key: _is_below(key, end), keys)
                else:
                    yield from (key for key in keys if start <= key and _is_below(key, end))
