"""HTTP actions as the gateway asks for them: begun, fed and read piece by piece, left (spec 03 5.4).

Messages (method: arguments -> answer). `number` is the gateway's, one for each request of its connection: the
rest of a body is on its way before anything is answered.
    http_begin: number, request (a list, see HttpActionRequest)
                        -> ["no_module"] | ["no_route", outcome] | ["failed", outcome]
                           | ["whole", status, headers, body, outcome] | ["stream", status, headers]
    http_write: number, piece, has_more -> whether more is wanted, once there is room for it
    http_refuse: number -> none: the body is larger than it may be
    http_read: number   -> [piece, None] | [None, outcome] when the run has ended
    http_leave: number  -> none: the client has gone. There are no more pieces, but still an outcome
A request belongs to the connection that began it; with the connection its client has gone.
"""

from __future__ import annotations

import asyncio
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
from log.invariant import invariant

_logger = logging.getLogger(__name__)
_Key = tuple[Client, int]


@dataclass(slots=True)
class _Request:
    """One under way. `run` ends after the last piece of the response was taken."""

    exchange: HttpExchange
    run: asyncio.Task[Ended | None]
    started: float
    is_streaming: bool = False  # from the answer to `http_begin` on


class HttpActions:
    """One per slow executor."""

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._requests: dict[_Key, _Request] = {}  # until their end is told, or nobody is there to hear it

    async def handle(self, client: Client, method: str, arguments: tuple[Any, ...]) -> Any:
        key = (client, arguments[0])
        if method == "http_begin":
            return await self.begin(key, arguments[1])
        request = self._requests.get(key)
        if request is None:
            invariant(method != "http_read", "who has heard the end reads no further", number=arguments[0])
            return False  # it has ended meanwhile, and wants nothing more
        if method == "http_read":
            return await self._read(key, request)
        if method == "http_write":
            return await request.exchange.body.put(*arguments[1:])
        if method == "http_refuse":
            request.exchange.refuse_body()
        else:
            request.exchange.leave()
        return None

    async def begin(self, key: _Key, fields: Sequence[Any]) -> list[Any]:
        method, url, path, headers, *rest = fields
        described = HttpActionRequest(
            method, url, path, tuple((name, value) for name, value in headers), *rest
        )
        exchange = HttpExchange(described)
        run = asyncio.create_task(self._run(described, exchange))
        request = self._requests[key] = _Request(exchange, run, time.perf_counter())
        head = await exchange.head()
        if head is not None and head.body is None and not exchange.is_left:
            request.is_streaming = True
            return ["stream", head.status, [list(pair) for pair in head.headers]]
        ended = await self._ended(key, request)
        if head is not None:
            return ["whole", head.status, [list(pair) for pair in head.headers], head.body or b"", ended]
        if ended is None:
            return ["no_module"]
        return ["no_route" if ended[0] == NO_ROUTE else "failed", ended]

    def disconnected(self, client: Client) -> None:
        for key in [key for key in self._requests if key[0] is client]:
            self._lose(key, self._requests[key])

    async def _read(self, key: _Key, request: _Request) -> list[Any]:
        piece = await request.exchange.take()
        return [piece, None] if piece is not None else [None, await self._ended(key, request)]

    def _lose(self, key: _Key, request: _Request) -> None:
        """Nobody is there to hear of it. What still runs ends by itself."""
        request.exchange.leave()
        if request.is_streaming:
            self._requests.pop(key, None)
            request.run.add_done_callback(_report)

    async def _run(self, described: HttpActionRequest, exchange: HttpExchange) -> Ended | None:
        try:
            return await self._actions.run_http(described, exchange)
        finally:
            await exchange.end()

    async def _ended(self, key: _Key, request: _Request) -> list[Any] | None:
        """The outcome of a run that has nothing more to tell."""
        try:
            ended = await asyncio.shield(request.run)
        finally:
            self._requests.pop(key, None)
        return outcome_fields(ended, time.perf_counter() - request.started) if ended is not None else None


def _report(run: asyncio.Task[Ended | None]) -> None:
    """Nobody else hears of a failure of ours when the client has gone."""
    if not run.cancelled() and run.exception() is not None:
        _logger.error("an HTTP action failed after its client had gone", exc_info=run.exception())
