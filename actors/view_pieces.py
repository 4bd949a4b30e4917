"""Rows that need more than a page of the view, in pieces of a page.

LMDB keeps a larger value in pages that lie side by side. Where small rows come and go all the time the free
pages lie scattered, so each such value would be put behind the file's end, and the file would grow with every
one (docs/decisions/0027). Pieces need no neighbours.

A third ordered table, `pieces`: owner (8) | number (4) -> a piece. Each entry of `current` and `undo` whose
row refers to pieces is their only owner: with the row they move from `current` to `undo`, and go with it.
"""

from __future__ import annotations

import struct

from actors.view_environment import OpenedView, ViewTransaction
from actors.view_layout import Reference, content_of, pack_undo, refer, reference_of, row_in_undo
from log.invariant import invariant
from log.limits import VIEW_VALUE_BYTES_MAX

_KEY = struct.Struct(">QI")
_ROW_BYTES_MAX = VIEW_VALUE_BYTES_MAX - 1  # an undo entry has one byte more


class Pieces:
    """Those of one transaction's view. `read` for all, the rest for the writer."""

    __slots__ = ("_opened", "_transaction")

    def __init__(self, transaction: ViewTransaction, opened: OpenedView) -> None:
        self._transaction, self._opened = transaction, opened

    def read(self, owner: int, length: int) -> bytes:
        get, table = self._transaction.get, self._opened.pieces
        count = -(-length // VIEW_VALUE_BYTES_MAX)
        content = b"".join(get(_KEY.pack(owner, number), b"", db=table) for number in range(count))
        invariant(len(content) == length, "a row has all pieces of its content", owner=owner, length=length)
        return content

    @property
    def is_empty(self) -> bool:
        return bool(self._transaction.stat(self._opened.pieces)["entries"] == 0)

    def fitted_row(self, row: bytes) -> bytes:
        """A packed row as `current` keeps it: itself, or with its content put into pieces."""
        if len(row) <= _ROW_BYTES_MAX:
            return row
        return refer(row, self._put(content_of(row)))

    def fitted_undo(self, value: bytes) -> bytes:
        """The same of a packed undo entry."""
        row = row_in_undo(value) if len(value) > VIEW_VALUE_BYTES_MAX else None
        return value if row is None else pack_undo(b"", self.fitted_row(row))

    def drop_of_row(self, row: bytes | None) -> int:
        """The row goes, or is overwritten and nobody keeps it: how many pieces went with it."""
        reference = reference_of(row) if row is not None else None
        return self._drop(reference) if reference is not None else 0

    def drop_of_undo(self, value: bytes) -> int:
        return self.drop_of_row(row_in_undo(value))

    def _put(self, content: bytes) -> Reference:
        owner = self._free_owner()
        for number, start in enumerate(range(0, len(content), VIEW_VALUE_BYTES_MAX)):
            piece = content[start : start + VIEW_VALUE_BYTES_MAX]
            self._transaction.put(_KEY.pack(owner, number), piece, db=self._opened.pieces, append=True)
        return owner, len(content)

    def _drop(self, reference: Reference) -> int:
        owner, length = reference
        count = -(-length // VIEW_VALUE_BYTES_MAX)
        for number in range(count):
            was_there = self._transaction.delete(_KEY.pack(owner, number), db=self._opened.pieces)
            invariant(was_there, "pieces go once, with their owner", owner=owner, number=number)
        return count

    def _free_owner(self) -> int:
        """Behind all others, so that pieces are always appended."""
        with self._transaction.cursor(db=self._opened.pieces) as cursor:
            return int(_KEY.unpack(cursor.key())[0]) + 1 if cursor.last() else 0
