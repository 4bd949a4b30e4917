"""What a push learns about its `"use node"` modules: evaluated by the real Node.js (spec 02 9.7, 03 5.6).

Whoever can start one hands it in (`NodeAnalyser`); what it reports is judged here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from functions.images import is_entry
from functions.node_action import thrown_of
from functions.node_packages import NodePackage
from functions.outcome import error_of_thrown
from functions.source_map import SourceMap
from functions.system import errors
from functions.system.push_request import PushedModule
from log.errors import BackendError, internal_server_error

_IN_PACKAGES = "/node_modules/"
"""In the frames of what a package throws. Where one is missing, or lacks an export, Node.js names it."""


class NodeAnalyser(Protocol):
    def analyse(
        self,
        sources: dict[str, str],
        entries: Sequence[str],
        environment: dict[str, str],
        packages: tuple[NodePackage, ...],
    ) -> dict[str, Any]:
        """{path: {functions} | {thrown} | {refused}} of the entries, or {"failed": thrown}
        (functions/node/runner.mjs). The specified refusal where there is no Node.js."""


def analyse_node(
    analyser: NodeAnalyser | None,
    modules: Sequence[PushedModule],
    environment: dict[str, str],
    packages: tuple[NodePackage, ...],
) -> dict[str, list[dict[str, Any]]]:
    """The functions of each entry by path, as `analyze` of the other runtime gives them; 400 InvalidModules
    names the first module that cannot be loaded, or defines more than actions, and InvalidExternalModules
    one whose packages cannot be loaded."""
    entries = sorted(module.path for module in modules if is_entry(module.path))
    if not entries:
        return {}
    if analyser is None:
        raise internal_server_error()  # an executor that runs no actions was asked
    sources = {module.path: module.source for module in modules}
    reports = analyser.analyse(sources, entries, environment, packages)
    if "failed" in reports:
        raise _not_loaded(entries[0], reports["failed"], modules, packages)
    return {path: _functions(path, reports[path], modules, packages) for path in entries}


def _not_loaded(
    path: str, thrown: dict[str, Any], modules: Sequence[PushedModule], packages: tuple[NodePackage, ...]
) -> BackendError:
    is_named = any(f"'{package.name}" in thrown["message"] for package in packages)
    is_of_a_package = packages and (is_named or _IN_PACKAGES in thrown["stack"])
    refuse = errors.invalid_external_modules if is_of_a_package else errors.invalid_modules
    return refuse(path, _text(thrown, modules))


def _functions(
    path: str, report: dict[str, Any], modules: Sequence[PushedModule], packages: tuple[NodePackage, ...]
) -> list[dict[str, Any]]:
    if "thrown" in report:
        raise _not_loaded(path, report["thrown"], modules, packages)
    if "refused" in report:
        raise errors.invalid_modules(path, report["refused"])
    functions: list[dict[str, Any]] = report["functions"]
    for function in functions:
        if function["kind"] != "action":
            raise errors.invalid_modules(path, _only_actions_text(path, function))
    return functions


def _only_actions_text(path: str, function: dict[str, Any]) -> str:
    return (
        f"`{function['name']}` defined in `{path}` is a {function['kind'].capitalize()} function. Only "
        "actions can be defined in Node.js. See https://docs.convex.dev/functions/actions for more details."
    )


def _text(thrown: dict[str, Any], modules: Sequence[PushedModule]) -> str:
    texts = {module.path: module.source_map for module in modules if module.source_map}

    def find(path: str) -> SourceMap | None:
        return SourceMap(texts[path]) if path in texts else None

    return error_of_thrown(thrown_of(thrown), find).message
