"""Views without files: the in-memory twin of the view in the place of LMDB.

A view belongs to its node and survives the crash of its writer, as LMDB's pages do in the kernel; a core on
another node folds one of its own. The seams are those of the product: `MemoryShard` stands where the core
makes an IndexShard, `MemoryViewReader` where an executor opens a view folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from actors.projections.documents import MemorySnapshot, MemoryView
from actors.runtime import Pauses
from actors.view_environment import ViewState
from functions.catalog import Catalog, Index, Table
from functions.snapshot import UNBOUNDED, Row, SnapshotReader
from functions.system.tables import CATALOG_TABLETS
from log.committer import Commit
from log.errors import out_of_retention, view_behind
from log.invariant import invariant
from log.record import CommitBody, DocumentWrite, Record, RecordKind
from log.store import LogStore

OnFold = Callable[[str, Record], None]


class NodeView:
    """One node's view: what survives its writer."""

    def __init__(self) -> None:
        self.rows = MemoryView(CATALOG_TABLETS)
        self.state = ViewState(min_ts=1)  # long pruned: nobody may read from before the first record

    def snapshot(self, ts: int) -> MemorySnapshot:
        return CheckedSnapshot(self, ts)


class CheckedSnapshot(MemorySnapshot):
    """As the real one, it answers only for what the view has folded."""

    def __init__(self, view: NodeView, ts: int) -> None:
        super().__init__(view.rows, ts)
        self._node_view = view

    @property
    def catalog_ts(self) -> int:
        self._check()
        return super().catalog_ts

    def get(self, index_id: bytes, key: bytes) -> Row | None:
        self._check()
        return super().get(index_id, key)

    def scan(
        self,
        index_id: bytes,
        start: bytes,
        end: bytes | None,
        *,
        descending: bool,
        limit: int,
        bytes_max: int = UNBOUNDED,
    ) -> list[Row]:
        self._check()
        return super().scan(index_id, start, end, descending=descending, limit=limit, bytes_max=bytes_max)

    def _check(self) -> None:
        state = self._node_view.state
        if state.applied_ts < self.ts:
            raise view_behind(state.applied_ts, self.ts)
        if self.ts < state.min_ts:
            raise out_of_retention()


class MemoryViewReader:
    """actors.view_reader.ViewReader over a NodeView."""

    def __init__(self, view: NodeView) -> None:
        self._view = view

    def state(self) -> ViewState:
        return self._view.state

    def snapshot(self, ts: int) -> MemorySnapshot:
        return self._view.snapshot(ts)

    def close(self) -> None:
        return None


class MemoryShard:
    """actors.index_shard.IndexShard over a NodeView. There is nothing to prune, fill, copy or remove."""

    def __init__(
        self,
        view: NodeView,
        folder: Path,
        pauses: Pauses,
        on_fold: OnFold,
        catalog_of: Callable[[SnapshotReader], Catalog],
    ) -> None:
        self._view, self.view_folder = view, folder
        self._pauses, self._on_fold, self._catalog_of = pauses, on_fold, catalog_of

    @property
    def applied_ts(self) -> int:
        return self._view.state.applied_ts

    @property
    def applied_seq(self) -> int:
        return self._view.state.applied_seq

    def is_checkpoint_due(self) -> bool:
        return False

    def catch_up(self, store: LogStore) -> int:
        records = list(store.read_from(self.applied_seq + 1))
        for record in records:
            is_commit = record.kind is RecordKind.COMMIT
            self._fold(record, CommitBody.decode(record.body).writes if is_commit else ())
        return len(records)

    def follow(self, commits: Sequence[Commit]) -> None:
        self._pauses.reach(Pauses.MID_APPLY)
        for commit in commits:
            self._fold(commit.record, commit.body.writes)

    def _fold(self, record: Record, writes: tuple[DocumentWrite, ...]) -> None:
        state = self._view.state
        invariant(record.seq == state.applied_seq + 1, "a view follows the log without holes", seq=record.seq)
        invariant(record.ts > state.applied_ts, "a view never goes back", ts=record.ts)
        self._view.rows.apply(record.ts, writes)
        self._view.state = ViewState(record.seq, record.ts, record.crc, state.min_ts)
        self._on_fold(str(self.view_folder), record)

    def prune(self, now_ns: int) -> int:
        return 0

    def take_checkpoint(self) -> None:
        return None

    def reader(self) -> MemoryViewReader:
        return MemoryViewReader(self._view)

    def catalog(self) -> Catalog:
        return self._catalog_of(self._view.snapshot(self.applied_ts))

    def fill_step(self, table: Table, index: Index) -> bool:
        return True

    def unreachable_indexes(self) -> list[bytes]:
        return []

    def remove_index(self, index_id: bytes) -> bool:
        return True

    def statistics(self) -> dict[str, int]:
        return {}

    def close(self, *, clean: bool) -> None:
        return None
