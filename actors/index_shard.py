"""Owns the node's view: brings it up to the log, folds what is published, prunes, fills new indexes.

Reads never come here: executors of the node read the view in place. `views/` holds one folder per
generation; a view that cannot be trusted is dropped, and the next generation goes on from the newest
checkpoint that agrees with the log, else from nothing.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from actors.checkpoints import Checkpoints
from actors.index_view import IndexView
from actors.runtime import Pauses
from actors.view_environment import ViewState
from actors.view_reader import ViewReader
from functions.catalog import BACKFILLING, Catalog, Index, Table, load_catalog
from functions.indexes import index_of_row
from functions.snapshot import is_exhausted
from functions.system.tables import CATALOG_TABLETS, INDEX_TABLET
from log import limits, values
from log.committer import NANOSECONDS, Commit
from log.invariant import InvariantViolation, invariant
from log.keys import index_key
from log.record import DocumentWrite, Record, RecordKind, decode_writes
from log.store import LogDamaged, LogStore

_logger = logging.getLogger(__name__)
_REPLAY_WRITES_PER_BATCH = 10_000  # the more there are, the more of them share a page of the view

_Fold = tuple[int, int, int, tuple[DocumentWrite, ...]]


class IndexShard:
    """The writer's side of one view."""

    def __init__(self, folder: Path, pauses: Pauses, store: LogStore | None = None) -> None:
        """`store` is the log that a checkpoint must agree with; without one, none is used."""
        self._folder, self._pauses = folder, pauses
        self._checkpoints = Checkpoints(folder)
        if store is not None:
            _drop_strangers(self._checkpoints, store)
        self.generation, self._view = _open_newest(folder, self._checkpoints, store is not None)
        self.checkpoint_seq = max(
            (checkpoint.state.applied_seq for checkpoint in self._checkpoints.newest_first()), default=0
        )
        self._unnamed_since: dict[bytes, int] = {}  # index id -> applied_ts when no catalog named it
        self._reader: ViewReader | None = None
        self._catalog: Catalog | None = None
        self._fill_positions: dict[bytes, bytes] = {}  # index id -> first by_id key not yet indexed

    @property
    def view_folder(self) -> Path:
        return self._view.folder

    @property
    def applied_ts(self) -> int:
        return self._view.state.applied_ts

    @property
    def applied_seq(self) -> int:
        return self._view.state.applied_seq

    def catch_up(self, store: LogStore) -> int:
        """Fold what the log has and the view has not; returns how many records that were.

        A view ahead of the log means that the log lost its end (design D2): refuse.
        """
        state, end = self._view.state, store.end()
        invariant(
            state.applied_seq <= end.seq,
            "the log holds every record a trusted view has folded; if not, it lost its end: restore the "
            "data folder from a backup, or run `tidelog verify --accept-loss`",
            view_seq=state.applied_seq,
            log_seq=end.seq,
        )
        self._view.begin_use()
        undo_from_ts = end.ts - limits.UNDO_SECONDS * NANOSECONDS
        folded = 0
        for folds, created in _batches(store.read_from(state.applied_seq + 1)):
            self._view.apply_batch(folds, with_undo=folds[-1][1] > undo_from_ts)
            # At once, so that moves of keys after it find what they move, and their undo is right.
            self._fill_now(created)
            folded += len(folds)
        return folded

    def follow(self, commits: Sequence[Commit]) -> None:
        """actors.commit_log.Follower."""
        folds: list[_Fold] = [
            (commit.record.seq, commit.ts, commit.record.crc, commit.body.writes) for commit in commits
        ]
        self._pauses.reach(Pauses.MID_APPLY)
        self._view.apply_batch(folds)

    def prune(self, now_ns: int) -> int:
        """Drop undo entries older than the undo window; call about once a second."""
        return self._view.prune(min(now_ns - limits.UNDO_SECONDS * NANOSECONDS, self.applied_ts))

    def is_checkpoint_due(self) -> bool:
        """Enough was folded since the last one, and no index is being filled."""
        is_due = self.applied_seq - self.checkpoint_seq >= limits.CHECKPOINT_RECORDS
        return is_due and not self.catalog().is_filling

    def take_checkpoint(self) -> None:
        """Copy the view for a later start. Blocks: call it on a thread, and close only after it returned.
        Whatever came of it, the next one is due after as many records again."""
        due_from_seq = self.applied_seq
        checkpoint = self._checkpoints.take(self._view)
        self.checkpoint_seq = checkpoint.state.applied_seq if checkpoint is not None else due_from_seq

    def unreachable_indexes(self) -> list[bytes]:
        """Indexes with entries that no snapshot can name any more. The newest catalog did not name them at
        some ts, ids are never used again, and no snapshot before that ts is answered any more."""
        catalog = self.catalog()
        tables = (*catalog.every_table(), *catalog.hidden_tables.values())
        named = {index.index_id for table in tables for index in table.indexes}
        unnamed = [index_id for index_id in self._view.index_ids() if index_id not in named]
        self._unnamed_since = {
            index_id: self._unnamed_since.get(index_id, self.applied_ts) for index_id in unnamed
        }
        min_ts = self._view.state.min_ts
        return [index_id for index_id, since_ts in self._unnamed_since.items() if min_ts >= since_ts]

    def remove_index(self, index_id: bytes) -> bool:
        """Remove the next entries of an unreachable index; True when none is left."""
        return self._view.remove_index(index_id)

    def reader(self) -> ViewReader:
        if self._reader is None:
            self._reader = self._view.reader()
        return self._reader

    def catalog(self) -> Catalog:
        """The newest one. It is decoded when a commit has written to it, not each time it is asked for."""
        snapshot = self.reader().snapshot(self.applied_ts)
        if self._catalog is None or self._catalog.ts != snapshot.catalog_ts:
            self._catalog = load_catalog(snapshot)
        return self._catalog

    def statistics(self) -> dict[str, int]:
        return self._view.statistics()

    def close(self, *, clean: bool) -> None:
        if self._reader is not None:
            self._reader.close()
        self._view.close(clean=clean)

    # --- filling new indexes ------------------------------------------------------------------------

    def fill_step(self, table: Table, index: Index) -> bool:
        """Index the next few hundred documents of `table`; True when all of them are.

        Live commits maintain the index from its row's commit on, so only documents older than that are
        missing; indexing a newer one again changes nothing. Progress need not be durable: it is repeated.
        """
        snapshot = self.reader().snapshot(self.applied_ts)
        start = self._fill_positions.get(index.index_id, b"")
        count = limits.BACKFILL_DOCUMENTS_PER_STEP
        bytes_max = limits.VIEW_READ_BYTES_PER_STEP
        rows = snapshot.scan(
            table.by_id.index_id, start, None, descending=False, limit=count, bytes_max=bytes_max
        )
        entries = []
        for row in rows:
            document = values.loads_canonical(row.document)
            assert isinstance(document, dict)
            entries.append((index_key(index.fields, document, document["_id"]), row))
        if entries:
            self._view.insert_backfilled(index.index_id, entries)
        if is_exhausted(rows, count, bytes_max):
            self._fill_positions.pop(index.index_id, None)
            return True
        self._fill_positions[index.index_id] = rows[-1].key + b"\x00"
        return False

    def _fill_now(self, index_ids: set[bytes]) -> None:
        """In a replay: an index that was filled in an earlier life must be whole before it serves."""
        for table in self.catalog().tables.values() if index_ids else ():
            for index in table.indexes:
                if index.index_id in index_ids:
                    while not self.fill_step(table, index):
                        pass


