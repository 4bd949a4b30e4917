"""Installed components as documents: which instance of which definition stands where (spec 02 11, 03 5.5).

A row of `_components` is an instance: its name below its parent, its definition, what its environment is
bound to. The app is the instance without a parent; a database without rows has the app alone. The id of a
row is the *namespace* of what the instance owns; what the app owns has none. Instances that their parent no
longer mounts stay, with their data, and cannot be called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

DEFINITIONS, COMPONENTS = "_component_definitions", "_components"
ACTIVE, UNMOUNTED = "active", "unmounted"
DELETING = "deleting"
"""Unmounted, and its deletion has begun: it takes no new rows (functions/system/deletions.py)."""
APP_PATH = ""
"""The component path of the app itself; that of others is "a", "a/b", ..."""


@dataclass(frozen=True, slots=True)
class Component:
    """An instance. `environment` is what its functions see beside the system's variables; `mounts` maps
    prefixes of paths of HTTP requests to names of children; `http_prefix` is where the instance is mounted;
    `own_prefix` is what the app's own routes are below."""

    path: str = APP_PATH
    namespace: str | None = None
    row_id: str | None = None
    definition_path: str = ""
    is_mounted: bool = True
    is_being_deleted: bool = False
    http_prefix: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, str] = field(default_factory=dict)
    own_prefix: str = "/"

    @property
    def is_app(self) -> bool:
        return self.path == APP_PATH


APP = Component()


def owner_of(row: Mapping[str, Any]) -> str:
    """The path of the component whose row this is, in a system table that all components share. Those written
    before there were components are the app's."""
    return str(row.get("owner", APP_PATH))


def is_owned_by(component: Component, row: Mapping[str, Any]) -> bool:
    return owner_of(row) == component.path


def child_path(parent: str, name: str) -> str:
    return f"{parent}/{name}" if parent else name


def instances(
    rows: Iterable[Mapping[str, Any]],
    definitions: Iterable[Mapping[str, Any]],
    app_environment: Mapping[str, str],
) -> list[Component]:
    """The app, then the instances below it, parents first, of the rows of `_components`."""
    children: dict[str | None, list[Mapping[str, Any]]] = {}
    for row in rows:
        children.setdefault(row["parent"], []).append(row)
    texts = {row["_id"]: row["definition"] for row in definitions}
    found = children.get(None, ())
    app = _instance(found[0], APP_PATH, texts, app_environment) if found else Component()
    app = replace(app, namespace=None, environment=app_environment)
    return [app, *_below(app, children, texts)]


def _below(
    parent: Component, children: Mapping[str | None, list[Mapping[str, Any]]], texts: Mapping[str, str]
) -> Iterator[Component]:
    for row in children.get(parent.row_id, ()) if parent.row_id is not None else ():
        environment = bound_environment(row["env"], parent.environment)
        component = _instance(row, child_path(parent.path, row["name"]), texts, environment)
        yield component
        yield from _below(component, children, texts)


def _instance(
    row: Mapping[str, Any], path: str, texts: Mapping[str, str], environment: Mapping[str, str]
) -> Component:
    """A row without a definition is of a push that never finished."""
    definition = orjson.loads(texts.get(row["definitionId"] or "", "{}"))
    return Component(
        path=path,
        namespace=row["_id"],
        row_id=row["_id"],
        definition_path=definition.get("path", ""),
        is_mounted=row["state"] == ACTIVE,
        is_being_deleted=row["state"] == DELETING,
        http_prefix=row["httpPrefix"],
        environment=environment,
        own_prefix=definition.get("httpPrefix") or "/",
        mounts={mount: name.rpartition("/")[2] for mount, name in definition.get("httpMounts", {}).items()},
    )


def bound_environment(bindings: Iterable[Mapping[str, Any]], parent: Mapping[str, str]) -> dict[str, str]:
    """What a child's variables are: literals, or those of its parent; what is not set there is not set."""
    bound = {}
    for binding in bindings:
        value = binding["value"] if binding["value"] is not None else parent.get(binding["parentName"])
        if value is not None:
            bound[binding["name"]] = value
    return bound
