"""Indexes kept between transactions: over the real view, after pauses, and when something fails."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from actors.ahead_snapshot import AheadSnapshot
from actors.index_view import IndexView
from actors.view_reader import ViewReader
from functions.indexes import SEARCH, Index
from functions.search.kept_indexes import IndexBehind
from functions.search.scoring import best_hits
from functions.snapshot import SnapshotReader
from functions.system.tables import CATALOG_TABLETS
from log import limits, values
from log.errors import BackendError, out_of_retention
from log.ids import encode_id
from log.invariant import InvariantViolation
from log.keys import encode_item
from log.limits import SEARCH_INDEXES_HELD_MAX
from log.record import CallTrace, CommitBody, DocumentWrite

from .twin import twin_search

BY_ID, TABLET = b"by-id-----------", b"tablet----------"
INDEX = Index(b"by-body---------", "by_body", (("body",),), kind=SEARCH)
WORDS = ["red", "green", "blue", "reed"]


class Notes:
    """Documents 0..9 of one table, written, rewritten and deleted in an LMDB view; commits at 10, 20, ..."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.view = IndexView(folder, CATALOG_TABLETS)
        self.present: set[str] = set()
        self.seq = 0

    def writes(self) -> tuple[DocumentWrite, ...]:
        made = []
        for number in self.rng.sample(range(10), 2):
            document_id = encode_id(10_001, b"%016d" % number)
            document = {"_id": document_id, "_creationTime": float(number)}
            document["body"] = " ".join(self.rng.choices(WORDS, k=self.rng.choice([1, 3, 50])))
            key = encode_item(document_id)
            is_gone = document_id in self.present and self.rng.random() < 0.3
            keys = ((BY_ID, key if document_id in self.present else None, None if is_gone else key),)
            encoded = None if is_gone else values.dumps(document)
            made.append(DocumentWrite(TABLET, document_id, 0, 10, encoded, keys))
            (self.present.discard if is_gone else self.present.add)(document_id)
        return tuple(made)

    def commit(self) -> None:
        self.seq += 1
        self.view.apply(self.seq, self.seq * 10, 0, self.writes())


def check(snapshot: SnapshotReader, text: str, what: object) -> None:
    rows = snapshot.scan(BY_ID, b"", None, descending=False, limit=1_000)
    documents = [values.loads(row.document) for row in rows]
    expected = [encode_item(each["_id"]) for each in twin_search(documents, text)]  # type: ignore[arg-type]
    with snapshot.kept.showing(snapshot, BY_ID, INDEX, {}) as index:
        assert [hit.key for hit in best_hits(index, [text], [])] == expected, what


