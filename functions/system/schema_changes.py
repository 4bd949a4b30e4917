"""What a pushed schema does to the database: indexes to build, keep and drop; a schema to validate.

A push changes metadata twice (spec 02 10, spec 04 4.5). At start, tables of the schema are created, missing
indexes appear as Backfilling and the schema becomes pending. At finish, and not before, indexes are enabled,
staged or dropped and the schema becomes active; until then everything that is running keeps what it uses.

Read in this order: plan_indexes, begin_indexes, finish_indexes; submit_schema, activate_schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from functions.catalog import BY_CREATION_TIME, BY_ID, Catalog, Table, index_fields
from functions.indexes import (
    BACKFILLED,
    BACKFILLING,
    DATABASE,
    ENABLED,
    SEARCH,
    VECTOR,
    Index,
    index_config,
    named_fields,
)
from functions.schema import Schema, TableDefinition
from functions.system import errors
from functions.system.lifecycle import (
    IndexEvent,
    IndexState,
    SchemaEvent,
    SchemaState,
    next_index_state,
    next_schema_state,
)
from functions.transaction import Transaction
from log import values
from log.invariant import invariant


@dataclass(frozen=True, slots=True, order=True)
class IndexSpec:
    """An index as a schema declares it. `fields` are as in functions.indexes.Index."""

    table: str
    name: str
    fields: tuple[str, ...]
    is_staged: bool = False
    kind: str = DATABASE
    dimensions: int = 0

    @property
    def full_name(self) -> str:
        return f"{self.table}.{self.name}"

    def to_json(self) -> dict[str, Any]:
        """An entry of IndexDiff (spec 02 7): without the field the server appended."""
        declared = self.fields[:-1] if self.kind == DATABASE else self.fields
        entry = {
            "name": self.full_name,
            "type": self.kind,
            **named_fields(self.kind, declared, self.dimensions),
        }
        return {**entry, "staged": True} if self.is_staged else entry


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """What stands between the database's indexes and a schema's. Sorted by table and name.

    `superseded` are indexes no query uses (staged, or left by a push that never finished) whose name this
    push defines differently: they are dropped at start, because a name has at most one index that is not
    enabled (spec 04 4.5).
    """

    added: tuple[IndexSpec, ...]
    enabled: tuple[tuple[IndexSpec, Index], ...]
    disabled: tuple[tuple[IndexSpec, Index], ...]
    identical: tuple[tuple[IndexSpec, Index], ...]
    removed: tuple[tuple[str, Index], ...]
    superseded: tuple[tuple[str, Index], ...]

    @property
    def kept(self) -> tuple[tuple[IndexSpec, Index], ...]:
        return (*self.enabled, *self.disabled, *self.identical)

    def to_json(self) -> dict[str, Any]:
        """IndexDiff of spec 02 7."""
        gone = (
            spec_of(table, index) for table, index in (*self.removed, *self.superseded) if _was_pushed(index)
        )
        return {
            "added_indexes": [spec.to_json() for spec in self.added],
            "removed_indexes": [spec.to_json() for spec in sorted(gone)],
            "enabled_indexes": [spec.to_json() for spec, _ in self.enabled],
            "disabled_indexes": [spec.to_json() for spec, _ in self.disabled],
        }


def declared_indexes(schema: Schema | None) -> list[IndexSpec]:
    """Every index of a schema; without a schema there is none."""
    tables = schema.tables.values() if schema is not None else ()
    return sorted(spec for table in tables for spec in _declared_by(table))


def _declared_by(table: TableDefinition) -> Iterator[IndexSpec]:
    for index in table.indexes:
        yield IndexSpec(table.name, index.name, index.fields, index.staged)
    for search in table.search_indexes:
        fields = (search.search_field, *sorted(search.filter_fields))  # their order makes no other index
        yield IndexSpec(table.name, search.name, fields, search.staged, SEARCH)
    for vector in table.vector_indexes:
        fields = (vector.vector_field, *sorted(vector.filter_fields))
        yield IndexSpec(table.name, vector.name, fields, vector.staged, VECTOR, vector.dimensions)


def spec_of(table_name: str, index: Index) -> IndexSpec:
    return IndexSpec(table_name, index.name, index.field_names, index.is_staged, index.kind, index.dimensions)


def user_indexes(catalog: Catalog) -> Iterator[tuple[Table, Index]]:
    """The indexes that schemas made, by table and name."""
    for table in catalog.user_tables():
        for index in table.all_indexes:
            if index.name not in (BY_ID, BY_CREATION_TIME):
                yield table, index


# --- indexes ----------------------------------------------------------------------------------------


def plan_indexes(schema: Schema | None, catalog: Catalog) -> IndexPlan:
    """Compare by name and definition with enabled and with unfinished indexes (spec 02 10)."""
    added: list[IndexSpec] = []
    enabled: list[tuple[IndexSpec, Index]] = []
    disabled: list[tuple[IndexSpec, Index]] = []
    identical: list[tuple[IndexSpec, Index]] = []
    existing = [(table.name, index) for table, index in user_indexes(catalog)]
    declared = declared_indexes(schema)
    for spec in declared:
        index = _matching(spec, existing)
        if index is None:
            added.append(spec)
        elif index.is_staged and not spec.is_staged:
            enabled.append((spec, index))
        elif spec.is_staged and not index.is_staged:
            disabled.append((spec, index))
        else:
            identical.append((spec, index))
    kept = {index.index_id for _, index in (*enabled, *disabled, *identical)}
    added_names = {(spec.table, spec.name) for spec in added}
    gone = [(table, index) for table, index in existing if index.index_id not in kept]

    def is_superseded(table: str, index: Index) -> bool:
        return index.state != ENABLED and (table, index.name) in added_names

    return IndexPlan(
        added=tuple(added),
        enabled=tuple(enabled),
        disabled=tuple(disabled),
        identical=tuple(identical),
        removed=tuple(each for each in gone if not is_superseded(*each)),
        superseded=tuple(each for each in gone if is_superseded(*each)),
    )


def _was_pushed(index: Index) -> bool:
    """Whether a finished push declared it, so that a developer knows of it."""
    return index.state == ENABLED or index.is_staged


def _matching(spec: IndexSpec, existing: list[tuple[str, Index]]) -> Index | None:
    """The index with that definition, the enabled one first."""
    found = [
        index for table, index in existing if replace(spec_of(table, index), is_staged=spec.is_staged) == spec
    ]
    return min(found, key=lambda index: index.state != ENABLED, default=None)


def create_tables(transaction: Transaction, schema: Schema | None) -> frozenset[str]:
    """Create the tables a schema names; the names of those that are new (spec 04 4.6)."""
    names = sorted(schema.tables) if schema is not None else []
    created = [name for name in names if name not in transaction.catalog.tables]
    for name in created:
        transaction.create_table(name)
    return frozenset(created)


def begin_indexes(transaction: Transaction, plan: IndexPlan, new_tables: frozenset[str]) -> None:
    """Drop what is superseded and insert what is added: ready at once on a new table; else a database index
    is to be filled, and the others wait for the end of the push."""
    for _, index in plan.superseded:
        _drop(transaction, index)
    for spec in plan.added:
        table = transaction.catalog.tables[spec.table]
        if spec.table in new_tables:
            state = BACKFILLED if spec.is_staged else ENABLED
        else:
            state = BACKFILLING if spec.kind == DATABASE else BACKFILLED
        paths = tuple(tuple(field.split(".")) for field in spec.fields)
        index = Index(b"", spec.name, paths, state, spec.is_staged, "", spec.kind, spec.dimensions)
        row = index_fields(table, index)
        transaction.insert("_index", row)


def unfinished_indexes(plan: IndexPlan) -> list[IndexSpec]:
    """Declared plainly, hence waited for, and not yet filled."""
    return [spec for spec, index in plan.kept if not spec.is_staged and index.state == BACKFILLING]


def finish_indexes(transaction: Transaction, schema: Schema | None) -> None:
    """Enable, stage and drop until the indexes are the schema's; refuse while one is not filled."""
    plan = plan_indexes(schema, transaction.catalog)
    unready = [spec.full_name for spec in (*unfinished_indexes(plan), *plan.added)]
    if unready:
        raise errors.indexes_not_ready(unready)
    for _, index in (*plan.removed, *plan.superseded):
        _drop(transaction, index)
    for spec, index in plan.kept:
        event = IndexEvent.PUSH_STAGED_IT if spec.is_staged else IndexEvent.PUSH_FINISHED
        state = next_index_state(index.state, event)
        if (state, spec.is_staged) != (index.state, index.is_staged):
            _set_index_state(transaction, index, state, is_staged=spec.is_staged)


