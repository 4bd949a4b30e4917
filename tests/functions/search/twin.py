"""The dumb twin of text search: every document tokenised and scored anew for each question, by loops."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from math import log
from typing import Any

LENGTHS_KEPT = [*range(40), *range(40, 56, 2), *range(56, 88, 4), *range(88, 152, 8), *range(152, 280, 16)]


def words(text: Any) -> list[str]:
    found = re.findall("[a-zA-Z0-9]+", text) if isinstance(text, str) else []
    return [word.lower() for word in found if len(word) < 32]


def twin_search(
    documents: Sequence[dict[str, Any]], text: str, equal: Sequence[tuple[str, Any]] = ()
) -> list[dict[str, Any]]:
    """The documents that answer, the best first, each with its `score`."""
    asked = words(text)[:16]
    texts = [words(document.get("body")) for document in documents]
    boosts = boosts_of({word for each in texts for word in each}, asked)
    found = []
    for document, own in zip(documents, texts, strict=True):
        matched = [term for term in boosts if term in own]
        fits = all(field in document and document[field] == value for field, value in equal)
        if matched and fits and len({field for field, _ in equal}) == len(equal):
            score = 0.0
            for term in matched:
                score = f32(score + boosts[term] * term_score(texts, own, term))
            found.append({**document, "score": score})
    found.sort(key=lambda each: (each["score"], each["_creationTime"], each["_id"]), reverse=True)
    return found[:1024]


def boosts_of(known: set[str], asked: Sequence[str]) -> dict[str, float]:
    exact = [(term, 1.0) for term in sorted(known) if term in asked]
    longer = [
        (term, 0.5) for term in sorted(known) if asked and term.startswith(asked[-1]) and term not in asked
    ]
    return dict([*exact, *longer][:64])


def term_score(texts: Sequence[Sequence[str]], own: Sequence[str], term: str) -> float:
    n = sum(1 for text in texts if term in text)
    average = f32(f32(sum(map(len, texts))) / len(texts))
    length = max(kept for kept in LENGTHS_KEPT if kept <= len(own))
    idf = f32(log(f32(1 + f32((len(texts) - n + 0.5) / (n + 0.5)))))
    norm = f32(f32(1.2) * f32(0.25 + f32(0.75 * f32(length / average))))
    tf = own.count(term)
    return f32(f32(idf * f32(2.2)) * f32(tf / f32(tf + norm)))


def f32(number: float) -> float:
    return struct.unpack("f", struct.pack("f", number))[0]
