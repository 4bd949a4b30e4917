"""Rows of system tables that are past their time, and tables that a log begun earlier lacks."""

from __future__ import annotations

import pytest

from functions.catalog import BACKFILLING, Catalog, bootstrap_catalog
from functions.system.bootstrap import add_missing_tables
from functions.system.garbage import collect_step
from functions.system.tables import SYSTEM_TABLES
from functions.transaction import Transaction
from log.limits import DEAD_SCHEMA_RETENTION_HOURS, GARBAGE_ROWS_PER_STEP, SESSION_REQUEST_RETENTION_DAYS

from ...support.memory_database import MemoryDatabase

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def remember(transaction: Transaction, number: int) -> None:
    outcome = {"type": "mutation", "result": "null", "logLines": []}
    fields = {"sessionId": "s", "requestId": number, "outcome": outcome}
    transaction.insert("_session_requests", fields)


def rows_of(database: MemoryDatabase, table_name: str) -> list[dict]:
    return database.transact(lambda tx: tx.all_documents(tx.catalog.tables[table_name]))


def test_the_answer_to_a_session_is_kept_for_two_weeks_and_not_longer() -> None:
    database = MemoryDatabase()
    database.transact(lambda transaction: remember(transaction, 1))
    made_ms = rows_of(database, "_session_requests")[0]["_creationTime"]
    kept_ms = made_ms + SESSION_REQUEST_RETENTION_DAYS * DAY_MS
    assert database.transact(lambda transaction: collect_step(transaction, kept_ms)) == 0
    assert database.transact(lambda transaction: collect_step(transaction, kept_ms + 1)) == 1
    assert rows_of(database, "_session_requests") == []


def test_a_step_deletes_no_more_than_a_step_and_the_next_goes_on() -> None:
    database = MemoryDatabase()

    def fill(transaction: Transaction) -> None:
        for number in range(GARBAGE_ROWS_PER_STEP + 3):
            remember(transaction, number)

    database.transact(fill)
    later_ms = rows_of(database, "_session_requests")[-1]["_creationTime"] + 15 * DAY_MS
    steps = [database.transact(lambda transaction: collect_step(transaction, later_ms)) for _ in range(3)]
    assert steps == [GARBAGE_ROWS_PER_STEP, 3, 0]


@pytest.mark.parametrize(
    ("state", "is_kept"),
    [("failed", False), ("overwritten", False), ("active", True), ("pending", True), ("validated", True)],
)
def test_a_schema_that_will_never_be_used_again_goes_after_an_hour(state: str, is_kept: bool) -> None:
    database = MemoryDatabase()
    schema = '{"tables":[],"schemaValidation":true}'
    database.transact(lambda tx: tx.insert("_schemas", {"state": {"state": state}, "schema": schema}))
    made_ms = rows_of(database, "_schemas")[0]["_creationTime"]
    soon_ms, late_ms = made_ms + 1, made_ms + DEAD_SCHEMA_RETENTION_HOURS * HOUR_MS + 1
    assert database.transact(lambda transaction: collect_step(transaction, soon_ms)) == 0
    assert database.transact(lambda transaction: collect_step(transaction, late_ms)) == (not is_kept)


def test_a_database_that_was_begun_with_fewer_system_tables_gets_the_others_once() -> None:
    database = MemoryDatabase()
    database.transact(lambda tx: _forget(tx, table_name="_scheduled_jobs", index_name="by_path"))
    database.transact(add_missing_tables)
    added = database.transact(lambda transaction: transaction.catalog)
    expected = bootstrap_catalog()
    assert {name: _shape(added, name) for name in added.tables} == {
        name: _shape(expected, name) for name in expected.tables
    }
    index = added.tables["_modules"].index("by_path")
    assert index is not None and index.state == BACKFILLING, "it is filled first"
    assert database.transact(lambda tx: add_missing_tables(tx) or tx.has_writes) is False


def _forget(transaction: Transaction, *, table_name: str, index_name: str) -> None:
    """As if the version that began the log had known neither the table nor the index of `_modules`."""
    rows = transaction.catalog.tables
    gone = [row for row in transaction.all_documents(rows["_tables"]) if row["name"] == table_name]
    for row in gone:
        transaction.delete(rows["_tables"], row["_id"])
    tablet_row_ids = {row["_id"] for row in gone}
    for row in transaction.all_documents(rows["_index"]):
        is_of_table = row["table_id"] in tablet_row_ids
        if is_of_table or row["descriptor"] == index_name:
            transaction.delete(rows["_index"], row["_id"])


def _shape(catalog: Catalog, name: str) -> tuple:
    table = catalog.tables[name]
    return table.number, table.tablet_id, sorted((each.name, each.index_id) for each in table.indexes)


def test_numbers_and_names_of_system_tables_are_used_once() -> None:
    assert len({table.number for table in SYSTEM_TABLES}) == len(SYSTEM_TABLES)
    assert len({table.name for table in SYSTEM_TABLES}) == len(SYSTEM_TABLES)
