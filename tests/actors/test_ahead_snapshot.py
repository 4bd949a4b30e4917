"""A snapshot ahead of the disk against the twin that has folded everything."""

from __future__ import annotations

import random
from typing import Any

import pytest

from actors.ahead_snapshot import AheadSnapshot
from actors.projections.documents import MemorySnapshot, MemoryView
from functions.snapshot import Row
from log.record import CallTrace, CommitBody, DocumentWrite

from ..support.worlds import CATALOG_TABLET, INDEXES, KEYS, TABLET

CATALOG = frozenset({CATALOG_TABLET})
INDEX_NOBODY_WRITES = b"index-three-----"
DOCUMENTS = 4
HISTORIES_PER_BLOCK = 50


class History:
    """Commits at 10, 20, ...: few documents that are inserted, move, are deleted and come back."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.commits: list[tuple[int, CommitBody]] = []
        self.keys_of: dict[str, tuple[bytes, ...]] = {}  # document -> its key in each index

    def grow(self, *, may_write_catalog: bool) -> None:
        ts = 10 * (len(self.commits) + 1)
        before = list(self.keys_of.values())
        written = self.rng.sample(range(DOCUMENTS), self.rng.randrange(1, DOCUMENTS))
        tablet = CATALOG_TABLET if may_write_catalog and self.rng.random() < 0.3 else TABLET
        writes = tuple(self._write(tablet, f"document-{number}", ts, before) for number in written)
        self.commits.append((ts, CommitBody(ts - 1, b"call-%d" % ts, CallTrace(), writes)))

    def _write(
        self, tablet: bytes, document_id: str, ts: int, before: list[tuple[bytes, ...]]
    ) -> DocumentWrite:
        old = self.keys_of.pop(document_id, None)
        is_delete = old is not None and self.rng.random() < 0.4
        new = None if is_delete else self._keys_for(old, before)
        if new is not None:
            self.keys_of[document_id] = new
        keys = tuple(
            (index_id, old[i] if old else None, new[i] if new else None) for i, index_id in enumerate(INDEXES)
        )
        document = None if new is None else b'{"at":%d}' % ts
        return DocumentWrite(tablet, document_id, 0, len(document or b""), document, keys)

    def _keys_for(self, old: tuple[bytes, ...] | None, before: list[tuple[bytes, ...]]) -> tuple[bytes, ...]:
        """No two documents have a key at once, nor hand it over within a commit: real keys end with the
        document's id."""
        new = []
        for index in range(len(INDEXES)):
            taken = {keys[index] for keys in (*self.keys_of.values(), *before)}
            free = [key for key in KEYS if key not in taken]
            keeps = old is not None and self.rng.random() < 0.4
            new.append(old[index] if old is not None and keeps else self.rng.choice(free))
        return tuple(new)


def view_of(commits: list[tuple[int, CommitBody]]) -> MemoryView:
    view = MemoryView(CATALOG)
    for ts, body in commits:
        view.apply(ts, body.writes)
    return view


def ahead_and_twin(
    commits: list[tuple[int, CommitBody]], durable: int
) -> tuple[AheadSnapshot, MemorySnapshot]:
    """The first `durable` commits are in the base; the twin has them all."""
    base_ts = commits[durable - 1][0] if durable else 0
    base = view_of(commits[:durable]).snapshot(base_ts)
    return AheadSnapshot(base, commits[durable:]), view_of(commits).snapshot(commits[-1][0])


def check_reads(ahead: AheadSnapshot, twin: MemorySnapshot, rng: random.Random, seed: int) -> None:
    assert (ahead.ts, ahead.catalog_ts) == (twin.ts, twin.catalog_ts), f"seed {seed}"
    for by_id in (INDEXES[0], INDEX_NOBODY_WRITES):
        assert ahead.table_size(by_id) == twin.table_size(by_id), f"seed {seed}"
    for index_id in (*INDEXES, INDEX_NOBODY_WRITES):
        for key in KEYS:
            assert ahead.get(index_id, key) == twin.get(index_id, key), f"seed {seed}, key {key!r}"
        bounds = [(b"", None)] + [
            (rng.choice([b"", *KEYS]), rng.choice([None, *KEYS, *(key + b"\x00" for key in KEYS)]))
            for _ in range(2)
        ]
        for start, end in bounds:
            for limit, bytes_max in (
                (1, 100),
                (2, 100),
                (3, 9),
                (4, 20),
                (5, 100),
                (1_000, 1),
                (1_000, 1_000),
            ):
                for descending in (False, True):
                    bound: Any = {"descending": descending, "limit": limit, "bytes_max": bytes_max}
                    ours = ahead.scan(index_id, start, end, **bound)
                    theirs = twin.scan(index_id, start, end, **bound)
                    assert ours == theirs, f"seed {seed}: {start!r} to {end!r}, {bound}"


