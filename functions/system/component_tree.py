"""The instances that the definitions of a push make: the app, what it mounts, and so on (spec 02 11). Pure.

Names, variables and HTTP mounts are checked here, before anything is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from functions.components import APP_PATH, child_path
from functions.http_routing import HTTP_MODULE
from functions.system import errors
from functions.system.analysis import Analysis
from functions.system.component_definitions import Definition
from functions.system.env_declarations import EnvDeclaration, env_declarations
from functions.validators import is_subset

_CHILD = "_reference/childComponent/"
_NAME = re.compile(r"(?!_+$)[A-Za-z][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Binding:
    """A variable of a child: a literal, or a variable of its parent."""

    name: str
    value: str | None
    parent_name: str | None


@dataclass(frozen=True, slots=True)
class Instance:
    """`http_prefix` is where its routes are, seen from outside; None: nowhere, or it is the app."""

    path: str
    definition_path: str
    environment: tuple[Binding, ...] = ()
    http_prefix: str | None = None
    children: tuple[Instance, ...] = ()

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def every_instance(instance: Instance) -> Iterator[Instance]:
    """Parents first."""
    yield instance
    for child in instance.children:
        yield from every_instance(child)


def instance_tree(
    definitions: Mapping[str, Definition], analyses: Mapping[str, Mapping[str, Analysis]] | None
) -> Instance:
    """The app with everything below it; without analyses mounts are taken as they are."""
    return _Tree(definitions, analyses).instance(APP_PATH, "", (), None)


class _Tree:
    def __init__(
        self,
        definitions: Mapping[str, Definition],
        analyses: Mapping[str, Mapping[str, Analysis]] | None,
    ) -> None:
        self._definitions, self._analyses = definitions, analyses

    def instance(
        self, path: str, definition_path: str, environment: tuple[Binding, ...], http_prefix: str | None
    ) -> Instance:
        definition = self._definitions[definition_path]
        mounts = self._mounts(definition)
        names: set[str] = set()
        children = []
        for child in definition["childComponents"]:
            name, child_definition = child["name"], child["path"]
            _check_name(name, names)
            bindings = self._bindings(child_path(path, name), definition, child)
            prefix = _absolute(path, http_prefix, mounts.get(name))
            children.append(self.instance(child_path(path, name), child_definition, bindings, prefix))
        return Instance(path, definition_path, environment, http_prefix, tuple(children))

    def _bindings(self, path: str, parent: Definition, child: Mapping[str, Any]) -> tuple[Binding, ...]:
        """What the parent gives the child, checked against what the child declares."""
        if child["path"] not in self._definitions:
            raise errors.component_typecheck(f"The definition of component {path} is missing.")
        declared = {each.name: each for each in env_declarations(self._definitions[child["path"]])}
        of_parent = {each.name: each for each in env_declarations(parent)}
        bindings = []
        for name, given in child.get("env") or ():
            if name not in declared:
                raise errors.component_typecheck(f"Component {path} has no env var named {name}")
            if given["type"] == "value":
                _check_literal(path, declared[name], given["value"])
                bindings.append(Binding(name, given["value"], None))
            else:
                _check_reference(path, declared[name], of_parent.get(given["name"]), given["name"])
                bindings.append(Binding(name, None, given["name"]))
        bound = {binding.name for binding in bindings}
        for name, declaration in declared.items():
            if name not in bound and not declaration.is_optional:
                raise errors.component_typecheck(f"Component {path} is missing required env var {name}")
        return tuple(bindings)

    def _mounts(self, definition: Definition) -> dict[str, str]:
        """Prefix by name of child."""
        found: dict[str, str] = {}
        paths = {child["name"]: child["path"] for child in definition["childComponents"]}
        for prefix, reference in definition["httpMounts"].items():
            name = reference.removeprefix(_CHILD)
            fault = self._mount_fault(prefix, paths.get(name), found)
            if fault is not None:
                raise errors.component_typecheck(f"HTTP mount {prefix} is invalid: {fault}")
            found[name] = prefix
        return found

    def _mount_fault(
        self, prefix: str, definition_path: str | None, mounted: Mapping[str, str]
    ) -> str | None:
        if not prefix.startswith("/") or not prefix.endswith("/"):
            return "it must begin and end with /"
        if definition_path is None:
            return "there is no such component"
        if prefix in mounted.values():
            return "another component is mounted there"
        if self._analyses is not None and HTTP_MODULE not in self._analyses[definition_path]:
            return "the component has no http.js"
        return None


def _check_name(name: Any, taken: set[str]) -> None:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise errors.component_typecheck(f"Component name {name!r} is no identifier.")
    if name in taken:
        raise errors.component_typecheck(f"Two components have the name {name}.")
    taken.add(name)


def _check_literal(path: str, declaration: EnvDeclaration, value: str) -> None:
    why = declaration.validator.check(value, _NoTables())
    if why is not None:
        raise errors.component_typecheck(f"Component {path}, env var {declaration.name}: {why}")


def _check_reference(
    path: str, declaration: EnvDeclaration, given: EnvDeclaration | None, given_name: str
) -> None:
    where = f"Component {path}, env var {declaration.name}:"
    if given is None:
        raise errors.component_typecheck(f"{where} its parent declares no env var named {given_name}")
    if given.is_optional and not declaration.is_optional:
        raise errors.component_typecheck(f"{where} it is required, but {given_name} is optional")
    if not is_subset(given.validator, declaration.validator):
        raise errors.component_typecheck(f"{where} it does not accept everything that {given_name} may be")


class _NoTables:
    """functions.validators.TableNames, for validators without ids."""

    def name_of(self, table_number: int) -> str | None:
        return None

    def is_system(self, table_number: int) -> bool:
        return False


def _absolute(parent_path: str, parent_prefix: str | None, mount: str | None) -> str | None:
    """Where a mount is, seen from outside: below its parent's, if that is seen at all."""
    if mount is None or parent_path == APP_PATH:
        return mount
    return parent_prefix + mount[1:] if parent_prefix is not None else None


# --- the answer of start_push (spec 02 7, CheckedComponent) -------------------------------------------


def checked_component(
    instance: Instance,
    definitions: Mapping[str, Definition],
    analyses: Mapping[str, Mapping[str, Analysis]],
) -> dict[str, Any]:
    definition, analysis = definitions[instance.definition_path], analyses[instance.definition_path]
    routes = analysis[HTTP_MODULE]["httpRoutes"] if HTTP_MODULE in analysis else None
    children = {child.name: checked_component(child, definitions, analyses) for child in instance.children}
    return {
        "definitionPath": instance.definition_path,
        "componentPath": instance.path,
        "args": {},
        "childComponents": children,
        "httpRoutes": {
            "httpModuleRoutes": [each["route"] for each in routes] if routes is not None else None,
            "mounts": sorted(definition["httpMounts"]),
        },
        "exports": _checked_exports(instance.path, definition["exports"]),
    }


def _checked_exports(component: str, branch: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, node in branch["branch"]:
        if node["type"] == "branch":
            found[name] = {"type": "branch", "children": _checked_exports(component, node)}
        else:
            function = {"component": component, "udfPath": node["leaf"].removeprefix("_reference/function/")}
            found[name] = {"type": "leaf", "resource": {"type": "function", "path": function}}
    return found
