"""The node's view of all indexes: an LMDB environment with one writer and many readers (design D6).

`current` holds one version of each index entry; `undo` what each commit replaced. A read at `ts` is
current overlaid with the undo entries in (ts, applied_ts]; pruning removes the oldest undo entries.
The view is derived: it may be deleted at any time and is then folded again from the log. Nothing in it is
synced; whether what an unclean stop left may be trusted is decided by the boot id (same boot = the kernel
still had every write of ours).

A read transaction lives for one call, never across JavaScript or an await: an open reader keeps the
writer from reusing pages. Only this file and view_layout.py know the layout; only this file imports lmdb.

Read in this order: IndexView.apply, ViewSnapshot.scan, IndexView.prune.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import lmdb

from actors.view_layout import (
    KEY_PREFIX_BYTES,
    is_grouped,
    pack_row,
    pack_undo,
    pack_undo_key,
    stored_key,
    undo_start,
    unpack_row,
    unpack_undo,
    unpack_undo_key,
)
from functions.snapshot import Row
from log.errors import BackendError, ErrorKind, out_of_retention
from log.invariant import invariant
from log.limits import VIEW_MAP_BYTES_MAX
from log.record import DocumentWrite

VIEW_FORMAT = 1
_STATE_KEY, _TRUST_KEY = b"state", b"trust"
_CATALOG_KEY = b"catalog:"
_STATE = struct.Struct(">QQIQ")
_TS = struct.Struct(">Q")
_PRUNE_ENTRIES_MAX = 2_000


@dataclass(frozen=True, slots=True)
class ViewState:
    """How far the view has folded the log, and from where on it can answer."""

    applied_seq: int = 0
    applied_ts: int = 0
    applied_crc: int = 0
    min_ts: int = 0

    def pack(self) -> bytes:
        return _STATE.pack(self.applied_seq, self.applied_ts, self.applied_crc, self.min_ts)


class _Opened:
    """An opened environment. LMDB refuses to open one twice in a process, hence the registry."""

    registry: ClassVar[dict[Path, _Opened]] = {}

    def __init__(self, folder: Path, *, writable: bool) -> None:
        self.folder, self.users = folder, 0
        self.environment = lmdb.open(
            str(folder),
            map_size=VIEW_MAP_BYTES_MAX,
            max_dbs=3,
            max_readers=1024,
            readonly=not writable,
            create=writable,
            sync=False,
            metasync=False,
            readahead=False,
        )
        self.current = self.environment.open_db(b"current", create=writable)
        self.undo = self.environment.open_db(b"undo", create=writable)
        self.meta = self.environment.open_db(b"meta", create=writable)


def _open_shared(folder: Path, *, writable: bool) -> _Opened:
    folder = folder.resolve()
    opened = _Opened.registry.get(folder)
    if opened is None:
        opened = _Opened.registry[folder] = _Opened(folder, writable=writable)
    opened.users += 1
    return opened


def _close_shared(opened: _Opened) -> None:
    opened.users -= 1
    if opened.users == 0:
        del _Opened.registry[opened.folder]
        opened.environment.close()


def read_boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class IndexView:
    """The single writer of one view folder. Not thread-safe: one thread applies."""

    def __init__(self, folder: Path, catalog_tablets: frozenset[bytes]) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._opened = _open_shared(folder, writable=True)
        self._catalog_tablets = catalog_tablets
        self.folder = folder
        with self._opened.environment.begin(db=self._opened.meta) as transaction:
            stored = transaction.get(_STATE_KEY)
            self._trust = transaction.get(_TRUST_KEY) or b""
        self.state = ViewState(*_STATE.unpack(stored)) if stored else ViewState()

    def is_trusted(self) -> bool:
        """Whether what the folder holds is what was applied: a clean stop, or the same boot."""
        return self.state.applied_seq == 0 or self._trust in (self._trust_mark("clean"), self._trust_mark())

    def begin_use(self) -> None:
        """From now on an unclean stop is trusted only within this boot."""
        with self._opened.environment.begin(db=self._opened.meta, write=True) as transaction:
            transaction.put(_TRUST_KEY, self._trust_mark())

    def apply(self, seq: int, ts: int, crc: int, writes: tuple[DocumentWrite, ...]) -> None:
        """Fold one record; the next one of the log, or nothing is applied."""
        self.apply_batch([(seq, ts, crc, writes)])

    def apply_batch(self, commits: list[tuple[int, int, int, tuple[DocumentWrite, ...]]]) -> None:
        """Fold consecutive records in one transaction."""
        opened, state = self._opened, self.state
        with opened.environment.begin(write=True) as transaction:
            for seq, ts, crc, writes in commits:
                invariant(seq == state.applied_seq + 1, "a view follows the log without holes", seq=seq)
                invariant(ts > state.applied_ts, "a view never goes back", ts=ts, at=state.applied_ts)
                for write in writes:
                    self._apply_write(transaction, ts, write)
                if any(write.tablet_id in self._catalog_tablets for write in writes):
                    transaction.put(_CATALOG_KEY + _TS.pack(ts), b"", db=opened.meta)
                state = ViewState(seq, ts, crc, state.min_ts)
            transaction.put(_STATE_KEY, state.pack(), db=opened.meta)
        self.state = state  # AFTER the transaction committed

    def _apply_write(self, transaction: lmdb.Transaction, ts: int, write: DocumentWrite) -> None:
        current, undo = self._opened.current, self._opened.undo
        for index_id, old_key, new_key in write.keys:
            if old_key is not None and old_key != new_key:
                physical = index_id + stored_key(old_key)
                previous = transaction.get(physical, db=current)
                transaction.put(pack_undo_key(index_id, ts, old_key), pack_undo(old_key, previous), db=undo)
                if previous is not None:
                    transaction.delete(physical, db=current)
            if new_key is not None:
                invariant(write.document is not None, "a deleted document has no new key", ts=ts)
                physical = index_id + stored_key(new_key)
                previous = transaction.get(physical, db=current)
                transaction.put(pack_undo_key(index_id, ts, new_key), pack_undo(new_key, previous), db=undo)
                row = pack_row(new_key, ts, write.size_bytes, write.document or b"")
                transaction.put(physical, row, db=current)

    def insert_backfilled(self, index_id: bytes, entries: list[tuple[bytes, Row]]) -> None:
        """Add entries of documents that were there before their index: no undo, for the index answers
        only at timestamps after it was completed. Overwriting what live commits wrote is harmless: both
        are the document's newest revision."""
        with self._opened.environment.begin(write=True, db=self._opened.current) as transaction:
            for key, row in entries:
                packed = pack_row(key, row.revision_ts, row.size_bytes, row.document)
                transaction.put(index_id + stored_key(key), packed)

    def prune(self, min_ts: int) -> int:
        """Forget what was replaced at or before min_ts, a bounded number of entries a call.

        min_ts is raised BEFORE anything is deleted, in the same transaction, so that no reader misses
        an entry it relies on. Returns how many entries went.
        """
        opened, removed = self._opened, 0
        with opened.environment.begin(write=True) as transaction:
            if min_ts > self.state.min_ts:
                self.state = ViewState(*_with_min_ts(self.state, min_ts))
                transaction.put(_STATE_KEY, self.state.pack(), db=opened.meta)
            with transaction.cursor(db=opened.undo) as cursor:
                found = cursor.first()
                while found and removed < _PRUNE_ENTRIES_MAX:
                    index_id, replaced_ts, _key = unpack_undo_key(cursor.key())
                    if replaced_ts <= self.state.min_ts:
                        cursor.delete()
                        found = bool(cursor.key())  # empty behind the last entry
                        removed += 1
                    else:
                        found = cursor.set_range(index_id + b"\xff" * 8)
            self._prune_catalog_marks(transaction)
        opened.environment.reader_check()
        return removed

    def _prune_catalog_marks(self, transaction: lmdb.Transaction) -> None:
        """Of the catalog commits at or before min_ts only the newest is still an answer."""
        limit = _CATALOG_KEY + _TS.pack(self.state.min_ts)
        marks = [key for key, _ in _iterate_prefix(transaction, self._opened.meta, _CATALOG_KEY)]
        for key in [mark for mark in marks if mark <= limit][:-1]:
            transaction.delete(key, db=self._opened.meta)

    def statistics(self) -> dict[str, int]:
        with self._opened.environment.begin() as transaction:
            return {
                "index_entries": transaction.stat(self._opened.current)["entries"],
                "undo_entries": transaction.stat(self._opened.undo)["entries"],
            }

    def reader(self) -> ViewReader:
        """A reader in the writer's own process."""
        return ViewReader(self.folder)

    def close(self, *, clean: bool) -> None:
        """A clean close syncs, so that the view is trusted even by a later boot."""
        if clean:
            with self._opened.environment.begin(db=self._opened.meta, write=True) as transaction:
                transaction.put(_TRUST_KEY, self._trust_mark("clean"))
            self._opened.environment.sync(True)
        _close_shared(self._opened)

    def _trust_mark(self, stop: str = "") -> bytes:
        return f"{VIEW_FORMAT}/{stop or read_boot_id()}".encode()


