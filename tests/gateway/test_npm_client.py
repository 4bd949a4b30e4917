"""The unmodified npm clients speak to the gateway in a real node process (spec 01 section 7)."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.server import GatewayServer

from ..support.fake_backend import SETTINGS, FakeBackend

MODULES = Path(
    os.environ.get("TIDELOG_TEST_NODE_MODULES", Path(__file__).parent.parent / "npm" / "node_modules")
)
SCRIPT = Path(__file__).parent / "npm_client.mjs"
PATIENCE_SECONDS = 30

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (MODULES / "convex").is_dir(), reason="npm packages are missing: npm ci in tests/npm"
    ),
    pytest.mark.skipif(
        not (MODULES / "ws").is_dir(), reason="npm package ws is missing: npm ci in tests/npm"
    ),
]

Observation = list[Any]


async def start_node(port: int, scenario: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        "node",
        str(SCRIPT),
        f"http://127.0.0.1:{port}",
        scenario,
        env={**os.environ, "NODE_MODULES": str(MODULES)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def observe(process: asyncio.subprocess.Process) -> list[Observation]:
    try:
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        raise AssertionError(f"node did not end: {out.decode()}\n{err.decode()}") from None
    lines = [json.loads(line[2:]) for line in out.decode().splitlines() if line.startswith("> ")]
    # The clients print functions' log lines to the same output: ours are marked.
    assert process.returncode == 0 and lines[-1] == ["done", None], f"{lines}\n{err.decode()}"
    return lines[:-1]


def drive(scenario: str) -> tuple[list[Observation], FakeBackend]:
    async def body() -> tuple[list[Observation], FakeBackend]:
        backend = FakeBackend()
        server = GatewayServer(backend, SETTINGS, port=0, site_port=None)
        await server.start()
        try:
            return await observe(await start_node(server.port, scenario)), backend
        finally:
            await server.shutdown()

    return asyncio.run(body())


def test_a_mutation_resolves_though_no_query_changed() -> None:
    assert drive("emptyTransition")[0] == [["touched", None]]


def test_the_update_is_seen_before_the_mutation_resolves() -> None:
    seen, _ = drive("updateBeforePromise")
    assert seen == [["update", []], ["update", ["hi"]], ["resolved", None]]


def test_fifty_mutations_sent_at_once_run_in_order() -> None:
    seen, _ = drive("manyMutations")
    assert seen == [["results", list(range(1, 51))], ["query", 50]]


def test_failures_arrive_as_errors_with_their_text() -> None:
    seen, _ = drive("failures")
    assert seen == [["thrown", True], ["thrown", True], ["query", True], ["action", {"a": 1}]]


def test_the_http_client_is_answered() -> None:
    seen, _ = drive("http")
    assert seen == [
        ["list", []],
        ["list", ["x"]],
        ["consistent", ["x"]],
        ["int64", "42"],
        ["unknown", True],
        ["token", "InvalidAuthHeader"],
    ]


def test_a_client_whose_token_is_refused_goes_on_as_anonymous() -> None:
    seen, backend = drive("rejectedToken")
    assert ["authenticated", False] in seen and ["count", 0] in seen
    kinds = {call.identity.kind for call in backend.calls if not call.path.startswith("_system/")}
    assert kinds == {"unknown"}


def test_a_mutation_interrupted_by_a_restart_is_replayed_once() -> None:
    async def body() -> tuple[list[Observation], FakeBackend]:
        backend = FakeBackend()
        server = GatewayServer(backend, SETTINGS, port=0, site_port=None)
        await server.start()
        port = server.port
        process = await start_node(port, "reconnect")
        assert process.stdin is not None
        await wait_for(lambda: backend.runs["m.js:increment"] == 1)
        reached, released = backend.hold("m.js:increment")
        process.stdin.write(b"go\n")
        await asyncio.wait_for(reached.wait(), PATIENCE_SECONDS)
        released.set()  # it commits, but the server goes before it can answer
        await server.shutdown()
        server = GatewayServer(backend, SETTINGS, port=port, site_port=None)
        await server.start()
        try:
            return await observe(process), backend
        finally:
            await server.shutdown()

    seen, backend = asyncio.run(body())
    assert [what for what, _ in seen if what != "count"] == ["first", "second"]
    counts = [value for what, value in seen if what == "count"]
    assert counts == [0, 1, 2]
    assert backend.runs["m.js:increment"] == 2


async def wait_for(condition: Callable[[], bool]) -> None:
    async def poll() -> None:
        while not condition():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(poll(), PATIENCE_SECONDS)