@pytest.mark.parametrize("block", range(12))
def test_every_read_ahead_of_the_disk_equals_the_read_after_everything_is_durable(block: int) -> None:
    for seed in range(block * HISTORIES_PER_BLOCK, (block + 1) * HISTORIES_PER_BLOCK):
        rng = random.Random(seed)
        history = History(rng)
        durable, ahead_count = rng.randrange(8), rng.randrange(1, 6)
        for number in range(durable + ahead_count):
            history.grow(may_write_catalog=number < durable)
        check_reads(*ahead_and_twin(history.commits, durable), rng, seed)


# --- one behaviour each -----------------------------------------------------------------------------


def commit_of(ts: int, *moves: tuple[bytes | None, bytes | None]) -> tuple[int, CommitBody]:
    """A commit that moves one document each from a key to a key; None is nowhere."""
    writes = tuple(
        DocumentWrite(
            TABLET,
            f"document-{number}",
            0,
            2 if new_key is not None else 0,
            b"{}" if new_key is not None else None,
            ((INDEXES[0], old_key, new_key),),
        )
        for number, (old_key, new_key) in enumerate(moves)
    )
    return ts, CommitBody(ts - 1, b"call-%d" % ts, CallTrace(), writes)


def keys_found(snapshot: AheadSnapshot, limit: int = 100, *, descending: bool = False) -> list[bytes]:
    rows = snapshot.scan(INDEXES[0], b"", None, descending=descending, limit=limit)
    return [row.key for row in rows]


def test_a_document_that_moved_is_found_at_its_new_key_alone() -> None:
    ahead, _ = ahead_and_twin([commit_of(10, (None, b"a")), commit_of(20, (b"a", b"b"))], 1)
    assert ahead.get(INDEXES[0], b"a") is None
    assert ahead.get(INDEXES[0], b"b") == Row(b"b", 20, 2, b"{}")
    assert keys_found(ahead) == [b"b"]


def test_a_key_that_was_left_and_taken_again_ahead_shows_its_last_revision_once() -> None:
    commits = [commit_of(10, (None, b"a")), commit_of(20, (b"a", None)), commit_of(30, (None, b"a"))]
    ahead, _ = ahead_and_twin(commits, 1)
    assert ahead.scan(INDEXES[0], b"", None, descending=False, limit=100) == [Row(b"a", 30, 2, b"{}")]


def test_rows_deleted_ahead_do_not_shorten_an_answer_that_has_more() -> None:
    inserts = commit_of(10, (None, b"a"), (None, b"b"), (None, b"c"), (None, b"d"))
    ahead, _ = ahead_and_twin([inserts, commit_of(20, (b"a", None), (b"b", None))], 1)
    assert keys_found(ahead, limit=2) == [b"c", b"d"]
    assert keys_found(ahead, limit=3, descending=True) == [b"d", b"c"]


def test_rows_inserted_ahead_displace_those_behind_the_limit() -> None:
    ahead, _ = ahead_and_twin([commit_of(10, (None, b"b"), (None, b"d")), commit_of(20, (None, b"a"))], 1)
    assert keys_found(ahead, limit=2) == [b"a", b"b"]
    assert keys_found(ahead, limit=2, descending=True) == [b"d", b"b"]


def test_an_end_bound_excludes_what_was_written_ahead_at_it() -> None:
    ahead, _ = ahead_and_twin([commit_of(10, (None, b"a"), (None, b"c"))], 0)
    assert ahead.scan(INDEXES[0], b"a", b"c", descending=True, limit=5) == [Row(b"a", 10, 2, b"{}")]
    assert ahead.scan(INDEXES[0], b"a\x00", b"c", descending=True, limit=5) == []
