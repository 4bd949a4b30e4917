"""The dashboard's charts, compared with a list of everything that happened (spec 02 21)."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from gateway.app import build_app
from gateway.app_metrics import (
    RATES,
    Window,
    cache_hit_percentage,
    chart,
    failure_percentage,
    job_lag_chart,
    name_of,
    percentiles_chart,
    top_charts,
)
from gateway.backend import FunctionCall, FunctionOutcome
from gateway.core import GatewayCore
from gateway.recent_usage import LATENCY_BOUNDS_SECONDS, FunctionKey, RecentUsage, percentile_seconds
from log.identity import UNKNOWN, Identity
from log.limits import CHART_FUNCTIONS_DEFAULT
from log.secrets import issue_admin_key

from ..support.fake_backend import SETTINGS, FakeBackend

KEY = issue_admin_key(SETTINGS.instance_secret, SETTINGS.instance_name, 1)
ADMIN_HEADERS = {"Authorization": f"Convex {KEY}"}
FIRST = 1_700_000_000 // 60  # a minute
SECOND_NS = 10**9


@dataclass(frozen=True)
class Happening:
    """A call, or (without an outcome) an invalidation."""

    key: FunctionKey
    at_seconds: float
    outcome: str | None  # "success" | "error" | "cached"
    seconds: float = 0.0


def random_story(rng: random.Random, minutes: int) -> list[Happening]:
    story, now = [], float(FIRST * 60)
    for _ in range(120):
        now += rng.choice((0.0, 1.0, 17.0, 60.0 * minutes / 50))
        key = FunctionKey(
            rng.choice(("", "ledger")), f"m.js:f{rng.randrange(4)}", rng.choice(("Query", "Mutation"))
        )
        outcome = rng.choice(("success", "success", "error", "cached", None))
        story.append(Happening(key, now, outcome, rng.choice((*LATENCY_BOUNDS_SECONDS, 0.004, 700.0))))
    return story


def told(story: Iterable[Happening]) -> RecentUsage:
    recent = RecentUsage()
    for it in story:
        if it.outcome is None:
            recent.count_invalidation(it.key, it.at_seconds)
        else:
            failed, cached = it.outcome == "error", it.outcome == "cached"
            recent.count(it.key, it.seconds, it.at_seconds, failed=failed, cached=cached)
    return recent


def random_window(rng: random.Random, story: list[Happening]) -> Window:
    first, last = story[0].at_seconds, story[-1].at_seconds
    start_ns = int(rng.uniform(first - 300, last) * SECOND_NS)
    length_ns = rng.choice((7, 60 * SECOND_NS, 3_600 * SECOND_NS, rng.randrange(1, 10**13)))
    return Window(start_ns, start_ns + length_ns, rng.choice((1, 2, 7, 60)))


def parts_of(story: Iterable[Happening], window: Window) -> list[list[Happening]]:
    """The dumber twin: looks for each happening in each part, with fractions instead of a division."""
    parts: list[list[Happening]] = [[] for _ in range(window.parts)]
    length_ns = window.end_ns - window.start_ns
    for it in story:
        minute_ns = int(it.at_seconds // 60) * 60 * SECOND_NS
        for number, part in enumerate(parts):
            begins = (minute_ns - window.start_ns) * window.parts >= number * length_ns
            ends = (minute_ns - window.start_ns) * window.parts >= (number + 1) * length_ns
            if begins and not ends:
                part.append(it)
    return parts


def calls_in(part: Iterable[Happening]) -> list[Happening]:
    return [it for it in part if it.outcome is not None]


def share(part: list[Happening], outcome: str) -> float | None:
    calls = calls_in(part)
    return 100 * sum(it.outcome == outcome for it in calls) / len(calls) if calls else None


def count_of(metric: str, part: list[Happening]) -> float:
    return {
        "invocations": sum(it.outcome is not None for it in part),
        "errors": sum(it.outcome == "error" for it in part),
        "cacheHits": sum(it.outcome == "cached" for it in part),
        "cacheMisses": sum(it.outcome in ("success", "error") for it in part),
        "subscriptionInvalidations": sum(it.outcome is None for it in part),
    }[metric]


def nearest_bound(part: list[Happening], percent: float) -> float | None:
    """By sorting: the bound of whoever is at that place among the runs."""
    runs = sorted(it.seconds for it in part if it.outcome in ("success", "error"))
    if not runs:
        return None
    place = next(n for n in range(len(runs)) if 100 * (n + 1) >= percent * len(runs))
    above = [bound for bound in LATENCY_BOUNDS_SECONDS if bound >= runs[place]]
    return above[0] if above else LATENCY_BOUNDS_SECONDS[-1]


def numbers(series: list[list[Any]]) -> list[float | None]:
    return [value for _time, value in series]


@pytest.mark.parametrize("seed", range(40))
def test_charts_of_one_function_say_what_happened(seed: int) -> None:
    rng = random.Random(seed)
    story = random_story(rng, minutes=100)
    recent, window = told(story), random_window(rng, story)
    key = FunctionKey("ledger", "m.js:f1", "Query")
    parts = parts_of([it for it in story if it.key == key], window)
    for metric, measure in RATES.items():
        found = numbers(chart(recent, window, key.__eq__, measure))
        assert found == [count_of(metric, part) for part in parts], f"seed {seed} {metric}"
    hits = numbers(chart(recent, window, key.__eq__, cache_hit_percentage))
    assert hits == [share(part, "cached") for part in parts], f"seed {seed}"
    percentiles = [50, 90, 99.9, 0, 100]
    for percent, series in percentiles_chart(recent, window, key.__eq__, percentiles):
        expected = [nearest_bound(part, percent) for part in parts]
        assert numbers(series) == expected, f"seed {seed} p{percent}"


@pytest.mark.parametrize("seed", range(40))
def test_charts_of_the_top_functions_have_those_with_most_in_the_whole_window(seed: int) -> None:
    rng = random.Random(1_000 + seed)
    story = random_story(rng, minutes=100)
    recent, window, length_max = told(story), random_window(rng, story), rng.randrange(1, 6)
    inside = [it for part in parts_of(story, window) for it in part]
    names = {name_of(it.key) for it in inside}
    measures: list[tuple[Any, Callable[[list[Happening]], float | None]]] = [
        (failure_percentage, lambda part: share(part, "error")),
        (cache_hit_percentage, lambda part: share(part, "cached")),
        (RATES["invocations"], lambda part: count_of("invocations", part)),
    ]
    for measure, twin in measures:

        def of(name: str, part: list[Happening]) -> list[Happening]:
            return [it for it in part if name_of(it.key) == name]

        whole = {name: twin(of(name, inside)) or 0.0 for name in names}
        ranked = sorted(names, key=lambda name: (-whole[name], -len(calls_in(of(name, inside))), name))
        found = top_charts(recent, window, lambda key: True, measure, length_max)
        assert [name for name, _series in found] == ranked[:length_max], f"seed {seed}"
        for name, series in found:
            expected = [twin(of(name, part)) for part in parts_of(story, window)]
            assert numbers(series) == expected, f"seed {seed}"


def test_a_series_names_the_beginning_of_each_part_to_the_nanosecond() -> None:
    window = Window(5 * SECOND_NS, 5 * SECOND_NS + 10, 3)
    times = [(time["secs_since_epoch"], time["nanos_since_epoch"]) for time, _ in window.series([1, 2, 3])]
    assert times == [(5, 0), (5, 3), (5, 6)]
    minute = Window(60 * SECOND_NS, 120 * SECOND_NS, 1)
    assert [minute.part_of(number) for number in (0, 1, 2)] == [None, 0, None], "the end is outside"


def test_the_lag_of_a_part_is_that_of_its_latest_job() -> None:
    recent = RecentUsage()
    for minute, late_seconds in ((0, 0.5), (0, 3.0), (0, 1.0), (1, 7.0), (3, 0.0)):
        recent.count_job(late_seconds, (FIRST + minute) * 60.0)
    window = Window(FIRST * 60 * SECOND_NS, (FIRST + 6) * 60 * SECOND_NS, 3)
    assert numbers(job_lag_chart(recent, window)) == [7.0, 0.0, None]


# --- the ring -----------------------------------------------------------------------------------------


def count(recent: RecentUsage, function: int, minute: float) -> None:
    key = FunctionKey("", f"m.js:f{function}", "Query")
    recent.count(key, 0.1, minute * 60, failed=False, cached=False)


def test_the_ring_keeps_the_newest_minutes_and_a_clock_that_steps_back_stays_in_the_last_one() -> None:
    recent = RecentUsage(minutes_max=3)
    for minute in (10, 11, 10.5, 12, 13, 3):
        count(recent, 0, minute)
    calls = [(minute.number, sum(done.calls for done in minute.functions.values())) for minute in recent]
    assert calls == [(11, 2), (12, 1), (13, 2)]
    count(recent, 0, 40)
    assert [minute.number for minute in recent] == [40], "what is older went, however few there are"


def test_rows_are_bounded_over_all_minutes_together_but_the_newest_minute_is_whole() -> None:
    recent = RecentUsage(minutes_max=100, rows_max=5)
    for minute in range(4):
        for function in range(2):
            count(recent, function, minute)
    assert [minute.number for minute in recent] == [2, 3], "three minutes would be six rows"
    for function in range(9):
        count(recent, function, 3)
    assert [len(minute.functions) for minute in recent] == [9]


def test_a_percentile_of_nothing_is_nothing_and_of_the_slowest_the_last_bound() -> None:
    nothing = [0] * (len(LATENCY_BOUNDS_SECONDS) + 1)
    assert percentile_seconds(nothing, 50) is None
    assert percentile_seconds([*nothing[:-1], 3], 50) == LATENCY_BOUNDS_SECONDS[-1]
    assert percentile_seconds([1, 99, *nothing[2:]], 1) == LATENCY_BOUNDS_SECONDS[0]
    assert percentile_seconds([1, 99, *nothing[2:]], 1.1) == LATENCY_BOUNDS_SECONDS[1]


# --- over HTTP ----------------------------------------------------------------------------------------


def time_of(seconds: int) -> dict[str, int]:
    return {"secs_since_epoch": seconds, "nanos_since_epoch": 0}


def window(start: object, end: object, parts: int) -> str:
    return json.dumps({"start": start, "end": end, "num_buckets": parts})


HOUR = window(time_of(FIRST * 60), time_of((FIRST + 60) * 60), 60)
LIST = {"window": HOUR, "path": "m.js:list"}
ROWS = {
    ("rowsRead", "", "notes"): [(FIRST - 1, 100), (FIRST, 3), (FIRST + 2, 4), (FIRST, 5), (FIRST + 60, 100)],
    ("rowsWritten", "", "notes"): [(FIRST + 59, 1)],
    ("rowsRead", "ledger", "notes"): [(FIRST + 1, 2)],
}


def add_calls(core: GatewayCore) -> None:
    ran = FunctionOutcome(b"1", None, b"[]", 1, execution_seconds=0.04)
    for minute, cached in ((0, False), (0, True), (2, True)):
        call = FunctionCall("m.js:list", b"[]", UNKNOWN)
        core.function_log.add(call, ran, "Query", (FIRST + minute) * 60.0, cached=cached)
    in_ledger = FunctionCall("books/m.js:add", b"[]", UNKNOWN, component="ledger")
    core.function_log.add(in_ledger, ran, "Mutation", (FIRST + 3) * 60.0)
    served = FunctionCall("GET /hook", b"[]", UNKNOWN)
    core.function_log.add(served, ran, "HttpAction", (FIRST + 3) * 60.0)


def add_job(core: GatewayCore) -> None:
    """As the backend tells of one, by the gateway's own clock."""
    late = FunctionCall("m.js:job", b"[]", Identity("system"), late_seconds=2.5)
    core._job_ran(late, FunctionOutcome(b"1", None, b"[]", 1, udf_type="Mutation"))


