"""A gateway on real ports of its own, over the backend that tests steer, and a client of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx

from gateway.backend import GatewaySettings
from gateway.server import GatewayServer

from .fake_backend import SETTINGS, FakeBackend

Scenario = Callable[[FakeBackend, GatewayServer, httpx.AsyncClient], Awaitable[None]]
PATIENCE_SECONDS = 20


def run(scenario: Scenario, settings: GatewaySettings = SETTINGS) -> None:
    """The scenario, within our patience."""

    async def body() -> None:
        backend = FakeBackend()
        server = GatewayServer(backend, settings, port=0, site_port=None)
        await server.start()
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
                await asyncio.wait_for(scenario(backend, server, client), PATIENCE_SECONDS)
        finally:
            await server.shutdown()

    asyncio.run(body())
