"""How much a table holds, as its view says: when it goes, and when nobody is told. That it is right at every
timestamp is shown with the other reads (test_index_view.py)."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from actors.index_view import IndexView
from actors.view_reader import ViewReader
from functions.snapshot import TableSize
from log.errors import BackendError, ErrorKind
from log.invariant import InvariantViolation
from log.record import DocumentWrite

from .test_index_view import BY_ID, CATALOG, KEYS, World


def test_the_size_of_a_table_goes_with_its_index_and_is_as_old_as_its_snapshot(tmp_path: Path) -> None:
    world = World(tmp_path / "view", 3)
    for _ in range(20):
        world.commit()
    reader = ViewReader(tmp_path / "view")
    while world.view.prune(100):
        pass
    assert reader.snapshot(200).table_size(BY_ID).documents > 0
    for ts, kind in ((99, ErrorKind.OUT_OF_RETENTION), (201, ErrorKind.OVERLOADED)):
        with pytest.raises(BackendError) as refused:
            reader.snapshot(ts).table_size(BY_ID)
        assert refused.value.kind is kind
    while not world.view.remove_index(BY_ID):
        pass
    world.view.prune(200)
    assert reader.snapshot(200).table_size(BY_ID) == TableSize()
    reader.close()
    world.view.close(clean=False)


def test_nothing_is_left_of_the_size_of_a_table_that_was_emptied(tmp_path: Path) -> None:
    view = IndexView(tmp_path / "view", CATALOG)

    def keys_held() -> int:
        with view._opened.environment.begin() as transaction:
            return int(transaction.stat(view._opened.meta)["entries"])

    view.apply(1, 10, 0, ())
    before = keys_held()
    view.apply(2, 20, 0, (DocumentWrite(b"t" * 16, "d", 0, 5, b"{}", ((BY_ID, None, KEYS[0]),)),))
    assert keys_held() == before + 1
    view.apply(3, 30, 0, (DocumentWrite(b"t" * 16, "d", 20, 0, None, ((BY_ID, KEYS[0], None),)),))
    assert keys_held() == before
    assert view.reader().snapshot(20).table_size(BY_ID) == TableSize(1, 5)
    view.close(clean=False)


@pytest.mark.parametrize("kept", [TableSize(0, 100), TableSize(2, 0)])
def test_a_size_that_is_less_than_what_goes_stops_the_view(tmp_path: Path, kept: TableSize) -> None:
    view = IndexView(tmp_path / "view", CATALOG)
    view.apply(1, 10, 0, (DocumentWrite(b"t" * 16, "d", 0, 5, b"{}", ((BY_ID, None, KEYS[0]),)),))
    with view._opened.environment.begin(write=True) as transaction:
        packed = struct.pack(">QQ", kept.documents, kept.bytes)
        transaction.put(b"size:" + BY_ID, packed, db=view._opened.meta)
    with pytest.raises(InvariantViolation):
        view.apply(2, 20, 0, (DocumentWrite(b"t" * 16, "d", 10, 0, None, ((BY_ID, KEYS[0], None),)),))
    view.close(clean=False)
