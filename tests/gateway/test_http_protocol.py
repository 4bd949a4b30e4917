"""What the ports allow before a request reaches the application, at each limit and one beyond it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from gateway import server as gateway_server
from gateway.server import GatewayServer
from log.limits import (
    GATEWAY_HEARTBEAT_SECONDS,
    HTTP_FUNCTION_BODY_BYTES_MAX,
    HTTP_HEAD_BYTES_MAX,
    HTTP_HEAD_SECONDS_MAX,
    HTTP_HEADERS_MAX,
    HTTP_PIPELINED_MAX,
    HTTP_URL_BYTES_MAX,
    TRANSFER_SILENCE_SECONDS_MAX,
)

from ..support.fake_backend import SETTINGS, FakeBackend

PATIENCE_SECONDS = 20
ROUNDING_SECONDS = 0.001  # the difference of two times of the loop is a little off
HOST = b"host: x\r\n"
POST = b"POST /api/query HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
CALL = b'{"path":"m:list","args":{}}'


class Wire:
    """A client that writes what it likes."""

    def __init__(self, server: GatewayServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.server, self.reader, self.writer = server, reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def status(self) -> int:
        """Of the next answer; its body is read, too."""
        return (await self.answer())[0]

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, headers and body of the next answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        body = await self.reader.readexactly(int(fields[b"content-length"]))
        return int(head.split()[1]), fields, body

    async def refusal(self) -> tuple[int, str]:
        """Status and code of the next answer, after which the connection is closed."""
        status, fields, body = await self.answer()
        refused = orjson.loads(body)
        assert fields[b"content-type"] == b"application/json" and set(refused) == {"code", "message"}
        assert fields[b"connection"] == b"close" and await self.is_closed()
        return status, refused["code"]

    async def said(self, bytes_max: int) -> bytes:
        """The next that is said; nothing: closed."""
        try:
            return await self.reader.read(bytes_max)
        except ConnectionError:
            return b""

    async def is_closed(self) -> bool:
        """By the server, and nothing was said before."""
        return await self.said(1) == b""

    async def late_by(self, seconds: float) -> None:
        """Look at the connections now, and so much later."""
        now = asyncio.get_running_loop().time()
        self.server.look_at_connections(now)
        self.server.look_at_connections(now + seconds)


def run(scenario: Callable[[Wire], Awaitable[None]], backend: FakeBackend | None = None) -> None:
    async def body() -> None:
        server = GatewayServer(backend or FakeBackend(), SETTINGS, port=0, site_port=None)
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            await asyncio.wait_for(scenario(Wire(server, reader, writer)), PATIENCE_SECONDS)
        finally:
            writer.close()
            await server.shutdown()

    asyncio.run(body())


# --- sizes -------------------------------------------------------------------------------------------


def head_of(head_bytes: int) -> bytes:
    """A request for /version whose address and headers, with their separators, have that size."""
    used = len("/version") + len("host: x\r\n") + len("a: \r\n")
    return b"GET /version HTTP/1.1\r\n" + HOST + b"a: " + b"x" * (head_bytes - used) + b"\r\n\r\n"


def url_of(url_bytes: int) -> bytes:
    return b"GET /version?" + b"x" * (url_bytes - len("/version?")) + b" HTTP/1.1\r\n" + HOST + b"\r\n"


def headers_of(count: int) -> bytes:
    return b"GET /version HTTP/1.1\r\n" + HOST + b"a: b\r\n" * (count - 1) + b"\r\n"


@pytest.mark.parametrize(
    ("request_of", "limit", "refusal"),
    [
        (head_of, HTTP_HEAD_BYTES_MAX, (431, "HeadersTooLarge")),
        (url_of, HTTP_URL_BYTES_MAX, (414, "UrlTooLong")),
        (headers_of, HTTP_HEADERS_MAX, (431, "HeadersTooLarge")),
    ],
)
def test_a_head_may_be_as_large_as_its_limits_and_no_larger(
    request_of: Callable[[int], bytes], limit: int, refusal: tuple[int, str]
) -> None:
    async def scenario(wire: Wire) -> None:
        await wire.send(request_of(limit))
        assert await wire.status() == 200
        await wire.send(request_of(limit + 1))
        assert await wire.refusal() == refusal

    run(scenario)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /version HTTP/1.1\r\nOrigin: http://page.test\r\n" + b"a: b\r\n" * HTTP_HEADERS_MAX + b"\r\n",
        b"GET /version HTTP/1.1\r\nOrigin: http://page.test\r\na: " + b"x" * 3 * HTTP_HEAD_BYTES_MAX,
        b"GET /version HTTP/1.1\r\nOrigin: http://page.test\r\na: b\r\n(: no name\r\n\r\n",
    ],
    ids=["whole", "unfinished", "malformed"],
)
def test_a_page_of_another_origin_may_read_why_its_request_was_refused(request_bytes: bytes) -> None:
    async def scenario(wire: Wire) -> None:
        wire.writer.write(request_bytes)
        _status, fields, body = await wire.answer()
        assert fields[b"access-control-allow-origin"] == b"http://page.test"
        assert fields[b"access-control-allow-credentials"] == b"true" and fields[b"vary"]
        assert orjson.loads(body)["code"] in ("HeadersTooLarge", "BadHttpRequest")

    run(scenario)


@pytest.mark.parametrize("nonsense", [b"\x16\x03\x01\r\n", b"HELLO\r\n\r\n", b"GET /a b HTTP/9\r\n\r\n"])
def test_what_is_no_http_is_told_so(nonsense: bytes) -> None:
    async def scenario(wire: Wire) -> None:
        await wire.send(nonsense)
        assert await wire.refusal() == (400, "BadHttpRequest")

    run(scenario)


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET /",
        b"GET /version HTTP/1.1\r\na: ",
        b"GET /version HTTP/1.1\r\n",
        POST + b"transfer-encoding: chunked\r\n\r\n1;",
        POST + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\na: ",
        POST + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
    ],
    ids=["address", "header", "headers", "chunk extension", "trailer", "trailers"],
)
def test_what_never_ends_is_refused_when_it_has_reached_the_limit(beginning: bytes) -> None:
    more = b"a: b\r\n" * 1000 if beginning.endswith(b"\r\n") else b"x" * 6000

    async def scenario(wire: Wire) -> None:
        await wire.send(beginning)
        sent_bytes = 0
        answer = asyncio.ensure_future(wire.said(12))
        while not answer.done():
            assert sent_bytes < 100 * HTTP_HEAD_BYTES_MAX, "it is read for ever"
            with contextlib.suppress(ConnectionError):
                await wire.send(more)
            sent_bytes += len(more)
            await asyncio.sleep(0)
        # A client that goes on writing to a closed connection may lose what was said last.
        assert answer.result() in (b"HTTP/1.1 431", b"")

    run(scenario)


def test_a_body_may_be_as_large_as_its_limit_and_no_larger() -> None:
    head = POST + b"content-length: %d\r\n\r\n"

    async def scenario(wire: Wire) -> None:
        length = HTTP_FUNCTION_BODY_BYTES_MAX
        await wire.send(head % length + CALL.ljust(length))
        assert await wire.status() == 200
        await wire.send(head % (length + 1) + CALL.ljust(length + 1))
        assert await wire.status() == 400

    run(scenario)


def test_so_many_requests_may_wait_behind_one_and_no_more() -> None:
    one = b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n"

    async def scenario(wire: Wire) -> None:
        await wire.send(one * (1 + HTTP_PIPELINED_MAX))
        for _ in range(1 + HTTP_PIPELINED_MAX):
            assert await wire.status() == 200
        await wire.send(one * (2 + HTTP_PIPELINED_MAX))
        assert await wire.is_closed(), "no answer, which would be taken for that of the first"

    run(scenario)


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_message_on_a_socket_may_be_as_large_as_its_limit_and_no_larger(
    monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    limit = 3_000
    monkeypatch.setattr(gateway_server, "SOCKET_MESSAGE_BYTES_MAX", limit)

    def in_pieces(text: str) -> list[str]:
        step = -(-len(text) // pieces)
        return [text[start : start + step] for start in range(0, len(text), step)]

    message = orjson.dumps({"type": "Event", "eventType": "x", "event": None}).decode()

    async def scenario(wire: Wire) -> None:
        socket = await connect(f"ws://127.0.0.1:{wire.server.port}/api/sync", compression=None)
        await socket.send(in_pieces(message.ljust(limit)))
        await (await socket.ping())
        await socket.send(in_pieces(message.ljust(limit + 1)))
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1009

    run(scenario)


# --- time --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop", [b"", b"x"], ids=["silent", "dripping"])
def test_a_client_that_does_not_end_its_head_in_time_is_refused(drop: bytes) -> None:
    async def scenario(wire: Wire) -> None:
        now = asyncio.get_running_loop().time()
        if drop:  # a second request, so that no first one is meant
            await wire.send(b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n")
            assert await wire.status() == 200
            await wire.send(b"GET /version HTTP/1.1\r\nhost:")
            await heard(wire, lambda end: end._reads == 2)
        for second in range(HTTP_HEAD_SECONDS_MAX):
            await wire.send(drop)
            await heard(
                wire, lambda end, reads=second + 3: end._is_in_head and (not drop or end._reads == reads)
            )
            wire.server.look_at_connections(now + second)
            await heard(wire, lambda end: end._refusal is None)
        wire.server.look_at_connections(now + HTTP_HEAD_SECONDS_MAX + ROUNDING_SECONDS)
        assert await wire.refusal() == (408, "RequestTimeout")

    run(scenario)


async def heard(wire: Wire, is_true: Callable[..., bool]) -> None:
    """Until the server's end of the one connection is in some state."""
    while True:
        connections = wire.server._servers[0].server_state.connections
        if connections and all(map(is_true, connections)):
            return
        await asyncio.sleep(0.001)


