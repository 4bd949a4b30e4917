"""`GET /metrics`: the whole deployment's figures for Prometheus, for admins only."""

from __future__ import annotations

import asyncio
from typing import Any

from quart import Blueprint, Response, request

from gateway.core import GatewayCore
from gateway.http import HttpRequest
from gateway.identity import require_admin

_GATEWAY = "gateway"


def metrics_routes(core: GatewayCore) -> Blueprint:
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    async def metrics() -> Response:
        require_admin(core.settings, await core.identify(HttpRequest(request.scope)))
        actors = _with_own(await core.backend.actor_facts(), core.facts())
        body, content_type = await asyncio.to_thread(
            _render,
            core.settings.server_version,
            actors,
            list(core.function_log.usage.tallies()),
            dict(core.responses),
        )
        return Response(body, content_type=content_type)

    return routes


def _with_own(actors: list[dict[str, Any]], own: dict[str, int]) -> list[dict[str, Any]]:
    """What the backend says of all processes, and what only this gateway knows of itself."""
    others = [facts for facts in actors if facts["role"] != _GATEWAY]
    process = next((facts for facts in actors if facts["role"] == _GATEWAY), {})
    return [*others, {"role": _GATEWAY, "is_up": True, **process, **own}]


def _render(*facts: Any) -> tuple[bytes, str]:
    """On a thread. The library is loaded when it is first needed, which most gateways never do."""
    from gateway.metrics import CONTENT_TYPE, Readings, render

    return render(Readings(*facts)), CONTENT_TYPE
