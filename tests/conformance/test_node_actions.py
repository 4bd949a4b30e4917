"""`"use node"` actions on a real server: pushed by the CLI, called by the npm clients."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from typing import Any

import httpx
import pytest

from cluster.processes import identify

from ..support.app_calls import call, count, until
from ..support.server import RunningServer
from .test_clients import observe, values_of

pytestmark = pytest.mark.usefixtures("app")


def node_pids(server: RunningServer) -> list[int]:
    pids: list[int] = server.ask("slow-executor", "status")["node_pids"]
    return pids


def failure_of(server: RunningServer, path: str, args: dict[str, Any]) -> str:
    answer = httpx.post(
        f"{server.url}/api/action", json={"path": path, "args": args, "format": "json"}, timeout=30
    ).json()
    assert answer["status"] == "error", answer
    return str(answer["errorMessage"])


def test_the_clients_call_node_actions(server: RunningServer) -> None:
    seen = observe(server, "tools", "noded")
    digest = hashlib.sha256(b"noded").hexdigest()
    assert [each["digest"] for each in values_of(seen, "hashed")] == [digest, digest]
    assert values_of(seen, "counts") == [[1, 2, 3, 3], [4, 5, 6, 6]]
    plain, plain_http, convex, convex_http = values_of(seen, "failed")
    for failed in (plain, plain_http):
        text = "Uncaught Error: a Node action that fails\n    at handler (../convex/tools.ts:"
        assert text in failed["message"] and failed["isConvexError"] is False
    for failed in (convex, convex_http):
        assert failed["isConvexError"] and failed["data"] == {"code": "NOPE", "n": "5n"}


def test_a_node_action_searches_vectors(server: RunningServer) -> None:
    found: Any = call(server, "action", "tools:nearest", {"at": [0.25, 0.5, 0.75]})
    assert found["isOwn"] and found["score"] == pytest.approx(1.0)


def test_log_lines_are_those_of_node(server: RunningServer) -> None:
    answer = httpx.post(
        f"{server.url}/api/action", json={"path": "tools:hashes", "args": {"text": "t"}, "format": "json"}
    ).json()
    assert answer["logLines"] == ["[LOG] 'hashing' { text: 't' }"]


def test_what_a_node_action_schedules_runs_and_what_it_cancels_does_not(server: RunningServer) -> None:
    call(server, "action", "tools:schedules", {"name": "from-node"})
    until(lambda: count(server, "from-node") == 1, "the job ends")


@pytest.mark.parametrize("length", [0, 3_000_000])
def test_a_node_action_stores_files_and_reads_them(server: RunningServer, length: int) -> None:
    stored = call(server, "action", "tools:stores", {"text": "x" * length})
    assert stored == {"served": True, "read": True, "type": "text/plain", "gone": True}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("uncaught", "Uncaught uncaughtException: Yikes"),
        ("unhandled", "Uncaught unhandledRejection: Yikes"),
        ("exit", "process.exit() called with exit code 1"),
        ("database", "Uncaught TypeError: Cannot read properties of undefined (reading 'get')"),
    ],
)
def test_a_node_action_that_breaks_fails_and_the_next_one_works(
    server: RunningServer, how: str, message: str
) -> None:
    assert message in failure_of(server, "tools:fails", {"how": how})
    hashed: Any = call(server, "action", "tools:hashes", {"text": "after"})
    assert hashed["kept"] == "after"


def test_a_node_process_that_is_killed_in_the_middle_fails_its_call_alone(server: RunningServer) -> None:
    failures: list[str] = []

    def hang() -> None:
        failures.append(failure_of(server, "tools:hangs", {"name": "hanging"}))

    hanging = threading.Thread(target=hang)
    hanging.start()
    until(lambda: count(server, "hanging") == 1, "it runs")
    for pid in node_pids(server):
        os.kill(pid, signal.SIGKILL)
    hanging.join(timeout=30)
    assert ["Transient error" in failure for failure in failures] == [True], failures
    assert call(server, "action", "tools:hashes", {"text": "again"})


def test_no_node_process_outlives_the_executor_that_started_it(server: RunningServer) -> None:
    call(server, "action", "tools:hashes", {"text": "before"})
    pids = node_pids(server)
    assert pids
    killed = server.kill("slow-executor")
    until(lambda: all(identify(pid) is None for pid in pids), "they end")
    server.wait_replaced("slow-executor", killed)
    assert call(server, "action", "tools:hashes", {"text": "after"})
