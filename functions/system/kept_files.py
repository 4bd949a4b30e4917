"""The files of other components, while an import replaces those of some: all are in one table.

The table that is to replace it is hidden, and gets a copy of what others have in steps, each a transaction of
its own. They go on storing and deleting meanwhile, so a step
  1. settles what has changed since the step before, among the keys that are copied already;
  2. copies the next ones.
Both read the files as they are published, without counting as reads: nobody is in a step's way, and what a
commit changes behind its back the next step settles. Commits on their way are not looked at: they may still
be refused, and the step would not hear of it. The last settling is in the transaction that puts the table in
its place. It sees those too, for it has read the whole table: a file that comes before its commit, or one
that it saw and that is refused, makes it run again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from functions.catalog import Table
from functions.components import owner_of
from functions.snapshot import Row, SnapshotReader, pages
from functions.system import transfer_errors as errors
from functions.system.files import FILES
from functions.transaction import Transaction
from functions.transfer.zip_layout import STORAGE
from log import values
from log.limits import FILES_COPIED_PER_STEP, SCAN_ROWS_PER_FETCH_MAX


@dataclass(frozen=True, slots=True)
class Kept:
    """How far the copy is: up to `end` (None: to the end) it is what others had at `as_of_ts`."""

    end: bytes | None = b""
    as_of_ts: int = 0


@dataclass(frozen=True, slots=True)
class FileReplacement:
    """`owners` are the components whose files are replaced; `must_be_empty`: who must have none."""

    tablet_id: bytes
    owners: frozenset[str]
    must_be_empty: bool

    def copy_step(self, transaction: Transaction, kept: Kept) -> Kept:
        """A bounded number of files more; what is kept when this has committed."""
        assert kept.end is not None, "there is something left to copy"
        published, index_id = transaction.snapshot.published, _by_id(transaction)
        self._settle_changes(transaction, published, kept)
        rows = published.scan(index_id, kept.end, None, descending=False, limit=FILES_COPIED_PER_STEP)
        for row in rows:
            self._settle(transaction, published, row.key)
        end = rows[-1].key + b"\x00" if len(rows) == FILES_COPIED_PER_STEP else None
        return Kept(end, published.ts)

    def finish(self, transaction: Transaction, kept: Kept) -> None:
        """The copy is whole in this transaction, which is to put the table in its place."""
        assert kept.end is None, "all was copied"
        transaction.budget.lift_for_system()
        transaction.record_read(transaction.catalog.tables[FILES].by_id, b"", None)
        self._settle_changes(transaction, transaction.snapshot, kept)

    def _settle_changes(self, transaction: Transaction, files: SnapshotReader, kept: Kept) -> None:
        if kept.end == b"":
            return
        changed = files.changed_keys(_by_id(transaction), kept.as_of_ts)
        if changed is None:  # too long ago: all is compared, in this one transaction
            changed = _keys(files, _by_id(transaction))
            changed |= _keys(transaction.snapshot, self._target(transaction).by_id.index_id)
        for key in sorted(changed):
            if kept.end is None or key < kept.end:
                self._settle(transaction, files, key)

    def _settle(self, transaction: Transaction, files: SnapshotReader, key: bytes) -> None:
        """Make the copy have under this key what others have there in the snapshot `files`. An id that the
        import has taken already is refused as one that is in a table twice."""
        target = self._target(transaction)
        file = _document(files.get(_by_id(transaction), key))
        copy = _document(transaction.snapshot.get(target.by_id.index_id, key))
        if file is not None and owner_of(file) in self.owners:
            if self.must_be_empty:
                raise errors.table_exists(STORAGE)
            file = None
        if copy is not None and owner_of(copy) in self.owners:  # the import's own
            if file is not None:
                raise errors.duplicate_id(file["_id"], STORAGE)
            copy = None
        if copy is not None and (file is None or not values.same(copy, file)):
            transaction.delete(target, copy["_id"])
            copy = None
        if file is not None and copy is None:
            transaction.restore(target, file)

    def _target(self, transaction: Transaction) -> Table:
        return transaction.catalog.hidden_tables[self.tablet_id]


def _by_id(transaction: Transaction) -> bytes:
    return transaction.catalog.tables[FILES].by_id.index_id


def _keys(snapshot: SnapshotReader, index_id: bytes) -> set[bytes]:
    return {row.key for rows in pages(snapshot, index_id, SCAN_ROWS_PER_FETCH_MAX) for row in rows}


def _document(row: Row | None) -> dict[str, Any] | None:
    return values.loads_canonical(row.document) if row is not None else None  # type: ignore[return-value]
