"""The node's view of all indexes: an LMDB environment with one writer and many readers (design D6).

`current` holds one version of each index entry; `undo` what each commit replaced. A read at `ts` is
current overlaid with the undo entries in (ts, applied_ts]; pruning removes the oldest undo entries.
The view is derived: it may be deleted at any time and is then folded again from the log. Nothing in it is
synced; whether what an unclean stop left may be trusted is decided by the boot id (same boot = the kernel
still had every write of ours).

Here is the writer; view_changes.py knows what a commit changes, view_reader.py reads, view_layout.py knows
the bytes, view_environment.py opens.

Read in this order: apply_batch, ViewChanges.add, prune; then ViewSnapshot.scan.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from actors.view_changes import ViewChanges
from actors.view_environment import (
    CATALOG_KEY,
    CATALOG_TS,
    STATE_KEY,
    TRUST_KEY,
    ViewState,
    ViewTransaction,
    close_shared,
    copy_compacted,
    iterate_prefix,
    open_shared,
    used_bytes,
)
from actors.view_layout import INDEX_ID_BYTES, pack_row, stored_key, unpack_undo_key
from actors.view_pieces import Pieces
from actors.view_reader import ViewReader
from actors.view_sizes import forget_size
from functions.snapshot import Row
from log.invariant import invariant
from log.limits import VIEW_KEY_BYTES_MAX
from log.record import DocumentWrite

VIEW_FORMAT = 4
_CLEAN_STOP = "clean"
_PRUNE_ENTRIES_MAX = 2_000
_REMOVE_ENTRIES_MAX = 1_000


def read_boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class IndexView:
    """The single writer of one view folder. Not thread-safe: one thread applies."""

    def __init__(self, folder: Path, catalog_tablets: frozenset[bytes]) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._opened = open_shared(folder, writable=True)
        self._catalog_tablets = catalog_tablets
        self.folder = folder
        with self._opened.environment.begin(db=self._opened.meta) as transaction:
            stored = transaction.get(STATE_KEY)
            self._trust = transaction.get(TRUST_KEY)
        self.state = ViewState.unpack(stored)

    def is_trusted(self) -> bool:
        """Whether what the folder holds is what was applied: a clean stop, or the same boot."""
        return self._trust in (_trust_mark(_CLEAN_STOP), _trust_mark(read_boot_id()))

    def begin_use(self) -> None:
        """From now on an unclean stop is trusted only within this boot."""
        with self._opened.environment.begin(db=self._opened.meta, write=True) as transaction:
            transaction.put(TRUST_KEY, _trust_mark(read_boot_id()))

    def apply(self, seq: int, ts: int, crc: int, writes: tuple[DocumentWrite, ...]) -> None:
        """Fold one record; the next one of the log, or nothing is applied."""
        self.apply_batch([(seq, ts, crc, writes)])

    def apply_batch(
        self, commits: list[tuple[int, int, int, tuple[DocumentWrite, ...]]], *, with_undo: bool = True
    ) -> None:
        """Fold consecutive records in one transaction. Without undo, only timestamps from the last one on
        can be read afterwards: for what is older than the undo window anyway."""
        opened, before = self._opened, self.state
        last_seq, last_ts, last_crc = before.applied_seq, before.applied_ts, before.applied_crc
        with opened.environment.begin(write=True) as transaction:
            changes = ViewChanges(transaction, opened, with_undo=with_undo)
            for seq, ts, crc, writes in commits:
                invariant(seq == last_seq + 1, "a view follows the log without holes", seq=seq)
                invariant(ts > last_ts, "a view never goes back", ts=ts, at=last_ts)
                for write in writes:
                    changes.add(ts, write)
                    if write.tablet_id in self._catalog_tablets:
                        transaction.put(CATALOG_KEY + CATALOG_TS.pack(ts), b"", db=opened.meta)
                last_seq, last_ts, last_crc = seq, ts, crc
            changes.write()
            state = ViewState(last_seq, last_ts, last_crc, before.min_ts if with_undo else last_ts)
            transaction.put(STATE_KEY, state.pack(), db=opened.meta)
        self.state = state  # AFTER the transaction committed

    def insert_backfilled(self, index_id: bytes, entries: list[tuple[bytes, Row]]) -> None:
        """Add entries of documents that were there before their index: no undo, for the index answers
        only at timestamps after it was completed. Overwriting what live commits wrote is harmless: both
        are the document's newest revision."""
        current = self._opened.current
        with self._opened.environment.begin(write=True) as transaction:
            pieces = Pieces(transaction, self._opened)
            for key, row in entries:
                packed, physical = (
                    pack_row(key, row.revision_ts, row.size_bytes, row.document),
                    index_id + stored_key(key),
                )
                pieces.drop_of_row(transaction.get(physical, db=current))
                transaction.put(physical, pieces.fitted_row(packed), db=current)

    def prune(self, min_ts: int) -> int:
        """Forget what was replaced at or before min_ts, a bounded number of entries and pieces a call.

        min_ts is raised BEFORE anything is deleted, in the same transaction, so that no reader misses
        an entry it relies on. Returns how many went.
        """
        opened, removed = self._opened, 0
        with opened.environment.begin(write=True) as transaction:
            if min_ts > self.state.min_ts:
                self.state = replace(self.state, min_ts=min_ts)
                transaction.put(STATE_KEY, self.state.pack(), db=opened.meta)
            pieces = Pieces(transaction, opened)
            has_pieces = not pieces.is_empty
            with transaction.cursor(db=opened.undo) as cursor:
                found = cursor.first()
                while found and removed < _PRUNE_ENTRIES_MAX:
                    index_id, replaced_ts, _key = unpack_undo_key(cursor.key())
                    if replaced_ts <= self.state.min_ts:
                        removed += 1 + (pieces.drop_of_undo(cursor.value()) if has_pieces else 0)
                        cursor.delete()
                        found = bool(cursor.key())  # empty behind the last entry
                    else:
                        found = cursor.set_range(index_id + b"\xff" * 8)
            self._prune_catalog_marks(transaction)
        opened.environment.reader_check()
        return removed

    def _prune_catalog_marks(self, transaction: ViewTransaction) -> None:
        """Of the catalog commits at or before min_ts only the newest is still an answer."""
        limit = CATALOG_KEY + CATALOG_TS.pack(self.state.min_ts)
        marks = [key for key, _ in iterate_prefix(transaction, self._opened.meta, CATALOG_KEY)]
        for key in [mark for mark in marks if mark <= limit][:-1]:
            transaction.delete(key, db=self._opened.meta)

    def index_ids(self) -> list[bytes]:
        """Every index that has an entry."""
        opened, found = self._opened, list[bytes]()
        with opened.environment.begin() as transaction, transaction.cursor(db=opened.current) as cursor:
            present = cursor.first()
            while present:
                found.append(cursor.key()[:INDEX_ID_BYTES])
                present = cursor.set_range(found[-1] + b"\xff" * (VIEW_KEY_BYTES_MAX - INDEX_ID_BYTES))
        return found

    def remove_index(self, index_id: bytes) -> bool:
        """Remove the next entries of an index that no snapshot can name any more; True when none is left."""
        begin = self._opened.environment.begin
        with begin(write=True) as transaction, transaction.cursor(db=self._opened.current) as cursor:
            pieces, removed = Pieces(transaction, self._opened), 0
            cursor.set_range(index_id)
            while removed < _REMOVE_ENTRIES_MAX:
                if not cursor.key().startswith(index_id):  # no key behind the last entry
                    forget_size(transaction, self._opened, index_id)
                    return True
                removed += 1 + pieces.drop_of_row(cursor.value())
                cursor.delete()
        return False

    def statistics(self) -> dict[str, int]:
        with self._opened.environment.begin() as transaction:
            return {
                "index_entries": transaction.stat(self._opened.current)["entries"],
                "undo_entries": transaction.stat(self._opened.undo)["entries"],
                "view_bytes": used_bytes(self._opened),
            }

    def copy_to(self, target: Path) -> None:
        """Copy what one moment shows, without free pages, into an empty folder. Any thread; the writer
        goes on meanwhile."""
        copy_compacted(self._opened, target)

    def reader(self) -> ViewReader:
        """A reader in the writer's own process."""
        return ViewReader(self.folder)

    def close(self, *, clean: bool) -> None:
        """A clean close syncs, so that the view is trusted even by a later boot."""
        if clean:
            with self._opened.environment.begin(db=self._opened.meta, write=True) as transaction:
                transaction.put(TRUST_KEY, _trust_mark(_CLEAN_STOP))
            self._opened.environment.sync(True)
        close_shared(self._opened)


def _trust_mark(since: str) -> bytes:
    """What a folder holds is what was applied, if it was written by this format and since this boot, or
    stopped cleanly."""
    return f"{VIEW_FORMAT}/{since}".encode()
