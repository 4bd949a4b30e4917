"""What a push learns about `"use node"` modules, and what it refuses of them (real Node.js)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors.node_analysis import NodeAnalysis
from actors.node_packages import NodePackageFolders
from functions.system.operation import SystemContext
from log.errors import BackendError

from ...support.deployment import Deployment, functions_module, push_body
from ...support.node_server import needs_node

ACTIONS = """
const register = (kind, visibility, more) => Object.assign(() => {}, {
  [`is${kind}`]: true, [`is${visibility}`]: true,
  exportArgs: () => '{"type":"any"}', exportReturns: () => "null", ...more,
});
"""
Json = Any


class NodeDeployment(Deployment):
    """As an executor that runs actions sees it."""

    @property
    def context(self) -> SystemContext:
        from dataclasses import replace

        return replace(super().context, node=NodeAnalysis(NodePackageFolders(None)))


@pytest.fixture
def deployment() -> NodeDeployment:
    needs_node()
    return NodeDeployment()


def tools(source: str, path: str = "tools.js", source_map: str | None = None) -> Json:
    tree = {"path": path, "source": ACTIONS + source, "environment": "node"}
    return tree if source_map is None else {**tree, "sourceMap": source_map}


def refusal(deployment: Deployment, *modules: Json, **rest: Any) -> BackendError:
    with pytest.raises(BackendError) as refused:
        deployment.start(*modules, **rest)
    return refused.value


def test_actions_are_found_beside_those_of_the_other_runtime(deployment: NodeDeployment) -> None:
    source = """
      import { EOL } from "node:os";
      import { helper } from "./_deps/node/HELPER.js";
      export const open = register("Action", "Public", { exportReturns: () => '{"type":"string"}' });
      export const hidden = register("Action", "Internal");
      export const constant = helper(EOL);"""
    helper = tools("export const helper = (x) => x;", "_deps/node/HELPER.js")
    own = functions_module("messages.js", "export const list = query();")
    started = deployment.start(tools(source), helper, own)
    functions = started["analysis"][""]["functions"]
    assert set(functions) == {"tools.js", "messages.js"}
    found = {each["name"]: each for each in functions["tools.js"]["functions"]}
    assert set(found) == {"open", "hidden"}
    assert found["open"] == {
        "name": "open",
        "pos": None,
        "udfType": "Action",
        "visibility": {"kind": "public"},
        "args": '{"type":"any"}',
        "returns": '{"type":"string"}',
    }
    assert found["hidden"]["visibility"] == {"kind": "internal"} and found["hidden"]["returns"] is None
    deployment.finish(started)
    assert deployment.database.catalog.modules["tools.js"].environment == "node"


def test_an_unchanged_node_module_is_analysed_from_what_is_stored(deployment: NodeDeployment) -> None:
    module = tools('export const open = register("Action", "Public");')
    deployment.push(module)
    body = push_body(unchanged=(module,))
    body["appDefinition"]["unchangedModuleHashes"][0]["environment"] = "node"
    started = deployment.operate("start_push", body)
    names = [each["name"] for each in started["analysis"][""]["functions"]["tools.js"]["functions"]]
    assert names == ["open"]


@pytest.mark.parametrize("kind", ["Query", "Mutation"])
def test_only_actions_may_be_defined_there(deployment: NodeDeployment, kind: str) -> None:
    refused = refusal(deployment, tools(f'export const f = register("{kind}", "Public");'))
    assert refused.code == "InvalidModules"
    assert (
        f"Failed to analyze tools.js: `f` defined in `tools.js` is a {kind} function. Only actions can be "
        "defined in Node.js. See https://docs.convex.dev/functions/actions for more details."
    ) in refused.message


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ('throw new TypeError("at import");', "Uncaught TypeError: at import"),
        ("export const = 1;", "Uncaught SyntaxError: "),
        ('import "left-pad";', "Uncaught Error: Cannot find package 'left-pad'"),
        ("process.exit(2);", "Uncaught process.exit: process.exit() called with exit code 2"),
        (
            'Promise.reject(new Error("later")); await 0; await new Promise((r) => setTimeout(r, 50));',
            "Uncaught unhandledRejection: later",
        ),
        ("process.kill(process.pid, 'SIGKILL');", "the process ended while it loaded the modules"),
        ('await Convex.asyncSyscall("1.0/get", "{}");', "Uncaught Error: 1.0/get unsupported at import time"),
        (
            'export const f = register("Action", "Public", { exportArgs: () => 1 });',
            "Invalid exportArgs return value: tools.js:f.exportArgs() didn't return a string.",
        ),
        (
            'export const f = register("Action", "Public", { exportArgs: () => "{" });',
            "Invalid JSON returned from tools.js:f.exportArgs().",
        ),
        (
            'export const f = register("Action", "Public", { exportReturns: 1 });',
            "tools.js:f.exportReturns is not a function or `undefined`.",
        ),
    ],
)
def test_a_module_that_cannot_be_analysed_is_named_with_its_error(
    deployment: NodeDeployment, source: str, text: str
) -> None:
    refused = refusal(deployment, tools(source))
    assert refused.code == "InvalidModules"
    assert "Failed to analyze tools.js: " in refused.message and text in refused.message


def test_frames_of_a_failed_module_are_those_of_its_source(deployment: NodeDeployment) -> None:
    source_map = json.dumps(
        {"version": 3, "sources": ["../convex/tools.ts"], "mappings": "AAAA", "names": []}
    )
    refused = refusal(deployment, tools('throw new Error("x");', source_map=source_map))
    assert "Uncaught Error: x\n    at <anonymous> (../convex/tools.ts:0:0)" in refused.message


def test_modules_that_never_finish_loading_are_given_up(
    deployment: NodeDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.node_analysis.NODE_ANALYSIS_SECONDS_MAX", 0.5)
    assert "the modules are not loaded after" in refusal(deployment, tools("for (;;);")).message


@pytest.mark.parametrize("path", ["http.js", "crons.js", "auth.config.js"])
def test_files_that_are_evaluated_for_the_deployment_are_no_node_modules(
    deployment: NodeDeployment, path: str
) -> None:
    assert f'{path} cannot be a "use node" module.' in refusal(deployment, tools("", path)).message


def test_packages_that_are_no_versions_of_a_registry_are_refused_by_name(deployment: NodeDeployment) -> None:
    packages = [{"name": "sharp", "version": "file:../sharp"}]
    refused = refusal(deployment, tools(""), nodeDependencies=packages)
    assert refused.code == "BadJsonBody" and "file:../sharp" in refused.message


def test_a_server_without_node_says_so_at_the_push(
    deployment: NodeDeployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    refused = refusal(deployment, tools('export const f = register("Action", "Public");'))
    assert refused.code == "NodeNotInstalled"
    deployment.push(functions_module("messages.js", "export const list = query();"))
