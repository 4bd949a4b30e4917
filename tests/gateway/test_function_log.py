"""The ring of executions and its cursor (spec 02 16)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from gateway.backend import FunctionCall, FunctionOutcome, Usage
from gateway.function_log import Execution, FunctionLog, completion_entry, structured_line
from log.identity import UNKNOWN

OUTCOME = FunctionOutcome(value=b"1", error=None, log_lines=b'["[WARN] a b"]', ts=1)


def call(request_id: str) -> FunctionCall:
    return FunctionCall("dir/m.js:f", b"[]", UNKNOWN, request_id=request_id)


@pytest.mark.parametrize("seed", range(20))
def test_a_reader_that_follows_the_cursor_sees_each_entry_once_and_in_order(seed: int) -> None:
    rng = random.Random(seed)
    ring, cursor_ms, now, seen, added = FunctionLog(entries_max=1_000), 0.0, 1_000.0, [], 0
    for _ in range(200):
        if rng.random() < 0.6:
            now += rng.choice((0.0, 0.0, 0.5, -0.2))  # clocks stand still and step back
            ring.add(call(str(added)), OUTCOME, "Query", now)
            added += 1
        else:
            executions, cursor_ms = ring.after(cursor_ms)
            seen += [execution.request_id for execution in executions]
    executions, _ = ring.after(cursor_ms)
    seen += [execution.request_id for execution in executions]
    assert seen == [str(number) for number in range(added)], f"seed {seed}"


def test_the_ring_keeps_the_newest_and_a_filter_passes_the_others_by() -> None:
    ring = FunctionLog(entries_max=3)
    for number in range(5):
        ring.add(call(str(number)), OUTCOME, "Query", float(number))
    executions, cursor_ms = ring.after(0)
    assert [execution.request_id for execution in executions] == ["2", "3", "4"]
    assert ring.after(0, "3")[0][0].request_id == "3" and ring.after(0, "nobody") == ([], cursor_ms)
    assert ring.after(cursor_ms) == ([], cursor_ms)


def test_listeners_are_told_audit_lines_and_neither_the_ring_nor_its_readers_are() -> None:
    ring, told = FunctionLog(), list[Execution]()
    ring.listeners.add(told.append)
    audited = replace(OUTCOME, audit_lines=(b'{"a":1}', b'{"b":2}'))
    ring.add(call("ran"), audited, "Query", 1.0)
    ring.add(call("found"), audited, "Query", 2.0, cached=True)
    assert [execution.audit_lines for execution in told] == [audited.audit_lines, ()]
    kept = ring.after(0)[0]
    assert kept == [replace(execution, audit_lines=()) for execution in told]
    assert [completion_entry(each, structured=True) for each in kept] == [
        completion_entry(each, structured=True) for each in told
    ], "an entry of `npx convex logs` says nothing of them"


def test_an_entry_tells_what_the_run_used_and_a_cached_answer_used_nothing() -> None:
    ring, outcome = FunctionLog(), replace(OUTCOME, usage=Usage(700, 7, 30, 3), execution_seconds=0.5)
    ring.add(call("ran"), outcome, "Query", 1.0)
    ring.add(call("found"), outcome, "Query", 2.0, cached=True)
    ran, found = (completion_entry(execution, structured=True) for execution in ring.after(0)[0])
    names = (
        "databaseReadBytes",
        "databaseReadDocuments",
        "databaseWriteBytes",
        "databaseWriteDocuments",
    )
    assert [ran["usageStats"][name] for name in names] == [700, 7, 30, 3]
    assert not any(found["usageStats"].values()) and found["executionTime"] == 0
    assert set(ran["usageStats"]) >= {"storageReadBytes", "vectorIndexReadBytes", "memoryUsedMb"}


def test_an_entry_names_the_function_without_its_extension_and_lines_as_the_reader_wants() -> None:
    ring = FunctionLog()
    ring.add(call("r"), OUTCOME, "Query", 5.0)
    (execution,) = ring.after(0)[0]
    entry = completion_entry(execution, structured=False)
    assert (entry["identifier"], entry["logLines"], entry["timestamp"]) == ("dir/m:f", ["[WARN] a b"], 5.0)
    (line,) = completion_entry(execution, structured=True)["logLines"]
    assert line == {"messages": ["a b"], "level": "WARN", "timestamp": 5000.0, "isTruncated": False}
    assert structured_line("[LOG] x (truncated due to length)", 0)["isTruncated"] is True
