"""How much each table holds, kept beside its rows: the number of its documents and their bytes (spec 04 3.1).

Counted by the index by id, which is the first of every write and has one entry for each document. What is
stored is of the newest commit that the view has applied; a snapshot takes back what was replaced since.
"""

from __future__ import annotations

import struct

from actors.view_environment import OpenedView, ViewTransaction
from functions.snapshot import TableSize
from log.invariant import invariant

_SIZE_KEY = b"size:"
_SIZE = struct.Struct(">QQ")


class Sizes:
    """Changes of one write transaction. Nothing is in the view before `write`."""

    def __init__(self, transaction: ViewTransaction, opened: OpenedView) -> None:
        self._transaction, self._opened = transaction, opened
        self._changes: dict[bytes, list[int]] = {}  # by index by id: documents and bytes more

    def replace(self, by_id: bytes, before_bytes: int | None, after_bytes: int | None) -> None:
        """A document of so many bytes by one of so many; None: there is none."""
        change = self._changes.get(by_id)
        if change is None:
            change = self._changes[by_id] = [0, 0]
        if after_bytes is not None:
            change[0] += 1
            change[1] += after_bytes
        if before_bytes is not None:
            change[0] -= 1
            change[1] -= before_bytes

    def write(self) -> None:
        for by_id, (documents, size_bytes) in self._changes.items():
            before = read_size(self._transaction, self._opened, by_id)
            size = TableSize(before.documents + documents, before.bytes + size_bytes)
            invariant(
                (size.documents > 0 and size.bytes >= 0) or size == TableSize(),
                "a table holds as much as its documents",
                documents=size.documents,
                bytes=size.bytes,
            )
            if size.documents:
                packed = _SIZE.pack(size.documents, size.bytes)
                self._transaction.put(_SIZE_KEY + by_id, packed, db=self._opened.meta)
            else:  # so that nothing is left of a table that was emptied, and then dropped
                forget_size(self._transaction, self._opened, by_id)


def read_size(transaction: ViewTransaction, opened: OpenedView, by_id: bytes) -> TableSize:
    stored = transaction.get(_SIZE_KEY + by_id, db=opened.meta)
    return TableSize(*_SIZE.unpack(stored)) if stored else TableSize()


def forget_size(transaction: ViewTransaction, opened: OpenedView, index_id: bytes) -> None:
    """Of an index that is no more."""
    transaction.delete(_SIZE_KEY + index_id, db=opened.meta)