def _open_newest(folder: Path, checkpoints: Checkpoints, may_restore: bool) -> tuple[int, IndexView]:
    """The newest trusted generation; else the next one, from a checkpoint or empty."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    generations = sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())
    newest = generations[-1] if generations else 0
    if generations:
        view = _try_open(folder / f"{newest:06d}")
        if view is not None:
            _drop_all_but(folder, newest)
            return newest, view
    _drop_all_but(folder, newest + 1)
    path = folder / f"{newest + 1:06d}"
    checkpoint = next(checkpoints.newest_first(), None) if may_restore else None
    if checkpoint is not None:
        _logger.warning("going on from the checkpoint %s", checkpoint.path)
        checkpoints.restore(checkpoint, path)
    return newest + 1, IndexView(path, CATALOG_TABLETS)


def _drop_strangers(checkpoints: Checkpoints, store: LogStore) -> None:
    """A copy helps only if it is a fold of this log."""
    for checkpoint in list(checkpoints.newest_first()):
        if not _is_fold_of(checkpoint.state, store):
            checkpoints.drop(checkpoint)


def _is_fold_of(state: ViewState, store: LogStore) -> bool:
    """Whether what the log has behind the copy follows what the copy ends with. So a copy that covers
    everything archived needs no archive to be proven."""
    end = store.end()
    if state.applied_seq == end.seq:
        return state.applied_crc == end.crc
    if not 0 < state.applied_seq < end.seq:
        return False
    try:
        next(store.read_from(state.applied_seq + 1)).check_follows(state.applied_crc)
    except InvariantViolation:
        return False
    except LogDamaged as failure:  # in the archive; whoever goes on from this copy is refused for it
        _logger.warning("a checkpoint cannot be compared with the log: %s", failure)
    return True


def _try_open(path: Path) -> IndexView | None:
    try:
        view = IndexView(path, CATALOG_TABLETS)
    except Exception as failure:  # a damaged view is derived data: fold it again
        _logger.warning("the view %s cannot be opened (%s): folding a new one from the log", path, failure)
        return None
    if view.is_trusted():
        return view
    _logger.warning("the view %s is from an unclean stop of an earlier boot: folding a new one", path)
    view.close(clean=False)
    return None


def _drop_all_but(folder: Path, kept: int) -> None:
    for path in folder.iterdir():
        if path.name.isdigit() and int(path.name) != kept:
            shutil.rmtree(path)


def _batches(records: Iterator[Record]) -> Iterator[tuple[list[_Fold], set[bytes]]]:
    """What to fold together, and the indexes made by the last record of it over what is there already."""
    batch: list[_Fold] = []
    size = 0
    for record in records:
        fold = _fold_of(record)
        batch.append(fold)
        size += max(1, len(fold[3]))
        created = set(_created_unfilled(fold[3]))
        if created or size >= _REPLAY_WRITES_PER_BATCH:
            yield batch, created
            batch, size = [], 0
    if batch:
        yield batch, set()


def _created_unfilled(writes: tuple[DocumentWrite, ...]) -> Iterator[bytes]:
    """Indexes these writes create over documents that are already there."""
    for write in writes:
        if write.tablet_id == INDEX_TABLET and write.previous_ts == 0 and write.document is not None:
            row = values.loads_canonical(write.document)
            assert isinstance(row, dict)
            index = index_of_row(row)
            if index.state == BACKFILLING:
                yield index.index_id


def _fold_of(record: Record) -> _Fold:
    writes = decode_writes(record.body) if record.kind is RecordKind.COMMIT else ()
    return record.seq, record.ts, record.crc, writes
