"""Audit lines on their way to sinks: entries of their own, behind the execution they belong to."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson

from gateway.backend import FunctionCall, FunctionOutcome, GatewaySettings
from gateway.function_log import Execution, FunctionLog
from gateway.log_sinks import SinkQueue, Verdict
from gateway.server import GatewayServer
from gateway.sink_targets import entries_of
from log.identity import ADMIN
from log.limits import SINK_BATCH_BYTES_MAX

from ..support.fake_backend import SETTINGS, FakeBackend
from ..support.log_receiver import Receiver

PATIENCE_SECONDS = 20


def execution_of(*lines: bytes) -> Execution:
    function_log, told = FunctionLog(), list[Execution]()
    function_log.listeners.add(told.append)
    call = FunctionCall("dir/m.js:f", b"[]", ADMIN, component="ledger", request_id="r1", trace_id="t1")
    outcome = FunctionOutcome(b"1", None, b"[]", 1, udf_type="Mutation", audit_lines=lines)
    function_log.add(call, outcome, "Mutation", 5.25)
    return told[0]


def parsed(execution: Execution) -> list[Any]:
    return [orjson.loads(orjson.dumps(entry)) for entry in entries_of(execution)]


def test_each_line_is_an_entry_that_names_its_function_as_the_execution_does() -> None:
    completion, *audited = parsed(execution_of(b'{"a":[1,null]}', b'{"b":"\xc3\xbc"}'))
    assert completion["kind"] == "Completion" and "topic" not in completion
    function = {
        "udfType": "Mutation",
        "componentPath": "ledger",
        "identifier": "dir/m:f",
        "requestId": "r1",
        "traceId": "t1",
        "executionId": completion["executionId"],
        "caller": "HttpApi",
        "identityType": "instance_admin",
    }
    head = {"topic": "audit_log", "timestamp": 5.25, "function": function}
    assert audited == [{**head, "body": {"a": [1, None]}}, {**head, "body": {"b": "ü"}}]
    assert {name: completion[name] for name in function} == function


def test_an_execution_without_lines_is_one_entry() -> None:
    assert [entry["kind"] for entry in parsed(execution_of())] == ["Completion"]


def test_lines_count_among_what_waits_for_a_sink() -> None:
    line = b'{"a":"%s"}' % (b"x" * 90_000)
    large = execution_of(*[line] * (SINK_BATCH_BYTES_MAX // len(line) + 1))
    small = replace(large, audit_lines=())
    queue = SinkQueue()
    queue.add([small, large, small], 0.0)
    assert queue.take() == [small], "the next one has no room in this batch"
    queue.settle(Verdict.DELIVERED, 0.0)
    assert queue.take() == [large] and queue.dropped == 0
    bounded = SinkQueue(bytes_max=500_000)
    bounded.add([large, small], 0.0)
    assert bounded.take() == [small] and bounded.dropped == 1


def test_the_gateway_brings_what_succeeded_to_every_sink(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Receiver() as receiver:
            path = tmp_path / "executions.jsonl"
            settings = GatewaySettings(
                SETTINGS.instance_name, b"k" * 32, sink_file=str(path), sink_url=receiver.url
            )
            server = GatewayServer(FakeBackend(), settings, port=0, site_port=None)
            await server.start()
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
                for kind, name, n in (
                    ("mutation", "auditAndSend", 1),
                    ("mutation", "failing", 2),
                    ("query", "audit", 3),
                    ("query", "audit", 3),
                ):
                    asked = {"path": f"m:{name}", "args": {"n": n}}
                    await client.post(f"/api/{kind}", json=asked)
            await server.shutdown()
            entries = [orjson.loads(line) for line in path.read_bytes().splitlines()]
            posted = [entry for _, body in receiver.posts for entry in orjson.loads(body)]
            assert posted == entries
        shown = [(each["body"]["n"] if "topic" in each else each["identifier"]) for each in entries]
        assert shown == ["m:auditAndSend", 1, "m:failing", "m:audit", 3, "m:audit", 3]

    asyncio.run(asyncio.wait_for(scene(), PATIENCE_SECONDS))
