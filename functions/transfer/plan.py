"""What an import will do to which table, decided before anything is written (spec 02 18, spec 04 8). Pure.

Read in this order: plan_import, change_summary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from functions.components import APP_PATH
from functions.schema import Schema
from functions.system import transfer_errors as errors
from functions.transfer.zip_layout import STORAGE
from log.limits import USER_TABLE_NUMBER_FIRST

_DELETE_WIDTH_MIN = 14


class ImportMode(StrEnum):
    """What happens to documents that are there already; spelt as requests do."""

    REQUIRE_EMPTY = "requireEmpty"
    APPEND = "append"
    REPLACE = "replace"
    REPLACE_ALL = "replaceAll"


@dataclass(frozen=True, slots=True, order=True)
class TablePlace:
    """Which table of which component; the app comes first."""

    component: str
    name: str


@dataclass(frozen=True, slots=True)
class UploadedTable:
    """A table as the upload has it. `number`: of its ids; None: it has none."""

    name: str
    documents: int
    number: int | None = None


@dataclass(frozen=True, slots=True)
class ExistingTable:
    """A table as the database has it. `_storage` is one."""

    name: str
    number: int
    documents: int


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What becomes of one table. `is_replaced`: a new table with the rows of the upload takes its place, in
    one commit with all others; else the rows are added to it. `number` is the one it will have."""

    name: str
    number: int
    creates: int
    existing: int
    deletes: int
    is_replaced: bool
    component: str = APP_PATH

    @property
    def place(self) -> TablePlace:
        return TablePlace(self.component, self.name)


def plan_components(
    uploaded: Mapping[TablePlace, UploadedTable],
    existing: Mapping[str, Mapping[str, ExistingTable]],
    mode: ImportMode,
) -> list[TablePlan]:
    """The plans of all components, parents first; `existing` has the tables of each that may be touched."""
    plans: list[TablePlan] = []
    for component in sorted(existing):
        own = {place.name: table for place, table in uploaded.items() if place.component == component}
        found = plan_import(own, existing[component], mode)
        plans += [replace(plan, component=component) for plan in found]
    return plans


def plan_import(
    uploaded: Mapping[str, UploadedTable], existing: Mapping[str, ExistingTable], mode: ImportMode
) -> list[TablePlan]:
    """Of one component, by name; refuses what cannot be. Tables without a number get the next ones, as if
    they were created."""
    plans = [_table_plan(uploaded[name], existing.get(name), mode) for name in sorted(uploaded)]
    if mode is ImportMode.REPLACE_ALL:
        cleared = [table for name, table in existing.items() if name not in uploaded and table.documents]
        plans += [
            TablePlan(table.name, table.number, 0, table.documents, table.documents, is_replaced=True)
            for table in cleared
        ]
        plans.sort(key=lambda plan: plan.name)
    return _numbered(plans, existing)


def _table_plan(table: UploadedTable, found: ExistingTable | None, mode: ImportMode) -> TablePlan:
    documents = found.documents if found is not None else 0
    if mode is ImportMode.REQUIRE_EMPTY and documents:
        raise errors.table_exists(table.name)
    may_renumber = mode is not ImportMode.APPEND and table.name != STORAGE
    if found is not None and table.number not in (None, found.number) and not may_renumber:
        raise errors.table_number_conflict(table.name)
    number = table.number or (found.number if found is not None else 0)
    is_replaced = mode is not ImportMode.APPEND
    deletes = documents if is_replaced else 0
    return TablePlan(table.name, number, table.documents, documents, deletes, is_replaced)


def _numbered(plans: list[TablePlan], existing: Mapping[str, ExistingTable]) -> list[TablePlan]:
    """With a number for each table; two of the same number cannot be."""
    planned = {plan.name for plan in plans}
    owners = {table.number: table.name for name, table in existing.items() if name not in planned}
    for plan in plans:
        if plan.number:
            owner = owners.setdefault(plan.number, plan.name)
            if owner != plan.name:
                raise errors.table_conflict(plan.name, owner)
    next_number = max((*owners, USER_TABLE_NUMBER_FIRST - 1)) + 1
    numbered = []
    for plan in plans:
        if not plan.number:
            plan, next_number = replace(plan, number=next_number), next_number + 1
        numbered.append(plan)
    return numbered


def check_references(
    plans: list[TablePlan], existing: Mapping[str, ExistingTable], schema: Schema | None
) -> None:
    """A table that stays must not be left with ids of one whose number changes."""
    planned = {plan.name for plan in plans}
    renumbered = {
        plan.name for plan in plans if plan.name in existing and plan.number != existing[plan.name].number
    }
    for name, table in (schema.tables if schema is not None and renumbered else {}).items():
        if name not in planned and name in existing and existing[name].documents:
            for referenced in sorted(renumbered & _referenced(table.document_type.to_json())):
                raise errors.foreign_key(name, referenced)


def _referenced(tree: object) -> set[str]:
    """The tables that a validator's JSON has ids of."""
    if isinstance(tree, list):
        return set().union(*map(_referenced, tree))
    if not isinstance(tree, dict):
        return set()
    own = {str(tree["tableName"])} if tree.get("type") == "id" and "tableName" in tree else set()
    return own.union(*map(_referenced, tree.values()))


# --- what the owner is asked --------------------------------------------------------------------------


def needs_confirmation(plans: list[TablePlan]) -> bool:
    """Exactly when something will be deleted."""
    return any(plan.deletes for plan in plans)


def change_summary(plans: list[TablePlan]) -> str:
    """The text that the CLI prints before it asks (spec 02 18)."""
    rows = [("table", "create", "delete"), *map(_summary_row, plans)]
    table_width, create_width, delete_width = (max(map(len, column)) for column in zip(*rows, strict=True))
    delete_width = max(delete_width, _DELETE_WIDTH_MIN)
    head, *lines = (
        f"{name:{table_width}} | {create:{create_width}} | {delete:{delete_width}} |"
        for name, create, delete in rows
    )
    return "\n".join(
        [
            "Import change summary:",
            head,
            "-" * len(head),
            *_below_components(plans, lines),
            "Once the import has started, it will run in the background.",
            "Interrupting `npx convex import` will not cancel it.",
        ]
    )


def _summary_row(plan: TablePlan) -> tuple[str, str, str]:
    suffix = " files" if plan.name == STORAGE else ""
    return plan.name, str(plan.creates), f"{plan.deletes} of {plan.existing}{suffix}"


def _below_components(plans: list[TablePlan], lines: list[str]) -> Iterator[str]:
    """The lines of the plans, those of a component below a line that names it."""
    component = APP_PATH
    for plan, line in zip(plans, lines, strict=True):
        if plan.component != component:
            component = plan.component
            yield f"Component {component}"
        yield line
