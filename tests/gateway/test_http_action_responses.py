"""Responses of HTTP actions that cannot be sent as the function made them."""

from __future__ import annotations

import httpx
import pytest

from gateway.backend import FunctionOutcome, HttpActionAnswer, HttpActionCall
from gateway.server import GatewayServer

from ..support.fake_backend import FakeBackend
from ..support.fake_http_run import FakeHttpRun
from ..support.running_gateway import run


class Pieces:
    """Three of them, unless the run is left; then how it ended."""

    def __init__(self) -> None:
        self.run: FakeHttpRun | None = None
        self.taken = 0

    async def read(self) -> bytes | FunctionOutcome:
        assert self.run is not None
        if self.taken < 3 and self.run.told.empty():
            self.taken += 1
            return b"piece"
        return FunctionOutcome(None, None, b"[]", 1)


def test_a_run_whose_response_is_longer_than_it_said_is_left_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(backend: FakeBackend, server: GatewayServer, client: httpx.AsyncClient) -> None:
        pieces = Pieces()

        async def begin_http_action(call: HttpActionCall) -> FakeHttpRun:
            pieces.run = FakeHttpRun(HttpActionAnswer(200, (("content-length", "7"),), pieces))
            return pieces.run

        monkeypatch.setattr(backend, "begin_http_action", begin_http_action)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/http/long")
        assert pieces.run is not None and await pieces.run.told.get() == "left"
        assert pieces.taken == 2, "the second one is too much"
        assert server.core is not None
        (told,) = server.core.function_log.after(0)[0]
        assert (told.path, told.http_status) == ("GET /long", 200)
        assert (await client.get("/version")).status_code == 200

    run(scenario)
    assert "Response content longer than Content-Length" in caplog.text
