"""Snapshots that are asked more than once, while commits are folded into the view between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors import view_layout
from actors.index_view import IndexView
from actors.view_reader import ViewReader, ViewSnapshot
from functions.snapshot import Row
from log.record import DocumentWrite

from .test_index_view import BY_ID, CATALOG, INDEXES, KEYS, World


@pytest.mark.parametrize("seed", range(30))
def test_a_snapshot_gives_the_same_answers_however_often_it_is_asked_while_commits_go_on(
    tmp_path: Path, seed: int
) -> None:
    world = World(tmp_path / "view", seed)
    reader, rng = ViewReader(tmp_path / "view"), world.rng
    held: list[ViewSnapshot] = []
    for _ in range(40):
        world.commit()
        if rng.random() < 0.3:
            held.append(reader.snapshot(world.seq * 10 - rng.choice([0, 0, 3, 10])))
        if len(held) > 4:
            held.pop(0)
        if held and rng.random() < 0.3:
            world.view.prune(min(snapshot.ts for snapshot in held))
        for ours in rng.choices(held, k=4) if held else ():
            theirs = world.twin.snapshot(ours.ts)
            index_id, (start, end), descending = rng.choice(INDEXES), world.bounds(), rng.random() < 0.5
            facts = (seed, ours.ts, world.seq, index_id, start, end, descending)
            found = ours.scan(index_id, start, end, descending=descending, limit=100)
            assert found == theirs.scan(index_id, start, end, descending=descending, limit=100), facts
            key = rng.choice(KEYS)
            assert ours.get(index_id, key) == theirs.get(index_id, key), (*facts, key)
            assert ours.table_size(BY_ID) == theirs.table_size(BY_ID), facts
            assert ours.changed_keys(index_id, world.seq * 10) == theirs.changed_keys(
                index_id, world.seq * 10
            ), facts
    reader.close()
    world.view.close(clean=False)


def test_a_snapshot_reads_what_a_commit_replaced_once_and_no_more_of_it_than_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits, keys, unpacked = 50, [b"\x10%02d" % n for n in range(20)], list[bytes]()

    def counted(stored: bytes, *rest: Any) -> tuple[bytes, Row | None]:
        unpacked.append(stored)
        return view_layout.unpack_undo(stored, *rest)

    monkeypatch.setattr("actors.view_reader.unpack_undo", counted)
    view = IndexView(tmp_path / "view", CATALOG)

    def commit(seq: int) -> None:
        moves = [((BY_ID, key if seq > 1 else None, key),) for key in keys]
        writes = [DocumentWrite(b"tablet----------", "d", 0, 2, b"%02d" % seq, move) for move in moves]
        view.apply(seq, seq * 10, 0, tuple(writes))

    commit(1)
    snapshot = view.reader().snapshot(10)
    for seq in range(2, commits):
        commit(seq)
        for start in (b"", keys[10]):
            rows = snapshot.scan(BY_ID, start, None, descending=False, limit=5)
            assert [row.document for row in rows] == [b"01"] * 5
    assert sorted(unpacked) == keys
    view.close(clean=False)
