"""Reading push requests: what is accepted, defaults of old clients, every refusal at its limit."""

from __future__ import annotations

from typing import Any

import pytest

from functions.catalog import ISOLATE, NODE
from functions.system.push_request import parse_push
from log import limits
from log.errors import BackendError

from ...support.deployment import hash_of, module, push_body

M = module("m.js", "export {};")


def refusal_of(body: Any) -> BackendError:
    with pytest.raises(BackendError) as raised:
        parse_push(body)
    return raised.value


def test_a_request_is_read_whole() -> None:
    other = module("n.js", "", '{"version":3}')
    request = parse_push(push_body(M, unchanged=(other,), schema=M, app=M, dryRun=True, forCodegen=True))
    assert [each.path for each in request.changed] == ["m.js"]
    assert [(each.path, each.sha256) for each in request.unchanged] == [("n.js", hash_of(other))]
    assert (request.is_dry_run, request.is_for_codegen, request.server_version) == (True, True, "1.48.0")
    assert request.schema is not None and request.schema.path == "schema.js"
    assert request.app_config is not None and request.app_config.path == "convex.config.js"


def test_the_hash_covers_source_and_map() -> None:
    mapped = module("m.js", "é", '{"version":3}')
    [parsed] = parse_push(push_body(mapped)).changed
    assert parsed.sha256 == hash_of(mapped) != hash_of(module("m.js", "é"))


def test_changed_modules_may_be_called_functions() -> None:
    body = push_body()
    body["appDefinition"]["functions"] = [M]
    del body["appDefinition"]["changedModules"]
    assert [each.path for each in parse_push(body).changed] == ["m.js"]


@pytest.mark.parametrize(("path", "environment"), [("m.js", ISOLATE), ("actions/m.js", NODE)])
def test_without_an_environment_the_folder_decides(path: str, environment: str) -> None:
    [parsed] = parse_push(push_body({"path": path, "source": ""})).changed
    assert parsed.environment == environment


@pytest.mark.parametrize(
    ("version", "is_accepted"), [("18", False), ("20", True), ("22", True), (None, True)]
)
def test_old_node_versions_are_refused(version: str | None, is_accepted: bool) -> None:
    body = push_body(M, nodeVersion=version)
    if is_accepted:
        assert parse_push(body).changed
    else:
        assert refusal_of(body).code == "NodeVersionNotSupported"


@pytest.mark.parametrize(
    "change",
    [
        {"changedModules": 7},
        {"changedModules": [7]},
        {"changedModules": [{"path": "m.js"}]},
        {"changedModules": [{"source": ""}]},
        {"changedModules": [M, M]},
        {"changedModules": [{**M, "environment": "moon"}]},
        {"changedModules": [{**M, "path": "m"}]},
        {"unchangedModuleHashes": [{"path": "m.js", "environment": "isolate"}]},
        {"udfServerVersion": None},
        {"schema": 7},
    ],
)
def test_a_request_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    body = push_body()
    body["appDefinition"] |= change
    assert refusal_of(body).code == "BadJsonBody"


def test_a_request_without_an_app_is_refused() -> None:
    assert refusal_of({}).code == "BadJsonBody"


@pytest.mark.parametrize("path", ["/m.js", "a b.js", "../m.js", ""])
def test_paths_that_no_function_could_have_are_refused(path: str) -> None:
    assert refusal_of(push_body({**M, "path": path})).code == "BadConvexFunctionIdentifier"


def component(path: str = "../c", **parts: Any) -> Any:
    tree = {"definitionPath": path, "definition": M, "dependencies": [], "schema": None, "functions": [M]}
    return {**tree, "udfServerVersion": "1.48.0", **parts}


def test_components_are_read_whole() -> None:
    body = push_body(
        M, componentDefinitions=[component("../d"), component(dependencies=["../d", "../d"], schema=M)]
    )
    body["appDefinition"]["dependencies"] = ["../c"]
    request = parse_push(body)
    assert request.dependencies == ("../c",)
    second = request.components[1]
    assert (second.definition_path, second.dependencies) == ("../c", ("../d",))
    assert second.definition.path == "convex.config.js"
    assert second.schema is not None and second.schema.path == "schema.js"
    assert [each.path for each in second.modules] == ["m.js"] and second.server_version == "1.48.0"


@pytest.mark.parametrize(
    "components",
    [
        7,
        [{}],
        [component("")],
        [component(definition=None)],
        [component(dependencies=[7])],
        [component(functions=[M, M])],
        [component(udfServerVersion=None)],
        [component(), component()],
        [component(dependencies=["../d"])],
    ],
)
def test_components_of_another_shape_are_refused(components: Any) -> None:
    assert refusal_of(push_body(componentDefinitions=components)).code == "BadJsonBody"


def test_the_app_depends_on_pushed_components_only() -> None:
    body = push_body()
    body["appDefinition"]["dependencies"] = ["../c"]
    assert refusal_of(body).code == "BadJsonBody"


def test_components_have_no_node_modules() -> None:
    refusal = refusal_of(push_body(componentDefinitions=[component(functions=[{**M, "environment": NODE}])]))
    assert refusal.code == "NodeActionsNotSupported"
    assert refusal.message == "Node actions are not supported in components. Remove m.js from ../c"


def test_function_files_are_counted_without_shared_chunks() -> None:
    files = [module(f"m{number}.js", "") for number in range(limits.PUSH_FUNCTION_FILES_MAX)]
    chunk = module("_deps/CHUNK.js", "")
    assert len(parse_push(push_body(*files, chunk)).changed) == limits.PUSH_FUNCTION_FILES_MAX + 1
    refusal = refusal_of(push_body(*files, module("one_more.js", "")))
    assert refusal.code == "InvalidModules"
    assert refusal.message.startswith('Too many function files (4097 > maximum 4096) in "convex/".')


def test_modules_are_too_large_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PUSH_MODULES_BYTES_MAX", 10)
    assert parse_push(push_body(module("m.js", "x" * 5), module("n.js", "x" * 5))).changed
    refusal = refusal_of(push_body(module("m.js", "x" * 5), module("n.js", "x" * 6)))
    assert refusal.code == "ModulesTooLarge"


def test_modules_of_components_count_with_those_of_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PUSH_MODULES_BYTES_MAX", 10)
    five, six = (component(functions=[module("n.js", "x" * length)]) for length in (5, 6))
    assert parse_push(push_body(module("m.js", "x" * 5), componentDefinitions=[five])).components
    refusal = refusal_of(push_body(module("m.js", "x" * 5), componentDefinitions=[six]))
    assert refusal.code == "ModulesTooLarge"


def test_function_files_of_a_component_are_counted_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PUSH_FUNCTION_FILES_MAX", 1)
    assert parse_push(push_body(M, componentDefinitions=[component()])).components
    refusal = refusal_of(push_body(M, componentDefinitions=[component(functions=[M, module("n.js", "")])]))
    assert refusal.code == "InvalidModules" and '"../c"' in refusal.message
