"""Which components an app runs: the tree of instances that its definitions describe (spec 02 11).

A definition used twice is two instances. Pure: definitions and analyses in, a checked tree out.

Promises of a checked tree: siblings have different names; every required variable is bound; a variable bound
to one of the parent's accepts whatever the parent's accepts; a path lies below one mount of an instance.

Read in this order: instance_tree, checked_component.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from functions.components import APP_PATH, child_path
from functions.system import errors
from functions.system.analysis import HTTP_PATH, Analysis
from functions.system.component_definitions import CHILD_REFERENCE, ExportTree, export_tree
from functions.system.env_declarations import Definition, EnvDeclaration, env_declarations
from functions.validators import Literal, is_subset
from log import limits
from log.ids import is_identifier

Definitions = Mapping[str, Definition]
Analyses = Mapping[str, Mapping[str, Analysis]]
"""By definition path, then by module path."""


@dataclass(frozen=True, slots=True)
class Binding:
    """A variable of a child: a literal `value`, or else what the parent's `parent_name` is bound to."""

    name: str
    value: str | None
    parent_name: str | None

    def to_fields(self) -> dict[str, str | None]:
        """As rows of components keep it (functions/components.py)."""
        return {"name": self.name, "value": self.value, "parentName": self.parent_name}


@dataclass(frozen=True, slots=True)
class Instance:
    """A use of a definition. `path` is "" for the app, else "a/b"; `http_prefix` is absolute ("/x/y/"),
    None when nothing leads to the instance, and for the app."""

    path: str
    name: str
    definition_path: str
    environment: tuple[Binding, ...]
    http_prefix: str | None
    children: tuple[Instance, ...]


def instance_tree(definitions: Definitions, analyses: Analyses, requires_variables: bool = True) -> Instance:
    """The app's instance with everything below it; 400 TypecheckError for what does not fit together.

    Code generation asks before variables are bound: then required ones may be missing (spec 02 6).
    """
    return _Builder(definitions, analyses, requires_variables).instance(
        APP_PATH, "", APP_PATH, (), None, depth=0
    )


def every_instance(root: Instance) -> Iterator[Instance]:
    """Parents first."""
    yield root
    for child in root.children:
        yield from every_instance(child)


class _Builder:
    """Counts while it builds: definitions that use each other twice double with every level."""

    def __init__(self, definitions: Definitions, analyses: Analyses, requires_variables: bool) -> None:
        self._definitions, self._analyses = definitions, analyses
        self._requires_variables = requires_variables
        self._declared = {path: _declared(definition) for path, definition in definitions.items()}
        self._count = 0

    def instance(
        self,
        path: str,
        name: str,
        definition_path: str,
        environment: tuple[Binding, ...],
        http_prefix: str | None,
        depth: int,
    ) -> Instance:
        if depth > limits.COMPONENT_DEPTH_MAX:
            raise errors.components_too_deep(path)
        if self._count > limits.COMPONENTS_MAX:  # the app itself is not counted
            raise errors.too_many_components()
        self._count += 1
        definition = self._definitions[definition_path]
        uses = definition["childComponents"]
        _check_names(path, [use["name"] for use in uses])
        mounts = self._mounts(definition)
        children = tuple(
            self.instance(
                child_path(path, use["name"]),
                use["name"],
                use["path"],
                self._bindings(child_path(path, use["name"]), use, definition_path),
                _absolute(path, http_prefix, mounts.get(use["name"])),
                depth + 1,
            )
            for use in uses
        )
        return Instance(path, name, definition_path, environment, http_prefix, children)

    def _bindings(self, path: str, use: dict[str, Any], parent_definition: str) -> tuple[Binding, ...]:
        """What a parent binds of a child's variables, each checked against its declaration."""
        declared, parents = self._declared[use["path"]], self._declared[parent_definition]
        bindings = tuple(_binding(name, bound) for name, bound in use.get("env") or ())
        for binding in bindings:
            if binding.name not in declared:
                raise errors.component_variable_unknown(path, binding.name)
            fault = _binding_fault(binding, declared[binding.name], parents)
            if fault is not None:
                raise errors.component_variable_mismatch(path, binding.name, fault)
        bound = {binding.name for binding in bindings}
        for declaration in declared.values():
            is_missing = not declaration.is_optional and declaration.name not in bound
            if is_missing and self._requires_variables:
                raise errors.component_variable_missing(path, declaration.name)
        return bindings

    def _mounts(self, definition: Definition) -> dict[str, str]:
        """{child name: prefix}; own routes need no check, the longest prefix wins (spec 03 5.4)."""
        uses = {use["name"]: use["path"] for use in definition["childComponents"]}
        prefixes: dict[str, str] = {}
        for prefix, reference in definition["httpMounts"].items():
            child = reference.removeprefix(CHILD_REFERENCE)
            if not (prefix.startswith("/") and prefix.endswith("/")):
                raise errors.http_mount_invalid(prefix, "it must start and end with a slash")
            if not reference.startswith(CHILD_REFERENCE) or child not in uses:
                raise errors.http_mount_invalid(prefix, f"there is no child component {child}")
            if HTTP_PATH not in self._analyses.get(uses[child], {}):
                raise errors.http_mount_invalid(prefix, f"component {child} has no `http.js`")
            if child in prefixes:
                raise errors.http_mount_invalid(prefix, f"component {child} is mounted at {prefixes[child]}")
            prefixes[child] = prefix
        for one, other in combinations(sorted(prefixes.values()), 2):
            if other.startswith(one):
                raise errors.http_mount_invalid(other, f"it overlaps with the mount {one}")
        return prefixes


