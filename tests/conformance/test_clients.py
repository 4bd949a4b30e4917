"""The unmodified npm clients against the whole server on Ray (spec 01 section 7)."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..support.server import RunningServer

CLIENTS = Path(__file__).parent / "clients.mjs"

pytestmark = pytest.mark.usefixtures("app")


def observe(server: RunningServer, scenario: str, *arguments: str) -> list[list[Any]]:
    return server.node(CLIENTS, scenario, *arguments)


def values_of(observations: list[list[Any]], what: str) -> list[Any]:
    return [value for name, value in observations if name == what]


def calls_run(server: RunningServer) -> int:
    executors = [role for role in server.actors() if role.startswith("executor")]
    return sum(server.ask(role, "status")["calls_run"] for role in executors)


def test_the_http_client_reads_what_it_wrote_and_meets_every_kind_of_error(server: RunningServer) -> None:
    seen = observe(server, "http", "http-channel")
    assert values_of(seen, "same id") == [True]
    assert values_of(seen, "message") == [{"body": "über", "n": "42n", "channel": "http-channel"}]
    plain, convex = values_of(seen, "failed")
    assert (
        plain["isConvexError"] is False
        and "Uncaught Error: plain failure\n    at handler" in plain["message"]
    )
    assert "(../convex/messages.ts:" in plain["message"], "frames are source-mapped"
    assert convex["isConvexError"] and convex["data"] == {"code": "NOPE", "n": "5n"}
    missing, extra, wrong = values_of(seen, "refused")
    assert "ArgumentValidationError: Object is missing the required field `body`." in missing
    assert "Object contains extra field `extra` that is not in the validator." in extra
    assert "ReturnsValidationError: Value does not match validator.\n" in wrong
    assert values_of(seen, "anonymous") == [None]


def test_all_that_a_traced_socket_calls_is_in_its_trace_and_so_is_what_its_actions_call(
    server: RunningServer,
) -> None:
    trace_id = os.urandom(16).hex()
    parent = f"00-{trace_id}-00f067aa0ba902b7-01"
    observe(server, "traced", "traced-channel", parent)
    answer = httpx.post(
        f"{server.site_url}/count", json={"name": "traced-http"}, headers={"traceparent": parent}, timeout=60
    )
    assert answer.status_code == 201
    headers = {"Authorization": f"Convex {server.admin_key()}"}
    logs = httpx.get(f"{server.url}/api/stream_function_logs?cursor=0", headers=headers, timeout=30).json()
    traced = Counter(entry["identifier"] for entry in logs["entries"] if entry["traceId"] == trace_id)
    assert traced.pop("messages:list") >= 1, "runs of the live query"
    assert traced == {
        "messages:send": 1,
        "actions:twice": 1,
        "actions:inner": 1,
        "messages:count": 1,
        "messages:increment": 3,
        "POST /count": 1,
    }


def test_two_clients_see_each_change_and_the_writer_sees_it_first(server: RunningServer) -> None:
    seen = observe(server, "live", "live-channel")
    assert values_of(seen, "own update came before the promise") == [True]
    assert values_of(seen, "updates") == [[0, 1, 0]]


def test_mutations_of_one_client_run_in_the_order_they_were_sent(server: RunningServer) -> None:
    seen = observe(server, "ordered", "ordered-counter")
    assert values_of(seen, "results") == [list(range(1, 51))]
    assert values_of(seen, "count") == [50]


def test_a_nested_mutation_that_throws_is_rolled_back_and_can_be_caught(server: RunningServer) -> None:
    seen = observe(server, "nested")
    assert values_of(seen, "kept") == ["both"]
    assert values_of(seen, "rolled back") == ["caught inner failed"]
    assert values_of(seen, "bodies") == [["outer", "inner", "outer"]]


def test_pages_follow_one_another_to_the_end(server: RunningServer) -> None:
    seen = observe(server, "pages", "pages-channel")
    bodies = [f"body-{number}" for number in reversed(range(7))]
    assert values_of(seen, "page") == [bodies[:3], bodies[3:6], bodies[6:]]


def test_the_react_client_is_told_of_its_own_change(server: RunningServer) -> None:
    assert values_of(observe(server, "react", "react-channel"), "bodies") == [["from react"]]


def test_the_react_client_is_told_the_data_of_an_error(server: RunningServer) -> None:
    failed = values_of(observe(server, "react", "react-errors"), "failed")
    assert [(each["isConvexError"], each["data"]) for each in failed] == [
        (True, {"code": "NOPE", "n": "5n"})
    ] * 2


def test_what_was_drawn_at_random_stays_until_what_was_read_changes(server: RunningServer) -> None:
    first, again, after_another_write, after_a_write = values_of(observe(server, "drawn", "drawn"), "drawn")
    assert first == again == after_another_write and first["count"] == 0
    assert after_a_write["count"] == 1 and after_a_write["uuid"] != first["uuid"]


def test_a_thousand_subscribers_cost_one_execution_per_change(server: RunningServer) -> None:
    before = calls_run(server)
    seen = observe(server, "many", "many-channel", "1000")
    assert values_of(seen, "subscribed") == [1000] and values_of(seen, "last") == [[3]]
    ran = calls_run(server) - before
    # Four mutations; one execution for the first subscription and one per relevant change.
    assert ran == 4 + 1 + 3, ran


def test_a_thousand_queries_of_twenty_reads_put_no_frame_on_the_core(server: RunningServer) -> None:
    """Reads are made in place on the node (design D6)."""
    for number in range(20):
        call = ["Mutation", "messages.js:send", "", _args(channel="frames", body=f"body-{number}")]
        server.ask("executor-1", "run", [*call, *_anonymous(bytes([number]) * 16)], None)
    before, calls_before = server.ask("core", "status"), calls_run(server)
    query = ["Query", "messages.js:list", "", _args(channel="frames"), *_anonymous(b"")]
    outcomes = server.ask_many("executor-1", [("run", query, None)] * 1000)
    assert all(outcome[0].count(b'"body"') == 20 for outcome in outcomes)
    after = server.ask("core", "status")
    assert calls_run(server) - calls_before == 1000
    frames, heartbeats = (after[name] - before[name] for name in ("frames_in", "heartbeats"))
    assert frames - heartbeats <= 4, "only this test's own questions"


def _args(**fields: str) -> bytes:
    return json.dumps([fields]).encode()


def _anonymous(call_id: bytes) -> list[Any]:
    """The rest of a call's wire form: identity, request id, journal, call id, session, request."""
    return ["unknown", None, "", None, call_id, None, None]


