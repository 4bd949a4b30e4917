"""Port: how a transaction reads the database as it was at one timestamp.

Implemented in place over the node's view (actors/index_view.py) and by a plain dictionary in tests
(actors/projections/documents.py). Reads do not wait: whoever makes a snapshot has seen to it that the
view has applied its ts.

Promise: the same call on snapshots of the same ts gives the same bytes, whatever commits meanwhile, until
the ts leaves the undo window; then every call raises `out_of_retention()`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from functions.search.kept_indexes import KeptIndexes

UNBOUNDED = sys.maxsize


@dataclass(frozen=True, slots=True)
class Row:
    """One index entry and the document it stands for."""

    key: bytes
    revision_ts: int
    size_bytes: int
    document: bytes  # canonical bytes


@dataclass(frozen=True, slots=True)
class TableSize:
    """How much a table holds."""

    documents: int = 0
    bytes: int = 0

    def replaced(self, before_bytes: int | None, after_bytes: int | None) -> TableSize:
        """With a document of so many bytes in the place of one of so many; None: there is none."""
        came, went = after_bytes is not None, before_bytes is not None
        return TableSize(self.documents + came - went, self.bytes + (after_bytes or 0) - (before_bytes or 0))


class SnapshotReader(Protocol):
    """The database at `ts`."""

    @property
    def ts(self) -> int: ...

    @property
    def catalog_ts(self) -> int:
        """The last commit at or before `ts` that wrote a metadata table."""

    def get(self, index_id: bytes, key: bytes) -> Row | None: ...

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
        """Up to `limit` rows of [start, end) in key order, from the end when descending.

        The last one is the row with which the documents reach `bytes_max`, where they do. Fewer rows, and
        fewer bytes, mean that the interval is exhausted.
        """

    def table_size(self, by_id: bytes) -> TableSize:
        """Of the table whose index by id this is. It is kept count of: no row is read for it, but those that
        changed since `ts`."""

    @property
    def published(self) -> SnapshotReader:
        """The part of it that is published: itself, unless commits on their way are on top of it."""

    def changed_keys(self, index_id: bytes, ts: int) -> set[bytes] | None:
        """Keys of an index under which another row may stand here than at `ts`, be that before or after.

        `ts` is one that the view had applied. None: what happened since then is not remembered.
        """

    @property
    def kept(self) -> KeptIndexes:
        """What whoever reads this view keeps from one snapshot to the next."""


def size_of(row: Row | None) -> int | None:
    """The bytes of a row's document, if there is one."""
    return row.size_bytes if row is not None else None


def pages(
    snapshot: SnapshotReader, index_id: bytes, limit: int, bytes_max: int = UNBOUNDED
) -> Iterator[list[Row]]:
    """All rows of an index, in key order, so many at a time."""
    start, is_done = b"", False
    while not is_done:
        rows = snapshot.scan(index_id, start, None, descending=False, limit=limit, bytes_max=bytes_max)
        if rows:
            yield rows
            start = rows[-1].key + b"\x00"
        is_done = is_exhausted(rows, limit, bytes_max)


def is_exhausted(rows: Sequence[Row], limit: int, bytes_max: int) -> bool:
    """Whether a scan so bounded, that found these, has found all there is."""
    return len(rows) < limit and sum(len(row.document) for row in rows) < bytes_max


def bounded(rows: Iterable[Row], limit: int, bytes_max: int) -> list[Row]:
    """The first of them, as a scan bounds what it finds; nothing behind them is taken."""
    found: list[Row] = []
    for row in rows:
        found.append(row)
        bytes_max -= len(row.document)
        if len(found) == limit or bytes_max <= 0:
            break
    return found
