"""Requests of actions that go wrong, that are wrong, or that the operator does not allow."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any

import pytest

from actors import fetch
from actors.egress import EgressRules
from log.limits import FETCHES_OPEN_MAX

from ..support.fetch_caller import Caller, play, refusal_of
from ..support.http_peer import HttpPeer

# --- failures --------------------------------------------------------------------------------------------


def test_failures_of_the_network_are_told_in_its_words() -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
            found = await refusal_of(caller.head(f"http://127.0.0.1:{port}/"))
        assert found.startswith(f"FetchFailed: Cannot connect to host 127.0.0.1:{port}")
        found = await refusal_of(caller.head("http://no-such-host.invalid/"))
        assert "no-such-host.invalid" in found
        assert "FetchFailed" in await refusal_of(caller.head(peer.url("/long-head")))
        await caller.head(peer.url("/cut"))
        assert (await refusal_of(caller.rest())).startswith("FetchFailed: ")

    play(scene)


def test_a_body_that_is_not_compressed_as_it_says_is_a_failure() -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        async def whole() -> None:
            await caller.head(peer.url("/broken-gzip"))
            await caller.rest()

        assert (await refusal_of(whole())).startswith("FetchFailed: ")

    play(scene)


MISUSES: list[dict[str, Any]] = [
    {"url": 1},
    {"url": "file:///etc/passwd"},
    {"url": "http://"},
    {"url": "http://[::1"},
    {"method": "GET\r\nX: y"},
    {"method": None},
    {"headers": [["a"]]},
    {"headers": [["x-mine", "a\r\nb: c"]]},
    {"headers": [["a b", "c"]]},
    {"body": "no base64!"},
    {"body": 7},
    {"id": "one"},
    {"id": None},
]


@pytest.mark.parametrize("misuse", MISUSES, ids=str)
def test_who_calls_the_host_by_hand_is_refused_and_harms_nothing(misuse: dict[str, Any]) -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        right = {"id": 1, "url": peer.url("/echo"), "method": "POST", "headers": [], "body": None}
        found = await refusal_of(caller.fetches.fetch({**right, **misuse}))
        assert found.startswith(("InvalidArgument: ", "FetchFailed: ")), found
        assert (await caller.head(peer.url("/echo")))["status"] == 200

    play(scene)


def test_pieces_are_refused_where_there_are_none() -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        assert await refusal_of(caller.piece(7)) == "FetchFailed: The request has ended"
        await caller.head(peer.url("/waits"))
        assert (await refusal_of(caller.write(b"x"))).startswith("InvalidArgument: ")
        assert "1 is in use" in await refusal_of(caller.head(peer.url("/echo")))
        both = await asyncio.gather(caller.piece(), _opened(peer, caller.piece()))
        assert both == [b"first", b"second"], "two readers get two pieces"

    play(scene)


def test_an_action_cannot_have_any_number_of_requests_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "FETCHES_OPEN_MAX", 3)

    async def scene(caller: Caller, peer: HttpPeer) -> None:
        for request_id in range(3):
            await caller.head(peer.url("/endless"), request_id)
        assert "(limit: 3)" in await refusal_of(caller.head(peer.url("/echo"), 3))
        caller.fetches.abort({"id": 0})
        assert (await caller.head(peer.url("/echo"), 3))["status"] == 200

    assert FETCHES_OPEN_MAX > 3
    play(scene)


# --- egress ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"]
)
def test_private_addresses_are_refused_when_the_operator_says_so(host: str) -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        assert (
            await refusal_of(caller.head(peer.url("/echo", host)))
        ) == "EgressForbidden: Request to URL forbidden"
        assert peer.seen == []

    play(scene, EgressRules(refuse_private=True))


def test_a_name_that_leads_inside_only_the_second_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is connected to is what was judged: there is no second look-up in between."""
    looked_up: list[str] = []

    async def scene(caller: Caller, peer: HttpPeer) -> None:
        async def resolve(_host: str, port: int = 0, *_: Any) -> list[dict[str, Any]]:
            looked_up.append("192.0.2.1" if not looked_up else "127.0.0.1")
            found = {"hostname": "rebinding.test", "host": looked_up[-1], "port": port}
            return [{**found, "family": socket.AF_INET, "proto": 0, "flags": 0}]

        resolver = fetch._CheckingResolver(EgressRules(refuse_private=True))
        monkeypatch.setattr(resolver._resolver, "resolve", resolve)
        for _ in range(2):
            assert "forbidden" in await refusal_of(resolver.resolve("rebinding.test", 80))

    play(scene)
    assert looked_up == ["192.0.2.1", "127.0.0.1"]


def test_of_several_addresses_only_the_public_ones_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(_caller: Caller, _peer: HttpPeer) -> None:
        async def resolve(_host: str, port: int = 0, *_: Any) -> list[dict[str, Any]]:
            return [
                {"host": address, "port": port} for address in ("10.0.0.1", "93.184.216.34", "fe80::1%eth0")
            ]

        resolver = fetch._CheckingResolver(EgressRules(refuse_private=True))
        monkeypatch.setattr(resolver._resolver, "resolve", resolve)
        assert [each["host"] for each in await resolver.resolve("mixed.test", 80)] == ["93.184.216.34"]

    play(scene)


async def _opened(peer: HttpPeer, work: Coroutine[Any, Any, Any]) -> Any:
    await asyncio.sleep(0.02)
    peer.gate.set()
    return await work
