"""What calls of a function raced for lately, so that the next one stops there and queues first (design D4).

A call that has not lost yet runs without a turn, and watches for the places where others of its function
lost. The first such place it reads ends the run: it could only lose. What it then asks for is that place,
and what those who met it before met as well, so that one turn is enough.

A call that names such a place in its arguments (the id of its document, the value it looks for) needs no run
to learn that it will read there: it queues at once. A guess may be wrong, and then has kept others waiting.

Forgotten: a place whose turn nobody else wanted, or who took it did not need, again and again; and the places
not met for longest.
Pure: knows no clock and waits for nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from log.keys import decode_items
from log.limits import HOT_ARGUMENTS_BYTES_MAX, HOT_FUNCTIONS_MAX, HOT_PLACES_MAX, HOT_USES_UNWANTED_MAX
from log.read_set import Place, ReadSet
from log.turns import Footprint, overlap

Name = str | float
"""What a key may begin with and an argument may be."""


class Guess(NamedTuple):
    """What a call should ask for before it runs, for the sake of the places its arguments name."""

    footprint: Footprint
    named: frozenset[Place]


@dataclass(slots=True)
class _Memory:
    companions: set[Place] = field(default_factory=set)  # met by a run that met this place
    unwanted: int = 0  # turns in a row that nobody else waited for, or that were taken in vain


class _PlacesOf:
    """Of one function, in the order they were met last."""

    def __init__(self) -> None:
        self.memories: OrderedDict[Place, _Memory] = OrderedDict()
        self.watched = ReadSet()
        self.named: dict[Name, list[Place]] = {}  # by what arguments hold that lead there

    def learn(self, lost: Iterable[Place], reads: ReadSet) -> None:
        """Remember where a run lost, together with whatever else it read of what is remembered."""
        met = list(lost)[:HOT_PLACES_MAX]
        self._meet([*met, *(known for known in self.memories if reads.overlaps(*known))])
        while len(self.memories) > HOT_PLACES_MAX:
            self._forget(next(iter(self.memories)))
        self._watch()

    def used(self, reads: ReadSet, guessed: Iterable[Place], *, is_wanted: bool) -> None:
        """A run had its turn, and somebody else waited for it or not."""
        met = [known for known in self.memories if reads.overlaps(*known)]
        in_vain = [place for place in guessed if place in self.memories and place not in met]
        self._meet(met)
        for place in (*met, *in_vain):
            memory = self.memories[place]
            memory.unwanted = 0 if is_wanted and place not in in_vain else memory.unwanted + 1
            if memory.unwanted >= HOT_USES_UNWANTED_MAX:
                self._forget(place)
                self._watch()

    def expected(self, place: Place) -> Footprint:
        known = [known for known in self.memories if overlap(known, place)]
        companions = (self.memories[each].companions for each in known)
        return Footprint(frozenset([place, *known]).union(*companions))

    def guessed(self, names: Iterable[Name]) -> Guess | None:
        named = frozenset(place for name in names for place in self.named.get(name, ()))
        if not named:
            return None
        return Guess(Footprint(named.union(*(self.memories[place].companions for place in named))), named)

    def _meet(self, places: list[Place]) -> None:
        """One call met these together."""
        for place in places:
            self.memories.setdefault(place, _Memory()).companions.update(places)
            self.memories.move_to_end(place)

    def _forget(self, place: Place) -> None:
        del self.memories[place]
        for memory in self.memories.values():
            memory.companions.discard(place)

    def _watch(self) -> None:
        self.watched, self.named = ReadSet(), {}
        for place in self.memories:
            self.watched.add(*place)
            if (name := _name_of(place)) is not None:
                self.named.setdefault(name, []).append(place)


def _name_of(place: Place) -> Name | None:
    """The text or number that the place's keys begin with; None when they begin with something else."""
    _index_id, start, _end = place
    try:
        first = decode_items(start)[0]
    except (ValueError, IndexError):
        return None
    return first if isinstance(first, str | float) else None


def _names_in(tree: Any) -> set[Name]:
    """The texts and numbers of a JSON tree, however deep; a boolean is neither."""
    names, left = set[Name](), [tree]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)
        elif type(item) in (str, float, int):
            names.add(item)
    return names


class HotPlaces:
    """By function: every executor learns from its own calls."""

    def __init__(self) -> None:
        self._by_function: OrderedDict[str, _PlacesOf] = OrderedDict()

    def watched(self, function: str) -> ReadSet | None:
        """Where a run of the function has to stop, None = nowhere."""
        places = self._by_function.get(function)
        return places.watched if places is not None and places.memories else None

    def learn(self, function: str, lost: Iterable[Place], reads: ReadSet) -> None:
        """A run of the function lost at these places; `reads` is all it read."""
        self._by_function.setdefault(function, _PlacesOf()).learn(lost, reads)
        self._by_function.move_to_end(function)
        if len(self._by_function) > HOT_FUNCTIONS_MAX:
            self._by_function.popitem(last=False)

    def expected(self, function: str, place: Place) -> Footprint:
        """What a call that met this place asks for."""
        places = self._by_function.get(function)
        return places.expected(place) if places is not None else Footprint(frozenset([place]))

    def guessed(self, function: str, arguments: bytes) -> Guess | None:
        """What a call with these arguments (JSON) should ask for before it runs, None = nothing is known.
        Long ones are not looked through: nobody has checked them yet."""
        places = self._by_function.get(function)
        if places is None or not places.named or not 0 < len(arguments) <= HOT_ARGUMENTS_BYTES_MAX:
            return None
        return places.guessed(_names_in(orjson.loads(arguments)))

    def used(self, function: str, reads: ReadSet, guess: Guess | None, *, is_wanted: bool) -> None:
        """A run of the function had its turn, perhaps for a guess, and somebody else waited for it or not."""
        places = self._by_function.get(function)
        if places is not None:
            places.used(reads, guess.named if guess is not None else (), is_wanted=is_wanted)
