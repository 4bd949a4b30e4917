"""What the `convex.config.js` files of a push declare: the app's and each component's (spec 02 7, 9.6).

A definition is evaluated after those it depends on, because its imports of them are answered with what they
declared. Nothing here knows how often a definition is used: that is component_tree.py.

Promises: in a definition that was returned, every child names a definition that was evaluated before, so
following children ends; shapes, declared variables and names have been checked.

Read in this order: evaluate_definitions, with_exports.
"""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

import orjson

from functions.components import APP_PATH
from functions.system import errors
from functions.system.analysis import Analysis, EvaluationFailed, Evaluator
from functions.system.env_declarations import Definition, env_declarations
from functions.system.push_request import PushedModule, PushRequest
from log.errors import BackendError
from log.secrets import base64url

CHILD_REFERENCE = "_reference/childComponent/"
_ENVIRONMENT_READ = "Environment variables unsupported"
_WRONG_EXPORT = "The default export of"

ExportTree = dict[str, Any]
"""{identifier: ExportTree | canonical function path}"""


def default_definition() -> Definition:
    """What an app without `convex.config.ts` is."""
    return {
        "path": APP_PATH,
        "definitionType": {"type": "app"},
        "childComponents": [],
        "httpMounts": {},
        "exports": {"type": "branch", "branch": []},
    }


def evaluate_definitions(evaluator: Evaluator, request: PushRequest) -> dict[str, Definition]:
    """Every definition by its path, "" is the app's; dependencies come first."""
    files: dict[str, PushedModule | None] = {APP_PATH: request.app_config}
    dependencies = {APP_PATH: request.dependencies}
    for component in request.components:
        files[component.definition_path] = component.definition
        dependencies[component.definition_path] = component.dependencies
    definitions: dict[str, Definition] = {}
    for path in _dependencies_first(dependencies):
        imported = {each: definitions[each] for each in dependencies[path]}
        definitions[path] = _evaluate(evaluator, path, files[path], imported)
    return definitions


def _dependencies_first(dependencies: Mapping[str, tuple[str, ...]]) -> list[str]:
    try:
        return list(TopologicalSorter(dependencies).static_order())
    except CycleError as failure:
        raise errors.cyclic_import(failure.args[1]) from None


def _evaluate(
    evaluator: Evaluator, path: str, file: PushedModule | None, imported: dict[str, Definition]
) -> Definition:
    if file is None:
        return default_definition()
    modules = {_import_path(each): _imported_module(each, imported[each]) for each in imported}
    kind = "app" if path == APP_PATH else "component"
    try:
        exported = orjson.loads(evaluator.default_export(file, kind, modules))
    except EvaluationFailed as failure:
        raise _refusal(path, failure) from None
    fault = _fault_of(path, exported, imported)
    if fault is not None:
        text = f"{_subject(path)} has an invalid value ({fault})."
        raise errors.invalid_app_config("InvalidDefinition", text)
    definition = {**default_definition(), **exported, "path": path}
    env_declarations(definition)
    return definition


def _import_path(definition_path: str) -> str:
    """Where the CLI's bundle imports a definition from (spec 02 6)."""
    return f"_componentDeps/{base64url(definition_path.encode())}"


def _imported_module(definition_path: str, definition: Definition) -> bytes:
    """What an importing `convex.config.js` sees of a component: enough to `use` it."""
    path, name = orjson.dumps(definition_path), orjson.dumps(definition["definitionType"]["name"])
    return b"export default { export: () => (%b), componentDefinitionPath: %b, defaultName: %b };" % (
        orjson.dumps(definition),
        path,
        name,
    )


def _refusal(path: str, failure: EvaluationFailed) -> BackendError:
    if path != APP_PATH and failure.message.startswith(_ENVIRONMENT_READ):
        return errors.environment_unsupported(path)
    if failure.message.startswith(_WRONG_EXPORT):
        text = failure.message.replace(_subject(APP_PATH), _subject(path), 1)
        return errors.invalid_app_config("InvalidDefinition", text)
    return errors.invalid_app_config("InvalidConvexConfig", failure.text)


