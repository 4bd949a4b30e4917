"""An inverted index of one field of one table, in memory: who contains which word, how often, how long it is.

A document is named by its key in the index `by_id`. `put` replaces what an index knows of one document and
returns what it knew, so that a change can be taken back: `put(key, put(key, entry))` changes nothing.

Promise: the index is a function of the entries put last, whatever was put before.

Read in this order: TextIndex.put, entry_of; scoring is in functions/search/scoring.py.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from functions.search.tokens import tokens_of
from functions.snapshot import Row
from log import values
from log.keys import encode_item, field_at
from log.limits import SEARCH_FILTER_BYTES_MAX

FieldPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextEntry:
    """What an index knows of one revision of a document. `counts` belongs to `terms` by position."""

    revision_ts: int
    creation_time: float
    length: int  # in tokens
    terms: tuple[str, ...]
    counts: array[int]
    filters: tuple[bytes, ...]  # by position of the filter field


class Postings:
    """The documents that contain one term, by ordinal, with the number of times; ordinals ascend."""

    __slots__ = ("counts", "ordinals")

    def __init__(self) -> None:
        self.ordinals: array[int] = array("Q")
        self.counts: array[int] = array("I")

    def __len__(self) -> int:
        return len(self.ordinals)

    def add(self, ordinal: int, count: int) -> None:
        """`ordinal` is above every held one."""
        self.ordinals.append(ordinal)
        self.counts.append(count)

    def remove(self, ordinal: int) -> None:
        position = bisect_left(self.ordinals, ordinal)
        del self.ordinals[position]
        del self.counts[position]


class TextIndex:
    """See the module text. Every `put` of an entry takes a new ordinal, so postings only grow at the end."""

    def __init__(self, search_field: FieldPath, filter_fields: tuple[FieldPath, ...]) -> None:
        self._search_field, self._filter_fields = search_field, filter_fields
        self._ordinals: dict[bytes, int] = {}
        self.documents: dict[int, tuple[bytes, TextEntry]] = {}  # by ordinal; changed by `put` alone
        self._postings: dict[str, Postings] = {}
        self._terms: list[str] | None = None  # of `_postings`, in order; from the first prefix on
        self._next_ordinal = 0
        self.total_tokens = 0

    def __len__(self) -> int:
        """How many documents there are, those without a word among them (spec 04 5.1)."""
        return len(self._ordinals)

    # --- what it holds ------------------------------------------------------------------------------

    def keys(self) -> Iterator[bytes]:
        return iter(self._ordinals)

    def revision_of(self, key: bytes) -> int | None:
        ordinal = self._ordinals.get(key)
        return self.documents[ordinal][1].revision_ts if ordinal is not None else None

    def postings(self, term: str) -> Postings | None:
        """None when no document contains the term."""
        return self._postings.get(term)

    def terms_from(self, prefix: str, count_max: int) -> list[str]:
        """The first terms that begin with `prefix`, in order."""
        if self._terms is None:
            self._terms = sorted(self._postings)
        start = bisect_left(self._terms, prefix)
        found = self._terms[start : start + count_max]
        return [term for term in found if term.startswith(prefix)]

    # --- changes ------------------------------------------------------------------------------------

    def entry_of(self, row: Row) -> TextEntry:
        """What this index is to know of a revision; nothing changes."""
        document: Any = values.loads_canonical(row.document)
        text = field_at(document, self._search_field)
        counts = Counter(tokens_of(text)) if isinstance(text, str) else Counter()
        return TextEntry(
            revision_ts=row.revision_ts,
            creation_time=document["_creationTime"],
            length=counts.total(),
            terms=tuple(counts),
            counts=array("I", counts.values()),
            filters=tuple(filter_term(field_at(document, path)) for path in self._filter_fields),
        )

    def put(self, key: bytes, entry: TextEntry | None) -> TextEntry | None:
        """The document is as `entry` says from now on, or gone; returns what it was."""
        before = self._remove(key)
        if entry is not None:
            self._add(key, entry)
        return before

    def _add(self, key: bytes, entry: TextEntry) -> None:
        ordinal = self._next_ordinal
        self._next_ordinal += 1
        self._ordinals[key] = ordinal
        self.documents[ordinal] = key, entry
        self.total_tokens += entry.length
        for term, count in zip(entry.terms, entry.counts, strict=True):
            postings = self._postings.get(term)
            if postings is None:
                postings = self._postings[term] = Postings()
                if self._terms is not None:
                    insort(self._terms, term)
            postings.add(ordinal, count)

    def _remove(self, key: bytes) -> TextEntry | None:
        ordinal = self._ordinals.pop(key, None)
        if ordinal is None:
            return None
        _key, entry = self.documents.pop(ordinal)
        self.total_tokens -= entry.length
        for term in entry.terms:
            postings = self._postings[term]
            postings.remove(ordinal)
            if not postings:
                del self._postings[term]
                if self._terms is not None:
                    del self._terms[bisect_left(self._terms, term)]
        return entry


def filter_term(value: Any) -> bytes:
    """The bytes two filter values have in common when they are equal (spec 04 5.1)."""
    item = encode_item(value)
    return item if len(item) <= SEARCH_FILTER_BYTES_MAX else hashlib.sha256(item).digest()
