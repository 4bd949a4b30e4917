"""Rows of system tables that nobody can ask for any more (spec 04 3.2).

What is kept for a while and then of no use: the answers of sessions long gone, schemas that were replaced,
jobs that ended, the history of the deployment, exports and imports that ended.
One step is one small transaction, so that it never stands in anybody's way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from functions.catalog import BY_CREATION_TIME
from functions.scheduled_jobs import remove_ended_jobs
from functions.system import exports, imports
from functions.system.deployment_events import EVENTS
from functions.system.lifecycle import SchemaState
from functions.transaction import Transaction
from log import values
from log.keys import encode_item
from log.limits import (
    DEAD_SCHEMA_RETENTION_HOURS,
    ENDED_JOB_RETENTION_DAYS,
    ENDED_TRANSFER_RETENTION_DAYS,
    EVENT_RETENTION_DAYS,
    GARBAGE_ROWS_PER_STEP,
    SESSION_REQUEST_RETENTION_DAYS,
)

_HOUR_MS = 3_600_000.0
_DEAD_SCHEMAS = (SchemaState.FAILED, SchemaState.OVERWRITTEN)


def collect_step(transaction: Transaction, now_ms: float) -> int:
    """Delete some rows that are past their time; returns how many. 0: there are no more of them."""
    session_cutoff_ms = now_ms - SESSION_REQUEST_RETENTION_DAYS * 24 * _HOUR_MS
    gone = [
        ("_session_requests", row) for row in _older_than(transaction, "_session_requests", session_cutoff_ms)
    ]
    schema_cutoff_ms = now_ms - DEAD_SCHEMA_RETENTION_HOURS * _HOUR_MS
    gone += [("_schemas", row) for row in _older_than(transaction, "_schemas", schema_cutoff_ms, _is_dead)]
    event_cutoff_ms = now_ms - EVENT_RETENTION_DAYS * 24 * _HOUR_MS
    gone += [(EVENTS, row) for row in _older_than(transaction, EVENTS, event_cutoff_ms)]
    gone += _ended_transfers(transaction, now_ms - ENDED_TRANSFER_RETENTION_DAYS * 24 * _HOUR_MS)
    for table_name, row in gone:
        transaction.delete(transaction.catalog.tables[table_name], row["_id"])
    job_cutoff_ns = int((now_ms - ENDED_JOB_RETENTION_DAYS * 24 * _HOUR_MS) * 1e6)
    return len(gone) + remove_ended_jobs(transaction, job_cutoff_ns, GARBAGE_ROWS_PER_STEP)


def _ended_transfers(transaction: Transaction, cutoff_ms: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """Exports and imports that ended before the cutoff: hence they began before it."""
    kinds = ((exports.EXPORTS, exports.is_over_since), (imports.IMPORTS, imports.is_over_since))
    for table_name, is_over_since in kinds:
        is_over = partial(is_over_since, cutoff_ns=int(cutoff_ms * 1e6))
        for row in _older_than(transaction, table_name, cutoff_ms, is_over):
            yield table_name, row


def _is_dead(schema: dict[str, Any]) -> bool:
    return schema["state"]["state"] in _DEAD_SCHEMAS


def _older_than(
    transaction: Transaction,
    table_name: str,
    cutoff_ms: float,
    is_wanted: Callable[[dict[str, Any]], bool] = lambda _row: True,
) -> Iterator[dict[str, Any]]:
    """The oldest rows made before the cutoff that are `is_wanted`, a step's worth. The others are few, and
    passed over: a step's worth of them, which stay for long, must not hide those behind them."""
    table = transaction.catalog.tables[table_name]
    index = table.index(BY_CREATION_TIME)
    assert index is not None
    scan = transaction.scan(index, table, b"", encode_item(cutoff_ms), descending=False)
    found = 0
    while found < GARBAGE_ROWS_PER_STEP and (row := scan.next()) is not None:
        document: Any = values.loads_canonical(row.document)
        if is_wanted(document):
            found += 1
            yield document
