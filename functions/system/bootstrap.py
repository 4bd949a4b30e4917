"""The first commit of every log: the system tables describe themselves as documents. And what a log that was
begun by an older version lacks of them."""

from __future__ import annotations

from dataclasses import replace

from functions.catalog import BACKFILLING, Index, Table, bootstrap_catalog, index_fields
from functions.search.kept_indexes import KeptIndexes
from functions.snapshot import UNBOUNDED, Row, TableSize
from functions.system.tables import index_row_id, table_row_id
from functions.transaction import Transaction
from log.record import CallTrace, CommitBody

BOOTSTRAP_CALL_ID = b"tidelog-bootstrap"


class EmptySnapshot:
    """A SnapshotReader over nothing."""

    def __init__(self, ts: int) -> None:
        self.ts, self.catalog_ts, self.kept = ts, 0, KeptIndexes()

    def get(self, index_id: bytes, key: bytes) -> Row | None:
        return None

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
        return []

    def table_size(self, by_id: bytes) -> TableSize:
        return TableSize()

    @property
    def published(self) -> EmptySnapshot:
        return self

    def changed_keys(self, index_id: bytes, ts: int) -> set[bytes] | None:
        return set()


def bootstrap_transaction(begin_ts: int, now_ms: float) -> Transaction:
    """A transaction that writes the rows of every system table and index; their ids are fixed."""
    catalog = bootstrap_catalog()
    transaction = Transaction(EmptySnapshot(begin_ts), catalog, now_ms=now_ms, random_bytes=bytes)
    for table in catalog.tables.values():
        _add_table(transaction, table)
    return transaction


def add_missing_tables(transaction: Transaction) -> None:
    """Add the system tables, and the indexes of system tables, that the database has not got yet."""
    known = transaction.catalog.tables
    for table in bootstrap_catalog().tables.values():
        if table.name not in known:
            _add_table(transaction, table)
            continue
        for index in table.indexes:
            if known[table.name].index(index.name) is None:
                _add_index(transaction, table, replace(index, state=BACKFILLING))


def _add_table(transaction: Transaction, table: Table) -> None:
    """It is empty, so its indexes are complete."""
    fields = {"name": table.name, "number": table.number, "state": "active"}
    transaction.insert_with_id(transaction.catalog.tables["_tables"], table_row_id(table.tablet_id), fields)
    for index in table.indexes:
        _add_index(transaction, table, index)


def _add_index(transaction: Transaction, table: Table, index: Index) -> None:
    row_id = index_row_id(index.index_id)
    transaction.insert_with_id(transaction.catalog.tables["_index"], row_id, index_fields(table, index))


def bootstrap_body(begin_ts: int, now_ms: float) -> CommitBody:
    trace = CallTrace(path="_system/bootstrap", identity="system", now_ms=now_ms)
    return bootstrap_transaction(begin_ts, now_ms).commit_body(BOOTSTRAP_CALL_ID, trace)
