"""What each `convex.config.js` of a push says: the app's, then those of the components (spec 02 9.6).

A definition imports those it mounts, so they are evaluated first, each alone; an import is answered by a
module that knows what the imported definition exported. What the app's functions may call of a component
follows from its public functions (`with_exports`).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from functions.system import errors
from functions.system.analysis import Analysis, EvaluationFailed, Evaluator
from functions.system.env_declarations import env_declarations
from functions.system.push_request import PushedModule, PushRequest

Definition = dict[str, Any]
"""ComponentDefinition of spec 02 7."""
_DEPENDENCIES = "_componentDeps/"


def default_definition() -> Definition:
    """What an app without `convex.config.ts` is."""
    return {
        "path": "",
        "definitionType": {"type": "app"},
        "childComponents": [],
        "httpMounts": {},
        "exports": {"type": "branch", "branch": []},
    }


def evaluate_definitions(evaluator: Evaluator, request: PushRequest) -> dict[str, Definition]:
    """By definition path, "" is the app's; what a definition depends on stands before it."""
    found: dict[str, Definition] = {}
    under_way: list[str] = []
    components = {component.definition_path: component for component in request.components}
    alone = replace(evaluator, environment={})  # only the app's definition may look at variables

    def visit(path: str) -> None:
        if path in under_way:
            raise errors.cyclic_components(path)
        if path in found:
            return
        under_way.append(path)
        for dependency in components[path].dependencies:
            visit(dependency)
        found[path] = _evaluated(alone, path, components[path].definition, found)
        under_way.pop()

    for path in components:
        visit(path)
    app = request.app_config
    found[""] = _evaluated(evaluator, "", app, found) if app is not None else default_definition()
    return found


def _evaluated(
    evaluator: Evaluator, path: str, module: PushedModule, imported: Mapping[str, Definition]
) -> Definition:
    """One definition, its env declarations checked."""
    imports = {_specifier(each): _import_module(each, imported[each]) for each in imported}
    try:
        exported = orjson.loads(evaluator.default_export(module, "app", imports))
    except EvaluationFailed as failure:
        is_shape = failure.message.startswith("The default export of")
        code = "InvalidDefinition" if is_shape else "InvalidConvexConfig"
        raise errors.invalid_app_config(code, failure.text) from None
    wanted = "childComponent" if path else "app"
    if not isinstance(exported, dict) or (exported.get("definitionType") or {}).get("type") != wanted:
        where, what = (path, "component") if path else ("your app", "app")
        text = f"The default export of `convex.config.ts` in {where} has an invalid value (it is no {what})."
        raise errors.invalid_app_config("InvalidDefinition", text)
    definition = {**default_definition(), **exported, "path": path}
    env_declarations(definition)
    return definition


def _specifier(path: str) -> str:
    return _DEPENDENCIES + base64.urlsafe_b64encode(path.encode()).rstrip(b"=").decode()


def _import_module(path: str, definition: Definition) -> bytes:
    """What a definition sees of one that it imports."""
    exported, name = orjson.dumps(definition).decode(), definition["definitionType"]["name"]
    shown = orjson.dumps({"componentDefinitionPath": path, "defaultName": name}).decode()
    return f"export default {{ export: () => ({exported}), ...{shown} }};".encode()


def with_exports(definition: Definition, analyses: Mapping[str, Analysis]) -> Definition:
    """A component's definition with what its parents may call: the path of each public function."""
    tree: dict[str, Any] = {}
    for path, analysis in sorted(analyses.items()):
        module = path.removesuffix(".js")
        for function in analysis["functions"]:
            if (function["visibility"] or {"kind": "public"})["kind"] == "public":
                name = function["name"]
                _add(tree, [*module.split("/"), name], f"_reference/function/{module}:{name}", definition)
    return {**definition, "exports": _branch(tree)}


def _add(tree: dict[str, Any], path: list[str], leaf: str, definition: Definition) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise errors.invalid_export(definition["path"], "/".join(path))
    if path[-1] in tree:
        raise errors.invalid_export(definition["path"], "/".join(path))
    tree[path[-1]] = leaf


def _branch(tree: dict[str, Any]) -> dict[str, Any]:
    """As spec 02 7 has it: pairs of name and node, in order of names."""
    nodes = []
    for name, child in sorted(tree.items()):
        node = _branch(child) if isinstance(child, dict) else {"type": "leaf", "leaf": child}
        nodes.append([name, node])
    return {"type": "branch", "branch": nodes}