def asking(
    kind: str,
    arguments: dict[str, str],
    headers: dict[str, str] = ADMIN_HEADERS,
    prepare: Callable[[GatewayCore], None] = add_calls,
) -> httpx.Response:
    async def body() -> httpx.Response:
        backend = FakeBackend()
        backend.rows = ROWS
        core = GatewayCore(backend, SETTINGS, lambda defect: None)
        prepare(core)
        transport = httpx.ASGITransport(app=build_app(core))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.get(f"/api/app_metrics/{kind}", params=arguments, headers=headers)

    return asyncio.run(body())


def answered(kind: str, arguments: dict[str, str]) -> Any:
    answer = asking(kind, arguments)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        ("udf_rate", {**LIST, "metric": "invocations"}, [2, 0, 1, 0]),
        ("udf_rate", {**LIST, "metric": "cacheHits", "udfType": "Query"}, [1, 0, 1, 0]),
        ("udf_rate", {**LIST, "metric": "invocations", "path": "m:list"}, [2, 0, 1, 0]),
        ("udf_rate", {**LIST, "metric": "invocations", "udfType": "Action"}, [0, 0, 0, 0]),
        ("udf_rate", {**LIST, "metric": "invocations", "componentPath": "ledger"}, [0, 0, 0, 0]),
        (
            "udf_rate",
            {"window": HOUR, "metric": "invocations", "path": "books/m:add", "componentPath": "ledger"},
            [0, 0, 0, 1],
        ),
        (
            "udf_rate",
            {"window": HOUR, "metric": "invocations", "path": "GET /hook", "udfType": "HttpAction"},
            [0, 0, 0, 1],
        ),
        ("cache_hit_percentage", LIST, [50, None, 100, None]),
    ],
)
def test_a_series_is_answered_for_the_function_that_was_named(
    kind: str, arguments: dict[str, str], expected: list[float | None]
) -> None:
    series = answered(kind, arguments)
    assert len(series) == 60 and numbers(series)[:4] == expected
    assert [time for time, _value in series[:2]] == [time_of(FIRST * 60), time_of(FIRST * 60 + 60)]


