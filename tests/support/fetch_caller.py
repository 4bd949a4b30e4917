"""Requests of one action, made as the prelude makes them, against a server of the test.

A test is a scene: `play(scene)` runs it, and looks that it leaves no connection behind.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from actors.egress import EgressRules
from actors.fetch import Fetches, HttpTransport
from log.errors import BackendError

from .http_peer import HttpPeer

PATIENCE_SECONDS = 30
Scene = Callable[["Caller", HttpPeer], Coroutine[Any, Any, None]]


class Caller:
    """One action's requests, as the prelude makes them."""

    def __init__(self, rules: EgressRules | None = None) -> None:
        self.transport = HttpTransport(rules or EgressRules())
        self.fetches = Fetches(self.transport)

    async def head(self, url: str, request_id: int = 1, **changes: Any) -> dict[str, Any]:
        facts = {"method": "GET", "headers": [], "body": None, "hasStreamedBody": False, **changes}
        answer: dict[str, Any] = json.loads(await self.fetches.fetch({"id": request_id, "url": url, **facts}))
        return answer

    async def piece(self, request_id: int = 1) -> bytes | None:
        text = json.loads(await self.fetches.read({"id": request_id}))
        return None if text is None else base64.b64decode(text)

    async def rest(self, request_id: int = 1) -> bytes:
        pieces = []
        while (piece := await self.piece(request_id)) is not None:
            pieces.append(piece)
        return b"".join(pieces)

    async def write(self, piece: bytes | None, request_id: int = 1) -> None:
        chunk = None if piece is None else base64.b64encode(piece).decode()
        assert await self.fetches.write({"id": request_id, "chunk": chunk}) == b"null"

    def open_connections(self) -> int:
        session = self.transport._session
        return 0 if session is None else len(session.connector._acquired)  # type: ignore[union-attr]


def play(scene: Scene, rules: EgressRules | None = None) -> None:
    async def whole() -> None:
        caller = Caller(rules)
        async with asyncio.timeout(PATIENCE_SECONDS), HttpPeer() as peer:
            try:
                await scene(caller, peer)
            finally:
                await caller.fetches.close()
                assert caller.open_connections() == 0, "a connection outlived its action"
                await caller.transport.close()

    asyncio.run(whole())


async def refusal_of(work: Coroutine[Any, Any, Any]) -> str:
    with pytest.raises(BackendError) as refused:
        await work
    return f"{refused.value.code}: {refused.value.message}"


async def result_of(task: asyncio.Task[Any]) -> Any:
    return await task
