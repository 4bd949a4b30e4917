"""`GET /metrics` through the whole application, read back with Prometheus' own parser."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from actors.runtime import ConnectionLost, Peer
from cluster import backend as cluster_backend
from cluster.backend import ClusterBackend
from gateway.app import build_app
from gateway.core import GatewayCore
from gateway.metrics import METRICS, Readings, render
from gateway.recent_usage import LATENCY_BOUNDS_SECONDS, FunctionKey
from gateway.routes.http_actions import HttpActionRoutes
from gateway.usage import Tally
from log import errors
from log.secrets import issue_admin_key

from ..support.fake_backend import SETTINGS, FakeBackend

KEY = issue_admin_key(SETTINGS.instance_secret, SETTINGS.instance_name, 1)
ADMIN_HEADERS = {"Authorization": f"Convex {KEY}"}
CORE = {"role": "core", "is_up": True, "pid": 7, "epoch": 3, "lag_ms": 1500.0, "published_ts": 2 * 10**9}
SLOW = {"role": "slow-executor", "is_up": True, "node_pids": [11, 12], "actions_waiting": 4, "turns_taken": 2}
LOST = {"role": "executor-1", "is_up": False}
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Scraped:
    """All samples of one answer, by name and labels."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples: Samples = {}
        for family in self.families.values():
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                assert key not in self.samples, "a sample stands there twice"
                self.samples[key] = sample.value

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples.get((f"tidelog_{name}", tuple(sorted(labels.items()))))


def run(scenario: Callable[[GatewayCore, FakeBackend, httpx.AsyncClient], Awaitable[None]]) -> None:
    defects: list[BaseException] = []

    async def body() -> None:
        backend = FakeBackend()
        core = GatewayCore(backend, SETTINGS, defects.append)
        transport = httpx.ASGITransport(app=build_app(core))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            await scenario(core, backend, client)

    asyncio.run(body())
    assert defects == []


async def scrape(http: httpx.AsyncClient) -> Scraped:
    answer = await http.get("/metrics", headers=ADMIN_HEADERS)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scraped(answer.text)


FORGED = "A" if KEY[-8] != "A" else "B"
"""For one letter of the key; another last one may stand for the same bits."""


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "BadDeployKey"),
        ({"Authorization": f"Convex {KEY[:-8]}{FORGED}{KEY[-7:]}"}, "BadAdminKey"),
        ({"Authorization": f"Bearer {KEY}"}, None),
    ],
)
def test_nobody_without_an_admin_key_is_told_anything(headers: dict[str, str], code: str | None) -> None:
    async def scenario(core: GatewayCore, backend: FakeBackend, http: httpx.AsyncClient) -> None:
        answer = await http.get("/metrics", headers=headers)
        assert answer.status_code in (401, 403) and b"tidelog_" not in answer.content
        assert code is None or answer.json()["code"] == code

    run(scenario)


def test_calls_are_counted_by_function_and_outcome() -> None:
    async def scenario(core: GatewayCore, backend: FakeBackend, http: httpx.AsyncClient) -> None:
        for path in ("m:list", "m:list", "m:list", "m:fail"):
            await http.post("/api/query", json={"path": path, "args": {}})
            await asyncio.sleep(0.01)  # the result is registered, and so kept
        await http.post("/api/mutation", json={"path": "m:send", "args": {"body": "x"}})
        await http.post("/api/mutation", json={"path": "m:send"})
        found = await scrape(http)
        function = {"component": "", "function": "m:list", "type": "Query"}
        calls = [
            found.value("function_calls_total", **function, outcome=outcome)
            for outcome in ("success", "error", "cached")
        ]
        assert calls == [1, 0, 2]
        failing = {**function, "function": "m:fail"}
        assert found.value("function_calls_total", **failing, outcome="error") == 1
        assert found.value("function_duration_seconds_count", **function) == 1
        hits = found.value("query_cache_hits_total", actor="gateway")
        misses = found.value("query_cache_misses_total", actor="gateway")
        runs = found.value("query_runs_total", actor="gateway")
        assert (hits, misses, runs) == (2, 3, 3), "the third is for the admin key that asks: was it revoked?"
        assert found.value("live_queries", actor="gateway") == len(backend.registered)
        assert found.value("http_responses_total", status="2xx") == 5
        assert found.value("http_responses_total", status="4xx") == 1, "a call without arguments"
        assert found.value("build_info", version="1.2.3") == 1

    run(scenario)


def test_every_actor_is_there_with_what_it_said_and_one_that_did_not_answer_is_not_up() -> None:
    async def scenario(core: GatewayCore, backend: FakeBackend, http: httpx.AsyncClient) -> None:
        backend.facts = [CORE, LOST, SLOW, {"role": "gateway", "is_up": True, "memory_bytes": 5 << 20}]
        found = await scrape(http)
        up = {actor: found.value("actor_up", actor=actor) for actor in ("core", "executor-1", "gateway")}
        assert up == {"core": 1, "executor-1": 0, "gateway": 1}
        assert found.value("log_epoch", actor="core") == 3
        assert found.value("view_lag_seconds", actor="core") == 1.5
        assert found.value("published_timestamp_seconds", actor="core") == 2.0
        assert found.value("node_processes", actor="slow-executor") == 2
        assert found.value("actions_waiting", actor="slow-executor") == 4
        assert found.value("actor_memory_bytes", actor="gateway") == 5 << 20
        assert found.value("sockets_open", actor="gateway") == 0
        of_the_lost = [key for key in found.samples if ("actor", "executor-1") in key[1]]
        assert of_the_lost == [("tidelog_actor_up", (("actor", "executor-1"),))]

    run(scenario)


