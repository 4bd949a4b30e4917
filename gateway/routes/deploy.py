"""What the CLI deploys and operates with: pushes, environment variables, addresses (spec 02 5-8, 15, 22).

The routes check the key, undo the body's compression within a bound, and hand the JSON to the backend
without the key: keys stay in this room. The backend's bytes are the answer.
"""

from __future__ import annotations

import time
from typing import Any

import orjson
from quart import Blueprint, Response, request

from gateway.compression import decompress
from gateway.core import GatewayCore
from gateway.http import HttpRequest
from gateway.http_calls import encode_object, parse_json_object
from gateway.identity import require_admin
from gateway.routes.functions import json_response
from log import errors
from log.identity import Identity
from log.limits import HTTP_PUSH_BODY_BYTES_MAX, SCHEMA_POLL_MS_MAX

_DEPLOY, _ENVIRONMENT, _DATA = "Deploy", "WriteEnvironmentVariables", "WriteData"
_ADMIN_OPERATIONS = {
    "/get_config_hashes": ("get_config_hashes", _DEPLOY),
    "/deploy2/evaluate_schema": ("evaluate_schema", _DEPLOY),
    "/deploy2/evaluate_push": ("evaluate_push", _DEPLOY),
    "/deploy2/start_push": ("start_push", _DEPLOY),
    "/deploy2/finish_push": ("finish_push", _DEPLOY),
    "/update_environment_variables": ("update_environment_variables", _ENVIRONMENT),
    "/v1/update_environment_variables": ("update_environment_variables", _ENVIRONMENT),
    "/update_canonical_url": ("update_canonical_url", _ENVIRONMENT),
    "/v1/update_canonical_url": ("update_canonical_url", _ENVIRONMENT),
    "/delete_tables": ("delete_tables", _DATA),
    "/v1/pause_deployment": ("pause_deployment", "PauseDeployment"),
    "/v1/unpause_deployment": ("unpause_deployment", "UnpauseDeployment"),
}
"""(what the backend is asked, what the dashboard calls it) by address."""
_STEPWISE_OPERATIONS = {
    "/cancel_all_jobs": "cancel_all_jobs",
    "/delete_component": "delete_component",
    "/delete_scheduled_functions_table": "delete_scheduled_functions",
}
_READS = {
    "/list_environment_variables": "list_environment_variables",
    "/v1/list_environment_variables": "list_environment_variables",
    "/v1/get_canonical_urls": "get_canonical_urls",
}


async def read_admin_body(core: GatewayCore, writes: str | None = None) -> tuple[dict[str, Any], Identity]:
    """The decompressed JSON object and the admin who sent it; the body's key counts before the header's.
    `writes` is the operation that a read-only key is refused."""
    compressed: bytes = await request.get_data(as_text=False)  # type: ignore[assignment]
    body = decompress(compressed, request.headers.get("content-encoding", ""), HTTP_PUSH_BODY_BYTES_MAX)
    fields = parse_json_object(body)
    key = fields.pop("adminKey", None)
    if key is not None and not isinstance(key, str):
        raise errors.bad_json_body("`adminKey` must be a string")
    asked = HttpRequest(request.scope)
    identity = await (core.identify(asked) if key is None else core.admin_keys.identify(key))
    return fields, require_admin(core.settings, identity, writes)


def deploy_routes(core: GatewayCore) -> Blueprint:
    routes = Blueprint("deploy", __name__, url_prefix="/api")
    for path, (operation, writes) in _ADMIN_OPERATIONS.items():
        _add_operation(routes, core, path, operation, writes)
    for path, operation in _STEPWISE_OPERATIONS.items():
        _add_stepwise_operation(routes, core, path, operation)
    for path, operation in _READS.items():
        _add_read(routes, core, path, operation)

    @routes.post("/deploy2/wait_for_schema")
    async def wait_for_schema() -> Response:
        fields, identity = await read_admin_body(core)
        return json_response(await _wait_for_schema(core, fields, identity))

    @routes.post("/deploy2/report_push_completed")
    async def report_push_completed() -> Response:
        await read_admin_body(core)  # tracing data of the CLI: checked and dropped
        return json_response(b"null")

    @routes.post("/cancel_job")
    async def cancel_job() -> Response:
        fields, identity = await read_admin_body(core, _DATA)
        await core.backend.admin("cancel_job", encode_object(fields), identity)
        return Response(b"")

    @routes.get("/shapes2")
    async def shapes() -> Response:
        identity = require_admin(core.settings, await core.identify(HttpRequest(request.scope)))
        body = orjson.dumps({"component": request.args.get("component")})
        return json_response(await core.backend.admin("table_shapes", body, identity))

    @routes.get("/v1/deployment_info")
    async def deployment_info() -> Response:
        require_admin(core.settings, await core.identify(HttpRequest(request.scope)))
        return json_response(b'{"kind":"selfHosted"}')

    return routes


def _add_operation(routes: Blueprint, core: GatewayCore, path: str, operation: str, writes: str) -> None:
    async def handle() -> Response:
        fields, identity = await read_admin_body(core, writes)
        return json_response(await core.backend.admin(operation, encode_object(fields), identity))

    routes.add_url_rule(path, endpoint=path.replace("/", "_"), view_func=handle, methods=["POST"])


def _add_stepwise_operation(routes: Blueprint, core: GatewayCore, path: str, operation: str) -> None:
    """In steps, each a transaction of its own. Where the next one begins, if a step says so, is handed to it
    as it came."""

    async def handle() -> Response:
        fields, identity = await read_admin_body(core, _DATA)
        answer: dict[str, Any] = {"isDone": False}
        while not answer["isDone"]:
            body = encode_object({**fields, "next": answer.get("next")})
            answer = orjson.loads(await core.backend.admin(operation, body, identity))
        return Response(b"")

    routes.add_url_rule(path, endpoint=operation, view_func=handle, methods=["POST"])


def _add_read(routes: Blueprint, core: GatewayCore, path: str, operation: str) -> None:
    """What takes no arguments."""

    async def handle() -> Response:
        identity = require_admin(core.settings, await core.identify(HttpRequest(request.scope)))
        return json_response(await core.backend.admin(operation, b"{}", identity))

    routes.add_url_rule(path, endpoint=path.replace("/", "_"), view_func=handle, methods=["GET"])


async def _wait_for_schema(core: GatewayCore, fields: dict[str, Any], identity: Identity) -> bytes:
    """Ask until the state is final or the caller's patience ends; between, wait for the next commit."""
    timeout_ms = fields.get("timeoutMs")
    if not isinstance(timeout_ms, int | float):
        timeout_ms = SCHEMA_POLL_MS_MAX
    deadline = time.monotonic() + min(max(timeout_ms, 0), SCHEMA_POLL_MS_MAX) / 1000
    body = encode_object(fields)
    while True:
        covered_ts = core.runner.covered_ts
        state = await core.backend.admin("wait_for_schema", body, identity)
        if orjson.loads(state).get("type") != "inProgress":
            return state
        # A commit that arrived while we asked is a reason to ask again at once.
        while core.runner.covered_ts == covered_ts:
            seconds_left = deadline - time.monotonic()
            if seconds_left <= 0:
                return state
            await core.runner.wait_stream(seconds_left)
        if time.monotonic() >= deadline:
            return state
