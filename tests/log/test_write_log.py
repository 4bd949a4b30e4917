"""The window of recent writes against a list of commits."""

from __future__ import annotations

import random

import pytest

from log.read_set import ReadSet
from log.record import DocumentWrite
from log.write_log import Conflict, WriteLog

from ..support.worlds import (
    CATALOG_TABLET,
    INDEXES,
    TABLET,
    WORD_INDEX,
    naive_hit,
    random_reads,
    random_writes,
)

CATALOG = frozenset({CATALOG_TABLET})


@pytest.mark.parametrize("seed", range(400))
def test_a_conflict_is_found_exactly_when_something_read_was_written_after(seed: int) -> None:
    rng = random.Random(seed)
    ours, commits = WriteLog(forgotten_ts=0), []
    for ts in range(1, rng.randrange(2, 15)):
        writes = random_writes(rng)
        ours.append(ts, f"writer-{ts}", writes, CATALOG)
        commits.append((ts, writes))
        reads, begin_ts = random_reads(rng), rng.randrange(ts + 1)
        flat = list(reads.intervals())
        expected = {
            commit_ts
            for commit_ts, written in commits
            if commit_ts > begin_ts
            and (
                naive_hit(flat, written)
                or (reads.reads_catalog and any(w.tablet_id == CATALOG_TABLET for w in written))
            )
        }
        found = ours.first_conflict(reads, begin_ts)
        assert (found is not None) == bool(expected), (seed, ts, begin_ts)
        if found is not None:
            assert found.ts in expected, (seed, ts, begin_ts)
            assert found.source == f"writer-{found.ts}"


def test_of_two_texts_one_shares_a_word_with_what_was_read_and_only_it_conflicts() -> None:
    ours, reads = WriteLog(forgotten_ts=0), ReadSet()
    reads.add_key(WORD_INDEX, b"word")
    for ts, words in enumerate(((b"other", b"words"), (b"one", b"word"), (b"others",)), start=1):
        ours.append(ts, "", (DocumentWrite(TABLET, "d", 0, 2, b"{}", (), ((WORD_INDEX, words),)),), CATALOG)
    place, key = (WORD_INDEX, b"word", b"word\x00"), (WORD_INDEX, b"word")
    assert ours.first_conflict(reads, 0) == Conflict(2, (place,), "", key)
    assert ours.first_conflict(reads, 2) is None


def test_forgetting_drops_old_commits_and_raises_the_mark() -> None:
    ours = WriteLog(forgotten_ts=0)
    rng = random.Random(1)
    for ts in range(1, 6):
        ours.append(ts, "", random_writes(rng), CATALOG)
    ours.forget_through(3)
    assert ours.forgotten_ts == 3
    assert [entry.ts for entry in ours._entries] == [4, 5]


def test_trimming_by_size_never_forgets_what_is_younger_than_the_minimum_age() -> None:
    ours = WriteLog(forgotten_ts=0)
    rng = random.Random(2)
    for ts in range(1, 101):
        ours.append(ts, "", random_writes(rng), CATALOG)
    ours.trim(100, age_ns_min=30, age_ns_max=300, bytes_max=1)
    assert ours.forgotten_ts == 70
    assert ours.bytes_held == sum(entry.bytes_held for entry in ours._entries)


def test_forgetting_everything_leaves_nothing_behind() -> None:
    ours = WriteLog(forgotten_ts=0)
    rng = random.Random(3)
    for ts in range(1, 6):
        ours.append(ts, "", random_writes(rng), CATALOG)
    ours.forget_through(99)
    assert (ours.forgotten_ts, ours.bytes_held) == (99, 0)
    assert not ours._entries and not ours._by_index and not ours._catalog_ts


@pytest.mark.parametrize(("now_ts", "forgotten_ts"), [(99, 0), (100, 0), (101, 1), (150, 50), (250, 150)])
def test_trimming_by_age_forgets_exactly_what_is_older_than_the_maximum(
    now_ts: int, forgotten_ts: int
) -> None:
    ours = WriteLog(forgotten_ts=0)
    rng = random.Random(4)
    for ts in range(1, 101):
        ours.append(ts, "", random_writes(rng), CATALOG)
    ours.trim(now_ts, age_ns_min=30, age_ns_max=100, bytes_max=1 << 30)
    assert ours.forgotten_ts == forgotten_ts
    assert [entry.ts for entry in ours._entries] == list(range(forgotten_ts + 1, 101))


@pytest.mark.parametrize("now_ts", [100, 130, 149])
def test_a_window_that_forgets_nothing_still_judges_what_began_long_before_it(now_ts: int) -> None:
    ours = WriteLog(forgotten_ts=0)
    ours.append(50, "", random_writes(random.Random(5)), CATALOG)
    ours.trim(now_ts, age_ns_min=30, age_ns_max=100, bytes_max=1 << 30)
    assert ours.forgotten_ts == 0


def test_a_key_that_a_write_keeps_is_held_once() -> None:
    kept, removed = WriteLog(forgotten_ts=0), WriteLog(forgotten_ts=0)
    kept.append(1, "", (DocumentWrite(TABLET, "d", 0, 2, b"{}", ((INDEXES[0], b"k", b"k"),)),), CATALOG)
    removed.append(1, "", (DocumentWrite(TABLET, "d", 0, 2, None, ((INDEXES[0], b"k", None),)),), CATALOG)
    assert kept.bytes_held == removed.bytes_held
