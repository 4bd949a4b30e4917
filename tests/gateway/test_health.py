"""Liveness and readiness, as orchestrators ask for them."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest

from gateway.routes import health
from gateway.server import GatewayServer
from log import errors

from ..support.fake_backend import FakeBackend
from ..support.running_gateway import PATIENCE_SECONDS, run


def test_a_server_with_core_and_executor_is_live_and_ready_and_says_so_to_anyone() -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer, client: httpx.AsyncClient) -> None:
        live, ready = await client.get("/health/live"), await client.get("/health/ready")
        assert (live.status_code, live.text) == (200, "ok")
        assert (ready.status_code, ready.json()) == (200, {"ready": True})
        assert live.headers["cache-control"] == ready.headers["cache-control"] == "no-store"
        assert (await client.post("/health/ready")).status_code == 405

    run(scenario)


def test_without_an_executor_it_is_live_and_not_ready_until_one_is_back() -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer, client: httpx.AsyncClient) -> None:
        backend.has_executors = False
        refused = await client.get("/health/ready")
        assert (refused.status_code, refused.json()["reason"]) == (503, "NoExecutor")
        assert refused.json()["ready"] is False and refused.json()["message"]
        assert (await client.get("/health/live")).status_code == 200
        backend.has_executors = True
        assert (await client.get("/health/ready")).status_code == 200

    run(scenario)


def test_a_core_that_is_silent_or_refuses_makes_it_unready_within_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "HEALTH_ANSWER_SECONDS_MAX", 0.05)

    async def scenario(backend: FakeBackend, server: GatewayServer, client: httpx.AsyncClient) -> None:
        backend.is_core_silent = True
        assert (await client.get("/health/ready")).json()["reason"] == "NoCore"
        assert (await client.get("/health/live")).text == "ok"
        backend.is_core_silent = False
        assert (await client.get("/health/ready")).status_code == 200

        async def refuse() -> int:
            raise errors.internal_server_error()

        monkeypatch.setattr(backend, "latest_ts", refuse)
        assert (await client.get("/health/ready")).json()["reason"] == "NoCore"

    run(scenario)


def test_a_stop_is_announced_before_the_ports_close_and_calls_go_on_meanwhile() -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer, client: httpx.AsyncClient) -> None:
        stopping = asyncio.create_task(server.shutdown(drain_seconds=PATIENCE_SECONDS))
        await asyncio.sleep(0)
        async with httpx.AsyncClient() as newcomer:
            refused = await newcomer.get(f"http://127.0.0.1:{server.port}/health/ready")
        assert (refused.status_code, refused.json()["reason"]) == (503, "Draining")
        called = await client.post("/api/mutation", json={"path": "m:touch", "args": {}})
        assert called.json()["status"] == "success"
        stopping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await stopping
        port = server.port
        await server.shutdown()
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.1:{port}/health/live")

    run(scenario)