@pytest.mark.parametrize("seed", range(10))
def test_an_index_over_the_view_is_right_at_every_ts_before_and_after_pruning(
    tmp_path: Path, seed: int
) -> None:
    notes = Notes(tmp_path, seed)
    for _ in range(5):
        notes.commit()
    reader = ViewReader(tmp_path)
    for step in range(40):
        for _ in range(notes.rng.choice([0, 1, 3])):
            notes.commit()
        newest = notes.seq * 10
        if notes.rng.random() < 0.3:
            notes.view.prune(newest - 10)  # more than the kept index remembers
        oldest = max(notes.view.state.min_ts, 10)
        ts = notes.rng.randrange(-(-oldest // 10), notes.seq + 1) * 10
        check(reader.snapshot(ts), notes.rng.choice(["re", "green", "blue"]), (seed, step, ts))
    reader.close()
    notes.view.close(clean=False)


def test_commits_that_are_not_published_are_seen_and_forgotten(tmp_path: Path) -> None:
    notes = Notes(tmp_path, 3)
    for _ in range(5):
        notes.commit()
    reader = ViewReader(tmp_path)
    base = reader.snapshot(50)
    check(base, "re", "before")
    before = set(notes.present)
    ahead = AheadSnapshot(base, [(60, CommitBody(50, b"call", CallTrace(), notes.writes()))])
    check(ahead, "re", "ahead")
    check(reader.snapshot(50), "re", "after")
    notes.present = before
    notes.commit()
    check(reader.snapshot(60), "re", "another commit took its place")
    reader.close()
    notes.view.close(clean=False)


def test_an_index_whose_use_failed_is_made_anew(tmp_path: Path) -> None:
    notes = Notes(tmp_path, 4)
    notes.commit()
    reader = ViewReader(tmp_path)
    snapshot = reader.snapshot(10)
    with pytest.raises(ZeroDivisionError), snapshot.kept.showing(snapshot, BY_ID, INDEX, {}) as first:
        1 / 0  # noqa: B018
    with snapshot.kept.showing(snapshot, BY_ID, INDEX, {}) as second:
        assert first is not second
    with snapshot.kept.showing(snapshot, BY_ID, INDEX, {}) as third:
        assert third is second
    reader.close()
    notes.view.close(clean=False)


def test_a_snapshot_from_before_what_the_view_remembers_is_refused(tmp_path: Path) -> None:
    notes = Notes(tmp_path, 5)
    for _ in range(3):
        notes.commit()
    reader = ViewReader(tmp_path)
    check(reader.snapshot(30), "re", "newest")
    notes.view.prune(30)
    old = reader.snapshot(10)
    with pytest.raises(BackendError) as refused, old.kept.showing(old, BY_ID, INDEX, {}):
        pass
    assert refused.value.message == out_of_retention().message
    reader.close()
    notes.view.close(clean=False)


@pytest.mark.parametrize("seed", range(10))
def test_an_index_comes_to_be_step_by_step_while_its_table_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    if seed % 2:  # one document at a time
        monkeypatch.setattr(limits, "VIEW_READ_BYTES_PER_STEP", 1)
    notes, met = Notes(tmp_path, seed), 0
    for _ in range(8):
        notes.commit()
    reader = ViewReader(tmp_path, search_rows_max=3)
    for step in range(30):
        for _ in range(notes.rng.choice([0, 1, 2, 8])):
            notes.commit()
        if notes.rng.random() < 0.2:
            notes.view.prune(notes.seq * 10)
        try:
            check(reader.snapshot(notes.seq * 10), "re", (seed, step))
        except IndexBehind as behind:
            met += 1
            for _ in range(notes.rng.randrange(2)):
                notes.commit()
            newest = reader.snapshot(notes.seq * 10)
            if notes.rng.random() < 0.8:
                while not newest.kept.catch_up(newest, behind):
                    notes.commit()
                    newest = reader.snapshot(notes.seq * 10)
                check(newest, "re", (seed, step))
    assert met > 3, seed
    reader.close()
    notes.view.close(clean=False)


def test_only_so_many_indexes_are_held_and_the_unused_go_first(tmp_path: Path) -> None:
    notes = Notes(tmp_path, 6)
    notes.commit()
    reader = ViewReader(tmp_path)
    snapshot = reader.snapshot(10)
    indexes = [
        Index(b"%016d" % number, "i", (("body",),), kind=SEARCH)
        for number in range(SEARCH_INDEXES_HELD_MAX + 1)
    ]
    held = []
    for index in indexes:
        with snapshot.kept.showing(snapshot, BY_ID, index, {}) as text_index:
            held.append(text_index)
    for number in (1, 0):
        with snapshot.kept.showing(snapshot, BY_ID, indexes[number], {}) as again:
            assert (again is held[number]) is (number == 1), "the least recently used one was dropped"
    reader.close()
    notes.view.close(clean=False)


def test_two_threads_do_not_search_what_one_reader_keeps(tmp_path: Path) -> None:
    notes = Notes(tmp_path, 7)
    notes.commit()
    reader = ViewReader(tmp_path)
    check(reader.snapshot(10), "re", "this thread")
    failures: list[BaseException] = []

    def search() -> None:
        try:
            check(reader.snapshot(10), "re", "another thread")
        except InvariantViolation as failure:
            failures.append(failure)

    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert len(failures) == 1
    reader.close()
    notes.view.close(clean=False)