def _with_min_ts(state: ViewState, min_ts: int) -> tuple[int, int, int, int]:
    return state.applied_seq, state.applied_ts, state.applied_crc, min_ts


class ViewReader:
    """Reads a view of this node in place. One thread; cheap to make."""

    def __init__(self, folder: Path) -> None:
        self._opened = _open_shared(folder, writable=False)

    def state(self) -> ViewState:
        with self._opened.environment.begin(db=self._opened.meta) as transaction:
            return _read_state(transaction, self._opened)

    def snapshot(self, ts: int) -> ViewSnapshot:
        """The database at `ts`, which the view must have applied (see `state`)."""
        return ViewSnapshot(self._opened, ts)

    def close(self) -> None:
        _close_shared(self._opened)


def _read_state(transaction: lmdb.Transaction, opened: _Opened) -> ViewState:
    stored = transaction.get(_STATE_KEY, db=opened.meta)
    return ViewState(*_STATE.unpack(stored)) if stored else ViewState()


class ViewSnapshot:
    """functions.snapshot.SnapshotReader over LMDB."""

    __slots__ = ("_catalog_ts", "_opened", "ts")

    def __init__(self, opened: _Opened, ts: int) -> None:
        self._opened, self.ts = opened, ts
        self._catalog_ts: int | None = None

    @property
    def catalog_ts(self) -> int:
        if self._catalog_ts is None:
            with self._begin() as transaction, transaction.cursor(db=self._opened.meta) as cursor:
                self._catalog_ts = _last_catalog_ts(cursor, self.ts)
        return self._catalog_ts

    def get(self, index_id: bytes, key: bytes) -> Row | None:
        opened = self._opened
        with self._begin() as transaction:
            state = self._check(transaction)
            if state.applied_ts > self.ts:
                replaced = self._replaced(transaction, index_id, state.applied_ts)
                if key in replaced:
                    return replaced[key]
            stored = stored_key(key)
            value = transaction.get(index_id + stored, db=opened.current)
            return unpack_row(stored, value) if value is not None else None

    def scan(
        self, index_id: bytes, start: bytes, end: bytes | None, *, descending: bool, limit: int
    ) -> list[Row]:
        rows: list[Row] = []
        with self._begin() as transaction:
            state = self._check(transaction)
            found = _iterate(transaction, self._opened, index_id, start, end, descending=descending)
            if state.applied_ts > self.ts:
                replaced = {
                    key: row
                    for key, row in self._replaced(transaction, index_id, state.applied_ts).items()
                    if start <= key and (end is None or key < end)
                }
                found = _overlaid(found, replaced, descending=descending) if replaced else found
            for row in found:
                rows.append(row)
                if len(rows) == limit:
                    break
        return rows

    def _begin(self) -> lmdb.Transaction:
        return self._opened.environment.begin()

    def _check(self, transaction: lmdb.Transaction) -> ViewState:
        state = _read_state(transaction, self._opened)
        if state.applied_ts < self.ts:
            raise BackendError(
                ErrorKind.OVERLOADED,
                "ViewBehind",
                f"The view has applied {state.applied_ts} and was asked for {self.ts}. Try again.",
            )
        if self.ts < state.min_ts:
            raise out_of_retention()
        return state

    def _replaced(
        self, transaction: lmdb.Transaction, index_id: bytes, applied_ts: int
    ) -> dict[bytes, Row | None]:
        """Full key -> what stood there at our ts, for every key replaced since (earliest wins)."""
        replaced: dict[bytes, Row | None] = {}
        limit = undo_start(index_id, applied_ts + 1)
        with transaction.cursor(db=self._opened.undo) as cursor:
            found = cursor.set_range(undo_start(index_id, self.ts + 1))
            while found and cursor.key() < limit:
                _index, _ts, stored = unpack_undo_key(cursor.key())
                key, row = unpack_undo(stored, cursor.value())
                replaced.setdefault(key, row)
                found = cursor.next()
        return replaced


