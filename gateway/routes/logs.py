"""The stream of function executions for `npx convex logs` and the dashboard (spec 02 16)."""

from __future__ import annotations

import asyncio
import math
import time

import orjson
from quart import Blueprint, Response, request

from gateway.core import GatewayCore
from gateway.function_log import Execution, FunctionLog, completion_entry
from gateway.http import HttpRequest
from gateway.identity import require_admin
from gateway.routes.functions import json_response
from gateway.sync_session import log_request_id
from log import errors
from log.limits import FUNCTION_LOG_POLL_SECONDS_MAX


def log_routes(core: GatewayCore) -> Blueprint:
    routes = Blueprint("logs", __name__, url_prefix="/api")

    @routes.get("/stream_function_logs")
    @routes.get("/app_metrics/stream_function_logs")
    async def stream_function_logs() -> Response:
        asked = HttpRequest(request.scope)
        require_admin(core.settings, await core.identify(asked))
        cursor_ms, request_id = _parse_cursor(), _parse_request_filter()
        executions, cursor_ms = await poll(
            core.function_log, cursor_ms, request_id, FUNCTION_LOG_POLL_SECONDS_MAX
        )
        structured = asked.client.reads_structured_logs
        entries = [completion_entry(execution, structured=structured) for execution in executions]
        return json_response(orjson.dumps({"entries": entries, "newCursor": cursor_ms}))

    return routes


async def poll(
    function_log: FunctionLog, cursor_ms: float, request_id: str | None, seconds_max: float
) -> tuple[list[Execution], float]:
    """Entries past the cursor, waiting for the first one; empty with the cursor after `seconds_max`.

    A first request (cursor 0) on an empty log is answered at once with the time: the CLI would otherwise
    take the first executions for history and not print them.
    """
    if cursor_ms == 0 and function_log.is_empty:
        return [], time.time() * 1000
    added = asyncio.Event()
    function_log.watchers.add(added.set)
    deadline = time.monotonic() + seconds_max
    try:
        while True:
            added.clear()
            executions, cursor_ms = function_log.after(cursor_ms, request_id)
            seconds_left = deadline - time.monotonic()
            if executions or seconds_left <= 0:
                return executions, cursor_ms
            try:
                await asyncio.wait_for(added.wait(), seconds_left)
            except TimeoutError:
                continue
    finally:
        function_log.watchers.discard(added.set)


def _parse_cursor() -> float:
    try:
        cursor_ms = float(request.args.get("cursor", "0"))
    except ValueError:
        cursor_ms = math.nan
    if not math.isfinite(cursor_ms):
        raise errors.bad_query_args("`cursor` must be a number")
    return cursor_ms


def _parse_request_filter() -> str | None:
    """Session id and request counter name one client request by its log id."""
    session_id, counter = request.args.get("sessionId"), request.args.get("clientRequestCounter")
    if session_id is None or counter is None:
        return None
    try:
        return log_request_id(session_id, int(counter))
    except ValueError:
        raise errors.bad_query_args("`clientRequestCounter` must be a whole number") from None
