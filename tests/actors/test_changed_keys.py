"""Which keys changed between two timestamps, as every kind of snapshot says it, against all rows compared."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from actors.ahead_snapshot import AheadSnapshot
from actors.projections.documents import MemoryView
from actors.view_reader import ViewReader
from functions.snapshot import Row, SnapshotReader

from ..support.worlds import CATALOG_TABLET
from .test_ahead_snapshot import History
from .test_index_view import INDEXES, World

COMMITS = 12


def rows_of(snapshot: SnapshotReader, index_id: bytes) -> dict[bytes, Row]:
    rows = snapshot.scan(index_id, b"", None, descending=False, limit=1 << 30)
    return {row.key: row for row in rows}


def different(left: SnapshotReader, right: SnapshotReader, index_id: bytes) -> set[bytes]:
    before, after = rows_of(left, index_id), rows_of(right, index_id)
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


@pytest.mark.parametrize("seed", range(20))
def test_every_key_that_differs_is_named_in_both_directions(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed)
    for _ in range(COMMITS):
        world.commit()
    reader = ViewReader(tmp_path)
    for left in range(10, 10 * COMMITS + 1, 10):
        for right in range(10, 10 * COMMITS + 1, 10):
            for index_id in INDEXES:
                here, there = reader.snapshot(left), reader.snapshot(right)
                named = here.changed_keys(index_id, right)
                assert named is not None
                assert different(here, there, index_id) <= named, (seed, left, right)
                assert named == world.twin.snapshot(left).changed_keys(index_id, right), (seed, left, right)
    reader.close()
    world.view.close(clean=False)


def test_what_was_pruned_is_not_remembered(tmp_path: Path) -> None:
    world = World(tmp_path, 1)
    for _ in range(COMMITS):
        world.commit()
    world.view.prune(50)
    reader = ViewReader(tmp_path)
    newest = reader.snapshot(10 * COMMITS)
    assert newest.changed_keys(INDEXES[0], 40) is None
    assert reader.snapshot(40).changed_keys(INDEXES[0], 40) == set(), "nothing is between a moment and itself"
    assert newest.changed_keys(INDEXES[0], 50) == world.twin.snapshot(10 * COMMITS).changed_keys(
        INDEXES[0], 50
    )
    reader.close()
    world.view.close(clean=False)


@pytest.mark.parametrize("seed", range(20))
def test_commits_ahead_of_the_view_are_named_too(seed: int) -> None:
    rng = random.Random(seed)
    history = History(rng)
    while len(history.commits) < COMMITS:
        history.grow(may_write_catalog=False)
    twin = MemoryView(frozenset({CATALOG_TABLET}))
    for ts, body in history.commits:
        twin.apply(ts, body.writes)
    base = twin.snapshot(10 * (COMMITS - 3))
    ahead = AheadSnapshot(base, history.commits[-3:])
    assert ahead.published is base
    for index_id in INDEXES:
        named = ahead.changed_keys(index_id, base.ts)
        assert named is not None
        assert different(ahead, base, index_id) <= named, seed
