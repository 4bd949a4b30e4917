"""HTTP actions as the gateway asks for them: begun, read piece by piece, left (spec 03 5.4).

Messages (method: arguments -> answer):
    http_begin: request (a list, see HttpActionRequest)
                        -> ["no_module"] | ["no_route", outcome] | ["failed", outcome]
                           | ["whole", status, headers, body, outcome] | ["stream", number, status, headers]
    http_read: number   -> [piece, None] | [None, outcome] at the end
    http_leave: number  -> none: the client has gone
A stream belongs to the connection that began it; with the connection its client has gone.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from actors.actions import Actions
from actors.calls import Ended, outcome_fields
from actors.http_exchange import HttpExchange
from actors.runtime import Client
from functions.http_action import NO_ROUTE, HttpActionRequest

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Stream:
    """A response under way. `run` ends after its last piece was taken."""

    client: Client
    exchange: HttpExchange
    run: asyncio.Task[Ended | None]
    started: float


class HttpActions:
    """One per slow executor."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._numbers = itertools.count(1)
        self._streams: dict[int, _Stream] = {}

    async def handle(self, client: Client, method: str, arguments: tuple[Any, ...]) -> Any:
        if method == "http_begin":
            return await self.begin(client, *arguments)
        if method == "http_read":
            return await self.read(*arguments)
        self.leave(*arguments)
        return None

    async def begin(self, client: Client, fields: Sequence[Any]) -> list[Any]:
        method, url, path, headers, body, *rest = fields
        pairs = tuple((name, value) for name, value in headers)
        request = HttpActionRequest(method, url, path, pairs, body, *rest)
        exchange, number = HttpExchange(request), next(self._numbers)
        run = asyncio.create_task(self._run(request, exchange))
        self._streams[number] = _Stream(client, exchange, run, time.perf_counter())
        head = await exchange.head()
        if head is not None and head.body is None:
            return ["stream", number, head.status, [list(pair) for pair in head.headers]]
        ended = await self._ended(number)
        if head is not None and head.body is not None:
            return ["whole", head.status, [list(pair) for pair in head.headers], head.body, ended]
        if ended is None:
            return ["no_module"]
        return ["no_route" if ended[0] == NO_ROUTE else "failed", ended]

    async def read(self, number: int) -> list[Any]:
        stream = self._streams[number]
        piece = await stream.exchange.take()
        if piece is not None:
            return [piece, None]
        return [None, await self._ended(number)]

    def leave(self, number: int) -> None:
        """What still runs ends by itself."""
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.exchange.leave()
            stream.run.add_done_callback(_report)

    def disconnected(self, client: Client) -> None:
        for number in [number for number, stream in self._streams.items() if stream.client is client]:
            self.leave(number)

    async def _run(self, request: HttpActionRequest, exchange: HttpExchange) -> Ended | None:
        try:
            return await self._actions.run_http(request, exchange)
        finally:
            await exchange.end()

    async def _ended(self, number: int) -> list[Any] | None:
        """The outcome of a run that has nothing more to tell."""
        stream = self._streams[number]
        try:
            ended = await asyncio.shield(stream.run)
        finally:
            self._streams.pop(number, None)
        return outcome_fields(ended, time.perf_counter() - stream.started) if ended is not None else None


def _report(run: asyncio.Task[Ended | None]) -> None:
    """Nobody else hears of a failure of ours when the client has gone."""
    if not run.cancelled() and run.exception() is not None:
        _logger.error("an HTTP action failed after its client had gone", exc_info=run.exception())
