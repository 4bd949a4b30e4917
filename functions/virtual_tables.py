"""System tables that user code may read under another name (spec 04 3.2): rows are converted at this edge.

A virtual table has the number and the ids of the system table behind it; only `db.system` reads it, and
nobody writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from functions import scheduled_jobs
from functions.components import is_owned_by
from functions.scan import Scan
from functions.snapshot import Row
from functions.system import files
from functions.transaction import Transaction
from log import values

Convert = Callable[[Transaction, dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class VirtualTable:
    """`convert` makes the row that user code sees of the stored one; it may read further rows."""

    name: str
    stored_name: str
    convert: Convert

    def view_of(self, transaction: Transaction, row: Row) -> Row | None:
        """None: it is another component's."""
        stored: dict[str, Any] = values.loads_canonical(row.document)  # type: ignore[assignment]
        if not is_owned_by(transaction.component, stored):
            return None
        document = values.dumps(self.convert(transaction, stored))
        return Row(row.key, row.revision_ts, row.size_bytes, document)


class VirtualScan:
    """A scan of the stored table that hands out what user code sees."""

    __slots__ = ("_scan", "_transaction", "_virtual")

    def __init__(self, scan: Scan, virtual: VirtualTable, transaction: Transaction) -> None:
        self._scan, self._virtual, self._transaction = scan, virtual, transaction

    def next(self) -> Row | None:
        while (row := self._scan.next()) is not None:
            shown = self._virtual.view_of(self._transaction, row)
            if shown is not None:
                return shown
        return None


_TABLES = (
    VirtualTable("_scheduled_functions", scheduled_jobs.JOBS, scheduled_jobs.user_view),
    VirtualTable("_storage", files.FILES, files.user_view),
)

VIRTUAL_TABLES: Mapping[str, VirtualTable] = {table.name: table for table in _TABLES}
VIRTUAL_INDEXES = ("by_id", "by_creation_time")
