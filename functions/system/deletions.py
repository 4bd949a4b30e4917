"""What the dashboard deletes as a whole: tables, components that nobody mounts, all scheduled functions
(spec 02 21).

A table goes with its rows in the catalog: what it held cannot be reached then, and is swept. Whatever is
refused, nothing of it is done.
"""

from __future__ import annotations

import itertools
from typing import Any

from functions.catalog import BY_CREATION_TIME, Catalog
from functions.components import COMPONENTS, Component, owner_of
from functions.cron_jobs import CRONS, remove_cron
from functions.scheduled_jobs import ARGUMENTS, JOBS
from functions.snapshot import Row
from functions.system import errors
from functions.system.component_rows import mark_deleting
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
from log.limits import COMPONENT_ROWS_READ_PER_STEP, JOBS_READ_PER_STEP

_ORDER = (FILES, JOBS, COMPONENTS)
"""What a component is deleted by: rows of tables that all components share, then what the catalog has."""
_Definitions = dict[str, list[tuple[str, dict[str, Any]]]]
"""Rows of shared tables of the catalog and the names of these, by the path of the component they are of."""
_MARKED = {"table": FILES, "afterKey": ""}
"""Where a deletion begins once all is marked."""


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
    """A component that is not mounted, and everything it and those below it own; to be asked again, with
    `next` as it was answered, until `isDone`. A step reads a bounded number of rows. The component's own row
    goes last: a deletion that was broken off can be asked for again, and ends.

    No row of theirs may come behind a step that has passed its place, though there are some who would write
    one: an action that began while they were mounted, who has an upload URL, an import. Therefore
      1. the first step marks the components in their rows, and does nothing else: a write to the catalog,
         which every transaction under way has read, so that none of them commits after it. What commits
         between its begin and its commit, the steps after it see;
      2. who would write a file, a job or an import of a marked component is refused;
      3. a component that came below them later is marked by the next step, which begins anew.
    A push that mounts them takes the mark away, and the next step is refused."""
    component_id = body.get("componentId")
    if not isinstance(component_id, str) or not component_id:
        raise bad_json_body("`componentId` is the id of a component")
    path = enter_component_of_id(transaction, component_id)
    below = [catalog.component for catalog in transaction.catalog.at_or_below(path)]
    if any(component.is_mounted for component in below):
        raise errors.component_must_be_unmounted(path)
    unmarked = [component for component in below if not component.is_being_deleted]
    for component in unmarked:
        mark_deleting(transaction, component)
    if unmarked:
        return {"isDone": False, "next": _MARKED}
    place = body.get("next")
    following = _delete_step(transaction, below, None if place == _MARKED else place)
    if following is not None:
        return {"isDone": False, "next": following}
    record_event(transaction, COMPONENT_DELETED, {"component": path})
    return {"isDone": True}


def _delete_step(transaction: Transaction, doomed: list[Component], place: Any) -> dict[str, Any] | None:
    """Of the files, then of the jobs, then of the components themselves. The place of the next step; None:
    nothing is left. The first of these steps began when the mark was committed: jobs that are newer than it
    are of others, who may go on scheduling."""
    start, before_ms = _place(place, transaction.now_ns // 1_000_000 + 1)
    begun = place.get("table") if place is not None else FILES
    if begun not in _ORDER:
        raise bad_json_body("`next` is what the step before answered")
    paths = {component.path for component in doomed}
    rows_left = COMPONENT_ROWS_READ_PER_STEP
    for name in _ORDER[_ORDER.index(begun) : -1]:
        end = encode_item(float(before_ms)) if name == JOBS else None
        rows = _read(transaction, name, start if name == begun else b"", end, rows_left)
        for document in map(_document, rows):
            if owner_of(document) in paths:
                _delete_row(transaction, name, document)
        if len(rows) == rows_left:
            return {"table": name, "afterKey": rows[-1].key.hex(), "createdBeforeMs": before_ms}
        rows_left -= len(rows)
    if not _delete_components(transaction, doomed, rows_left):
        return {"table": COMPONENTS, "afterKey": "", "createdBeforeMs": before_ms}
    return None


def _delete_components(transaction: Transaction, doomed: list[Component], rows_left: int) -> bool:
    """The deepest first, so that each that is left has its parents; False: not all of them yet."""
    definitions: _Definitions | None = None
    for component in sorted(doomed, key=lambda each: each.path.count("/"), reverse=True):
        transaction.enter_component(component.path)
        for table in transaction.catalog.user_tables():
            if rows_left <= 0:
                return False
            drop_table(transaction, table)
            rows_left -= 1 + len(table.all_indexes)
        if rows_left <= 0:
            return False
        if definitions is None:  # it does not count, or a step might have no room left to delete anything
            definitions = _read_definitions(transaction, doomed)
        rows_left -= 1 + _delete_definitions(transaction, definitions[component.path])
        assert component.row_id is not None
        transaction.delete(transaction.catalog.tables[COMPONENTS], component.row_id)
    return True


def _read_definitions(transaction: Transaction, doomed: list[Component]) -> _Definitions:
    """The modules, schemas and crons of all of them. Each table is read once, and is as large as what was
    pushed."""
    paths: dict[str | None, str] = {component.namespace: component.path for component in doomed}
    found: _Definitions = {component.path: [] for component in doomed}
    tables = transaction.catalog.tables
    for name in ("_modules", "_schemas"):
        for row in transaction.all_documents(tables[name]):
            path = paths.get(row.get("component"))
            if path is not None:
                found[path].append((name, row))
    for row in transaction.all_documents(tables[CRONS]):
        if owner_of(row) in found:
            found[owner_of(row)].append((CRONS, row))
    return found


def _delete_definitions(transaction: Transaction, definitions: list[tuple[str, dict[str, Any]]]) -> int:
    """How many there were."""
    for name, row in definitions:
        if name == CRONS:
            remove_cron(transaction, row)
        else:
            transaction.delete(transaction.catalog.tables[name], row["_id"])
    return len(definitions)


def delete_scheduled_functions(
    transaction: Transaction, body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    """Some of a component's jobs, whatever became of them; to be asked again, with `next` as it was answered,
    until `isDone`. A step reads a bounded number of rows, also where all are another component's, and those
    that came after the first step are left: so it ends beside a component that goes on scheduling."""
    path = enter_component_of_id(transaction, body.get("componentId") or "")
    start, before_ms = _place(body.get("next"), transaction.now_ns // 1_000_000 + 1)
    rows = _read(transaction, JOBS, start, encode_item(float(before_ms)), JOBS_READ_PER_STEP)
    for job in map(_document, rows):
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


def _read(transaction: Transaction, name: str, start: bytes, end: bytes | None, count_max: int) -> list[Row]:
    """The first rows of [start, end) in the order of creation, of whatever component."""
    table = transaction.catalog.tables[name]
    index = table.index(BY_CREATION_TIME)
    assert index is not None
    scan = transaction.scan(index, table, start, end, descending=False)
    return [row for row in itertools.islice(iter(scan.next, None), count_max) if row is not None]


def _document(row: Row) -> dict[str, Any]:
    return values.loads_canonical(row.document)  # type: ignore[return-value]


def _delete_row(transaction: Transaction, name: str, row: dict[str, Any]) -> None:
    """A job goes with its arguments."""
    tables = transaction.catalog.tables
    transaction.delete(tables[name], row["_id"])
    if name == JOBS and transaction.get(tables[ARGUMENTS], row["argsId"]) is not None:
        transaction.delete(tables[ARGUMENTS], row["argsId"])