def _last_catalog_ts(cursor: lmdb.Cursor, ts: int) -> int:
    found = cursor.set_range(_CATALOG_KEY + _TS.pack(ts + 1))
    found = cursor.prev() if found else cursor.last()
    while found and cursor.key() > _CATALOG_KEY + _TS.pack(ts):
        found = cursor.prev()
    if not found or not cursor.key().startswith(_CATALOG_KEY):
        return 0
    return _TS.unpack_from(cursor.key(), len(_CATALOG_KEY))[0]


def _iterate_prefix(
    transaction: lmdb.Transaction, database: object, prefix: bytes
) -> Iterator[tuple[bytes, bytes]]:
    with transaction.cursor(db=database) as cursor:
        found = cursor.set_range(prefix)
        while found and cursor.key().startswith(prefix):
            yield cursor.item()
            found = cursor.next()


def _iterate(
    transaction: lmdb.Transaction,
    opened: _Opened,
    index_id: bytes,
    start: bytes,
    end: bytes | None,
    *,
    descending: bool,
) -> Iterator[Row]:
    """Current rows of [start, end) in key order, or reversed."""
    with transaction.cursor(db=opened.current) as cursor:
        step = cursor.prev if descending else cursor.next
        found = _seek_end(cursor, index_id, end) if descending else _seek_start(cursor, index_id, start)
        group_prefix, group = b"", list[Row]()
        while found:
            physical = cursor.key()
            stored = physical[len(index_id) :]
            if physical[: len(index_id)] != index_id or _is_past(stored, start, end, descending):
                break
            if group and (not is_grouped(stored) or stored[:KEY_PREFIX_BYTES] != group_prefix):
                yield from _ordered(group, start, end, descending)
                group = []
            row = unpack_row(stored, cursor.value())
            if is_grouped(stored):
                group_prefix = stored[:KEY_PREFIX_BYTES]
                group.append(row)
            elif start <= row.key and (end is None or row.key < end):
                yield row
            found = step()
        yield from _ordered(group, start, end, descending)


