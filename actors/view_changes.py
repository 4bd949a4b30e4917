"""What a batch of commits changes in a view, collected first and written in key order.

In key order a page of the tree is found, changed and written once for all its rows, however many commits
lie between them; and an entry that was replaced a hundred times is written once. That is what makes folding
a log fast; a single commit is not slower for it.
"""

from __future__ import annotations

from actors.view_environment import OpenedView, ViewTransaction
from actors.view_layout import pack_row, pack_undo, size_in_row, stored_key, undo_start
from actors.view_pieces import Pieces
from actors.view_sizes import Sizes
from log.invariant import InvariantViolation
from log.record import DocumentWrite


class ViewChanges:
    """Changes of one write transaction. Nothing is in the view before `write`."""

    def __init__(self, transaction: ViewTransaction, opened: OpenedView, *, with_undo: bool) -> None:
        self._transaction, self._opened, self._with_undo = transaction, opened, with_undo
        self._rows: dict[bytes, bytes | None] = {}  # physical key -> row, None = no entry
        self._undo: dict[bytes, bytes] = {}
        self._sizes = Sizes(transaction, opened)

    def add(self, ts: int, write: DocumentWrite) -> None:
        """The next write, in the order of the log."""
        self._count(write)
        for index_id, old_key, new_key in write.keys:
            if old_key is not None and old_key != new_key:
                self._set(ts, index_id, old_key, None)
            if new_key is not None:
                self._set(ts, index_id, new_key, _row(ts, write, new_key))

    def write(self) -> None:
        transaction, current, undo = self._transaction, self._opened.current, self._opened.undo
        pieces = Pieces(transaction, self._opened)
        # With undo what is replaced has a new owner: the undo entry made of it.
        loses_pieces = not self._with_undo and not pieces.is_empty
        for key in sorted(self._rows):
            row = self._rows[key]
            if loses_pieces:
                pieces.drop_of_row(transaction.get(key, db=current))
            if row is not None:
                transaction.put(key, pieces.fitted_row(row), db=current)
            else:
                transaction.delete(key, db=current)
        for key in sorted(self._undo):
            transaction.put(key, pieces.fitted_undo(self._undo[key]), db=undo)
        self._sizes.write()

    def _count(self, write: DocumentWrite) -> None:
        """BEFORE the write is in its place: what stands there says how much goes."""
        by_id, old_key, new_key = write.keys[0]
        old = self._present(by_id + stored_key(old_key)) if old_key is not None else None
        self._sizes.replace(by_id, size_in_row(old), write.size_bytes if new_key is not None else None)

    def _set(self, ts: int, index_id: bytes, key: bytes, row: bytes | None) -> None:
        stored = stored_key(key)
        physical = index_id + stored
        if self._with_undo:
            self._undo[undo_start(index_id, ts) + stored] = pack_undo(key, self._present(physical))
        self._rows[physical] = row

    def _present(self, physical: bytes) -> bytes | None:
        """The row as the writes before this one left it."""
        if physical in self._rows:
            return self._rows[physical]
        return self._transaction.get(physical, db=self._opened.current)


def _row(ts: int, write: DocumentWrite, key: bytes) -> bytes:
    if write.document is None:
        raise InvariantViolation(f"a deleted document has no new key (ts={ts})")
    return pack_row(key, ts, write.size_bytes, write.document)