def _subject(path: str) -> str:
    owner = "your app" if path == APP_PATH else f"component {path}"
    return f"The default export of `convex.config.ts` in {owner}"


# --- shapes: the file may export what it likes --------------------------------------------------------


def _fault_of(path: str, exported: Any, imported: Mapping[str, Definition]) -> str | None:
    """Why `exported` is no definition of its kind, or None."""
    if not isinstance(exported, dict):
        return "it is no object"
    kind = exported.get("definitionType")
    if not isinstance(kind, dict):
        return "it has no definition type"
    if path == APP_PATH and kind.get("type") != "app":
        return "it is no app"
    if path != APP_PATH and (kind.get("type") != "childComponent" or not isinstance(kind.get("name"), str)):
        return "it is no component"
    children = exported.get("childComponents", [])
    if not isinstance(children, list) or not all(map(_is_child, children)):
        return "its child components are malformed"
    for child in children:
        if child["path"] not in imported:
            return f"it uses {child['path']}, which it does not import"
    if not _is_text_map(exported.get("httpMounts", {})):
        return "its HTTP mounts are malformed"
    if not isinstance(exported.get("httpPrefix", ""), str):
        return "its HTTP prefix is no string"
    if not _is_list_of_pairs(exported.get("envVars") or []):
        return "its environment variables are malformed"
    return None


def _is_child(tree: Any) -> bool:
    if not isinstance(tree, dict):
        return False
    names = tree.get("name"), tree.get("path")
    environment = tree.get("env") or []
    return (
        all(isinstance(name, str) for name in names)
        and _is_list_of_pairs(environment)
        and all(_is_bound(bound) for _, bound in environment)
    )


def _is_bound(tree: dict[str, Any]) -> bool:
    member = {"value": "value", "envVar": "name"}.get(str(tree.get("type")))
    return member is not None and isinstance(tree.get(member), str)


def _is_text_map(tree: Any) -> bool:
    return isinstance(tree, dict) and all(isinstance(value, str) for value in tree.values())


def _is_list_of_pairs(tree: Any) -> bool:
    """[[name, object], ...]"""
    return isinstance(tree, list) and all(
        isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], dict)
        for pair in tree
    )


# --- exports ----------------------------------------------------------------------------------------


def with_exports(definition: Definition, analyses: Mapping[str, Analysis]) -> Definition:
    """The definition of a component with what its public functions export; the app exports nothing."""
    if definition["path"] == APP_PATH:
        return definition
    return {**definition, "exports": _branch(export_tree(definition["path"], analyses))}


def export_tree(definition_path: str, analyses: Mapping[str, Analysis]) -> ExportTree:
    """The public functions of a component by module path and name (spec 02 7)."""
    tree: ExportTree = {}
    for module in sorted(analyses):
        folders = module.removesuffix(".js").split("/")
        for function in analyses[module]["functions"]:
            if (function["visibility"] or {}).get("kind") != "public":
                continue
            name = function["name"]
            if not _insert(tree, [*folders, name], f"{module}:{name}"):
                raise errors.invalid_export(definition_path, "/".join([*folders, name]))
    return tree


def _insert(tree: ExportTree, names: list[str], leaf: str) -> bool:
    """False when a function stands where a branch must, or the other way round."""
    branch = tree
    for name in names[:-1]:
        branch = branch.setdefault(name, {})
        if not isinstance(branch, dict):
            return False
    return branch.setdefault(names[-1], leaf) == leaf


def _branch(tree: ExportTree) -> dict[str, Any]:
    nodes = [
        [name, _branch(node) if isinstance(node, dict) else {"type": "leaf", "leaf": _reference(node)}]
        for name, node in tree.items()
    ]
    return {"type": "branch", "branch": nodes}


def _reference(canonical_path: str) -> str:
    module, _, function = canonical_path.rpartition(":")
    return f"_reference/function/{module.removesuffix('.js')}:{function}"