def _drop(transaction: Transaction, index: Index) -> None:
    state = next_index_state(index.state, IndexEvent.PUSH_REMOVED_IT)
    invariant(state is IndexState.DROPPED, "a removed index is dropped", state=state)
    transaction.delete(transaction.catalog.tables["_index"], index.row_id)


def _set_index_state(transaction: Transaction, index: Index, state: IndexState, *, is_staged: bool) -> None:
    config = index_config(replace(index, state=state.value, is_staged=is_staged))
    transaction.patch(transaction.catalog.tables["_index"], index.row_id, {"config": config})


# --- schemas ----------------------------------------------------------------------------------------


def submit_schema(transaction: Transaction, schema: Schema | None) -> str | None:
    """The `_schemas` row the push waits for; None when it has no schema (spec 04 4.6, Submit)."""
    catalog = transaction.catalog
    pending = catalog.pending_schema
    text = schema.to_json() if schema is not None else None
    if pending is not None and pending.schema.to_json() == text:
        return pending.row_id
    if pending is not None:
        move_schema(transaction, pending.row_id, SchemaEvent.PUSH_REPLACED_IT)
        transaction.catalog = catalog.without_pending_schema()
    if text is None:
        return None
    if catalog.schema is not None and catalog.schema.to_json() == text:
        return catalog.schema_row_id
    row: dict[str, Any] = {"state": {"state": SchemaState.PENDING.value}, "schema": text}
    if transaction.component.namespace is not None:
        row["component"] = transaction.component.namespace
    return transaction.insert("_schemas", row)


