"""Trace ids: read from W3C headers, kept beside each execution."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest

from gateway.app import build_app
from gateway.backend import FunctionOutcome, HttpActionAnswer, HttpActionCall
from gateway.core import GatewayCore
from gateway.function_log import completion_entry
from gateway.traceparent import trace_id_of

from ..support.fake_backend import SETTINGS, FakeBackend
from ..support.fake_http_run import FakeHttpRun

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize(
    "header", [VALID, f" {VALID}\t", f"00-{TRACE}-{PARENT}-00", f"cc-{TRACE}-{PARENT}-01-what-comes"]
)
def test_a_valid_header_gives_its_trace_id(header: str) -> None:
    assert trace_id_of(header.encode()) == TRACE


@pytest.mark.parametrize(
    "header",
    [
        "",
        VALID[:-1],
        f"{VALID}0",
        f"{VALID}-",
        f"{VALID}-more",
        VALID.upper(),
        f"ff-{TRACE}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}g-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-0x",
        f"00-{TRACE}-{PARENT}",
        f"cc-{TRACE}-{PARENT}-01.what",
        f"{VALID}\n",
        f"{VALID},{VALID}",
    ],
)
def test_any_other_header_is_as_good_as_absent(header: str) -> None:
    assert trace_id_of(header.encode()) == ""


def run(scenario: Callable[[FakeBackend, GatewayCore, httpx.AsyncClient], Awaitable[None]]) -> None:
    async def body() -> None:
        backend = FakeBackend()
        core = GatewayCore(backend, SETTINGS, lambda defect: None)
        transport = httpx.ASGITransport(app=build_app(core))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            await scenario(backend, core, client)

    asyncio.run(body())


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/api/query", "m:list"),
        ("/api/mutation", "m:touch"),
        ("/api/action", "m:echo"),
        ("/api/run/m/touch", "m:touch"),
    ],
)
def test_the_trace_of_a_request_is_that_of_the_call_and_of_its_log_entry(address: str, path: str) -> None:
    async def scenario(backend: FakeBackend, core: GatewayCore, client: httpx.AsyncClient) -> None:
        for header in (VALID, "nonsense", None):
            headers = {} if header is None else {"traceparent": header}
            answer = await client.post(
                address, json={"path": path, "args": {"case": str(header)}}, headers=headers
            )
            assert answer.json()["status"] == "success"
        assert [call.trace_id for call in backend.calls] == [TRACE, "", ""]
        entries = [
            completion_entry(execution, structured=True) for execution in core.function_log.after(0)[0]
        ]
        assert [entry["traceId"] for entry in entries] == [TRACE, None, None]

    run(scenario)


def test_an_http_action_is_in_the_trace_of_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(backend: FakeBackend, core: GatewayCore, client: httpx.AsyncClient) -> None:
        outcome = FunctionOutcome(None, None, b"[]", 1)

        async def begin_http_action(call: HttpActionCall) -> FakeHttpRun:
            return FakeHttpRun(HttpActionAnswer(200, (), b"hey", outcome))

        monkeypatch.setattr(backend, "begin_http_action", begin_http_action)
        assert (await client.get("/http/hook", headers={"traceparent": VALID})).text == "hey"
        assert [each.trace_id for each in core.function_log.after(0)[0]] == [TRACE]

    run(scenario)


def test_an_answer_from_the_cache_has_the_trace_of_who_asked() -> None:
    async def scenario(backend: FakeBackend, core: GatewayCore, client: httpx.AsyncClient) -> None:
        asked = {"path": "m:list", "args": {}}
        await client.post("/api/query", json=asked)
        await asyncio.sleep(0.01)
        await client.post("/api/query", json=asked, headers={"traceparent": VALID})
        executions = core.function_log.after(0)[0]
        assert [(each.cached, each.trace_id) for each in executions] == [(False, ""), (True, TRACE)]

    run(scenario)
