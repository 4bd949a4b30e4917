"""What the dashboard deletes as a whole: tables, components that nobody mounts, all scheduled functions
(spec 02 21).

A table goes with its rows in the catalog: what it held cannot be reached then, and is swept. Whatever is
refused, nothing of it is done.
"""

from __future__ import annotations

import itertools
from typing import Any

from functions.catalog import BY_CREATION_TIME, Catalog
from functions.components import COMPONENTS, owner_of
from functions.cron_jobs import replace_crons
from functions.scheduled_jobs import ARGUMENTS, JOBS
from functions.system import errors
from functions.system.deployment_events import (
    COMPONENT_DELETED,
    JOBS_DELETED,
    TABLES_DELETED,
    record_event,
    some_of,
)
from functions.system.files import FILES
from functions.system.import_tables import drop_table
from functions.system.operation import SystemContext, enter_component_of_id, key_in_next
from functions.transaction import Transaction
from log import values
from log.errors import bad_json_body
from log.keys import encode_item
from log.limits import JOBS_READ_PER_STEP


def delete_tables(
    transaction: Transaction, body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    """Those of `tableNames` that there are; a table that the schema declares stays."""
    names = body.get("tableNames")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise bad_json_body("`tableNames` is a list of names")
    enter_component_of_id(transaction, body.get("componentId") or "")
    catalog = transaction.catalog
    for name in names:
        if name in _declared(catalog):
            raise errors.table_is_declared(name)
    deleted = [table for table in catalog.user_tables() if table.name in names]
    for table in deleted:
        drop_table(transaction, table)
    if deleted:
        facts = {"table_names": some_of(table.name for table in deleted), "component": catalog.component.path}
        record_event(transaction, TABLES_DELETED, facts)
    return {}


def _declared(catalog: Catalog) -> set[str]:
    schemas = [catalog.schema, catalog.pending_schema.schema if catalog.pending_schema is not None else None]
    return {name for schema in schemas if schema is not None for name in schema.tables}


def delete_component(
    transaction: Transaction, body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    """A component that is not mounted, and everything it and those below it own."""
    component_id = body.get("componentId")
    if not isinstance(component_id, str) or not component_id:
        raise bad_json_body("`componentId` is the id of a component")
    path = enter_component_of_id(transaction, component_id)
    below = transaction.catalog.at_or_below(path)
    if any(catalog.component.is_mounted for catalog in below):
        raise errors.component_must_be_unmounted(path)
    for catalog in below:
        transaction.enter_component(catalog.component.path)
        _delete_content(transaction)
        assert catalog.component.row_id is not None
        transaction.delete(catalog.tables[COMPONENTS], catalog.component.row_id)
    record_event(transaction, COMPONENT_DELETED, {"component": path})
    return {}


def _delete_content(transaction: Transaction) -> None:
    """Of the component the transaction is in."""
    catalog = transaction.catalog
    for table in catalog.user_tables():
        drop_table(transaction, table)
    for name in ("_modules", "_schemas"):
        for row in transaction.all_documents(catalog.tables[name]):
            if row.get("component") == catalog.component.namespace:
                transaction.delete(catalog.tables[name], row["_id"])
    for name in (FILES, JOBS):
        for row in transaction.all_documents(catalog.tables[name]):
            if owner_of(row) == catalog.component.path:
                _delete_row(transaction, name, row)
    replace_crons(transaction, [])


def delete_scheduled_functions(
    transaction: Transaction, body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    """Some of a component's jobs, whatever became of them; to be asked again, with `next` as it was answered,
    until `isDone`. A step reads a bounded number of rows, also where all are another component's, and those
    that came after the first step are left: so it ends beside a component that goes on scheduling."""
    path = enter_component_of_id(transaction, body.get("componentId") or "")
    start, before_ms = _place(body.get("next"), transaction.now_ns // 1_000_000 + 1)
    table = transaction.catalog.tables[JOBS]
    index = table.index(BY_CREATION_TIME)
    assert index is not None
    scan = transaction.scan(index, table, start, encode_item(float(before_ms)), descending=False)
    rows = list(itertools.islice(iter(scan.next, None), JOBS_READ_PER_STEP))
    jobs: list[Any] = [values.loads_canonical(row.document) for row in rows if row is not None]
    for job in jobs:
        if owner_of(job) == path:
            _delete_row(transaction, JOBS, job)
    if len(rows) < JOBS_READ_PER_STEP:
        record_event(transaction, JOBS_DELETED, {"component": path})
        return {"isDone": True}
    return {"isDone": False, "next": {"afterKey": rows[-1].key.hex(), "createdBeforeMs": before_ms}}


def _place(found: Any, now_ms: int) -> tuple[bytes, int]:
    """Where a step begins in the order of creation, and the time before which a job was there when the first
    step began."""
    after_key = key_in_next(found)
    if after_key is None:
        return b"", now_ms
    try:
        return after_key + b"\x00", int(found["createdBeforeMs"])
    except (KeyError, TypeError, ValueError):
        raise bad_json_body("`next` is what the step before answered") from None


def _delete_row(transaction: Transaction, name: str, row: dict[str, Any]) -> None:
    """A job goes with its arguments."""
    tables = transaction.catalog.tables
    transaction.delete(tables[name], row["_id"])
    if name == JOBS and transaction.get(tables[ARGUMENTS], row["argsId"]) is not None:
        transaction.delete(tables[ARGUMENTS], row["argsId"])
