"""What is counted of each function, compared with the calls themselves."""

from __future__ import annotations

import random
from array import array
from dataclasses import dataclass

import pytest

from gateway.backend import NO_USAGE, FunctionCall, FunctionError, FunctionOutcome, Usage
from gateway.function_log import FunctionLog
from gateway.recent_usage import LATENCY_BOUNDS_SECONDS, FunctionKey
from gateway.usage import HTTP_ACTION, OTHER, FunctionUsage, Tally
from log.identity import ADMIN, UNKNOWN


@dataclass(frozen=True)
class Call:
    key: FunctionKey
    usage: Usage
    seconds: float
    failed: bool
    cached: bool


def random_call(rng: random.Random, names: int) -> Call:
    udf_type = rng.choice(("Query", "Mutation", HTTP_ACTION))
    key = FunctionKey(rng.choice(("", "ledger")), f"m.js:f{rng.randrange(names)}", udf_type)
    cached = rng.random() < 0.2
    failed = not cached and rng.random() < 0.3
    seconds = 0.0 if cached else rng.choice((*LATENCY_BOUNDS_SECONDS, 0.0, 0.0007, 0.3, 1e6))
    usage = NO_USAGE if cached else Usage(*(rng.randrange(9) for _ in range(4)))
    return Call(key, usage, seconds, failed, cached)


def tally_of(calls: list[Call]) -> Tally:
    """The dumber twin: keeps all calls, and counts them when it is asked."""
    runs = [call for call in calls if not call.cached]
    latencies, slower = [], list(runs)
    for bound in LATENCY_BOUNDS_SECONDS:
        latencies.append(sum(call.seconds <= bound for call in slower))
        slower = [call for call in slower if call.seconds > bound]
    return Tally(
        calls=len(calls),
        errors=sum(call.failed for call in calls),
        cached=len(calls) - len(runs),
        seconds=pytest.approx(sum(call.seconds for call in runs)),
        read_bytes=sum(call.usage.database_read_bytes for call in runs),
        read_documents=sum(call.usage.database_read_documents for call in runs),
        write_bytes=sum(call.usage.database_write_bytes for call in runs),
        write_documents=sum(call.usage.database_write_documents for call in runs),
        latencies=array("Q", [*latencies, len(slower)]),
    )


def rows_of(calls: list[Call], functions_max: int, unproven_max: int) -> dict[FunctionKey, list[Call]]:
    """Which row each call belongs to, said the slow way: by looking at all calls so far."""
    rows: dict[FunctionKey, list[Call]] = {}
    for call in calls:
        own = {key: found for key, found in rows.items() if key != OTHER}
        unproven = [
            key
            for key, found in own.items()
            if key.udf_type == HTTP_ACTION or all(earlier.failed for earlier in found)
        ]
        is_proof = call.key.udf_type != HTTP_ACTION and not call.failed
        has_room = len(rows) < functions_max and (is_proof or len(unproven) < unproven_max)
        key = call.key if call.key in own or has_room else OTHER
        rows.setdefault(key, []).append(call)
    return rows


@pytest.mark.parametrize("seed", range(60))
def test_every_call_is_counted_in_its_row_and_rows_are_bounded(seed: int) -> None:
    rng = random.Random(seed)
    functions_max = rng.randrange(2, 30)
    unproven_max, names = rng.randrange(1, functions_max), rng.choice((2, 5, 20))
    usage, calls = FunctionUsage(functions_max, unproven_max), []
    for _ in range(150):
        calls.append(random_call(rng, names))
        call = calls[-1]
        usage.count(call.key, call.usage, call.seconds, 1.0, failed=call.failed, cached=call.cached)
        assert len(list(usage.tallies())) <= functions_max + 1, f"seed {seed}"
    expected = {key: tally_of(found) for key, found in rows_of(calls, functions_max, unproven_max).items()}
    assert dict(usage.tallies()) == expected, f"seed {seed}"
    (minute,) = usage.recent
    in_minute = {key: (done.calls, done.errors, done.cached) for key, done in minute.functions.items()}
    assert in_minute == {key: (total.calls, total.errors, total.cached) for key, total in expected.items()}


