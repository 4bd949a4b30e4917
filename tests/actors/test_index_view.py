"""The LMDB view against its in-memory twin: every read at every timestamp gives the same rows."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from actors import view_layout
from actors.index_view import VIEW_FORMAT, IndexView
from actors.projections.documents import MemoryView
from actors.view_reader import ViewReader
from functions.snapshot import UNBOUNDED
from log import limits
from log.errors import BackendError, ErrorKind
from log.invariant import InvariantViolation
from log.record import DocumentWrite

CATALOG_TABLET = b"catalog---------"
CATALOG = frozenset({CATALOG_TABLET})
INDEXES = (b"index-one-------", b"index-two-------")
BY_ID = INDEXES[0]  # the first of each write
# Long keys that share a prefix beyond what a stored key keeps, around every boundary of the layout.
LONG_KEYS_BYTES = (
    limits.VIEW_VALUE_BYTES_MAX - 30,
    limits.VIEW_VALUE_BYTES_MAX,
    9_000,
    0x8001,
    0x10001,
)  # kept beside a document
_PREFIX = b"\x10" + b"p" * (view_layout.KEY_PREFIX_BYTES - 1)
KEYS = (
    b"\x10a",
    b"\x10b",
    b"\x10b\x00",
    _PREFIX[:-1],
    _PREFIX,
    _PREFIX + b"a",
    _PREFIX + b"a" * 15,
    _PREFIX + b"a" * 16,
    _PREFIX + b"a" * 17,
    _PREFIX + b"b" * 40,
    _PREFIX + b"b" * 39 + b"c",
    *(_PREFIX + b"c" * (length - len(_PREFIX)) for length in LONG_KEYS_BYTES),
    b"\x10q",
    b"\x10r",
    b"\x10s",
)

# Documents of no piece, of one, and of several, around every boundary. (A row begins with 16 bytes.)
PADDINGS = (
    *(0, 0, 0, 0),
    *range(limits.VIEW_VALUE_BYTES_MAX - 32, limits.VIEW_VALUE_BYTES_MAX - 6),
    *range(2 * limits.VIEW_VALUE_BYTES_MAX - 12, 2 * limits.VIEW_VALUE_BYTES_MAX - 6),
    20_000,
)


class World:
    """Random commits into both; `documents` maps an id to the key it has in each index."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.view = IndexView(folder, CATALOG)
        self.twin = MemoryView(CATALOG)
        self.documents: dict[str, list[bytes]] = {}
        self.before: list[list[bytes]] = []
        self.seq = 0

    def commit(self) -> None:
        rng = self.rng
        self.seq += 1
        ts = self.seq * 10
        writes = []
        self.before = list(self.documents.values())
        for document_id in rng.sample(range(6), rng.randrange(1, 4)):
            writes.append(self._write(f"document-{document_id}", ts))
        self.view.apply(self.seq, ts, 0, tuple(writes))
        self.twin.apply(ts, writes)

    def _write(self, document_id: str, ts: int) -> DocumentWrite:
        rng = self.rng
        old = self.documents.get(document_id)
        is_delete = old is not None and rng.random() < 0.3
        new = None if is_delete else [self._free_key(index, old) for index in range(len(INDEXES))]
        keys = tuple(
            (index_id, old[i] if old else None, new[i] if new else None) for i, index_id in enumerate(INDEXES)
        )
        if new is None:
            del self.documents[document_id]
        else:
            self.documents[document_id] = new
        document = None if new is None else b'{"at":%d}' % ts + b" " * rng.choice(PADDINGS)
        tablet = CATALOG_TABLET if rng.random() < 0.2 else b"tablet----------"
        return DocumentWrite(tablet, document_id, 0, len(document or b""), document, keys)

    def _free_key(self, index: int, old: list[bytes] | None) -> bytes:
        """Keys are unique, also within a commit, as the trailing id makes them; some are kept."""
        if old is not None and self.rng.random() < 0.4:
            return old[index]
        taken = {keys[index] for keys in (*self.documents.values(), *self.before)}
        return self.rng.choice([key for key in KEYS if key not in taken])

    def bounds(self) -> tuple[bytes, bytes | None]:
        rng = self.rng
        start = rng.choice([b"", *KEYS])
        end = rng.choice([None, *KEYS, *(key + b"\x00" for key in KEYS), *(key + b"\xff" for key in KEYS)])
        return start, end


