"""Actions on a real server: called by the npm clients and by jobs, run beside everything else."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from ..support.app_calls import call, count, until
from ..support.server import RunningServer
from .test_clients import observe, values_of

pytestmark = pytest.mark.usefixtures("app")


def test_the_clients_call_actions_which_call_functions(server: RunningServer) -> None:
    seen = observe(server, "actions", "acts")
    assert values_of(seen, "twice") == [{"counts": [1, 2], "last": 2}, {"counts": [3, 4], "last": 4}]
    assert values_of(seen, "in parallel") == [[1] * 20]
    assert values_of(seen, "loads") == ["hello acts from actions:loads, true"]
    plain, plain_http, convex, convex_http = values_of(seen, "failed")
    for failed in (plain, plain_http):
        assert (
            "Uncaught Error: an action that fails\n    at handler (../convex/actions.ts:" in failed["message"]
        )
        assert failed["isConvexError"] is False
    for failed in (convex, convex_http):
        assert failed["isConvexError"] and failed["data"] == {"code": "NOPE", "n": "5n"}
    (refused,) = values_of(seen, "refused")
    assert "Could not find public function for 'actions:inner'" in refused


def test_a_function_of_any_kind_is_run_as_what_it_is(server: RunningServer) -> None:
    called = httpx.post(
        f"{server.url}/api/function",
        json={"path": "actions:twice", "args": {"name": "any"}, "format": "json"},
        headers={"Authorization": f"Convex {server.admin_key()}"},
    ).json()
    assert called["value"] == {"counts": [1, 2], "last": 2}
    assert called["logLines"] == ["[LOG] 'counting' 'any'"]


def test_what_an_action_schedules_runs_and_what_it_cancels_does_not(server: RunningServer) -> None:
    call(server, "action", "actions:schedules", {"name": "from-action"})
    until(lambda: count(server, "from-action") == 1, "the job ends")


def test_a_scheduled_action_runs(server: RunningServer) -> None:
    call(server, "mutation", "actions:schedulesItself", {"name": "scheduled-action"})
    until(lambda: count(server, "scheduled-action") == 1, "the action ends")


def test_functions_that_an_action_called_are_in_the_logs(server: RunningServer) -> None:
    call(server, "action", "actions:twice", {"name": "logged-action"})
    headers = {"Authorization": f"Convex {server.admin_key()}"}

    def paths() -> list[Any]:
        answer = httpx.get(f"{server.url}/api/stream_function_logs?cursor=0", headers=headers).json()
        return [entry.get("identifier") for entry in answer["entries"]]

    until(lambda: "actions:twice" in paths(), "the action is told")
    assert {"messages:increment", "actions:inner", "messages:count"} <= {str(path) for path in paths()}


def test_the_slow_executor_comes_back_when_it_was_killed(server: RunningServer) -> None:
    killed = server.kill("slow-executor")
    server.wait_replaced("slow-executor", killed)  # what was asked of the dead one is lost (at most once)
    called = call(server, "action", "actions:twice", {"name": "after-kill"})
    assert called == {"counts": [1, 2], "last": 2}


def test_timers_run_while_an_action_waits(server: RunningServer) -> None:
    waited = call(server, "action", "actions:waits", {"ms": 200})
    assert waited == {"isLate": True, "timers": 1, "ticked": True}


def test_an_action_fetches(server: RunningServer) -> None:
    hello, echo = f"{server.site_url}/hello?name=me", f"{server.site_url}/echo"
    fetched = call(server, "action", "actions:fetches", {"url": hello, "body": None})
    assert fetched == {
        "status": 200,
        "text": f"hello me of {server.site_url}/hello",
        "type": "text/plain",
    }
    echoed = call(server, "action", "actions:fetches", {"url": echo, "body": "ü" * 100_000})
    assert isinstance(echoed, dict) and echoed["text"] == "ü" * 100_000


@pytest.mark.parametrize("length", [0, 10, 3_000_000])
def test_an_action_stores_files_and_reads_them(server: RunningServer, length: int) -> None:
    stored = call(server, "action", "actions:stores", {"text": "x" * length})
    expected = {"served": True, "read": True, "type": "text/plain", "size": length}
    assert stored == {**expected, "gone": True, "uploaded": True}
