"""Port: how a transaction reads the database as it was at one timestamp.

Implemented in place over the node's view (actors/index_view.py) and by a plain dictionary in tests
(actors/projections/documents.py). Reads do not wait: whoever makes a snapshot has seen to it that the
view has applied its ts.

Promise: the same call on snapshots of the same ts gives the same bytes, whatever commits meanwhile, until
the ts leaves the undo window; then every call raises `out_of_retention()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from functions.search.kept_indexes import KeptIndexes


@dataclass(frozen=True, slots=True)
class Row:
    """One index entry and the document it stands for."""

    key: bytes
    revision_ts: int
    size_bytes: int
    document: bytes  # canonical bytes


class SnapshotReader(Protocol):
    """The database at `ts`."""

    @property
    def ts(self) -> int: ...

    @property
    def catalog_ts(self) -> int:
        """The last commit at or before `ts` that wrote a metadata table."""

    def get(self, index_id: bytes, key: bytes) -> Row | None: ...

    def scan(
        self, index_id: bytes, start: bytes, end: bytes | None, *, descending: bool, limit: int
    ) -> list[Row]:
        """Up to `limit` rows of [start, end) in key order, from the end when descending.

        Fewer than `limit` rows mean that the interval is exhausted.
        """

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
