"""Runs protocol conversations written as text against a live gateway with the fake backend.

A transcript is read line by line; an indented line continues the one above, `#` starts a comment.

    C {...}      the client sends this message            R text   the client sends this text as it is
    S {...}      the server's next message matches this   X 1011 reason   the server closes (1005: no code)
    N            the client opens a new socket            B        the client sends a binary frame
    W @name {"table":value}   a commit from elsewhere; its ts is bound to @name

In expected messages `"@name"` binds a value at its first use and must be equal afterwards, `">=@name"` is a
timestamp not below that one, `"~text"` a string containing text, `"*"` anything. Fields that are not
written are not compared, except that `modifications` are complete. In sent messages `"@name"` is the
bound value; `"@session"` and names starting with `@uuid` are made on first use.
"""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway.server import GatewayServer
from log.ids import ts_from_base64, ts_to_base64

from .fake_backend import SETTINGS, FakeBackend

_PATIENCE_SECONDS = 5


def parse(text: str) -> list[tuple[int, str, str]]:
    """(line number, verb, rest) of every step."""
    steps: list[tuple[int, str, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line[0].isspace():
            first, verb, rest = steps.pop()
            steps.append((first, verb, rest + line.strip()))
        else:
            verb, _, rest = line.partition(" ")
            steps.append((number, verb, rest.strip()))
    return steps


class Conversation:
    """One transcript in progress."""

    def __init__(self, server: GatewayServer, backend: FakeBackend) -> None:
        self._address = f"ws://127.0.0.1:{server.port}/api/1.48.0/sync"
        self._backend = backend
        self._socket: ClientConnection | None = None
        self._bound: dict[str, Any] = {}

    async def play(self, steps: list[tuple[int, str, str]]) -> None:
        for number, verb, rest in steps:
            try:
                await asyncio.wait_for(self._step(verb, rest), _PATIENCE_SECONDS)
            except ConnectionClosed as closed:
                raise AssertionError(f"line {number}: {verb} {rest}\nthe server closed: {closed}") from closed
            except TimeoutError:
                raise AssertionError(f"line {number}: {verb} {rest}\nnothing came") from None
            except AssertionError as mismatch:
                raise AssertionError(f"line {number}: {verb} {rest}\n{mismatch}") from mismatch
        if self._socket is not None:
            await self._socket.close()

    async def _step(self, verb: str, rest: str) -> None:
        if self._socket is None or verb == "N":
            self._socket = await connect(self._address, max_size=None, compression=None)
        match verb:
            case "N":
                pass
            case "C":
                message = self._fill(orjson.loads(rest))
                await self._socket.send(orjson.dumps(message).decode())
            case "R":
                await self._socket.send(rest)
            case "B":
                await self._socket.send(b"\x00")
            case "S":
                received = orjson.loads(await self._socket.recv())
                self._match(orjson.loads(rest), received, "message")
            case "W":
                name, _, tables = rest.partition(" ")
                self._bound[name] = ts_to_base64(await self._backend.write(**orjson.loads(tables)))
            case "X":
                await self._expect_close(*rest.split(" "))
            case _:
                raise AssertionError(f"unknown verb {verb}")

    async def _expect_close(self, code: str, reason: str = "") -> None:
        assert self._socket is not None
        try:
            received = await self._socket.recv()
        except ConnectionClosed:
            found = (str(self._socket.close_code), self._socket.close_reason or "")
            assert found == (code, reason), f"closed with {found}"
        else:
            raise AssertionError(f"expected a close, received {received!r}")

    def _fill(self, node: Any) -> Any:
        if isinstance(node, dict):
            return {name: self._fill(value) for name, value in node.items()}
        if isinstance(node, list):
            return [self._fill(value) for value in node]
        if isinstance(node, str) and node.startswith("@"):
            if node not in self._bound and node.startswith(("@session", "@uuid")):
                self._bound[node] = str(uuid.uuid4())
            return self._bound[node]
        return node

    def _match(self, expected: Any, received: Any, where: str) -> None:
        shown = f"{where}: expected {expected!r}, received {received!r}"
        if isinstance(expected, str):
            self._match_text(expected, received, shown)
        elif isinstance(expected, dict):
            assert isinstance(received, dict), shown
            for name, value in expected.items():
                assert name in received, f"{where}.{name} is missing in {received!r}"
                self._match(value, received[name], f"{where}.{name}")
        elif isinstance(expected, list):
            assert isinstance(received, list) and len(received) == len(expected), shown
            for position, (one, other) in enumerate(zip(expected, received, strict=True)):
                self._match(one, other, f"{where}[{position}]")
        else:
            assert type(expected) is type(received) and expected == received, shown

    def _match_text(self, expected: str, received: Any, shown: str) -> None:
        if expected == "*":
            return
        if expected.startswith(">=@"):
            floor = ts_from_base64(self._bound[expected[2:]])
            assert ts_from_base64(received) >= floor, shown
        elif expected.startswith("@"):
            assert self._bound.setdefault(expected, received) == received, shown
        elif expected.startswith("~"):
            assert expected[1:] in received, shown
        else:
            assert received == expected, shown


def play_file(path: Path) -> None:
    """Play one transcript against a fresh gateway; AssertionError names the line."""

    async def play() -> None:
        backend = FakeBackend()
        server = GatewayServer(backend, SETTINGS, port=0, site_port=None)
        await server.start()
        try:
            await Conversation(server, backend).play(parse(path.read_text()))
        finally:
            await server.shutdown()

    asyncio.run(play())
