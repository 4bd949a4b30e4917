"""Admin keys on a real server: one that only looks, and one that is taken back (spec 02 1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from ..support.app_calls import call, count
from ..support.server import RunningServer
from .test_replay import tidelog

pytestmark = pytest.mark.usefixtures("app")


def new_key(server: RunningServer, *options: str) -> str:
    return tidelog(server, "admin-key", *options).split("\n")[-2]


def refusal(server: RunningServer, route: str, body: dict[str, Any], key: str) -> tuple[int, str]:
    headers = {"Authorization": f"Convex {key}"}
    answer = httpx.post(f"{server.url}/api/{route}", json=body, headers=headers, timeout=30)
    return answer.status_code, answer.json()["code"]


def test_a_read_only_key_reads_what_admins_read_and_runs_nothing_that_writes(
    server: RunningServer, app: Path
) -> None:
    key = new_key(server, "--read-only")
    tables = call(server, "query", "_system/frontend/getTableMapping:default", {}, key=key)
    assert isinstance(tables, dict) and "messages" in tables.values()
    body = {"path": "messages:increment", "args": {"name": "read-only"}}
    for route in ("mutation", "function", "run/messages/increment"):
        assert refusal(server, route, body, key) == (403, "OperationNotPermitted")
    action = {"path": "actions:twice", "args": {}}
    assert refusal(server, "action", action, key) == (403, "OperationNotPermitted")
    assert count(server, "read-only") == 0
    pushed = server.cli(app, "deploy", "-y", key=key)
    assert pushed.returncode == 1
    assert "You do not have permission to perform this operation" in pushed.stdout


def test_a_key_that_is_taken_back_counts_no_more(server: RunningServer) -> None:
    key, other = new_key(server), new_key(server)
    path = "_system/frontend/getVersion:default"
    call(server, "query", path, {}, key=key)
    assert tidelog(server, "revoke-key", key) == "Revoked.\n"
    assert refusal(server, "query", {"path": path, "args": {}}, key) == (401, "BadAdminKey")
    call(server, "query", path, {}, key=other)
