"""Which of an executor's waiting calls share a turn (design D4).

Calls that want the same places gain nothing from a turn each: the executor runs one after the other anyway.
So those that wait together ask together, for everything any of them wants, and run as one chain. Calls that
have no place in common never wait for each other.

Law: no clock, no await; `actors/transactor.py` asks for the turns and runs the calls.
Promises:
  - groups that are asked for at the same time do not overlap, so one never waits for another one's turn;
  - whoever came first goes first: a later call joins a group only if nobody before it wants what it wants;
  - a group takes in a bounded number of calls, so that its turn ends and nobody waits for ever.

Read in this order: add, take, end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Generic, TypeVar

from log.limits import CHAIN_CALLS_MAX, TURN_PLACES_MAX
from log.turns import Footprint

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Group(Generic[T]):
    """Calls under one turn. `footprint` is fixed once it is asked for."""

    footprint: Footprint
    waiting: deque[tuple[T, Footprint]] = field(default_factory=deque)
    calls_taken_in: int = 0

    def covers(self, footprint: Footprint) -> bool:
        """Whether a call that wants this much can go along. The exclusive lane is for one call."""
        if self.footprint.is_everything or footprint.is_everything:
            return False
        return footprint.places <= self.footprint.places and self.calls_taken_in < CHAIN_CALLS_MAX

    def put(self, call: T, footprint: Footprint) -> None:
        self.waiting.append((call, footprint))
        self.calls_taken_in += 1

    def take(self) -> tuple[T, Footprint] | None:
        """The next call to run and what it wants, or None when all have run."""
        return self.waiting.popleft() if self.waiting else None

    def put_back(self, call: T, footprint: Footprint) -> None:
        """It did not run after all; it stays the first."""
        self.waiting.appendleft((call, footprint))


class TurnGroups(Generic[T]):
    """All calls of one executor that wait for a turn or have one."""

    def __init__(self) -> None:
        self._asked: list[Group[T]] = []
        self._waiting: deque[tuple[T, Footprint]] = deque()  # they overlap an asked group, or one before them

    @property
    def calls_waiting(self) -> int:
        """Calls that no group has taken in yet."""
        return len(self._waiting)

    def add(self, call: T, footprint: Footprint) -> Group[T] | None:
        """Queue a call; returns the group it founded, whose turn must be asked for now, if it did."""
        if not _overlaps_any(footprint, (held for _, held in self._waiting)):
            for group in self._asked:
                if group.covers(footprint):
                    group.put(call, footprint)
                    return None
            if not _overlaps_any(footprint, (group.footprint for group in self._asked)):
                return self._found(footprint, [(call, footprint)])
        self._waiting.append((call, footprint))
        return None

    def end(self, group: Group[T]) -> list[Group[T]]:
        """The group's turn is used. Its calls that did not run wait again, before all others; returns the
        groups whose turns must be asked for now."""
        self._asked.remove(group)
        self._waiting.extendleft(reversed(group.waiting))
        group.waiting.clear()
        forming, kept = self._sort_out()
        self._waiting = kept
        return [self._found(_union(held for _, held in calls), calls) for calls in forming]

    def _sort_out(self) -> tuple[list[list[tuple[T, Footprint]]], deque[tuple[T, Footprint]]]:
        """The waiting calls as groups that can be asked for, and those that must wait on."""
        forming: list[list[tuple[T, Footprint]]] = []
        kept: deque[tuple[T, Footprint]] = deque()
        asked = [group.footprint for group in self._asked]
        for call, footprint in self._waiting:
            if _overlaps_any(footprint, chain(asked, (held for _, held in kept))):
                kept.append((call, footprint))
                continue
            touched = [calls for calls in forming if _overlaps_any(footprint, (held for _, held in calls))]
            joined = [pair for calls in touched for pair in calls] + [(call, footprint)]
            if touched and not _fits_one_turn(joined):
                kept.append((call, footprint))
            else:
                forming = [calls for calls in forming if calls not in touched] + [joined]
        return forming, kept

    def _found(self, footprint: Footprint, calls: Iterable[tuple[T, Footprint]]) -> Group[T]:
        group: Group[T] = Group(footprint)
        for call, held in calls:
            group.put(call, held)
        self._asked.append(group)
        return group


def _overlaps_any(footprint: Footprint, others: Iterable[Footprint]) -> bool:
    return any(footprint.overlaps(other) for other in others)


def _fits_one_turn(calls: list[tuple[T, Footprint]]) -> bool:
    if any(footprint.is_everything for _, footprint in calls) or len(calls) > CHAIN_CALLS_MAX:
        return False
    return len(_union(footprint for _, footprint in calls).places) <= TURN_PLACES_MAX


def _union(footprints: Iterable[Footprint]) -> Footprint:
    """What all of them want; a single exclusive lane stays one."""
    held = list(footprints)
    if len(held) == 1:
        return held[0]
    return Footprint(frozenset().union(*(footprint.places for footprint in held)))