def count(usage: FunctionUsage, path: str, udf_type: str = "Query", *, failed: bool = False) -> None:
    usage.count(FunctionKey("", path, udf_type), NO_USAGE, 0.1, 1.0, failed=failed, cached=False)


def test_names_that_callers_make_up_take_no_row_from_functions_of_the_app() -> None:
    usage = FunctionUsage(functions_max=20, unproven_max=3)
    for number in range(100):
        count(usage, f"nowhere.js:f{number}", failed=True)
        count(usage, f"GET /{number}", HTTP_ACTION)
    for number in range(15):
        count(usage, f"m.js:f{number}")
    rows = {key.path: tally.calls for key, tally in usage.tallies()}
    assert rows.pop("other") == 200 - 3
    assert [rows[f"m.js:f{number}"] for number in range(15)] == [1] * 15
    assert len(rows) == 15 + 3


def test_a_function_that_failed_first_makes_room_for_the_next_unknown_one_once_it_succeeds() -> None:
    usage = FunctionUsage(functions_max=9, unproven_max=1)
    count(usage, "m.js:late", failed=True)
    count(usage, "m.js:beside", failed=True)
    count(usage, "m.js:late")
    count(usage, "m.js:beside", failed=True)
    assert {key.path: tally.errors for key, tally in usage.tallies()} == {
        "m.js:late": 1,
        "m.js:beside": 1,
        "other": 1,
    }


def test_a_copy_of_the_rows_stays_as_it_was() -> None:
    usage = FunctionUsage()
    count(usage, "m.js:f")
    ((_, before),) = usage.tallies()
    count(usage, "m.js:f")
    assert before.calls == 1 and sum(before.latencies) == 1


def test_an_invalidation_counts_where_the_calls_of_its_function_count() -> None:
    ring = FunctionLog()
    ran = FunctionOutcome(b"1", None, b"[]", 1)
    ring.add(FunctionCall("m.js:f", b"[]", UNKNOWN, component="ledger"), ran, "Query", 1.0)
    ring.count_invalidation("ledger", "m.js:f", 1.0)
    ring.count_invalidation("", "m.js:f", 1.0)
    ring.count_invalidation("", "_system/frontend/listById.js:default", 1.0)
    found = {key: tally.invalidations for key, tally in ring.usage.tallies()}
    assert found == {FunctionKey("ledger", "m.js:f", "Query"): 1, OTHER: 1}
    (minute,) = ring.usage.recent
    assert {key: done.invalidations for key, done in minute.functions.items()} == found


def test_the_function_log_counts_what_is_added_but_nothing_of_the_system() -> None:
    ring = FunctionLog(entries_max=2)
    ran = FunctionOutcome(b"1", None, b"[]", 1, execution_seconds=0.25, usage=Usage(10, 1, 20, 2))
    failed = FunctionOutcome(None, FunctionError("no"), b"[]", 1, execution_seconds=0.5, udf_type="Action")
    ring.add(FunctionCall("m.js:f", b"[]", UNKNOWN, component="ledger"), ran, "Mutation", 1.0)
    ring.add(FunctionCall("m.js:f", b"[]", UNKNOWN), ran, "Query", 1.0, cached=True)
    ring.add(FunctionCall("m.js:g", b"[]", UNKNOWN), failed, "", 1.0)
    ring.add(FunctionCall("_system/frontend/listById.js:default", b"[]", ADMIN), ran, "Query", 1.0)
    rows = dict(ring.usage.tallies())
    assert list(rows) == [
        FunctionKey("ledger", "m.js:f", "Mutation"),
        FunctionKey("", "m.js:f", "Query"),
        FunctionKey("", "m.js:g", "Action"),
    ]
    mutation, query, action = rows.values()
    assert (mutation.seconds, mutation.read_bytes, mutation.write_documents) == (0.25, 10, 2)
    assert (query.calls, query.cached, query.seconds, query.read_bytes) == (1, 1, 0.0, 0)
    assert (action.errors, action.seconds) == (1, 0.5)
    assert ring.entries_dropped == 1
