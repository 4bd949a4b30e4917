"""Connections between actors: over sockets and inside one process, one contract."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from actors.runtime import ConnectionLost
from cluster.host_config import HostConfig
from cluster.local_runtime import DirectPeer
from cluster.status_actor import serve as serve_actor
from cluster.transport import ActorServer, connect
from log import limits

from ..contracts.connection_contract import ConnectionContract, EchoActor, Scenario

SECRET = b"s" * 32


def fail(failure: BaseException) -> None:
    raise AssertionError("no process is to be stopped") from failure


class TestSockets(ConnectionContract):
    def run(self, scenario: Scenario) -> None:
        async def with_connection() -> None:
            actor, pushed = EchoActor(), []
            server = ActorServer(actor, SECRET, fail)
            host, port = await server.start("127.0.0.1")
            peer = await connect(host, port, SECRET, lambda *push: pushed.append(push), lambda: None)
            await asyncio.wait_for(scenario((actor, peer, pushed)), 20)
            peer.close()
            await server.stop()

        asyncio.run(with_connection())


class TestDirectCalls(ConnectionContract):
    def run(self, scenario: Scenario) -> None:
        async def with_connection() -> None:
            actor, pushed = EchoActor(), []
            peer = DirectPeer(actor, lambda *push: pushed.append(push))
            await asyncio.wait_for(scenario((actor, peer, pushed)), 20)

        asyncio.run(with_connection())


def test_a_lost_peer_fails_every_open_call_and_is_noticed_by_the_actor() -> None:
    async def scenario() -> None:
        actor, lost = EchoActor(), asyncio.Event()
        server = ActorServer(actor, SECRET, fail)
        host, port = await server.start("127.0.0.1")
        peer = await connect(host, port, SECRET, lambda *_: None, lost.set)
        held = [asyncio.ensure_future(peer.call("hold")) for _ in range(3)]
        await peer.call("echo")
        await server.stop()
        for call in held:
            with pytest.raises(ConnectionLost):
                await call
        await lost.wait()
        with pytest.raises(ConnectionLost):
            await peer.call("echo")
        assert len(actor.gone) == 1

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_peer_without_the_secret_is_not_heard() -> None:
    async def scenario() -> None:
        server = ActorServer(EchoActor(), SECRET, fail)
        host, port = await server.start("127.0.0.1")
        with pytest.raises(ConnectionLost):
            await connect(host, port, b"x" * 32, lambda *_: None, lambda: None)
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        hello = await reader.read(1000)
        assert len(hello) <= 24 and await reader.read(1000) == b"", "closed without a word"
        writer.close()
        await server.stop()

    asyncio.run(asyncio.wait_for(scenario(), 20))


async def stranger(server: ActorServer, said: bytes) -> bytes:
    """What an actor answers to whoever says this, until it closes."""
    host, port = await server.start("127.0.0.1")
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(said)
    answered = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := await reader.read(1000):
            answered += piece
    writer.close()
    await server.stop()
    return answered


HELLO_BYTES, PROOF_BYTES = 24, 32
HELLO = b"tidelog1" + bytes(16)


@pytest.mark.parametrize(
    ("said", "answered_bytes"),
    [
        (b"", HELLO_BYTES),
        (HELLO[:-1], HELLO_BYTES),
        (b"tidelog2" + bytes(16), HELLO_BYTES),
        (HELLO, HELLO_BYTES + PROOF_BYTES),
        (HELLO + bytes(31), HELLO_BYTES + PROOF_BYTES),
        (HELLO + bytes(32), HELLO_BYTES + PROOF_BYTES),
        (HELLO + bytes(10**6), HELLO_BYTES + PROOF_BYTES),
    ],
    ids=["silent", "half a hello", "another version", "hello", "half a proof", "wrong proof", "flood"],
)
def test_who_does_not_prove_the_secret_in_time_is_closed_and_told_nothing(
    said: bytes, answered_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HANDSHAKE_SECONDS_MAX", 0.2)

    async def scenario() -> None:
        answered = await stranger(ActorServer(EchoActor(), SECRET, fail), said)
        assert len(answered) <= answered_bytes, "nonce and proof, which are random to who has no secret"

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_frame_longer_than_any_of_ours_is_not_collected() -> None:
    async def scenario() -> None:
        lost = asyncio.Event()
        server = ActorServer(EchoActor(), SECRET, fail)
        host, port = await server.start("127.0.0.1")
        peer = await connect(host, port, SECRET, lambda *_: None, lost.set)
        await peer.call("echo")
        assert peer._transport is not None
        peer._transport.write((limits.FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
        await lost.wait()
        await server.stop()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_proven_connection_outlives_the_time_of_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HANDSHAKE_SECONDS_MAX", 0.05)

    async def scenario() -> None:
        server = ActorServer(EchoActor(), SECRET, fail)
        host, port = await server.start("127.0.0.1")
        peer = await connect(host, port, SECRET, lambda *_: None, lambda: None)
        # A stranger that came later is closed first: by then our time is over, too.
        reader, writer = await asyncio.open_connection(host, port)
        with contextlib.suppress(ConnectionResetError):
            while await reader.read(1000):
                pass
        writer.close()
        await peer.call("echo")
        peer.close()
        await server.stop()

    asyncio.run(asyncio.wait_for(scenario(), 20))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "192.0.2.7"])
def test_actors_listen_on_loopback_wherever_clients_are_listened_for(host: str) -> None:
    folders = {"data_folder": "/nowhere", "cache_folder": "/nowhere"}
    names = {"instance_name": "x", "instance_secret": SECRET, "cloud_origin": "", "site_origin": ""}
    config = HostConfig("core", host=host, port=0, site_port=0, redact_errors=False, **folders, **names)

    async def scenario() -> None:
        server, address = await serve_actor(EchoActor(), config)
        assert address[0] == "127.0.0.1"
        await server.stop()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_defect_in_an_actor_stops_its_process() -> None:
    class Defective(EchoActor):
        async def handle(self, client: object, method: str, arguments: tuple) -> object:
            raise ZeroDivisionError

    async def scenario() -> None:
        stopped: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        server = ActorServer(Defective(), SECRET, stopped.set_result)
        host, port = await server.start("127.0.0.1")
        peer = await connect(host, port, SECRET, lambda *_: None, lambda: None)
        calling = asyncio.ensure_future(peer.call("anything"))
        assert isinstance(await stopped, ZeroDivisionError)
        await server.stop()
        with pytest.raises(ConnectionLost):
            await calling

    asyncio.run(asyncio.wait_for(scenario(), 20))
