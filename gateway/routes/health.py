"""Whether this server lives, and whether it can serve: for orchestrators and load balancers.

Anyone may ask; the answers tell nothing of users or data. `live` is answered by the gateway's loop alone:
where it is silent, a new process helps. `ready` asks the core: where it refuses, send clients elsewhere.
"""

from __future__ import annotations

import asyncio
from enum import Enum

import orjson
from quart import Blueprint, Response

from gateway.core import GatewayCore
from log.errors import BackendError
from log.limits import HEALTH_ANSWER_SECONDS_MAX

_FRESH = {"cache-control": "no-store"}


class Unready(Enum):
    """Why nothing can be served: stable codes, with the text for people."""

    DRAINING = ("Draining", "This server is being stopped.")
    NO_CORE = ("NoCore", "The process that owns the log does not answer.")
    NO_EXECUTOR = ("NoExecutor", "No process that runs functions is connected.")


def health_routes(core: GatewayCore) -> Blueprint:
    """/health/live and /health/ready."""
    routes = Blueprint("health", __name__, url_prefix="/health")

    @routes.get("/live")
    async def live() -> Response:
        return Response(b"ok", content_type="text/plain; charset=utf-8", headers=_FRESH)

    @routes.get("/ready")
    async def ready() -> Response:
        unready = await why_unready(core)
        if unready is None:
            return Response(b'{"ready":true}', content_type="application/json", headers=_FRESH)
        reason, text = unready.value
        body = orjson.dumps({"ready": False, "reason": reason, "message": text})
        return Response(body, 503, content_type="application/json", headers=_FRESH)

    return routes


async def why_unready(core: GatewayCore) -> Unready | None:
    """None: queries and mutations are answered."""
    if core.is_draining:
        return Unready.DRAINING
    try:
        async with asyncio.timeout(HEALTH_ANSWER_SECONDS_MAX):
            await core.backend.latest_ts()
    except (TimeoutError, BackendError):
        return Unready.NO_CORE
    return None if core.backend.has_executors else Unready.NO_EXECUTOR
