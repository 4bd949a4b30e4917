"""The first commit of every log: the system tables describe themselves as documents."""

from __future__ import annotations

from functions.catalog import bootstrap_catalog, index_fields
from functions.snapshot import Row
from functions.system.tables import index_row_id, table_row_id
from functions.transaction import Transaction
from log.record import CallTrace, CommitBody

BOOTSTRAP_CALL_ID = b"tidelog-bootstrap"


class EmptySnapshot:
    """A SnapshotReader over nothing."""

    def __init__(self, ts: int) -> None:
        self.ts, self.catalog_ts = ts, 0

    def get(self, index_id: bytes, key: bytes) -> Row | None:
        return None

    def scan(
        self, index_id: bytes, start: bytes, end: bytes | None, *, descending: bool, limit: int
    ) -> list[Row]:
        return []


def bootstrap_transaction(begin_ts: int, now_ms: float) -> Transaction:
    """A transaction that writes the rows of every system table and index; their ids are fixed."""
    catalog = bootstrap_catalog()
    transaction = Transaction(EmptySnapshot(begin_ts), catalog, now_ms=now_ms, random_bytes=bytes)
    for table in catalog.tables.values():
        fields = {"name": table.name, "number": table.number, "state": "active"}
        transaction.insert_with_id(catalog.tables["_tables"], table_row_id(table.tablet_id), fields)
        for index in table.indexes:
            row_id = index_row_id(index.index_id)
            transaction.insert_with_id(catalog.tables["_index"], row_id, index_fields(table, index))
    return transaction


def bootstrap_body(begin_ts: int, now_ms: float) -> CommitBody:
    trace = CallTrace(path="_system/bootstrap", identity="system", now_ms=now_ms)
    return bootstrap_transaction(begin_ts, now_ms).commit_body(BOOTSTRAP_CALL_ID, trace)
