"""What `start_push` and its relatives are sent, read and checked (spec 02 6).

Promises: a `PushRequest` names every module once, with a path that the module table can hold; what this
version cannot run (child components, packages that are not bundled) has been refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from functions.catalog import ISOLATE, NODE
from functions.path import parse_module_path
from functions.system import errors
from log import limits
from log.errors import not_supported_yet

SCHEMA_PATH, AUTH_PATH, APP_PATH = "schema.js", "auth.config.js", "convex.config.js"
_NEVER_NODE = (SCHEMA_PATH, AUTH_PATH, APP_PATH, "http.js", "crons.js")
_UNSUPPORTED_NODE_VERSIONS = ("16", "18")


@dataclass(frozen=True, slots=True)
class PushedModule:
    """A module sent in full; `source_map` "" when there is none."""

    path: str
    source: str
    source_map: str
    environment: str

    @property
    def sha256(self) -> str:
        """What `get_config_hashes` answers for it (spec 02 5)."""
        return hashlib.sha256(self.source.encode() + self.source_map.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class UnchangedModule:
    """A module the deployment has already, named by the hash it gave us."""

    path: str
    environment: str
    sha256: str


@dataclass(frozen=True, slots=True)
class PushedComponent:
    """The definition of a component: its own config, and the code that all its instances have."""

    definition_path: str
    definition: PushedModule
    dependencies: tuple[str, ...]
    schema: PushedModule | None
    modules: tuple[PushedModule, ...]


@dataclass(frozen=True, slots=True)
class PushRequest:
    """A push of the app and of the components it depends on, by definition path."""

    is_dry_run: bool
    is_for_codegen: bool
    server_version: str
    app_config: PushedModule | None
    schema: PushedModule | None
    changed: tuple[PushedModule, ...]
    unchanged: tuple[UnchangedModule, ...]
    dependencies: tuple[str, ...] = ()
    components: tuple[PushedComponent, ...] = ()


def parse_push(body: dict[str, Any]) -> PushRequest:
    """The request a JSON body describes; unknown keys are ignored."""
    app = _member(body, "appDefinition", dict)
    node_version = body.get("nodeVersion")
    if isinstance(node_version, str) and node_version.split(".")[0] in _UNSUPPORTED_NODE_VERSIONS:
        raise errors.node_version_not_supported(node_version)
    changed = app.get("changedModules", app.get("functions"))
    request = PushRequest(
        is_dry_run=body.get("dryRun") is True,
        is_for_codegen=body.get("forCodegen") is True,
        server_version=_member(app, "udfServerVersion", str),
        app_config=_optional_module(app.get("definition"), APP_PATH),
        schema=_optional_module(app.get("schema"), SCHEMA_PATH),
        changed=tuple(_parse_module(tree) for tree in _list(changed, "changedModules")),
        unchanged=tuple(
            _parse_unchanged(tree)
            for tree in _list(app.get("unchangedModuleHashes"), "unchangedModuleHashes")
        ),
        dependencies=_texts(app, "dependencies"),
        components=tuple(
            _parse_component(tree) for tree in _list(body.get("componentDefinitions"), "componentDefinitions")
        ),
    )
    _check(request, body.get("functions"))
    if body.get("nodeDependencies"):
        raise not_supported_yet("node.externalPackages")
    return request


def _check(request: PushRequest, folder: Any) -> None:
    _check_modules((*request.changed, *request.unchanged), folder if isinstance(folder, str) else "convex/")
    for component in request.components:
        for module in component.modules:
            if module.environment == NODE:
                raise errors.node_actions_in_component(module.path)
        _check_modules(component.modules, component.definition_path)
    _check_dependencies(request)
    pushed = [*request.changed, *(module for each in request.components for module in each.modules)]
    size_bytes = sum(len(module.source) + len(module.source_map) for module in pushed)
    if size_bytes > limits.PUSH_MODULES_BYTES_MAX:
        raise errors.modules_too_large(size_bytes)


def _check_modules(modules: Sequence[PushedModule | UnchangedModule], folder: str) -> None:
    _check_environments(modules)
    paths = [module.path for module in modules]
    _check_paths(paths)
    count = sum(not path.startswith("_deps/") for path in paths)
    if count > limits.PUSH_FUNCTION_FILES_MAX:
        raise errors.too_many_function_files(count, folder)


def _check_dependencies(request: PushRequest) -> None:
    """Every definition comes once, and what one depends on comes with it."""
    known = [component.definition_path for component in request.components]
    if len(set(known)) < len(known) or "" in known:
        raise errors.bad_push_body("two component definitions have the same path")
    for path in (*request.dependencies, *(path for each in request.components for path in each.dependencies)):
        if path not in known:
            raise errors.bad_push_body(f"the component definition {path!r} is missing")


def _check_environments(modules: Iterable[PushedModule | UnchangedModule]) -> None:
    """The files we evaluate ourselves are none that Node.js runs (spec 02 6)."""
    for module in modules:
        if module.environment == NODE and module.path in _NEVER_NODE:
            raise errors.invalid_modules(module.path, f'{module.path} cannot be a "use node" module.')


def _check_paths(paths: Iterable[str]) -> None:
    seen: set[str] = set()
    for path in paths:
        if parse_module_path(path) != path:
            raise errors.bad_push_body(f"module path {path!r} does not end in .js")
        if path in seen:
            raise errors.bad_push_body(f"module {path!r} appears twice")
        seen.add(path)


# --- JSON -------------------------------------------------------------------------------------------


def _optional_module(tree: Any, path: str) -> PushedModule | None:
    """A file evaluated alone: it has one possible path, whatever the request calls it."""
    if tree is None:
        return None
    module = _parse_module(tree)
    return PushedModule(path, module.source, module.source_map, ISOLATE)


def _parse_module(tree: Any) -> PushedModule:
    path = _member(tree, "path", str)
    source_map = tree.get("sourceMap")
    return PushedModule(
        path=path,
        source=_member(tree, "source", str),
        source_map=source_map if isinstance(source_map, str) else "",
        environment=_environment(tree, path),
    )


def _parse_component(tree: Any) -> PushedComponent:
    definition = _optional_module(_member(tree, "definition", dict), APP_PATH)
    assert definition is not None, "a member was required"
    modules = _list(tree.get("functions"), "functions")
    return PushedComponent(
        definition_path=_member(tree, "definitionPath", str),
        definition=definition,
        dependencies=_texts(tree, "dependencies"),
        schema=_optional_module(tree.get("schema"), SCHEMA_PATH),
        modules=tuple(_parse_module(module) for module in modules),
    )


def _texts(tree: dict[str, Any], name: str) -> tuple[str, ...]:
    found = _list(tree.get(name), name)
    if not all(isinstance(each, str) for each in found):
        raise errors.bad_push_body(f"`{name}` must be a list of strings")
    return tuple(found)


def _parse_unchanged(tree: Any) -> UnchangedModule:
    path = _member(tree, "path", str)
    return UnchangedModule(path, _environment(tree, path), _member(tree, "sha256", str))


def _environment(tree: dict[str, Any], path: str) -> str:
    """Old packages leave it out: then the folder says it (spec 02 6)."""
    environment = tree.get("environment")
    if environment is None:
        return NODE if path.startswith("actions/") else ISOLATE
    if environment not in (ISOLATE, NODE):
        raise errors.bad_push_body(f"module {path!r} has the unknown environment {environment!r}")
    return environment


def _list(found: Any, name: str) -> list[Any]:
    if found is None:
        return []
    if not isinstance(found, list):
        raise errors.bad_push_body(f"`{name}` must be a list")
    return found


def _member(tree: Any, name: str, kind: type) -> Any:
    found = tree.get(name) if isinstance(tree, dict) else None
    if not isinstance(found, kind):
        raise errors.bad_push_body(f"`{name}` is missing or of the wrong type")
    return found
