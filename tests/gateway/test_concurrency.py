"""How many calls run at once and wait, charted for the dashboard (spec 02 21)."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import httpx

from gateway.app import build_app
from gateway.app_metrics import Window, concurrency_charts
from gateway.concurrency import COUNTED_STATES
from gateway.core import GatewayCore
from gateway.usage import FunctionUsage

from ..support.fake_backend import SETTINGS, FakeBackend
from .test_app_metrics import ADMIN_HEADERS, FIRST, SECOND_NS, numbers, time_of, window

CONCURRENCY = "outstanding_functions:isolate"


def test_the_most_calls_at_once_are_charted_by_type_and_those_that_wait_by_themselves() -> None:
    """Held calls: two queries (three who ask, two of the same), a mutation, an action."""

    async def body() -> None:
        backend = FakeBackend()
        core = GatewayCore(backend, SETTINGS, lambda defect: None)
        held = [backend.hold(path) for path in ("m.js:list", "m.js:count", "m.js:touch", "m.js:echo")]
        transport = httpx.ASGITransport(app=build_app(core))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:

            async def call(kind: str, path: str) -> None:
                answer = await client.post(f"/api/{kind}", json={"path": path, "args": {}})
                assert answer.json()["status"] == "success", answer.text

            async def most() -> dict[str, float]:
                arguments = {"window": window(time_of(0), time_of(1 << 40), 1)}
                address = "/api/app_metrics/function_concurrency"
                answer = await client.get(address, params=arguments, headers=ADMIN_HEADERS)
                found: dict[str, Any] = answer.json()
                return {name.removeprefix(f"{CONCURRENCY}:"): numbers(found[name])[0] for name in found}

            nothing = {f"{udf_type}:{state}": 0.0 for udf_type, state in COUNTED_STATES}
            assert await most() == nothing
            calls = (("query", "m:list"), ("query", "m:list"), ("query", "m:count"), ("mutation", "m:touch"))
            asked = [asyncio.create_task(call(*each)) for each in (*calls, ("action", "m:echo"))]
            for reached, _ in held:
                await reached.wait()
            at_once = {"Query:running": 2, "Mutation:running": 1, "Action:running": 1}
            assert await most() == {**nothing, **at_once}
            for _, released in held:
                released.set()
            await asyncio.gather(*asked)
            assert await most() == {**nothing, **at_once}, "the most there were stays in its minute"
            core.note_concurrency()
            assert not core.function_log.usage.concurrency.take_most(), "nothing runs any more"

    asyncio.run(body())


def test_the_most_of_each_part_of_a_window_is_shown_and_what_the_dashboard_asks_is_not_counted() -> None:
    rng = random.Random(seed := 5)
    usage, expected = FunctionUsage(), {state: [0.0] * 30 for state in COUNTED_STATES}
    for minute in sorted(rng.choices(range(60), k=400)):
        state, number = rng.choice(COUNTED_STATES), rng.randrange(9)
        usage.concurrency.note(*state, number)
        usage.concurrency.note(*state, 0)
        usage.note_concurrency((FIRST + minute) * 60.0)
        expected[state][minute // 2] = max(expected[state][minute // 2], float(number))
    hour = Window(FIRST * 60 * SECOND_NS, (FIRST + 60) * 60 * SECOND_NS, 30)
    charted = concurrency_charts(usage.recent, hour)
    assert {name: numbers(series) for name, series in charted.items()} == {
        f"{CONCURRENCY}:{udf_type}:{state}": expected[udf_type, state] for udf_type, state in COUNTED_STATES
    }, f"seed {seed}"

    async def system_query() -> int:
        assert not usage.concurrency.take_most()
        return 1

    counted = usage.concurrency.counted("Query", "_system/frontend/x.js:default", system_query())
    assert asyncio.run(counted) == 1
