"""Which documents answer a search, and in which order: BM25 in 32-bit floats (spec 04 5.3).

The score of a document is the sum over the matched terms of

    boost * idf * (K1 + 1) * tf / (tf + K1 * (1 - B + B * dl / avgdl))

where tf is how often the document has the term, dl its length in tokens, rounded down as a byte would hold
it, and idf is taken from exact statistics of the moment. Every step is rounded to 32 bits.
"""

from __future__ import annotations

import heapq
import math
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from functions.search.text_index import TextIndex
from log.limits import SEARCH_QUERY_TERMS_MAX, SEARCH_QUERY_TOKENS_MAX, SEARCH_RESULTS_MAX

K1, B = 1.2, 0.75
BOOST_EXACT, BOOST_PREFIX = 1.0, 0.5
_EXACT_LENGTHS = 24
"""Lengths below it plus 16 are kept as they are; above, three bits after the first are (spec 04 5.3)."""
_FLOAT32 = struct.Struct("<f")


class Hit(NamedTuple):
    """A document that answers a search. The best of two is the larger one."""

    score: float
    creation_time: float
    key: bytes  # in by_id, which orders as internal ids do
    revision_ts: int


def best_hits(index: TextIndex, tokens: Sequence[str], filters: Sequence[tuple[int, bytes]]) -> list[Hit]:
    """At most SEARCH_RESULTS_MAX, the best first. `filters` are (position of the filter field, its term)."""
    scores: dict[int, float] = {}
    for term, boost in matched_terms(index, tokens):
        _add_scores(index, term, boost, scores)
    if filters:
        scores = {ordinal: score for ordinal, score in scores.items() if _fits(index, ordinal, filters)}
    if not scores:
        return []
    least = heapq.nlargest(SEARCH_RESULTS_MAX, scores.values())[-1]  # cheaper than to order all hits
    hits = []
    for ordinal, score in scores.items():
        if score >= least:
            key, entry = index.documents[ordinal]
            hits.append(Hit(score, entry.creation_time, key, entry.revision_ts))
    return heapq.nlargest(SEARCH_RESULTS_MAX, hits)


def _fits(index: TextIndex, ordinal: int, filters: Sequence[tuple[int, bytes]]) -> bool:
    _key, entry = index.documents[ordinal]
    return all(entry.filters[position] == wanted for position, wanted in filters)


def matched_terms(index: TextIndex, tokens: Sequence[str]) -> list[tuple[str, float]]:
    """The terms of the index that a query asks for, each with its boost: every token as it is, the last one
    as a prefix too."""
    asked = tokens[:SEARCH_QUERY_TOKENS_MAX]
    exact = sorted({token for token in asked if index.postings(token) is not None})
    matched = [(term, BOOST_EXACT) for term in exact]
    if asked:
        longer = index.terms_from(asked[-1], SEARCH_QUERY_TERMS_MAX + len(exact))
        matched += [(term, BOOST_PREFIX) for term in longer if term not in exact]
    return matched[:SEARCH_QUERY_TERMS_MAX]


def _add_scores(index: TextIndex, term: str, boost: float, scores: dict[int, float]) -> None:
    postings = index.postings(term)
    assert postings is not None
    score_of = _scorer(index, len(postings), boost)
    known: dict[tuple[int, int], float] = {}  # few lengths and counts are many documents
    documents = index.documents
    for ordinal, count in zip(postings.ordinals, postings.counts, strict=True):
        place = count, documents[ordinal][1].length
        score = known.get(place)
        if score is None:
            score = known[place] = score_of(*place)
        before = scores.get(ordinal)
        scores[ordinal] = score if before is None else float32(before + score)


def _scorer(index: TextIndex, document_frequency: int, boost: float) -> Callable[[int, int], float]:
    """(count of the term, length of the document) -> what the term adds to the score."""
    count, frequency = len(index), document_frequency
    idf = float32(math.log(float32(1 + float32((count - frequency + 0.5) / (frequency + 0.5)))))
    weight = float32(float32(idf * float32(1 + float32(K1))) * boost)
    average = float32(float32(index.total_tokens) / float32(count))

    def score(term_count: int, length: int) -> float:
        share = float32(float32(B) * float32(kept_length(length) / average))
        norm = float32(float32(K1) * float32(float32(1 - float32(B)) + share))
        return float32(weight * float32(term_count / float32(term_count + norm)))

    return score


def kept_length(length: int) -> int:
    """The length as one byte holds it: exact up to 40, then rounded down in ever larger steps."""
    rest = length - _EXACT_LENGTHS
    if rest < 16:
        return length
    shift = rest.bit_length() - 4
    return _EXACT_LENGTHS + (rest >> shift << shift)


def float32(number: float) -> float:
    """The nearest number of 32 bits."""
    return _FLOAT32.unpack(_FLOAT32.pack(number))[0]  # type: ignore[no-any-return]
