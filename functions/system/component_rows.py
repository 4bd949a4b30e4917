"""The rows of components: which instance is installed where, mounted or not (spec 02 11, spec 03 5.5).

A push writes the row of a new instance when it starts, because tables and indexes that take time belong to
it; until the push finishes the instance is not mounted. One that a push no longer has is unmounted: its data
stays, its functions are gone. See functions/components.py for how rows are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from functions.components import (
    ACTIVE,
    APP_PATH,
    COMPONENTS,
    DEFINITIONS,
    DELETING,
    UNMOUNTED,
    Component,
    child_path,
)
from functions.transaction import Transaction
from log import values


def install(transaction: Transaction, path: str) -> None:
    """See to it that the component has a row, and its parents before it; the transaction is in the app."""
    parent, _, name = path.rpartition("/")
    catalog = transaction.catalog_of(parent)
    assert catalog is not None, "parents are installed first"
    parent_id = catalog.component.row_id
    if parent_id is None:
        parent_id = _install_app(transaction)
    if transaction.catalog_of(child_path(parent, name)) is None:
        row_id = transaction.insert(COMPONENTS, _new_row(parent_id, name))
        component = Component(path, namespace=row_id, row_id=row_id, is_mounted=False)
        transaction.add_component(component)


def _install_app(transaction: Transaction) -> str:
    """The row that the rows of its children name."""
    row_id = transaction.insert(COMPONENTS, {**_new_row(None, None), "state": ACTIVE})
    app = replace(transaction.component, row_id=row_id)
    transaction.catalog = replace(transaction.catalog, component=app)
    return row_id


def _new_row(parent_id: str | None, name: str | None) -> dict[str, Any]:
    return {
        "definitionId": None,
        "parent": parent_id,
        "name": name,
        "args": {},
        "env": [],
        "state": UNMOUNTED,
        "httpPrefix": None,
    }


def mount(
    transaction: Transaction, path: str, definition_id: str, bindings: Any, http_prefix: str | None
) -> str:
    """Make the component's row say what the push says; what kind of change that is (spec 02 8)."""
    catalog = transaction.catalog_of(path)
    assert catalog is not None
    row_id = catalog.component.row_id
    if row_id is None:
        return "modify"  # an app without components has no row
    row = _row(transaction, row_id)
    changes = {"definitionId": definition_id, "env": bindings, "state": ACTIVE, "httpPrefix": http_prefix}
    transaction.patch(transaction.catalog.tables[COMPONENTS], row_id, changes)
    if path == APP_PATH or row["state"] == ACTIVE:
        return "modify"
    return "remount" if row["definitionId"] is not None else "create"


def unmount(transaction: Transaction, component: Component) -> None:
    assert component.row_id is not None
    rows = transaction.catalog.tables[COMPONENTS]
    transaction.patch(rows, component.row_id, {"state": UNMOUNTED, "httpPrefix": None})


def mark_deleting(transaction: Transaction, component: Component) -> None:
    """Until a push mounts it again, the component takes no new files, scheduled functions or imports."""
    assert component.row_id is not None
    transaction.patch(transaction.catalog.tables[COMPONENTS], component.row_id, {"state": DELETING})


def replace_definitions(transaction: Transaction, definitions: Mapping[str, Any]) -> dict[str, str]:
    """Store the definitions of a push, forget all others; ids of their rows by definition path."""
    table = transaction.catalog.tables[DEFINITIONS]
    stored = {row["path"]: row for row in transaction.all_documents(table)}
    ids = {}
    for path, definition in sorted(definitions.items()):
        fields = {"path": path, "definition": orjson.dumps(definition).decode()}
        if path in stored:
            ids[path] = stored[path]["_id"]
            transaction.replace(table, ids[path], fields)
        else:
            ids[path] = transaction.insert(DEFINITIONS, fields)
    for path in sorted(stored.keys() - definitions.keys()):
        transaction.delete(table, stored[path]["_id"])
    return ids


def _row(transaction: Transaction, row_id: str) -> dict[str, Any]:
    row = transaction.get(transaction.catalog.tables[COMPONENTS], row_id)
    assert row is not None
    return values.loads_canonical(row.document)  # type: ignore[return-value]
