"""The vectors of one field of one table, in memory: exact search by cosine, in 32-bit floats (spec 04 6.1).

Documents are named and put as in functions/search/text_index.py. Only arrays of exactly as many floats as the
index has dimensions have a vector; every other document is held without one, and never found.

The only file that imports NumPy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from functions.search.text_index import FieldPath, filter_term
from functions.snapshot import Row
from log import values
from log.keys import field_at

Vector = NDArray[np.float32]
Condition = tuple[int, bytes]
"""(position of a filter field, the term its value must have)."""

_SLOTS_FIRST = 64


@dataclass(frozen=True, slots=True)
class VectorEntry:
    """What an index knows of one revision of a document. `unit` has length 1, or 0."""

    revision_ts: int
    unit: Vector | None
    filters: tuple[bytes, ...]  # by position of the filter field


class VectorIndex:
    """One row of a matrix for each document with a vector; rows of removed ones are used again."""

    def __init__(
        self, vector_field: FieldPath, dimensions: int, filter_fields: tuple[FieldPath, ...]
    ) -> None:
        self._vector_field, self._dimensions, self._filter_fields = vector_field, dimensions, filter_fields
        self._entries: dict[bytes, VectorEntry] = {}  # without their vectors: those are in the matrix
        self._slots: dict[bytes, int] = {}
        self._keys: list[bytes | None] = []  # by slot; None: free
        self._free: list[int] = []
        self._matrix: Vector = np.zeros((_SLOTS_FIRST, dimensions), np.float32)
        self._slots_by_term: dict[Condition, set[int]] = {}

    def keys(self) -> Iterator[bytes]:
        return iter(self._entries)

    def revision_of(self, key: bytes) -> int | None:
        entry = self._entries.get(key)
        return entry.revision_ts if entry is not None else None

    # --- searching ----------------------------------------------------------------------------------

    def nearest(
        self, vector: Sequence[float], count: int, any_of: Collection[Condition] | None
    ) -> list[tuple[float, bytes]]:
        """Up to `count` (score, key), the best first, of equal ones the highest key. With `any_of`, only
        documents that meet one of these conditions."""
        slots = self._slots_that_meet(any_of)
        count = min(count, len(slots))
        if not count:
            return []
        if any_of is None:  # without a copy of the vectors
            scores = (self._matrix[: len(self._keys)] @ unit_of(vector))[slots]
        else:
            scores = self._matrix[slots] @ unit_of(vector)
        least = np.partition(scores, len(slots) - count)[len(slots) - count]  # those tied with it are kept
        found = [
            (float(scores[position]) + 0.0, self._key_at(slots[position]))  # never -0
            for position in np.flatnonzero(scores >= least)
        ]
        found.sort(reverse=True)
        return found[:count]

    def _slots_that_meet(self, any_of: Collection[Condition] | None) -> NDArray[np.intp]:
        if any_of is None:
            slots: Collection[int] = self._slots.values()
        else:
            slots = set[int]().union(*(self._slots_by_term.get(condition, ()) for condition in any_of))
        return np.fromiter(slots, np.intp, len(slots))

    def _key_at(self, slot: int) -> bytes:
        key = self._keys[slot]
        assert key is not None
        return key

    # --- changes ------------------------------------------------------------------------------------

    def entry_of(self, row: Row) -> VectorEntry:
        """What this index is to know of a revision; nothing changes."""
        document: Any = values.loads_canonical(row.document)
        found: Any = field_at(document, self._vector_field)
        is_vector = type(found) is list and len(found) == self._dimensions
        unit = unit_of(found) if is_vector and all(type(number) is float for number in found) else None
        filters = tuple(filter_term(field_at(document, path)) for path in self._filter_fields)
        return VectorEntry(row.revision_ts, unit, filters)

    def put(self, key: bytes, entry: VectorEntry | None) -> VectorEntry | None:
        """The document is as `entry` says from now on, or gone; returns what it was."""
        before = self._remove(key)
        if entry is not None:
            self._entries[key] = replace(entry, unit=None)
            if entry.unit is not None:
                self._add_vector(key, entry, entry.unit)
        return before

    def _add_vector(self, key: bytes, entry: VectorEntry, unit: Vector) -> None:
        if self._free:
            slot = self._free.pop()
            self._keys[slot] = key
        else:
            slot = len(self._keys)
            self._keys.append(key)
            if slot == len(self._matrix):
                grown = np.zeros((2 * slot, self._dimensions), np.float32)  # what is not used costs no memory
                grown[:slot] = self._matrix
                self._matrix = grown
        self._slots[key] = slot
        self._matrix[slot] = unit
        for condition in enumerate(entry.filters):
            self._slots_by_term.setdefault(condition, set()).add(slot)

    def _remove(self, key: bytes) -> VectorEntry | None:
        entry = self._entries.pop(key, None)
        slot = self._slots.pop(key, None)
        if entry is not None and slot is not None:
            unit = self._matrix[slot].copy()
            self._keys[slot] = None
            self._free.append(slot)
            for condition in enumerate(entry.filters):
                slots = self._slots_by_term[condition]
                slots.remove(slot)
                if not slots:
                    del self._slots_by_term[condition]
            return replace(entry, unit=unit)
        return entry


def unit_of(numbers: Sequence[float]) -> Vector:
    """The vector of length 1 in that direction. What has no direction becomes all zeros, and scores 0."""
    with np.errstate(all="ignore"):
        vector = np.asarray(numbers, np.float64).astype(np.float32).astype(np.float64)
        length = float(np.sqrt(vector @ vector))
        if not np.isfinite(length) or length == 0.0:
            return np.zeros(len(vector), np.float32)
        return (vector / length).astype(np.float32)
