"""Figures of subscription matching: `python -m tests.benchmarks.subscriptions`. Prints, asserts nothing.

10,000 live queries over five indexes, each of three reads: half of them one key, most others a prefix or a
range, a few of all that follows a key. A commit is compared with all of them; those it hits are registered
again outside the measured time, as a re-run would. CPU time of the thread.
"""

from __future__ import annotations

import random
import time

from actors.projections.subscriptions import Subscriptions
from log.read_set import ReadSet
from log.record import DocumentWrite

QUERIES, COMMITS = 10_000, 3_000
INDEXES = tuple(bytes([number]) * 16 for number in range(1, 6))
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


def measure(keys: int) -> None:
    """Print what comparing commits of that many keys costs."""
    rng = random.Random(keys)
    subscriptions, ts = Subscriptions(0, frozenset()), 0
    live = {subscriber: random_query(rng) for subscriber in range(QUERIES)}
    for subscriber, reads in live.items():
        subscriptions.register(subscriber, reads, ts)
    times, hits = [], 0
    for _ in range(COMMITS):
        ts += 1
        writes = random_commit(rng, keys)
        before = time.thread_time_ns()
        found = subscriptions.advance(ts, "writer", writes)
        times.append((time.thread_time_ns() - before) / 1_000)
        hits += len(found)
        for hit in found:
            subscriptions.register(hit.subscriber, live[hit.subscriber], ts)
    times.sort()
    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    print(f"{keys:>2} keys  p50 {p50:6.1f} us  p99 {p99:6.1f} us  {hits / COMMITS:5.2f} hits a commit")


def main() -> None:
    for keys in (1, 3, 12):
        measure(keys)


if __name__ == "__main__":
    main()
