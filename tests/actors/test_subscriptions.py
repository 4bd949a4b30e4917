"""Which live queries a commit touches: the interval index and the subscriptions against dumb twins."""

from __future__ import annotations

import random
from typing import Any

import pytest

from actors.projections.interval_index import IntervalIndex, _Block
from actors.projections.subscriptions import InvalidatedAt, Subscriptions, ValidThrough
from log.read_set import ReadSet

from ..support.worlds import (
    CATALOG_TABLET,
    KEYS,
    naive_hit,
    random_bounds,
    random_reads,
    random_writes,
    touched,
)

CATALOG = frozenset({CATALOG_TABLET})


@pytest.mark.parametrize("seed", range(200))
def test_a_stab_finds_exactly_the_intervals_that_hold_the_key(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.projections.interval_index._BLOCK_LENGTH_MAX", 4)
    rng = random.Random(seed)
    ours, held = IntervalIndex(), []
    for subscriber in range(60):
        if held and rng.random() < 0.4:
            gone = held.pop(rng.randrange(len(held)))
            ours.remove(*gone)
        key = rng.choice(KEYS)
        start, end = (key, key + b"\x00") if rng.random() < 0.3 else random_bounds(rng)
        ours.add(subscriber, start, end)
        held.append((subscriber, start, end))
        for key in KEYS:
            expected = {s for s, start, end in held if start <= key and (end is None or key < end)}
            assert set(ours.stab(key)) == expected, (seed, key, held)


@pytest.mark.parametrize("seed", range(400))
def test_no_invalidation_is_missed_and_none_is_invented(seed: int) -> None:
    rng = random.Random(seed)
    ours = Subscriptions(0, CATALOG)
    live: dict[int, ReadSet] = {}
    commits: list[tuple[int, tuple]] = []
    for step in range(1, 40):
        if rng.random() < 0.5:
            reads, ts = random_reads(rng), rng.randrange(max(0, ours.processed_ts - 2), ours.processed_ts + 1)
            hits = [commit_ts for commit_ts, writes in commits if commit_ts > ts and is_hit(reads, writes)]
            answer = ours.register(step, reads, ts)
            if hits:
                assert isinstance(answer, InvalidatedAt) and answer.ts in hits, (seed, step)
            else:
                assert answer == ValidThrough(ours.processed_ts), (seed, step)
                live[step] = reads
        elif live and rng.random() < 0.2:
            gone = rng.choice(list(live))
            ours.unregister(gone)
            del live[gone]
        else:
            writes = random_writes(rng)
            found = ours.advance(ours.processed_ts + 1, f"writer-{step}", writes)
            commits.append((ours.processed_ts, writes))
            expected = {subscriber for subscriber, reads in live.items() if is_hit(reads, writes)}
            assert {hit.subscriber for hit in found} == expected, (seed, step)
            assert all(hit.source == f"writer-{step}" for hit in found)
            for subscriber in expected:
                del live[subscriber]
    assert len(ours) == len(live), seed


def is_hit(reads: ReadSet, writes: tuple) -> bool:
    wrote_catalog = any(write.tablet_id == CATALOG_TABLET for write in writes)
    return (reads.reads_catalog and wrote_catalog) or naive_hit(list(reads.intervals()), writes)


def test_a_registration_older_than_the_window_is_answered_safely() -> None:
    ours = Subscriptions(100, CATALOG)
    assert ours.register(1, ReadSet(), 99) == InvalidatedAt(100)
    assert len(ours) == 0


def test_forgetting_what_is_not_there_changes_nothing_and_forgetting_all_leaves_nothing() -> None:
    ours = Subscriptions(0, CATALOG)
    for subscriber in range(20):
        ours.register(subscriber, random_reads(random.Random(subscriber)), 0)
    ours.unregister(999)
    assert len(ours) == 20
    for subscriber in range(20):
        ours.unregister(subscriber)
        ours.unregister(subscriber)
    assert len(ours) == 0 and not ours._by_index and not ours._of_catalog


def test_a_hit_names_the_key_that_was_written_and_the_catalog_has_none() -> None:
    seed = 5
    rng = random.Random(seed)
    for _ in range(300):
        ours, reads, writes = Subscriptions(0, CATALOG), random_reads(rng), random_writes(rng)
        ours.register(1, reads, 0)
        for hit in ours.advance(7, "m.js:f", writes):
            assert (hit.ts, hit.source) == (7, "m.js:f")
            if hit.index_id is None:
                assert reads.reads_catalog and any(write.tablet_id == CATALOG_TABLET for write in writes)
            else:
                assert hit.key is not None and reads.find(hit.index_id, hit.key) is not None, seed
                assert (hit.index_id, hit.key) in touched(writes), seed


def test_blocks_are_neither_long_nor_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.projections.interval_index._BLOCK_LENGTH_MAX", 8)
    rng, ours = random.Random(7), IntervalIndex()
    for subscriber in range(400):
        ours.add(subscriber, b"%03d" % rng.randrange(1000), b"999\xff")
    lengths = [len(block.entries) for block in ours._blocks]
    assert sum(lengths) == 400 and max(lengths) <= 8, lengths
    assert len(lengths) <= 2 * 400 / 8, "a block is split into halves, and only when it is too long"


def test_a_stab_opens_no_block_that_ends_before_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.projections.interval_index._BLOCK_LENGTH_MAX", 8)
    opened = []
    stab = _Block.stab
    monkeypatch.setattr(_Block, "stab", lambda block, key: opened.append(block) or stab(block, key))
    ours = IntervalIndex()
    for subscriber in range(200):
        ours.add(subscriber, b"%03d" % subscriber, b"%03d" % (subscriber + 2))
    ours.add(999, b"100", None)
    assert ours.stab(b"050x") == [50, 49] and len(opened) <= 2
    opened.clear()
    assert set(ours.stab(b"150x")) == {149, 150, 999} and len(opened) <= 3


class CountedList(list[Any]):
    """Counts what is read from it."""

    reads = 0

    def __getitem__(self, position: Any) -> Any:
        self.reads += 1
        return super().__getitem__(position)


def test_a_block_of_narrow_intervals_is_searched_and_not_walked() -> None:
    block = _Block([(b"%03d" % number, number, b"%03d" % (number + 1)) for number in range(128)])
    block.entries = entries = CountedList(block.entries)
    assert block.stab(b"100x") == [100]
    assert entries.reads <= 7 + 1, "halvings of 128, and the one that holds the key"
    entries.reads = 0
    block.add((b"010x", 999, b"012"))
    block.remove((b"010x", 999, b"012"))
    assert entries.reads <= 2 * (8 + 3), "up to the first reach that is as it was"


def test_only_an_interval_that_holds_one_key_is_kept_as_a_point() -> None:
    ours = IntervalIndex()
    ours.add(1, b"a", b"a\x00")
    ours.add(2, b"a", b"ab")
    assert set(ours.stab(b"a")) == {1, 2}
    assert set(ours.stab(b"aa")) == {2}
    ours.remove(2, b"a", b"ab")
    assert set(ours.stab(b"a")) == {1} and set(ours.stab(b"aa")) == set()
