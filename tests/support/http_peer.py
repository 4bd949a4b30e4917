"""Somebody else's server: what actions fetch from, on loopback.

`async with HttpPeer() as peer` and `peer.url("/echo")`. What happened on its side is in `peer.seen`.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable, Coroutine
from typing import Any

import brotli
from aiohttp import web
from aiohttp.test_utils import TestServer

TEXT = b"the tide comes in, the tide goes out. " * 200
SHOWN_HEADERS = (
    "accept",
    "authorization",
    "content-length",
    "content-type",
    "cookie",
    "user-agent",
    "x-mine",
)
PIECE = bytes(range(256)) * 64
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "identity": bytes,
}


class HttpPeer:
    """Each path is a behaviour; see the handlers."""

    def __init__(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        for path, handler in self._handlers().items():
            app.router.add_route("*", path, handler)
        self._server = TestServer(app)
        self.seen: list[str] = []  # "METHOD path" of each request
        self.connections: set[int] = set()  # ports they came from
        self.bytes_sent = 0  # by /endless
        self.bytes_received = 0  # by /slowly and /ignores
        self.gate = asyncio.Event()  # what /slowly and /waits wait for
        self.left = asyncio.Event()  # a caller of /never or /endless has gone

    async def __aenter__(self) -> HttpPeer:
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.gate.set()
        await self._server.close()

    @property
    def port(self) -> int:
        port = self._server.port
        assert port is not None
        return port

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def _handlers(self) -> dict[str, Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]]:
        return {
            "/echo": self._echo,
            "/coded/{coding}": self._coded,
            "/status/{status}": self._status,
            "/redirect/{status}": self._redirect,
            "/hops/{count}": self._hops,
            "/form": self._form,
            "/latin": self._latin,
            "/cut": self._cut,
            "/broken-gzip": self._broken_gzip,
            "/long-head": self._long_head,
            "/never": self._never,
            "/waits": self._waits,
            "/endless": self._endless,
            "/slowly": self._slowly,
            "/ignores": self._ignores,
        }

    def _note(self, request: web.Request) -> None:
        self.seen.append(f"{request.method} {request.path}")
        assert request.transport is not None
        self.connections.add(request.transport.get_extra_info("peername")[1])

    async def _echo(self, request: web.Request) -> web.Response:
        self._note(request)
        body = await request.read()
        headers = {name: request.headers[name] for name in SHOWN_HEADERS if name in request.headers}
        facts = {"method": request.method, "path": request.path_qs, "headers": headers}
        return web.json_response({**facts, "body": body.decode("latin-1")})

    async def _coded(self, request: web.Request) -> web.Response:
        coding = request.match_info["coding"]
        return web.Response(body=CODINGS[coding](TEXT), headers={"content-encoding": coding})

    async def _status(self, request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["status"]), reason="As Asked")

    async def _redirect(self, request: web.Request) -> web.Response:
        self._note(request)
        await request.read()
        to = {"location": request.query["to"]} if "to" in request.query else {}
        return web.Response(status=int(request.match_info["status"]), headers=to, text="over there")

    async def _hops(self, request: web.Request) -> web.Response:
        self._note(request)
        count = int(request.match_info["count"])
        if count == 0:
            return web.Response(text="arrived")
        return web.Response(status=302, headers={"location": str(count - 1)})

    async def _form(self, request: web.Request) -> web.Response:
        """Any form in, one part for each part out: its name, file name and length."""
        fields = [
            f"{name}/{getattr(value, 'filename', '')}/{len(await _content(value))}"
            for name, value in (await request.post()).items()
        ]
        body = "".join(
            f'--b\r\nContent-Disposition: form-data; name="p{at}"\r\n\r\n{field}\r\n'
            for at, field in enumerate(fields)
        )
        return web.Response(
            body=f"{body}--b--\r\n".encode(), headers={"content-type": "multipart/form-data; boundary=b"}
        )

    async def _latin(self, request: web.Request) -> web.Response:
        return await _raw(request, b"HTTP/1.1 200 OK\r\nX-Name: caf\xe9\r\nContent-Length: 2\r\n\r\nok")

    async def _cut(self, request: web.Request) -> web.Response:
        return await _raw(request, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")

    async def _broken_gzip(self, request: web.Request) -> web.Response:
        return web.Response(body=b"\x1f\x8b no gzip at all", headers={"content-encoding": "gzip"})

    async def _long_head(self, request: web.Request) -> web.Response:
        return await _raw(request, b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * (1 << 20) + b"\r\n\r\n")

    async def _never(self, request: web.Request) -> web.Response:
        self._note(request)
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()
        raise AssertionError("nothing sets it")

    async def _waits(self, request: web.Request) -> web.StreamResponse:
        """The head and a first piece; the rest behind the gate."""
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await self.gate.wait()
        await response.write(b"second")
        return response

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(PIECE)
                self.bytes_sent += len(PIECE)
        finally:
            self.left.set()

    async def _slowly(self, request: web.Request) -> web.Response:
        """Reads nothing of the body until the gate is open, then all."""
        await self.gate.wait()
        async for piece in request.content.iter_any():
            self.bytes_received += len(piece)
        return web.Response(text=str(self.bytes_received))

    async def _ignores(self, request: web.Request) -> web.Response:
        """Answers before the body is there."""
        self.bytes_received += len(await request.content.readany())
        return web.Response(text="enough")


async def _content(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value.file.read())


async def _raw(request: web.Request, answer: bytes) -> web.Response:
    """Bytes as they are, and then the connection is closed."""
    assert request.transport is not None
    transport = request.transport
    assert isinstance(transport, asyncio.Transport)
    transport.write(answer)
    transport.close()
    return web.Response()