@pytest.mark.parametrize("seed", range(20))
def test_a_view_folded_without_undo_answers_from_there_on_and_nothing_before(
    tmp_path: Path, seed: int
) -> None:
    world = World(tmp_path / "view", seed)
    reader, apply = ViewReader(tmp_path / "view"), world.view.apply_batch
    world.view.apply_batch = lambda commits: apply(commits, with_undo=False)  # type: ignore[method-assign,assignment]
    for _ in range(20):
        world.commit()
    base_ts = world.seq * 10
    world.view.apply_batch = apply  # type: ignore[method-assign]
    for _ in range(5):
        world.commit()
    for ts in range(base_ts, world.seq * 10 + 1, 5):
        for index_id in INDEXES:
            ours, theirs = reader.snapshot(ts), world.twin.snapshot(ts)
            found = ours.scan(index_id, b"", None, descending=False, limit=100)
            assert found == theirs.scan(index_id, b"", None, descending=False, limit=100), (seed, ts)
        assert ours.table_size(BY_ID) == theirs.table_size(BY_ID), (seed, ts)
    with pytest.raises(BackendError):
        reader.snapshot(base_ts - 1).get(INDEXES[0], KEYS[0])


@pytest.mark.parametrize("seed", range(60))
def test_every_read_at_every_timestamp_equals_the_twin(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path / "view", seed)
    reader = ViewReader(tmp_path / "view")
    for _ in range(25):
        world.commit()
        for _ in range(6):
            ts = world.rng.randrange(0, world.seq + 1) * 10 + world.rng.choice([0, 3])
            ts = min(ts, world.seq * 10)
            ours, theirs = reader.snapshot(ts), world.twin.snapshot(ts)
            index_id, (start, end) = world.rng.choice(INDEXES), world.bounds()
            bound: Any = {
                "descending": world.rng.random() < 0.5,
                "limit": world.rng.choice([1, 2, 100]),
                "bytes_max": world.rng.choice([1, 10, 5_000, UNBOUNDED]),
            }
            facts = (seed, ts, world.seq, index_id, start, end, bound)
            found = ours.scan(index_id, start, end, **bound)
            assert found == theirs.scan(index_id, start, end, **bound), facts
            assert all(
                sum(len(row.document) for row in found[:n]) < bound["bytes_max"] for n in range(len(found))
            )
            key = world.rng.choice(KEYS)
            assert ours.get(index_id, key) == theirs.get(index_id, key), (*facts, key)
            assert ours.catalog_ts == theirs.catalog_ts, facts
            assert ours.table_size(BY_ID) == theirs.table_size(BY_ID), facts
    reader.close()
    world.view.close(clean=False)


@pytest.mark.parametrize("seed", range(10))
def test_pruning_changes_no_answer_inside_the_window(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path / "view", seed)
    for _ in range(30):
        world.commit()
    reader = ViewReader(tmp_path / "view")
    min_ts = 170
    while world.view.prune(min_ts):
        pass
    for ts in range(min_ts, 301, 10):
        for index_id in INDEXES:
            ours = reader.snapshot(ts).scan(index_id, b"", None, descending=False, limit=100)
            theirs = world.twin.snapshot(ts).scan(index_id, b"", None, descending=False, limit=100)
            assert ours == theirs, (seed, ts)
        assert reader.snapshot(ts).table_size(BY_ID) == world.twin.snapshot(ts).table_size(BY_ID), (seed, ts)
        assert reader.snapshot(ts).catalog_ts == world.twin.catalog_ts_at(ts), (seed, ts)
    for too_old in (min_ts - 1, 0):
        with pytest.raises(BackendError) as refused:
            reader.snapshot(too_old).scan(INDEXES[0], b"", None, descending=False, limit=1)
        assert refused.value.kind is ErrorKind.OUT_OF_RETENTION
    assert world.view.statistics()["undo_entries"] > 0
    reader.close()
    world.view.close(clean=False)