def activate_schema(transaction: Transaction, schema_id: str | None) -> None:
    """Make the row active and the active one overwritten; refuse a row that is not validated."""
    active_id = transaction.catalog.schema_row_id
    if schema_id is not None:
        state = schema_state(transaction, schema_id)
        if state["state"] == SchemaState.FAILED:
            raise errors.schema_already_failed(state["error"])
        if state["state"] not in (SchemaState.VALIDATED, SchemaState.ACTIVE):
            raise errors.schema_not_ready(state["state"])
    if active_id == schema_id:
        return
    if active_id is not None:
        move_schema(transaction, active_id, SchemaEvent.PUSH_REPLACED_IT)
    if schema_id is not None:
        move_schema(transaction, schema_id, SchemaEvent.PUSH_FINISHED)


def schema_state(transaction: Transaction, schema_id: str) -> dict[str, Any]:
    """{state, error?, tableName?}; a row that was cleaned up had been overwritten before."""
    row = transaction.get(transaction.catalog.tables["_schemas"], schema_id)
    if row is None:
        return {"state": SchemaState.OVERWRITTEN.value}
    document = values.loads_canonical(row.document)
    assert isinstance(document, dict)
    state: dict[str, Any] = document["state"]  # type: ignore[assignment]
    return state


def move_schema(transaction: Transaction, schema_id: str, event: SchemaEvent) -> None:
    state = next_schema_state(schema_state(transaction, schema_id)["state"], event)
    changes = {"state": {"state": state.value}}
    transaction.patch(transaction.catalog.tables["_schemas"], schema_id, changes)


def delete_settled_schemas(transaction: Transaction) -> None:
    """Rows of schemas that failed or were overwritten: whoever waited for them is told so anyway."""
    table = transaction.catalog.tables["_schemas"]
    for row in transaction.all_documents(table):
        if row["state"]["state"] in (SchemaState.FAILED, SchemaState.OVERWRITTEN):
            transaction.delete(table, row["_id"])
