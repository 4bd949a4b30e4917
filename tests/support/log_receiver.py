"""Somebody else's collector of logs, on loopback: takes what a sink posts."""

from __future__ import annotations

import asyncio

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

PATIENCE_SECONDS = 20


class Receiver:
    """A real server that answers with the statuses it is given, then with 204."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.came = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()
        app = web.Application()
        app.router.add_post("/in", self._take)
        self._server = TestServer(app)

    async def __aenter__(self) -> Receiver:
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.answers.set()
        await self._server.close()

    @property
    def url(self) -> str:
        return str(self._server.make_url("/in"))

    @property
    def taken(self) -> list[list[str]]:
        return [[entry["requestId"] for entry in orjson.loads(body)] for _, body in self.posts]

    async def wait_posts(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.posts) < count:
                self.came.clear()
                await self.came.wait()

    async def _take(self, request: web.Request) -> web.Response:
        self.posts.append((dict(request.headers), await request.read()))
        self.came.set()
        await self.answers.wait()
        status = self._statuses.pop(0) if self._statuses else 204
        return web.Response(status=status, headers={"location": "/in"} if status == 307 else {})