def test_a_read_beyond_what_is_applied_is_refused(tmp_path: Path) -> None:
    view = IndexView(tmp_path / "view", CATALOG)
    view.apply(1, 10, 0, ())
    with pytest.raises(BackendError) as refused:
        view.reader().snapshot(11).get(INDEXES[0], b"\x10a")
    assert refused.value.code == "ViewBehind"


def test_a_hole_in_the_log_is_never_folded(tmp_path: Path) -> None:
    view = IndexView(tmp_path / "view", CATALOG)
    view.apply(1, 10, 0, ())
    with pytest.raises(InvariantViolation):
        view.apply(3, 30, 0, ())
    assert view.state.applied_seq == 1


def test_a_reopened_view_continues_where_it_was(tmp_path: Path) -> None:
    world = World(tmp_path / "view", 5)
    world.view.begin_use()
    for _ in range(10):
        world.commit()
    state = world.view.state
    world.view.close(clean=True)
    again = IndexView(tmp_path / "view", CATALOG)
    assert again.state == state and again.is_trusted()
    again.close(clean=False)


def test_a_view_of_another_boot_is_trusted_only_after_a_clean_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = IndexView(tmp_path / "view", CATALOG)
    view.begin_use()
    view.apply(1, 10, 0, ())
    view.close(clean=False)
    monkeypatch.setattr("actors.index_view.read_boot_id", lambda: "another boot")
    unclean = IndexView(tmp_path / "view", CATALOG)
    assert not unclean.is_trusted()
    unclean.close(clean=True)
    clean = IndexView(tmp_path / "view", CATALOG)
    assert clean.is_trusted()
    clean.close(clean=False)


def test_a_clean_stop_is_trusted_by_a_later_boot_until_the_view_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened_in(boot: str) -> IndexView:
        monkeypatch.setattr("actors.index_view.read_boot_id", lambda: boot)
        return IndexView(tmp_path / "view", CATALOG)

    view = opened_in("first boot")
    view.begin_use()
    view.apply(1, 10, 0, ())
    view.close(clean=True)
    later = opened_in("second boot")
    assert later.is_trusted()
    later.begin_use()
    later.close(clean=False)
    same, third = opened_in("second boot"), opened_in("third boot")
    assert not third.is_trusted(), "stopped uncleanly in another boot"
    monkeypatch.setattr("actors.index_view.read_boot_id", lambda: "second boot")
    assert same.is_trusted(), "stopped uncleanly in this boot"
    same.close(clean=False)
    third.close(clean=False)


def test_a_view_without_a_mark_or_of_another_format_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = IndexView(tmp_path / "view", CATALOG)
    view.apply(1, 10, 0, ())
    view.close(clean=False)
    unmarked = IndexView(tmp_path / "view", CATALOG)
    assert not unmarked.is_trusted()
    unmarked.close(clean=True)
    monkeypatch.setattr("actors.index_view.VIEW_FORMAT", VIEW_FORMAT + 1)
    newer = IndexView(tmp_path / "view", CATALOG)
    assert not newer.is_trusted()
    newer.close(clean=False)


def test_a_deleted_document_with_a_new_key_is_refused_and_nothing_is_applied(tmp_path: Path) -> None:
    view = IndexView(tmp_path / "view", CATALOG)
    wrong = DocumentWrite(b"t" * 16, "d", 0, 2, None, ((INDEXES[0], b"a", b"b"),))
    with pytest.raises(InvariantViolation):
        view.apply(1, 10, 0, (wrong,))
    assert view.state.applied_seq == 0
    view.close(clean=False)


