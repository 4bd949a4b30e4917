"""The rest of the function API: snapshots, batches, and functions of unknown type (spec 01 2.3)."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
from quart import Blueprint, Response, request

from functions.path import parse_function_path
from gateway.backend import FunctionCall
from gateway.client_version import ClientVersion
from gateway.core import GatewayCore
from gateway.frames import decode_ts
from gateway.http import HttpRequest
from gateway.http_calls import (
    HttpCall,
    check_json_content_type,
    encode_args,
    envelope,
    parse_call,
    parse_format,
    parse_json_object,
)
from gateway.identity import require_admin
from log import errors
from log.identity import Identity
from log.ids import ts_to_base64
from log.limits import HTTP_FUNCTION_BODY_BYTES_MAX, QUERY_BATCH_LENGTH_MAX
from log.result_formats import CLEAN


def json_response(body: bytes, status: int = 200) -> Response:
    return Response(body, status, content_type="application/json")


async def read_json_object() -> dict[str, Any]:
    """The body of a JSON route, checked (spec 01 2.1)."""
    check_json_content_type(request.headers.get("content-type"))
    body: bytes = await request.get_data(as_text=False)  # type: ignore[assignment]
    if len(body) > HTTP_FUNCTION_BODY_BYTES_MAX:
        raise errors.body_too_large(HTTP_FUNCTION_BODY_BYTES_MAX)
    return parse_json_object(body)


def function_routes(core: GatewayCore) -> Blueprint:
    """/api/query_ts, query_at_ts, query_batch, function and run/..."""
    routes = Blueprint("functions", __name__, url_prefix="/api")

    @routes.post("/query_ts")
    async def query_ts() -> Response:
        # The npm client sends an empty body with a JSON content type: it is not parsed.
        return json_response(orjson.dumps({"ts": ts_to_base64(await core.backend.latest_ts())}))

    @routes.post("/query_at_ts")
    async def query_at_ts() -> Response:
        asked = HttpRequest(request.scope)
        fields = await read_json_object()
        called = parse_call(fields, asked.client)
        ts = await _readable_ts(core, fields.get("ts"))
        return json_response(await _query_at(core, asked, called, await core.identify(asked), ts))

    @routes.post("/query_batch")
    async def query_batch() -> Response:
        asked = HttpRequest(request.scope)
        queries = (await read_json_object()).get("queries")
        if not isinstance(queries, list) or len(queries) > QUERY_BATCH_LENGTH_MAX:
            raise errors.bad_json_body(f"`queries` must be an array of at most {QUERY_BATCH_LENGTH_MAX}")
        calls = [parse_call(_object(query), asked.client) for query in queries]
        identity = await core.identify(asked)
        await core.backend.wait_covered(core.backend.published_ts)
        ts = core.runner.covered_ts
        answers = await asyncio.gather(*(_query_at(core, asked, called, identity, ts) for called in calls))
        return json_response(b'{"results":[%s]}' % b",".join(answers))

    @routes.post("/function")
    async def function() -> Response:
        asked = HttpRequest(request.scope)
        called = parse_call(await read_json_object(), asked.client)
        identity = require_admin(core.settings, await core.identify(asked))
        if called.component and not identity.is_plain_admin:
            raise errors.internal_server_error()
        return await _run_any(core, asked, called, identity)

    @routes.post("/run/<path:identifier>")
    async def run(identifier: str) -> Response:
        asked = HttpRequest(request.scope)
        fields = await read_json_object()
        return await _run_any(
            core, asked, _run_call(identifier, fields, asked.client), await core.identify(asked)
        )

    return routes


async def _readable_ts(core: GatewayCore, encoded: Any) -> int:
    """A ts from query_ts. One that is undecodable or in the future is not the caller's to fix: 500."""
    try:
        ts = decode_ts(encoded)
    except ValueError:
        raise errors.internal_server_error() from None
    if ts > core.backend.published_ts and ts > await core.backend.latest_ts():
        raise errors.internal_server_error()
    await core.backend.wait_covered(ts)
    return ts


async def _query_at(
    core: GatewayCore, asked: HttpRequest, called: HttpCall, identity: Identity, ts: int
) -> bytes:
    call = _function_call(asked, called, identity)
    result = await core.runner.query(call, ts)
    return envelope(result.outcome, called.format, call.request_id, redact=core.settings.redact_errors)


async def _run_any(core: GatewayCore, asked: HttpRequest, called: HttpCall, identity: Identity) -> Response:
    call = _function_call(asked, called, identity)
    outcome = await core.backend.run_any(call)
    core.function_log.add(call, outcome, outcome.udf_type, time.time())
    return json_response(
        envelope(outcome, called.format, call.request_id, redact=core.settings.redact_errors)
    )


def _function_call(asked: HttpRequest, called: HttpCall, identity: Identity) -> FunctionCall:
    return FunctionCall(
        path=called.path,
        args=called.args,
        identity=identity,
        component=called.component,
        request_id=asked.request_id,
        client_version=asked.client.header,
        trace_id=asked.trace_id,
        requester=asked.requester,
    )


def _run_call(identifier: str, fields: dict[str, Any], client: ClientVersion) -> HttpCall:
    """`a/b/fn`, already percent-decoded, names fn of module a/b; the default format here is always json."""
    module, slash, function = identifier.rpartition("/")
    if not slash or not module:
        raise errors.missing_identifier()
    path = parse_function_path(f"{module}:{function}").canonical
    return HttpCall(
        path, encode_args(fields.get("args", {})), parse_format(fields.get("format", CLEAN), client)
    )


def _object(query: Any) -> dict[str, Any]:
    if not isinstance(query, dict):
        raise errors.bad_json_body("a query of a batch is an object")
    return query
