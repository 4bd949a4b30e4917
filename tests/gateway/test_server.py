"""The gateway on real sockets: ports, handshakes, pings, slow readers, large results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.server import GatewayServer, bind_exclusively
from gateway.websocket_protocol import text_frame_header
from log.errors import BackendError
from log.invariant import InvariantViolation
from log.limits import CLIENT_SILENCE_SECONDS_MAX, PING_SECONDS, TRANSITION_CHUNK_BYTES

from ..support.fake_backend import SETTINGS, FakeBackend

PATIENCE_SECONDS = 20
SESSION = "11111111-2222-4333-8444-555555555555"


def run(scenario: Callable[[FakeBackend, GatewayServer], Awaitable[None]]) -> None:
    async def body() -> None:
        backend = FakeBackend()
        server = GatewayServer(backend, SETTINGS, port=0, site_port=0)
        await server.start()
        try:
            await asyncio.wait_for(scenario(backend, server), PATIENCE_SECONDS)
        finally:
            await server.shutdown()

    asyncio.run(body())


async def open_socket(
    server: GatewayServer, path: str = "/api/1.48.0/sync", **headers: str
) -> ClientConnection:
    return await connect(
        f"ws://127.0.0.1:{server.port}{path}", max_size=None, compression=None, additional_headers=headers
    )


async def send(socket: ClientConnection, **message: Any) -> None:
    await socket.send(orjson.dumps(message).decode())


async def subscribe(socket: ClientConnection, path: str) -> dict[str, Any]:
    query = {"type": "Add", "queryId": 0, "udfPath": path, "args": [{}]}
    await send(socket, type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=[query])
    first: dict[str, Any] = orjson.loads(await socket.recv())
    return first


def test_a_taken_port_is_refused_with_a_clear_text() -> None:
    listener = bind_exclusively("127.0.0.1", 0)
    port = listener.getsockname()[1]
    with pytest.raises(BackendError) as refusal:
        bind_exclusively("127.0.0.1", port)
    listener.close()
    assert refusal.value.code == "PortTaken" and str(port) in refusal.value.message


def test_every_call_of_a_socket_is_in_the_trace_of_its_handshake() -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    calls = {"Mutation": "m:touch", "Action": "m:echo"}

    async def executions_of(backend: FakeBackend, server: GatewayServer, header: str) -> set[tuple[str, str]]:
        assert server.core is not None
        _, before = server.core.function_log.after(0)
        socket = await open_socket(server, traceparent=header)
        await send(socket, type="Connect", connectionCount=0, lastCloseReason=None, sessionId=SESSION)
        await subscribe(socket, "m:list")
        for number, (kind, path) in enumerate(calls.items()):
            await send(socket, type=kind, requestId=number, udfPath=path, args=[{}])
            while orjson.loads(await socket.recv())["type"] != f"{kind}Response":
                pass
        await backend.write(messages=[header])
        while header not in (await socket.recv()):
            pass  # until the live query ran again
        await socket.close()
        return {(each.path, each.trace_id) for each in server.core.function_log.after(before)[0]}

    async def scenario(backend: FakeBackend, server: GatewayServer) -> None:
        paths = ("m.js:list", "m.js:touch", "m.js:echo")
        traced = await executions_of(backend, server, f"00-{trace_id}-00f067aa0ba902b7-01")
        assert traced == {(path, trace_id) for path in paths}
        assert await executions_of(backend, server, "nonsense") == {(path, "") for path in paths}

    run(scenario)


def test_mutations_that_wait_for_an_earlier_one_of_their_socket_are_counted_as_waiting() -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer) -> None:
        assert server.core is not None
        usage = server.core.function_log.usage
        reached, released = backend.hold("m.js:touch")
        sockets = [await open_socket(server) for _ in range(2)]
        for number, socket in enumerate(sockets):
            session = SESSION[:-1] + str(number)
            await send(socket, type="Connect", connectionCount=0, lastCloseReason=None, sessionId=session)
            for request_id in range(3):
                await send(socket, type="Mutation", requestId=request_id, udfPath="m:touch", args=[{}])
        await reached.wait()
        while server.core.sync.mutations_waiting < 4:
            await asyncio.sleep(0.001)
        server.core.note_concurrency()
        *_, minute = usage.recent
        assert minute.concurrency == {("Mutation", "running"): 2, ("Mutation", "queued"): 4}
        released.set()
        for socket in sockets:
            for _ in range(3):
                while orjson.loads(await socket.recv())["type"] != "MutationResponse":
                    pass
        server.core.note_concurrency()
        server.core.note_concurrency()
        assert not usage.concurrency.take_most(), "all were answered"

    run(scenario)


def test_both_ports_answer_and_are_free_again_after_the_shutdown() -> None:
    ports: list[int] = []

    async def scenario(backend: FakeBackend, server: GatewayServer) -> None:
        assert server.site_port is not None
        ports.extend((server.port, server.site_port))
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{server.port}/version")).text == "1.2.3"
            assert (await client.get(f"http://127.0.0.1:{server.site_port}/")).status_code == 404

    run(scenario)
    for port in ports:
        bind_exclusively("127.0.0.1", port).close()


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/api/newest/sync", {}, 400, "InvalidClientVersion"),
        ("/api/0.19.1/sync", {}, 400, "ClientVersionUnsupported"),
        ("/api/sync", {"Convex-Client": "npm"}, 400, "InvalidClientVersion"),
        ("/elsewhere", {}, 404, None),
    ],
)
def test_a_handshake_is_refused_before_the_upgrade(
    path: str, headers: dict[str, str], status: int, code: str | None
) -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer) -> None:
        with pytest.raises(InvalidStatus) as refusal:
            await open_socket(server, path, **headers)
        response = refusal.value.response
        assert response.status_code == status
        assert code is None or orjson.loads(response.body)["code"] == code

    run(scenario)


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        ("Sec-WebSocket-Key", "WebSocketKeyHeaderMissing"),
        ("Sec-WebSocket-Version", "InvalidWebSocketVersionHeader"),
    ],
)
def test_a_handshake_without_its_headers_is_told_which(missing: str, code: str) -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer) -> None:
        headers = {
            "Host": "x",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
        }
        del headers[missing]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"GET /api/sync HTTP/1.1\r\n{head}\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        assert answer.startswith("HTTP/1.1 400 ") and f'"code":"{code}"' in answer

    run(scenario)


def test_a_silent_socket_is_pinged_and_a_gone_client_is_closed() -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer) -> None:
        assert server.core is not None
        socket = await open_socket(server, "/api/sync")
        await send(socket, type="Event", eventType="x", event=None)
        while not server.core.sync.sockets:
            await asyncio.sleep(0.001)
        (ours,) = server.core.sync.sockets
        now = asyncio.get_running_loop().time()
        ours.heartbeat(now + PING_SECONDS - 1)
        ours.heartbeat(now + PING_SECONDS + 1)
        assert await socket.recv() == '{"type":"Ping"}'
        ours.heartbeat(now + CLIENT_SILENCE_SECONDS_MAX + 1)
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (1000, "ClientDisconnected")

    run(scenario)


def test_a_result_of_five_megabytes_comes_in_chunks_for_the_clients_that_know_them() -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer) -> None:
        text = "€" * (TRANSITION_CHUNK_BYTES // 2)
        await backend.write(messages=[text])
        old = await open_socket(server, "/api/1.27.0/sync")
        assert (await subscribe(old, "m:list"))["type"] == "Transition"
        new = await open_socket(server)
        parts = [await subscribe(new, "m:list")]
        while len(parts) < parts[0]["totalParts"]:
            parts.append(orjson.loads(await new.recv()))
        assert [part["type"] for part in parts] == ["TransitionChunk"] * 2
        whole = orjson.loads("".join(part["chunk"] for part in parts))
        assert whole["modifications"][0]["value"] == [text]
        await old.close()
        await new.close()

    run(scenario)


def test_a_slow_reader_is_sent_few_states_and_the_last_one() -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer) -> None:
        # A small queue on the client's side: it stops reading from the network while nobody takes messages.
        socket = await connect(
            f"ws://127.0.0.1:{server.port}/api/sync", max_size=None, max_queue=1, compression=None
        )
        await subscribe(socket, "m:list")
        padding = "x" * 1_000_000
        for number in range(100):
            await backend.write(messages=[number, padding])
            await asyncio.sleep(0.001)
        received = 0
        while True:
            transition = orjson.loads(await socket.recv())
            received += 1
            if transition["modifications"][0]["value"][0] == 99:
                break
        assert received < 50, "a slow reader skips states"
        await socket.close()

    run(scenario)


def test_an_action_runs_to_its_end_though_its_client_left() -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer) -> None:
        assert server.core is not None
        reached, released = backend.hold("m.js:echo")
        socket = await open_socket(server)
        await send(socket, type="Action", requestId=0, udfPath="m:echo", args=[{}])
        await reached.wait()
        await socket.close()
        released.set()
        while server.core.sync.functions:
            await asyncio.sleep(0.001)
        assert backend.runs["m.js:echo"] == 1

    run(scenario)


def test_a_left_client_leaves_no_registration_that_the_cache_does_not_keep() -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer) -> None:
        assert server.core is not None
        await backend.write(broken=True)
        socket = await open_socket(server)
        await subscribe(socket, "m:strict")
        assert len(backend.registered) == 1, "a failing query stays subscribed"
        await socket.close()
        while backend.registered:
            await asyncio.sleep(0.001)
        assert not server.core.sync.sockets

    run(scenario)


def test_a_broken_invariant_stops_the_gateway() -> None:
    async def body() -> None:
        server = GatewayServer(FakeBackend(), SETTINGS, port=0, site_port=None)
        serving = asyncio.create_task(server.serve())
        while server.core is None:
            await asyncio.sleep(0.001)
        server.core.on_defect(InvariantViolation("a promise"))
        with pytest.raises(InvariantViolation):
            await asyncio.wait_for(serving, PATIENCE_SECONDS)

    asyncio.run(body())


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536, 2**32 + 1])
def test_a_frame_header_says_its_length(length: int) -> None:
    header = text_frame_header(length)
    short = header[1]
    said = short if short < 126 else int.from_bytes(header[2:], "big")
    assert (header[0], said) == (0x81, length)
    assert len(header) == {126: 4, 127: 10}.get(short, 2)


def test_the_shutdown_is_quick_though_clients_are_connected() -> None:
    async def body() -> float:
        server = GatewayServer(FakeBackend(), SETTINGS, port=0, site_port=None)
        await server.start()
        socket = await open_socket(server)
        await subscribe(socket, "m:list")
        started = time.monotonic()
        await server.shutdown()
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (1011, "InternalServerError")
        return time.monotonic() - started

    assert asyncio.run(body()) < 3