def test_the_answer_has_exactly_the_described_metrics_with_their_kinds_and_labels() -> None:
    function = (FunctionKey("ledger", 'dir/m.js:"f"\\', "Query"), Tally(calls=3, errors=1))
    everything = {
        "role": "core",
        "is_up": True,
        "node_pids": [1],
        "tables": [["ledger", "messages", 3, 400]],
        **dict.fromkeys(facts_of_the_table(), 2),
    }
    found = Scraped(render(Readings("1", [everything], [function], {2: 1})).decode())
    described = {metric.name.removesuffix("_total"): metric for metric in METRICS}
    assert set(found.families) == set(described) and len(described) == len(METRICS)
    for name, family in found.families.items():
        assert family.type == described[name].kind and family.documentation == described[name].help
        assert family.samples, f"{name} was not read from anything"
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(described[name].labels)
        assert name.startswith("tidelog_") and described[name].name.endswith("_total") == (
            described[name].kind == "counter"
        )


def facts_of_the_table() -> list[str]:
    """What the table asks actors for: it is asked with somebody who writes down every question."""

    class Curious(dict[str, Any]):
        def __contains__(self, name: object) -> bool:
            asked.append(str(name))
            return False

    asked: list[str] = []
    for metric in METRICS:
        if metric.labels == ("actor",):
            list(metric.read(Readings("", [Curious(role="core", is_up=True)], [], {})))
    return [name for name in asked if name != "node_pids"]


def test_the_histogram_is_cumulative_and_its_sum_is_the_seconds_run() -> None:
    tally = Tally(calls=6, cached=1, seconds=3.25)
    tally.latencies[0], tally.latencies[3], tally.latencies[-1] = 2, 2, 1
    found = Scraped(render(Readings("1", [], [(FunctionKey("", "m.js:f", "Query"), tally)], {})).decode())
    labels = {"component": "", "function": "m:f", "type": "Query"}

    def bucket(bound: str) -> float | None:
        return found.value("function_duration_seconds_bucket", **labels, le=bound)

    bounds = [*map(str, LATENCY_BOUNDS_SECONDS), "+Inf"]
    assert [bucket(bound) for bound in bounds] == [2, 2, 2, *[4] * 13, 5]
    assert found.value("function_duration_seconds_sum", **labels) == 3.25
    assert found.value("function_duration_seconds_count", **labels) == 5


def test_names_of_functions_cannot_forge_lines() -> None:
    name = 'm.js:x"} 1\ntidelog_actor_up{actor="core'
    readings = Readings("1", [], [(FunctionKey("", name, "Query"), Tally(calls=1))], {})
    found = Scraped(render(readings).decode())
    assert found.value("actor_up", actor="core") is None
    functions = {dict(labels).get("function") for _name, labels in found.samples} - {None}
    assert functions == {'m:x"} 1\ntidelog_actor_up{actor="core'}


def test_answers_of_both_ports_are_counted_once_each() -> None:
    async def scenario(core: GatewayCore, backend: FakeBackend, http: httpx.AsyncClient) -> None:
        site = httpx.ASGITransport(app=HttpActionRoutes(core))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=site, base_url="http://site") as client:
            assert (await client.get("/anything")).status_code == 404
        assert (await http.get("/http/anything")).status_code == 404
        assert core.responses == {4: 2}, "each once, also below /http"
        asking = {"Origin": "http://site", "Access-Control-Request-Method": "POST"}
        assert (await http.options("/api/query", headers=asking)).status_code == 200
        assert (await http.get("/version")).status_code == 200
        assert (await http.get("/instance_name", headers={"Origin": "http://site"})).status_code == 200
        assert core.responses == {4: 2, 2: 3}

    run(scenario)


# --- asking the actors --------------------------------------------------------------------------------


class SomeActor:
    """actors.runtime.Peer of an actor in some state."""

    def __init__(self, answer: Callable[[], Awaitable[Any]]) -> None:
        self._answer = answer

    async def call(self, method: str, *arguments: Any) -> Any:
        assert (method, arguments) == ("status", ())
        return await self._answer()


def test_an_actor_that_is_gone_refuses_or_stays_silent_is_told_as_not_up_and_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster_backend, "ACTOR_FACTS_SECONDS_MAX", 0.05)

    async def well() -> Any:
        return {"role": "executor", "calls_run": 9}

    async def silent() -> Any:
        await asyncio.Event().wait()

    async def gone() -> Any:
        raise ConnectionLost("it died")

    async def refusing() -> Any:
        raise errors.internal_server_error()

    async def body() -> list[dict[str, Any]]:
        actors = {
            "core": silent,
            "executor-1": well,
            "executor-2": gone,
            "executor-3": refusing,
            "executor-4": silent,
        }
        roster: dict[str, Peer | None] = {
            role: cast(Peer, SomeActor(answer)) for role, answer in actors.items()
        }
        backend = ClusterBackend()
        backend.set_roster(lambda: {**roster, "slow-executor": None})
        async with asyncio.timeout(10):
            return await backend.actor_facts()

    *others, own = asyncio.run(body())
    assert others == [
        {"role": "core", "is_up": False},
        {"role": "executor-1", "is_up": True, "calls_run": 9},
        {"role": "executor-2", "is_up": False},
        {"role": "executor-3", "is_up": False},
        {"role": "executor-4", "is_up": False},
        {"role": "slow-executor", "is_up": False},
    ]
    assert own["role"] == "gateway" and own["is_up"] and own["memory_bytes"] > 1 << 20