def test_percentiles_and_the_top_functions_are_answered_with_their_names() -> None:
    percentiles = answered("latency_percentiles", {**LIST, "percentiles": "[50,90,95,99]"})
    assert [percentile for percentile, _series in percentiles] == [50, 90, 95, 99]
    assert numbers(percentiles[0][1])[:3] == [0.05, None, None], "a cached answer took no time"
    calls = answered("function_call_count_top_k", {"window": HOUR})
    assert [name for name, _series in calls] == ["m:list", "GET /hook", "ledger/books/m:add"]
    assert len(answered("function_call_count_top_k", {"window": HOUR, "k": "1"})) == 1
    hits = answered("cache_hit_percentage_top_k", {"window": HOUR})
    assert [name for name, _series in hits] == ["m:list"], "only queries are ever kept"
    failures = answered("failure_percentage_top_k", {"window": HOUR})
    assert {value for _name, series in failures for value in numbers(series)} == {0.0, None}


def test_the_rest_of_the_page_is_there() -> None:
    all_time = window(time_of(0), time_of(1 << 40), 1)
    assert numbers(asking("scheduled_job_lag", {"window": all_time}, prepare=add_job).json()) == [2.5]
    refused = asking("rows_of_all_tables", {"window": HOUR})
    assert (refused.status_code, refused.json()["code"]) == (400, "NotSupportedYet")


