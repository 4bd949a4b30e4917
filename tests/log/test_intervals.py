"""IntervalSet against a list of the intervals that were added: more than 100,000 keys (spec 04 11, T1)."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from log.intervals import IntervalSet

from ..support.worlds import KEYS, random_bounds


@pytest.mark.parametrize("seed", range(1_000))
def test_an_interval_set_contains_exactly_what_was_added(seed: int) -> None:
    rng = random.Random(seed)
    ours, added = IntervalSet(), []
    for _ in range(rng.randrange(1, 12)):
        start, end = random_bounds(rng)
        ours.add(start, end)
        added.append((start, end))
        for key in (*KEYS, b"", b"zz", *(key + b"\x00" for key in KEYS)):
            expected = any(s <= key and (e is None or key < e) for s, e in added)
            assert ours.contains(key) == expected, (seed, added, key)
        intervals = list(ours)
        for (_, before_end), (after_start, _) in pairwise(intervals):
            assert before_end is not None and before_end < after_start, (seed, intervals)


@pytest.mark.parametrize("seed", range(300))
def test_overlapping_yields_exactly_the_intervals_that_share_a_key_in_order(seed: int) -> None:
    rng = random.Random(seed)
    ours = IntervalSet(random_bounds(rng) for _ in range(rng.randrange(6)))
    asked = [random_bounds(rng) for _ in range(10)] + [(b"", None), (b"", KEYS[0]), (KEYS[-1], None)]
    for start, end in asked:
        # Every interval starts at one of these keys, so two that overlap share one of them.
        inside = [key for key in (b"", *KEYS) if start <= key and (end is None or key < end)]
        expected = [(s, e) for s, e in ours if any(s <= key and (e is None or key < e) for key in inside)]
        assert list(ours.overlapping(start, end)) == expected, (seed, start, end, list(ours))


def test_touching_intervals_become_one() -> None:
    ours = IntervalSet([(b"a", b"b"), (b"c", b"d")])
    ours.add(b"b", b"c")
    assert list(ours) == [(b"a", b"d")]


def test_an_empty_interval_adds_nothing() -> None:
    assert list(IntervalSet([(b"b", b"b"), (b"c", b"a")])) == []


def test_an_interval_that_only_touches_is_not_overlapping() -> None:
    ours = IntervalSet([(b"b", b"c"), (b"d", b"e")])
    assert list(ours.overlapping(b"c", b"d")) == []
    assert list(ours.overlapping(b"bz", b"d\x00")) == [(b"b", b"c"), (b"d", b"e")]


def test_find_returns_the_interval_that_holds_the_key() -> None:
    ours = IntervalSet([(b"a", b"c"), (b"x", None)])
    assert ours.find(b"b") == (b"a", b"c")
    assert ours.find(b"c") is None
    assert ours.find(b"zzz") == (b"x", None)