def test_what_nobody_may_read_leaves_no_undo(tmp_path: Path) -> None:
    world = World(tmp_path / "view", 4)
    apply = world.view.apply_batch
    world.view.apply_batch = lambda commits: apply(commits, with_undo=False)  # type: ignore[method-assign,assignment]
    for _ in range(10):
        world.commit()
    assert world.view.statistics()["undo_entries"] == 0
    world.view.close(clean=False)


def test_a_prune_removes_a_bounded_number_of_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.index_view._PRUNE_ENTRIES_MAX", 5)
    world = World(tmp_path / "view", 6)
    for _ in range(12):
        world.commit()
    statistics, has_more = world.view.statistics, True
    while has_more:
        before = statistics()["undo_entries"]
        removed = world.view.prune(120)
        entries = before - statistics()["undo_entries"]
        assert entries <= 5 and removed >= entries, "pieces count, too"
        has_more = removed > 0
    assert statistics()["undo_entries"] == 0
    world.view.close(clean=False)


@pytest.mark.parametrize("seed", range(20))
def test_commits_folded_together_are_read_as_if_folded_one_by_one(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path / "view", seed)
    apply, batch = world.view.apply_batch, []
    world.view.apply_batch = batch.extend  # type: ignore[method-assign,assignment]
    for _ in range(30):
        world.commit()
        if world.rng.random() < 0.3:
            apply(batch)
            batch.clear()
    apply(batch)
    for ts in range(0, 301, 10):
        for index_id in INDEXES:
            ours = world.view.reader().snapshot(ts).scan(index_id, b"", None, descending=False, limit=100)
            theirs = world.twin.snapshot(ts).scan(index_id, b"", None, descending=False, limit=100)
            assert ours == theirs, (seed, ts)
    world.view.close(clean=False)


def test_folding_nothing_changes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path / "view", 8)
    world.commit()
    state = world.view.state
    world.view.apply_batch([])
    assert world.view.state == state
    world.view.close(clean=False)


def test_a_descending_scan_finds_a_cut_key_whatever_its_hash(tmp_path: Path) -> None:
    """Behind the prefix stands a hash, which may sort behind any end: here it begins with 0xff."""
    numbered = (_PREFIX + b"a" * 40 + b"%06d" % number for number in range(10_000))
    key = next(key for key in numbered if view_layout.stored_key(key)[len(_PREFIX)] == 0xFF)
    view = IndexView(tmp_path / "view", CATALOG)
    view.apply(1, 10, 0, (DocumentWrite(b"t" * 16, "d", 0, 2, b"{}", ((INDEXES[0], None, key),)),))
    for end in (_PREFIX + b"b", key + b"\x00", _PREFIX + b"\xff" * 100):
        found = view.reader().snapshot(10).scan(INDEXES[0], b"", end, descending=True, limit=9)
        assert [row.key for row in found] == [key], end
    view.close(clean=False)


def test_the_first_row_of_a_drained_queue_needs_no_walk_over_the_drained(tmp_path: Path) -> None:
    """One current version per key: what was deleted is not between a reader and the first live row."""
    view = IndexView(tmp_path / "view", CATALOG)
    seq = 0
    for number in range(200):
        key = b"\x10%05d" % number
        for old, new in ((None, key), (key, None)):
            seq += 1
            document = b"{}" if new else None
            write = DocumentWrite(b"t" * 16, "d", 0, 2, document, ((INDEXES[0], old, new),))
            view.apply(seq, seq * 10, 0, (write,))
    assert view.statistics()["index_entries"] == 0
    view.close(clean=False)


def test_pruning_everything_leaves_a_view_that_serves_its_newest_state(tmp_path: Path) -> None:
    world = World(tmp_path / "view", 3)
    for _ in range(12):
        world.commit()
    removed = world.view.prune(120)
    assert removed > 0 and world.view.statistics()["undo_entries"] == 0
    assert world.view.prune(120) == 0
    for index_id in INDEXES:
        ours = world.view.reader().snapshot(120).scan(index_id, b"", None, descending=False, limit=100)
        assert ours == world.twin.snapshot(120).scan(index_id, b"", None, descending=False, limit=100)
    world.view.close(clean=False)
