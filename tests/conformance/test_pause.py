"""A real server paused and resumed: clients, jobs, files and HTTP actions (spec 02 22)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..support.app_calls import call, count, until, upload
from ..support.server import RunningServer
from .test_replay import tidelog

pytestmark = pytest.mark.usefixtures("app")

Post = Callable[[str], httpx.Response]
TEXT = "Cannot run functions while this deployment is paused."


@pytest.fixture
def post(server: RunningServer) -> Iterator[Post]:
    """Asks for a pause or its end as the dashboard does; the deployment runs again afterwards."""
    headers = {"Authorization": f"Convex {server.admin_key()}"}

    def post(name: str) -> httpx.Response:
        return httpx.post(f"{server.url}/api/v1/{name}", json={}, headers=headers, timeout=30)

    yield post
    post("unpause_deployment")


def test_a_live_client_is_told_and_goes_on_afterwards(server: RunningServer, post: Post) -> None:
    said = server.node(Path(__file__).parent / "pause.mjs", server.admin_key())
    seen: dict[str, Any] = dict(said)
    assert TEXT in seen.pop("paused") and TEXT in seen.pop("mutation")
    assert seen == {"before": 0, "pausing": 200, "resuming": 200, "after": 0}


def test_jobs_wait_and_run_when_it_goes_on(server: RunningServer, post: Post) -> None:
    call(server, "mutation", "jobs:counted", {"name": "waited", "times": 3, "delayMs": 1_500})
    due_seconds = time.monotonic() + 1.5
    assert post("pause_deployment").status_code == 200
    with pytest.raises(AssertionError, match=TEXT):
        count(server, "waited")
    until(lambda: time.monotonic() > due_seconds, "they are due")
    assert server.ask("core", "status")["jobs_waiting"] >= 3
    assert tidelog(server, "resume") == "Resumed.\n"
    until(lambda: count(server, "waited") == 3, "all jobs run")


def test_http_actions_and_files_are_refused_and_system_functions_are_not(
    server: RunningServer, post: Post
) -> None:
    storage_id = upload(server, b"before the pause")
    address: Any = call(server, "query", "files:url", {"id": storage_id})
    assert tidelog(server, "pause").startswith("Paused.")
    answer = httpx.get(f"{server.site_url}/hello")
    assert answer.status_code == 500 and TEXT in answer.json()["code"]
    refused = httpx.get(address)
    assert (refused.status_code, refused.json()["code"]) == (400, "BackendIsNotRunning")
    state = "_system/frontend/deploymentState:deploymentState"
    assert call(server, "query", state, {}, key=server.admin_key()) == {"state": "paused"}
    post("unpause_deployment")
    assert httpx.get(address).content == b"before the pause"
    again = post("unpause_deployment")
    assert (again.status_code, again.json()["code"]) == (400, "UnpauseDeploymentFailed")


def test_only_admins_pause(server: RunningServer) -> None:
    assert httpx.post(f"{server.url}/api/v1/pause_deployment", json={}).status_code == 403