def test_a_body_that_stands_still_is_given_up_and_one_that_moves_is_not() -> None:
    async def scenario(wire: Wire) -> None:
        await wire.send(POST + b"content-length: 5\r\n\r\n")
        await heard(wire, lambda end: end._is_in_body)
        now = asyncio.get_running_loop().time()
        for number in range(2, 5):
            await wire.send(b"{")
            await heard(wire, lambda end, reads=number: end._reads == reads)
            now += TRANSFER_SILENCE_SECONDS_MAX - 1
            wire.server.look_at_connections(now)
            await heard(wire, lambda end: end._refusal is None)
        wire.server.look_at_connections(now + TRANSFER_SILENCE_SECONDS_MAX + ROUNDING_SECONDS)
        assert await wire.refusal() == (408, "RequestTimeout")

    run(scenario)


@pytest.mark.parametrize(
    ("begun", "rest"),
    [
        (b"", b""),
        (b"GET /version HTTP/1.1\r\n", b"host: x\r\n\r\n"),
        (POST + b"content-length: 27\r\n\r\n" + CALL[:9], CALL[9:]),
    ],
    ids=["nothing", "a head", "a body"],
)
def test_a_client_whose_turn_it_is_not_is_not_late(begun: bytes, rest: bytes) -> None:
    """It waits for an answer, whatever it has begun meanwhile; or it has nothing to ask."""
    backend = FakeBackend()

    async def scenario(wire: Wire) -> None:
        reached, released = backend.hold("m.js:echo")
        call = b'{"path":"m:echo","args":{}}'
        action = POST.replace(b"query", b"action") + b"content-length: %d\r\n\r\n" % len(call) + call
        await wire.send(action + begun)
        await reached.wait()
        await wire.late_by(10 * TRANSFER_SILENCE_SECONDS_MAX)
        released.set()
        assert await wire.status() == 200
        await wire.send(rest)
        assert not rest or await wire.status() == 200
        await wire.late_by(10 * TRANSFER_SILENCE_SECONDS_MAX)
        await wire.send(b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await wire.status() == 200

    run(scenario, backend)


def test_a_body_that_we_do_not_read_is_not_late() -> None:
    async def scenario(wire: Wire) -> None:
        await wire.send(POST + b"content-length: %d\r\n\r\n" % len(CALL))
        await heard(wire, lambda end: end._is_in_body)
        for end in wire.server._servers[0].server_state.connections:
            end.flow.pause_reading()  # type: ignore[union-attr]  # as when the application is behind
        await wire.late_by(10 * TRANSFER_SILENCE_SECONDS_MAX)
        for end in wire.server._servers[0].server_state.connections:
            end.flow.resume_reading()  # type: ignore[union-attr]
        await wire.send(CALL)
        assert await wire.status() == 200

    run(scenario)


def test_a_connection_answered_before_its_body_came_is_idle_when_it_has_come() -> None:
    async def scenario(wire: Wire) -> None:
        await wire.send(b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n")
        assert await wire.status() == 404
        await wire.send(b"ab")
        await heard(wire, lambda end: end.timeout_keep_alive_task is None)
        await wire.send(b"c")
        await heard(wire, lambda end: end.timeout_keep_alive_task is not None)

    run(scenario)


def test_a_request_that_came_with_the_end_of_the_one_before_is_not_idle() -> None:
    backend = FakeBackend()

    async def scenario(wire: Wire) -> None:
        await wire.send(b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n")
        assert await wire.status() == 404
        reached, released = backend.hold("m.js:list")
        await wire.send(b"abc" + POST + b"content-length: %d\r\n\r\n" % len(CALL) + CALL)
        await reached.wait()
        await heard(wire, lambda end: end.timeout_keep_alive_task is None)
        released.set()
        assert await wire.status() == 200

    run(scenario, backend)


def test_connections_are_looked_at_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GATEWAY_HEARTBEAT_SECONDS < HTTP_HEAD_SECONDS_MAX
    monkeypatch.setattr(gateway_server, "GATEWAY_HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr("gateway.http_protocol.HTTP_HEAD_SECONDS_MAX", 0.1)

    async def scenario(wire: Wire) -> None:
        assert await wire.refusal() == (408, "RequestTimeout")

    run(scenario)
