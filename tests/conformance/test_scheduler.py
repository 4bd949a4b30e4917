"""Scheduled mutations on a real server: run once, whoever dies, and seen by the functions of the app."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from ..support.app_calls import call, count, until
from ..support.server import RunningServer
from .test_replay import tidelog

pytestmark = pytest.mark.usefixtures("app")


def states(server: RunningServer, name: str) -> list[str]:
    return call(server, "query", "jobs:list", {"name": name})  # type: ignore[return-value]


def test_what_is_scheduled_runs_once_each_and_ends_in_success(server: RunningServer) -> None:
    ids = call(server, "mutation", "jobs:counted", {"name": "scheduled", "times": 20, "delayMs": 0})
    assert isinstance(ids, list)
    until(lambda: states(server, "scheduled") == ["success"] * 20, "all jobs end")
    assert count(server, "scheduled") == 20
    job = call(server, "query", "jobs:look", {"id": ids[0]})
    assert isinstance(job, dict)
    assert job["name"] == "jobs:count" and job["args"] == [{"name": "scheduled"}]
    assert job["completedTime"] >= job["scheduledTime"]


def test_jobs_schedule_further_jobs(server: RunningServer) -> None:
    call(server, "mutation", "jobs:chained", {"name": "chained", "length": 5})
    until(lambda: count(server, "chained") == 5, "the chain ends")


def test_a_job_that_fails_writes_nothing_but_its_error(server: RunningServer) -> None:
    job_id = call(server, "mutation", "jobs:failing", {"name": "failing"})
    until(lambda: states(server, "failing") == ["failed"], "the job ends")
    job = call(server, "query", "jobs:look", {"id": job_id})
    assert isinstance(job, dict)
    assert "Uncaught Error: a job that fails" in job["state"]["error"]
    assert count(server, "failing") == 0


def test_a_mutation_that_fails_has_scheduled_nothing(server: RunningServer) -> None:
    with pytest.raises(AssertionError, match="so nothing was scheduled"):
        call(server, "mutation", "jobs:regretted", {"name": "regretted"})
    assert states(server, "regretted") == []


def test_a_cancelled_job_never_runs(server: RunningServer) -> None:
    ids = call(server, "mutation", "jobs:counted", {"name": "cancelled", "times": 1, "delayMs": 400})
    assert isinstance(ids, list)
    call(server, "mutation", "jobs:cancel", {"id": ids[0]})
    later = call(server, "mutation", "jobs:counted", {"name": "after", "times": 1, "delayMs": 600})
    assert isinstance(later, list)
    until(lambda: count(server, "after") == 1, "what was due later has run")
    assert states(server, "cancelled") == ["canceled"] and count(server, "cancelled") == 0


def test_an_operator_cancels_what_waits(server: RunningServer) -> None:
    call(server, "mutation", "jobs:counted", {"name": "operator", "times": 3, "delayMs": 600_000})
    headers = {"Authorization": f"Convex {server.admin_key()}"}
    answer = httpx.post(f"{server.url}/api/cancel_all_jobs", json={"udfPath": "jobs:count"}, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")
    assert states(server, "operator") == ["canceled"] * 3
    assert httpx.post(f"{server.url}/api/cancel_all_jobs", json={}).status_code == 403


def test_the_console_of_a_job_is_in_the_logs(server: RunningServer) -> None:
    call(server, "mutation", "jobs:counted", {"name": "logged", "times": 1, "delayMs": 0})
    until(lambda: count(server, "logged") == 1, "the job ends")

    def entries() -> list[dict[str, Any]]:
        headers = {"Authorization": f"Convex {server.admin_key()}"}
        answer = httpx.get(f"{server.url}/api/stream_function_logs?cursor=0", headers=headers, timeout=30)
        return [entry for entry in answer.json()["entries"] if entry["identifier"] == "jobs:count"]

    until(lambda: any("[LOG] 'counted' 'logged'" in entry["logLines"] for entry in entries()), "it is shown")
    assert {entry["caller"] for entry in entries()} == {"Scheduler"}


@pytest.mark.parametrize("role", ["executor-1", "core"])
def test_jobs_run_exactly_once_when_a_process_is_killed_among_them(server: RunningServer, role: str) -> None:
    name = f"killed-{role}"
    call(server, "mutation", "jobs:counted", {"name": name, "times": 150, "delayMs": 0})
    until(lambda: "success" in states(server, name), "the first has run")
    server.wait_replaced(role, server.kill(role))
    until(lambda: states(server, name) == ["success"] * 150, "all jobs end")
    assert count(server, name) == 150


def test_what_jobs_did_replays_identically(server: RunningServer) -> None:
    call(server, "mutation", "jobs:counted", {"name": "replayed-job", "times": 3, "delayMs": 0})
    call(server, "mutation", "jobs:failing", {"name": "replayed-failure"})
    until(lambda: count(server, "replayed-job") == 3, "the jobs end")
    until(lambda: states(server, "replayed-failure") == ["failed"], "the job ends")
    told = tidelog(server, "replay", "--all")
    same, total = told.removesuffix(" calls identical.\n").split(" of ")
    assert same == total, told
