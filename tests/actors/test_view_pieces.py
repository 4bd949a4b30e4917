"""Rows of more than a page: each of their pieces belongs to one entry of the view, and goes with it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from actors import view_layout
from actors.index_view import IndexView
from log import limits
from log.record import DocumentWrite

from .test_index_view import INDEXES, World

KEY = b"\x10a"


def owners(view: IndexView) -> tuple[list[int], set[int]]:
    """Who the rows of a view say owns pieces, and who does."""
    opened, named = view._opened, list[int]()
    with opened.environment.begin() as transaction:
        current = [value for _, value in transaction.cursor(db=opened.current)]
        undone = [view_layout.row_in_undo(value) for _, value in transaction.cursor(db=opened.undo)]
        for row in (*current, *undone):
            assert row is None or len(row) < limits.VIEW_VALUE_BYTES_MAX, "a row, also in undo, fits a page"
            reference = view_layout.reference_of(row) if row is not None else None
            named += [reference[0]] if reference is not None else []
        held = {int.from_bytes(key[:8], "big") for key, _ in transaction.cursor(db=opened.pieces)}
    return named, held


@pytest.mark.parametrize("seed", range(20))
def test_pieces_have_one_owner_each_and_go_with_it(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path / "view", seed)
    apply, had_pieces = world.view.apply_batch, False
    for _ in range(60):
        step, ts = world.rng.random(), world.seq * 10
        if step < 0.2:
            world.view.prune(ts - world.rng.choice([0, 50]))
        elif step < 0.3 and world.seq:
            rows = world.view.reader().snapshot(ts).scan(INDEXES[0], b"", None, descending=False, limit=9)
            world.view.insert_backfilled(INDEXES[1], [(row.key, row) for row in rows])
            world.view.remove_index(INDEXES[1])
            world.documents = {name: [keys[0]] * 2 for name, keys in world.documents.items()}
            world.view.insert_backfilled(INDEXES[1], [(row.key, row) for row in rows])
        else:
            with_undo = world.rng.random() < 0.7
            world.view.apply_batch = partial(apply, with_undo=with_undo)  # type: ignore[method-assign]
            world.commit()
        named, held = owners(world.view)
        assert len(set(named)) == len(named) and set(named) == held, (seed, world.seq)
        had_pieces |= bool(held)
    assert had_pieces, seed
    while world.view.prune(world.seq * 10):
        pass
    for index_id in INDEXES:
        while not world.view.remove_index(index_id):
            pass
    assert owners(world.view) == ([], set()), seed
    world.view.close(clean=False)


def test_a_key_that_is_stored_whole_is_not_kept_a_second_time() -> None:
    short, long = b"k" * (view_layout.KEY_PREFIX_BYTES), b"k" * 600
    for key, is_kept in ((short, False), (long, True)):
        row, absent = view_layout.pack_row(key, 1, 2, b"{}"), view_layout.pack_undo(key, None)
        assert (key in row) == (key in absent) == is_kept


def revision(ts: int, document_bytes: int) -> tuple[int, int, int, tuple[DocumentWrite, ...]]:
    """A commit of another text of the one document, as a batch holds it. Its seq is its ts."""
    document, old = str(ts).encode() * document_bytes, KEY if ts > 1 else None
    write = DocumentWrite(b"tablet", "id", 0, 1, document[:document_bytes], ((INDEXES[0], old, KEY),))
    return ts, ts, 0, (write,)


@pytest.mark.parametrize("is_beyond", [False, True])
def test_a_row_that_fits_a_page_is_not_in_pieces_and_one_byte_more_is(
    tmp_path: Path, is_beyond: bool
) -> None:
    view = IndexView(tmp_path / "view", frozenset())
    head = len(view_layout.pack_row(KEY, 1, 1, b""))
    view.apply_batch([revision(1, limits.VIEW_VALUE_BYTES_MAX - 1 - head + is_beyond)])
    assert len(owners(view)[1]) == is_beyond
    view.close(clean=False)


def test_what_a_batch_writes_and_replaces_is_in_undo_in_pieces(tmp_path: Path) -> None:
    view = IndexView(tmp_path / "view", frozenset())
    view.apply_batch([revision(ts, 9_000) for ts in (1, 2, 3)])
    named, held = owners(view)
    assert len(named) == len(held) == 3
    for ts in (1, 2, 3):
        row = view.reader().snapshot(ts).get(INDEXES[0], KEY)
        assert row is not None and row.document == str(ts).encode() * 9_000
    view.close(clean=False)
