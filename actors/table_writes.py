"""How much was written into each table since the core began, as committed: for whoever watches the server."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actors.table_rows import TableRows
from functions.catalog import Catalog
from log.committer import Commit
from log.limits import USER_TABLES_MAX

TableFacts = tuple[str, str, int, int]
"""Component, table, documents written (inserted, replaced or deleted), bytes of what was put there."""
_TABLETS_MAX = 2 * USER_TABLES_MAX  # so many more than can be there that looking for the dead ones pays


class TableWrites:
    """actors.commit_log.Follower."""

    def __init__(self, catalog: Callable[[], Catalog], tablets_max: int = _TABLETS_MAX) -> None:
        self._catalog, self._tablets_max = catalog, tablets_max
        self._written: dict[bytes, list[int]] = {}  # tablet -> [documents, bytes]
        self.recent = TableRows()

    def follow(self, commits: Sequence[Commit]) -> None:
        written = self._written
        for commit in commits:
            rows: dict[bytes, int] = {}
            for write in commit.body.writes:
                counts = written.get(write.tablet_id)
                if counts is None:
                    counts = written[write.tablet_id] = [0, 0]
                counts[0] += 1
                rows[write.tablet_id] = rows.get(write.tablet_id, 0) + 1
                if write.document is not None:
                    counts[1] += write.size_bytes
            self.recent.count(rows, commit.record.ts)
        if len(written) > self._tablets_max:
            self._forget_deleted()

    def facts(self) -> list[TableFacts]:
        """Of the app's and its components' tables that something was written into. A table that was replaced
        as a whole begins anew."""
        found: list[TableFacts] = []
        for catalog in self._catalog().everywhere():
            for table in catalog.user_tables():
                if (counts := self._written.get(table.tablet_id)) is not None:
                    found.append((catalog.component.path, table.name, counts[0], counts[1]))
        return found

    def _forget_deleted(self) -> None:
        active = {table.tablet_id for table in self._catalog().every_table()}
        for tablet_id in self._written.keys() - active:
            del self._written[tablet_id]