def _declared(definition: Definition) -> dict[str, EnvDeclaration]:
    return {each.name: each for each in env_declarations(definition)}


def _check_names(parent_path: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if not is_identifier(name):
            raise errors.component_name_invalid(name)
        if name in seen:
            raise errors.component_name_repeated(child_path(parent_path, name))
        seen.add(name)


def _absolute(parent_path: str, parent_prefix: str | None, prefix: str | None) -> str | None:
    """Where a mount of an instance leads from; no path leads below an instance that is not mounted."""
    if prefix is None or parent_path == "":
        return prefix
    return parent_prefix.removesuffix("/") + prefix if parent_prefix is not None else None


# --- environment variables --------------------------------------------------------------------------


def _binding(name: str, bound: dict[str, Any]) -> Binding:
    if bound["type"] == "value":
        return Binding(name, bound["value"], None)
    return Binding(name, None, bound["name"])


def _binding_fault(
    binding: Binding, declaration: EnvDeclaration, parents: Mapping[str, EnvDeclaration]
) -> str | None:
    """Why the child's declaration refuses what it is bound to, or None."""
    if binding.parent_name is None:
        assert binding.value is not None
        is_accepted = is_subset(Literal(binding.value), declaration.validator)
        return None if is_accepted else "its declaration does not accept the value"
    parent = parents.get(binding.parent_name)
    if parent is None:
        return f"the parent declares no env var {binding.parent_name}"
    if parent.is_optional and not declaration.is_optional:
        return f"it is required, but {binding.parent_name} of the parent is optional"
    if not is_subset(parent.validator, declaration.validator):
        return f"its declaration does not accept every value of {binding.parent_name}"
    return None


# --- the answer of a push ---------------------------------------------------------------------------


def checked_component(instance: Instance, definitions: Definitions, analyses: Analyses) -> dict[str, Any]:
    """CheckedComponent of spec 02 7."""
    modules = analyses[instance.definition_path]
    routes = modules[HTTP_PATH]["httpRoutes"] if HTTP_PATH in modules else None
    exports = {} if instance.path == "" else export_tree(instance.definition_path, modules)
    return {
        "definitionPath": instance.definition_path,
        "componentPath": instance.path,
        "args": {},
        "childComponents": {
            child.name: checked_component(child, definitions, analyses) for child in instance.children
        },
        "httpRoutes": {
            "httpModuleRoutes": [each["route"] for each in routes] if routes is not None else None,
            "mounts": sorted(definitions[instance.definition_path]["httpMounts"]),
        },
        "exports": _checked_exports(instance.path, exports),
    }


def _checked_exports(component: str, tree: ExportTree) -> dict[str, Any]:
    nodes: dict[str, Any] = {}
    for name, node in tree.items():
        if isinstance(node, dict):
            nodes[name] = {"type": "branch", "children": _checked_exports(component, node)}
        else:
            path = {"component": component, "udfPath": node}
            nodes[name] = {"type": "leaf", "resource": {"type": "function", "path": path}}
    return nodes
