"""Figures of subscription matching: `python -m tests.benchmarks.subscriptions`. Prints, asserts nothing.

10,000 live queries over five indexes, each of three reads: half of them one key, most others a prefix or a
range, a few of all that follows a key. A commit is compared with all of them; those it hits are registered
again outside the measured time, as a re-run would. CPU time of the thread.

Then 10,000 live searches of one index, for two or three words each, and commits of one document of 30 words
drawn as in natural text. With whole tables as read sets each commit would hit all 10,000.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from itertools import accumulate

from actors.projections.subscriptions import Subscriptions
from functions.indexes import SEARCH, Index
from functions.search.words import words_read, words_touched
from log.read_set import ReadSet
from log.record import DocumentWrite

QUERIES, COMMITS = 10_000, 3_000
INDEXES = tuple(bytes([number]) * 16 for number in range(1, 6))
SEARCH_INDEX = Index(b"search----------", "by_body", (("body",),), kind=SEARCH)
TABLET = b"tablet----------"
KEY_NUMBERS = 1_000_000


def key(number: int) -> bytes:
    return b"channel %03d/%06d" % divmod(number, 1_000)


def random_query(rng: random.Random) -> ReadSet:
    reads = ReadSet()
    reads.reads_catalog = True
    for _ in range(3):
        index_id, number, kind = rng.choice(INDEXES), rng.randrange(KEY_NUMBERS), rng.random()
        if kind < 0.5:
            reads.add_key(index_id, key(number))
        elif kind < 0.65:
            prefix = key(number)[: -rng.choice((1, 2))]
            reads.add(index_id, prefix, prefix + b"\xff")
        elif kind < 0.9999:
            reads.add(index_id, key(number), key(number + rng.randrange(1, 50)))
        else:
            reads.add(index_id, key(number), None)
    return reads


def random_commit(rng: random.Random, keys: int) -> tuple[DocumentWrite, ...]:
    """Inserts, or from six keys on moves, of one document for each three indexes."""

    def random_key() -> bytes:
        return key(rng.randrange(KEY_NUMBERS))

    if keys < 6:
        inserted = tuple((index_id, None, random_key()) for index_id in INDEXES[:keys])
        return (DocumentWrite(TABLET, "document", 0, 10, b"{}", inserted),)
    return tuple(
        DocumentWrite(
            TABLET,
            f"document-{number}",
            0,
            10,
            b"{}",
            tuple((index_id, random_key(), random_key()) for index_id in INDEXES[:3]),
        )
        for number in range(keys // 6)
    )


class Words:
    """Of 20,000; the one of rank n is drawn about 1/n as often as the first."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._words = ["".join(rng.choices("etaoinshrdlu", k=rng.randrange(3, 9))) for _ in range(20_000)]
        self._weights = list(accumulate(1 / rank for rank in range(1, len(self._words) + 1)))

    def draw(self, count: int) -> list[str]:
        return self._rng.choices(self._words, cum_weights=self._weights, k=count)

    def search(self) -> ReadSet:
        """Not for the most frequent words: who searches does not ask for "the"."""
        reads = ReadSet()
        reads.reads_catalog = True
        for start, end in words_read(self._rng.choices(self._words[100:], k=self._rng.choice((2, 3)))):
            reads.add(SEARCH_INDEX.index_id, start, end)
        return reads

    def commit(self) -> tuple[DocumentWrite, ...]:
        words = words_touched((SEARCH_INDEX,), None, {"body": " ".join(self.draw(30))}, 1_000)
        return (DocumentWrite(TABLET, "document", 0, 10, b"{}", ((INDEXES[0], None, b"d"),), words),)


def measure_keys(keys: int) -> None:
    """Print what comparing commits of that many keys costs."""
    rng = random.Random(keys)
    measure(f"{keys:>2} keys ", lambda: random_query(rng), lambda: random_commit(rng, keys))


def measure_words() -> None:
    words = Words(random.Random(1))
    measure("30 words", words.search, words.commit)


def measure(
    what: str, make_query: Callable[[], ReadSet], make_commit: Callable[[], tuple[DocumentWrite, ...]]
) -> None:
    subscriptions, ts = Subscriptions(0, frozenset()), 0
    live = {subscriber: make_query() for subscriber in range(QUERIES)}
    for subscriber, reads in live.items():
        subscriptions.register(subscriber, reads, ts)
    times, hits = [], 0
    for _ in range(COMMITS):
        ts += 1
        writes = make_commit()
        before = time.thread_time_ns()
        found = subscriptions.advance(ts, "writer", writes)
        times.append((time.thread_time_ns() - before) / 1_000)
        hits += len(found)
        for hit in found:
            subscriptions.register(hit.subscriber, live[hit.subscriber], ts)
    times.sort()
    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    print(f"{what}  p50 {p50:6.1f} us  p99 {p99:6.1f} us  {hits / COMMITS:5.2f} hits a commit")


def main() -> None:
    for keys in (1, 3, 12):
        measure_keys(keys)
    measure_words()


if __name__ == "__main__":
    main()
