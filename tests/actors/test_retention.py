"""What was replaced is forgotten in time: a view under endless change stays as large as what it shows.

The clock is the commits' own. `make soak` is for the long version; sizes here are enough to see growth.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from actors.index_view import IndexView
from actors.view_environment import DATA_FILE
from functions.transaction import Transaction
from log import limits
from log.record import DocumentWrite, KeyWrite

from ..support.core_deployment import CoreDeployment

INDEXES = (b"index-one-------", b"index-two-------")
TABLET = b"tablet----------"
BATCH = 500
SMALL = 4 * (BATCH - 2)
BATCHES = 60
STEP_NS = 1_000_000
WINDOW_NS = 2 * BATCH * STEP_NS  # of undo that is kept


class Churn:
    """A view that folds batches of commits and prunes after each, as its owner does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.view = IndexView(folder, frozenset())
        self._seq = 0

    @property
    def ts(self) -> int:
        return (self._seq + 1) * STEP_NS

    def fold(self, writes: Iterator[DocumentWrite], at_once: int = BATCH) -> None:
        """A commit for each write, `at_once` of them in a transaction of the view."""
        while commits := list(islice(map(self._commit, writes), at_once)):
            self.view.apply_batch(commits)
        while self.view.prune(self.ts - WINDOW_NS):
            pass

    def _commit(self, write: DocumentWrite) -> tuple[int, int, int, tuple[DocumentWrite, ...]]:
        ts = self.ts
        self._seq += 1
        return self._seq, ts, 0, (write,)

    def size(self) -> tuple[int, int, int]:
        """(index entries, undo entries, bytes of the file)"""
        statistics = self.view.statistics()
        bytes_held = (self.folder / DATA_FILE).stat().st_blocks * 512
        return statistics["index_entries"], statistics["undo_entries"], bytes_held


def write(document_id: str, keys: tuple[KeyWrite, ...], document: bytes | None) -> DocumentWrite:
    return DocumentWrite(TABLET, document_id, 0, len(document or b""), document, keys)


def updates(churn: Churn) -> Iterator[DocumentWrite]:
    """One document, its first key the same for ever, its second a new one each time."""
    for _ in range(BATCH):
        old, new = b"at %012d" % (churn.ts - STEP_NS), b"at %012d" % churn.ts
        is_first = churn.ts == STEP_NS
        moved = (INDEXES[1], None if is_first else old, new)
        kept = (INDEXES[0], None if is_first else b"document", b"document")
        yield write("document", (kept, moved), b"x" * 200)


def drained_queue(churn: Churn) -> Iterator[DocumentWrite]:
    """Rows come in at one end and go at the other, half a batch at a time."""
    keys = [b"row %012d" % (churn.ts + number) for number in range(BATCH // 2)]
    for key in keys:
        yield write(key.decode(), ((INDEXES[0], None, key),), b"x" * 200)
    for key in keys:
        yield write(key.decode(), ((INDEXES[0], key, None),), None)


def large_among_small(churn: Churn) -> Iterator[DocumentWrite]:
    """Small documents change at random places; now and then a large one comes and goes. LMDB does not find
    room for many pages side by side then, however many are free."""
    chance, first = random.Random(churn.ts), churn.ts // STEP_NS
    is_filled = first > SMALL
    for number in range(BATCH - 2):
        key = b"row %06d" % (chance.randrange(1, SMALL + 1) if is_filled else first + number)
        keys = ((INDEXES[0], key if is_filled else None, key),)
        yield write(key.decode(), keys, b"x" * chance.randrange(1_500))
    if is_filled:
        key = b"large %012d" % first
        yield write(key.decode(), ((INDEXES[0], None, key),), b"x" * 130_000)
        yield write(key.decode(), ((INDEXES[0], key, None),), None)


@pytest.mark.parametrize(
    ("changes", "entries", "at_once"),
    [(updates, 2, BATCH), (drained_queue, 0, BATCH), (large_among_small, SMALL, 5)],
)
def test_a_view_under_endless_change_does_not_grow(
    tmp_path: Path, changes: object, entries: int, at_once: int
) -> None:
    churn = Churn(tmp_path / "view")
    sizes = []
    for _ in range(BATCHES):
        churn.fold(changes(churn), at_once)  # type: ignore[operator]
        sizes.append(churn.size())
    early, late = sizes[BATCHES // 3], sizes[-1]
    assert late[0] == early[0] == entries
    assert late[1] <= early[1] * 1.1, "undo of the window, and no more"
    assert late[2] <= early[2] * 1.25, "freed pages are used again"


def test_the_first_row_of_a_drained_queue_is_found_without_walking_over_what_is_gone(tmp_path: Path) -> None:
    churn = Churn(tmp_path / "view")
    for _ in range(10):
        churn.fold(drained_queue(churn))
    last = b"row 999999999999"
    churn.fold(iter([write("last", ((INDEXES[0], None, last),), b"{}")]))
    reader = churn.view.reader()
    found = reader.snapshot(churn.ts - STEP_NS).scan(INDEXES[0], b"", None, descending=False, limit=1)
    assert [row.key for row in found] == [last]
    assert churn.view.statistics()["index_entries"] == 1, "nothing else stands in the index"
    reader.close()


def test_the_entries_of_a_dropped_index_go_when_no_snapshot_can_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(limits, "PRUNE_SECONDS", 3600)
    undo_ns = limits.UNDO_SECONDS * 10**9

    def fill(transaction: Transaction) -> None:
        for number in range(2_500):
            transaction.insert("things", {"n": float(number)})

    def drop_one_index(transaction: Transaction) -> None:
        index = transaction.catalog.tables["things"].index("by_creation_time")
        assert index is not None
        transaction.delete(transaction.catalog.tables["_index"], index.row_id)

    async def scene() -> None:
        deployment = CoreDeployment(tmp_path, seed=1)
        await deployment.open()
        await deployment.transact(fill)
        shard = deployment.core._shard
        before, contents = shard.statistics()["index_entries"], deployment.digests()
        await deployment.transact(drop_one_index)
        dropped_ts = shard.applied_ts
        shard.prune(dropped_ts - 1 + undo_ns)
        assert shard.unreachable_indexes() == [], "a snapshot inside the window may still name it"
        await deployment.transact(lambda transaction: transaction.insert("other", {}) and None)
        shard.prune(time.time_ns() + undo_ns)
        while shard.unreachable_indexes():
            assert deployment.failures == []
            await asyncio.sleep(0.001)
        assert before - 2_500 < shard.statistics()["index_entries"] < before - 2_500 + 50
        changed = {name for name, digest in deployment.digests().items() if contents.get(name) != digest}
        rows_of_catalog = {name for name in changed if name.startswith(("_index.", "_tables.", "other."))}
        assert changed == rows_of_catalog, "everything else is as it was"
        await deployment.close()

    asyncio.run(scene())