ATTACKS = {
    "loop": "Function execution timed out (maximum duration: 1s)",
    "swallowedLoop": "Function execution timed out (maximum duration: 1s)",
    "recursion": "Uncaught RangeError: Maximum call stack size exceeded",
    "allocation": "JavaScript execution ran out of memory (maximum memory usage: 64 MB)",
    "swallowedAllocation": "JavaScript execution ran out of memory (maximum memory usage: 64 MB)",
    "regex": "Function execution timed out (maximum duration: 1s)",
    "nestedJson": "Uncaught RangeError: Maximum call stack size exceeded",
    "neverSettles": "Returned promise will never resolve",
    "unhandled": "Uncaught Error: nobody handles this",
}


def test_attacks_end_in_their_errors_and_touch_no_other_call(server: RunningServer) -> None:
    pids = {role: server.pid_of(role) for role in server.actors()}
    seen = observe(server, "attacks", *ATTACKS, "remember", "remember")
    assert values_of(seen, "count") == [0] * (len(ATTACKS) + 2)
    for name, text in ATTACKS.items():
        assert values_of(seen, name) == [text], name
    assert values_of(seen, "remember") == [[1, 1, 1], [1, 1, 1]], "every call starts from fresh memory"
    assert values_of(seen, "dangling") == [1], "a write that was not awaited is still committed"
    assert {role: server.pid_of(role) for role in server.actors()} == pids, "no process was lost"