@pytest.mark.parametrize("k", ["0", "26", "-1", "five", "", "1.5", "٣", "1" * 5_000])
def test_a_number_of_functions_out_of_bounds_is_refused(k: str) -> None:
    refused = asking("function_call_count_top_k", {"window": HOUR, "k": k})
    assert (refused.status_code, refused.json()["code"]) == (400, "InvalidTopKParameter")
    assert CHART_FUNCTIONS_DEFAULT == 5


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("udf_rate", {"metric": "speed"}),
        ("udf_rate", {"window": "{"}),
        ("udf_rate", {"window": "[]"}),
        ("udf_rate", {"window": window(1, 2, 1)}),
        ("udf_rate", {"window": window(time_of(9), time_of(9), 1)}),
        ("udf_rate", {"window": window(time_of(1), time_of(9), 0)}),
        ("udf_rate", {"window": window(time_of(1), time_of(9), 1_001)}),
        ("udf_rate", {"window": window(time_of(1), time_of(9), True)}),
        (
            "udf_rate",
            {"window": window(time_of(1), time_of(1 << 63), 1)},
        ),
        ("latency_percentiles", {}),
        ("latency_percentiles", {"percentiles": "[]"}),
        ("latency_percentiles", {"percentiles": "[101]"}),
        ("latency_percentiles", {"percentiles": '["50"]'}),
        ("latency_percentiles", {"percentiles": json.dumps(list(range(26)))}),
    ],
)
def test_what_cannot_be_read_is_refused(kind: str, changed: dict[str, str]) -> None:
    refused = asking(kind, {**LIST, "metric": "errors", **changed})
    assert (refused.status_code, refused.json()["code"]) == (400, "BadQueryArgs")


def test_a_function_that_cannot_be_is_refused_and_nobody_is_told_without_a_key() -> None:
    assert asking("cache_hit_percentage", {"window": HOUR}).json()["code"] == "BadQueryArgs"
    bad = asking("cache_hit_percentage", {"window": HOUR, "path": "../x"})
    assert (bad.status_code, bad.json()["code"]) == (400, "BadConvexFunctionIdentifier")
    assert asking("cache_hit_percentage", LIST, headers={}).status_code in (401, 403)
