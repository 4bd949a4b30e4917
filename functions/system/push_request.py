"""What `start_push` and its relatives are sent, read and checked (spec 02 6).

Promises: a `PushRequest` names every module of a definition once, with a path that the module table can
hold; every dependency is a pushed definition; packages are exact versions of a registry; what this version
cannot run (Node.js inside components) has been refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from functions.catalog import ISOLATE, NODE
from functions.node_packages import NodePackage, packages_of
from functions.path import parse_module_path
from functions.system import errors
from log import limits

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
    """A component definition, pushed whole; `definition_path` is an opaque key, never "" (the app's)."""

    definition_path: str
    definition: PushedModule
    dependencies: tuple[str, ...]
    schema: PushedModule | None
    modules: tuple[PushedModule, ...]
    server_version: str


@dataclass(frozen=True, slots=True)
class PushRequest:
    """A push: the app, and every component definition that it or another definition depends on."""

    is_dry_run: bool
    is_for_codegen: bool
    server_version: str
    app_config: PushedModule | None
    schema: PushedModule | None
    changed: tuple[PushedModule, ...]
    unchanged: tuple[UnchangedModule, ...]
    dependencies: tuple[str, ...] = ()
    components: tuple[PushedComponent, ...] = ()
    node_packages: tuple[NodePackage, ...] = ()


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
        dependencies=_parse_dependencies(app),
        components=tuple(
            _parse_component(tree) for tree in _list(body.get("componentDefinitions"), "componentDefinitions")
        ),
        node_packages=_parse_packages(body.get("nodeDependencies")),
    )
    _check(request, body.get("functions"))
    return request


def _check(request: PushRequest, folder: Any) -> None:
    modules: tuple[PushedModule | UnchangedModule, ...] = (*request.changed, *request.unchanged)
    _check_environments(modules)
    _check_packages(request.node_packages, modules)
    _check_modules(modules, folder if isinstance(folder, str) else "convex/")
    for component in request.components:
        _check_component(component)
    _check_dependencies(request)
    sent = [*request.changed]
    for component in request.components:
        sent += component.modules
    size_bytes = sum(len(module.source) + len(module.source_map) for module in sent)
    if size_bytes > limits.PUSH_MODULES_BYTES_MAX:
        raise errors.modules_too_large(size_bytes)


def _check_modules(modules: Sequence[PushedModule | UnchangedModule], folder: str) -> None:
    """The modules of one definition."""
    paths = [module.path for module in modules]
    _check_paths(paths)
    count = sum(not path.startswith("_deps/") for path in paths)
    if count > limits.PUSH_FUNCTION_FILES_MAX:
        raise errors.too_many_function_files(count, folder)


def _check_component(component: PushedComponent) -> None:
    for module in component.modules:
        if module.environment == NODE:
            raise errors.node_actions_not_supported(component.definition_path, module.path)
    _check_modules(component.modules, component.definition_path)


def _check_dependencies(request: PushRequest) -> None:
    """Definitions are named once, and whatever one depends on was pushed (spec 02 6)."""
    paths: set[str] = set()
    for component in request.components:
        if component.definition_path in paths:
            raise errors.bad_push_body(f"component {component.definition_path!r} appears twice")
        paths.add(component.definition_path)
    for dependencies in (request.dependencies, *(each.dependencies for each in request.components)):
        for path in dependencies:
            if path not in paths:
                raise errors.bad_push_body(f"the dependency {path!r} is no pushed component")


def _check_environments(modules: Iterable[PushedModule | UnchangedModule]) -> None:
    """The files we evaluate ourselves are none that Node.js runs (spec 02 6)."""
    for module in modules:
        if module.environment == NODE and module.path in _NEVER_NODE:
            raise errors.invalid_modules(module.path, f'{module.path} cannot be a "use node" module.')


def _check_packages(
    packages: tuple[NodePackage, ...], modules: Sequence[PushedModule | UnchangedModule]
) -> None:
    """Packages stand beside the modules that import them, in a folder that is then theirs."""
    for module in modules:
        if packages and module.environment == NODE and module.path.startswith("node_modules/"):
            raise errors.bad_push_body(f"module {module.path!r} is where the packages are")


def _check_paths(paths: Iterable[str]) -> None:
    seen: set[str] = set()
    for path in paths:
        if parse_module_path(path) != path:
            raise errors.bad_push_body(f"module path {path!r} does not end in .js")
        if path in seen:
            raise errors.bad_push_body(f"module {path!r} appears twice")
        seen.add(path)


# --- JSON -------------------------------------------------------------------------------------------


def _parse_component(tree: Any) -> PushedComponent:
    path = _member(tree, "definitionPath", str)
    if not path:
        raise errors.bad_push_body("a component's `definitionPath` is empty, which names the app")
    return PushedComponent(
        definition_path=path,
        definition=_alone(_member(tree, "definition", dict), APP_PATH),
        dependencies=_parse_dependencies(tree),
        schema=_optional_module(tree.get("schema"), SCHEMA_PATH),
        modules=tuple(_parse_module(module) for module in _list(tree.get("functions"), "functions")),
        server_version=_member(tree, "udfServerVersion", str),
    )


def _parse_dependencies(tree: dict[str, Any]) -> tuple[str, ...]:
    """Each once, in their order."""
    found = _list(tree.get("dependencies"), "dependencies")
    if not all(isinstance(path, str) for path in found):
        raise errors.bad_push_body("`dependencies` must be a list of definition paths")
    return tuple(dict.fromkeys(found))


def _parse_packages(tree: Any) -> tuple[NodePackage, ...]:
    try:
        return packages_of(tree if tree is not None else [])
    except ValueError as fault:
        raise errors.bad_push_body(f"`nodeDependencies`: {fault}") from fault


def _optional_module(tree: Any, path: str) -> PushedModule | None:
    return _alone(tree, path) if tree is not None else None


def _alone(tree: Any, path: str) -> PushedModule:
    """A file evaluated alone: it has one possible path, whatever the request calls it."""
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