def _seek_start(cursor: lmdb.Cursor, index_id: bytes, start: bytes) -> bool:
    return cursor.set_range(index_id + start[:KEY_PREFIX_BYTES])


def _seek_end(cursor: lmdb.Cursor, index_id: bytes, end: bytes | None) -> bool:
    """On the last entry that may lie below `end`; 0xff is above every byte a key begins with."""
    if end is None:
        bound = index_id + b"\xff"
    elif len(end) <= KEY_PREFIX_BYTES:
        bound = index_id + end
    else:
        bound = index_id + end[:KEY_PREFIX_BYTES] + b"\xff" * (len(end) - KEY_PREFIX_BYTES)
        bound = bound[:511]
    return cursor.prev() if cursor.set_range(bound) else cursor.last()


def _is_past(stored: bytes, start: bytes, end: bytes | None, descending: bool) -> bool:
    """Whether no further entry in this direction can lie in the interval."""
    prefix = stored[:KEY_PREFIX_BYTES]
    if descending:
        return prefix < start[:KEY_PREFIX_BYTES]
    if end is None:
        return False
    return prefix > end[:KEY_PREFIX_BYTES] or (len(end) <= KEY_PREFIX_BYTES and prefix >= end)


def _ordered(group: list[Row], start: bytes, end: bytes | None, descending: bool) -> list[Row]:
    inside = [row for row in group if start <= row.key and (end is None or row.key < end)]
    return sorted(inside, key=lambda row: row.key, reverse=descending)


def _overlaid(
    current: Iterator[Row], replaced: dict[bytes, Row | None], *, descending: bool
) -> Iterator[Row]:
    """Merge: keys in `replaced` show what they were; absent ones vanish."""
    earlier = sorted((row for row in replaced.values() if row is not None), key=lambda row: row.key)
    if not descending:
        earlier.reverse()  # popped from the end
    for row in current:
        if row.key in replaced:
            continue
        while earlier and (earlier[-1].key > row.key if descending else earlier[-1].key < row.key):
            yield earlier.pop()
        yield row
    while earlier:
        yield earlier.pop()
