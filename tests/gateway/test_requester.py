"""Whose request it is, as functions are told: the connection's address, or what a trusted proxy says."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from websockets.asyncio.client import connect

from gateway.backend import FunctionOutcome, HttpActionAnswer, HttpActionCall
from gateway.http import requester_of
from gateway.server import GatewayServer, networks_of
from log.identity import Requester
from log.limits import USER_AGENT_CHARACTERS_MAX

from ..support.fake_backend import SETTINGS, FakeBackend
from ..support.fake_http_run import FakeHttpRun
from ..support.running_gateway import run

BROWSER = "Browser/1.0 (\u00e9)"
FORWARDED = {"x-forwarded-for": "6.6.6.6, 203.0.113.7"}


async def requester_of_socket_call(
    backend: FakeBackend, server: GatewayServer, headers: dict[str, str]
) -> Requester:
    address = f"ws://127.0.0.1:{server.port}/api/1.48.0/sync"
    async with connect(address, additional_headers=headers, user_agent_header=None) as socket:
        session = str(uuid.uuid4())
        for message in (
            {"type": "Connect", "connectionCount": 0, "lastCloseReason": None, "sessionId": session},
            {"type": "Mutation", "requestId": 0, "udfPath": "m:touch", "args": [{}]},
        ):
            await socket.send(orjson.dumps(message).decode())
        while orjson.loads(await socket.recv())["type"] != "MutationResponse":
            pass
    return backend.calls[-1].requester


@pytest.mark.parametrize(
    ("address", "path"),
    [("/api/mutation", "m:touch"), ("/api/action", "m:echo"), ("/api/run/m/touch", "m:touch")],
)
def test_a_call_over_http_has_the_address_of_its_connection_and_the_name_of_its_client(
    address: str, path: str
) -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer, client: httpx.AsyncClient) -> None:
        headers = {"user-agent": BROWSER.encode("latin-1"), **FORWARDED}
        await client.post(address, json={"path": path, "args": {}}, headers=headers)  # type: ignore[arg-type]
        assert backend.calls[-1].requester == Requester("127.0.0.1", BROWSER), "nobody's word is taken"

    run(scenario)


def test_a_call_of_a_socket_has_those_of_its_handshake() -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer, client: httpx.AsyncClient) -> None:
        found = await requester_of_socket_call(backend, server, {"user-agent": "a browser", **FORWARDED})
        assert found == Requester("127.0.0.1", "a browser")
        assert await requester_of_socket_call(backend, server, {}) == Requester("127.0.0.1", None)

    run(scenario)


@pytest.mark.parametrize("trusted", ["127.0.0.1", "::1, 127.0.0.0/8"])
def test_a_trusted_proxy_says_from_where_a_request_came(trusted: str) -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer, client: httpx.AsyncClient) -> None:
        await client.post("/api/mutation", json={"path": "m:touch", "args": {}}, headers=FORWARDED)
        assert backend.calls[-1].requester.ip == "203.0.113.7", "what its client invented is to the left"
        assert (await requester_of_socket_call(backend, server, FORWARDED)).ip == "203.0.113.7"
        await client.post("/api/mutation", json={"path": "m:touch", "args": {}})
        assert backend.calls[-1].requester.ip == "127.0.0.1"

    run(scenario, replace(SETTINGS, trusted_proxies=trusted))


def test_a_proxy_that_is_not_trusted_is_the_client() -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer, client: httpx.AsyncClient) -> None:
        await client.post("/api/mutation", json={"path": "m:touch", "args": {}}, headers=FORWARDED)
        assert backend.calls[-1].requester.ip == "127.0.0.1"

    run(scenario, replace(SETTINGS, trusted_proxies="10.0.0.0/8"))


def test_a_long_name_is_cut_and_an_http_action_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer, client: httpx.AsyncClient) -> None:
        called: list[HttpActionCall] = []

        async def begin_http_action(call: HttpActionCall) -> FakeHttpRun:
            called.append(call)
            return FakeHttpRun(HttpActionAnswer(200, (), b"hey", FunctionOutcome(None, None, b"[]", 1)))

        monkeypatch.setattr(backend, "begin_http_action", begin_http_action)
        await client.get("/http/hook", headers={"user-agent": "x" * (USER_AGENT_CHARACTERS_MAX + 1)})
        assert called[0].requester == Requester("127.0.0.1", "x" * USER_AGENT_CHARACTERS_MAX)

    run(scenario)


@pytest.mark.parametrize(
    ("host", "ip"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("unknown", None),
        ("_hidden", None),
        ("x" * 5_000, None),
        ("", None),
    ],
)
def test_an_address_is_told_as_it_is_usually_written_and_what_is_none_is_not_told(
    host: str, ip: str | None
) -> None:
    assert requester_of((host, 1), {}) == Requester(ip, None)


@pytest.mark.parametrize(
    ("peer", "is_trusted"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("::1", True), ("11.1.2.3", False), ("::2", False)],
)
def test_a_network_is_trusted_in_whatever_form_a_socket_shows_its_addresses(
    peer: str, is_trusted: bool
) -> None:
    seen: list[Any] = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["client"][0])

    behind = ProxyHeadersMiddleware(application, networks_of("10.0.0.0/8, ::1"))
    scope = {"type": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", b"203.0.113.7")]}
    asyncio.run(behind(scope, None, None))  # type: ignore[arg-type]
    assert seen == ["203.0.113.7" if is_trusted else peer]
