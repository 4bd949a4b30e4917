"""Queries that an operator sends as source text: `npx convex run --inline-query`, the dashboard's runner
(spec 02 14)."""

from __future__ import annotations

import time

from quart import Blueprint, Response, request

from gateway.backend import FunctionCall
from gateway.core import GatewayCore
from gateway.http import HttpRequest
from gateway.http_calls import encode_args, envelope, parse_format
from gateway.routes.deploy import read_admin_body
from gateway.routes.functions import json_response
from log import errors

_INLINE_PATH = "testQuery.js:default"


def inline_query_routes(core: GatewayCore) -> Blueprint:
    routes = Blueprint("inline_query", __name__, url_prefix="/api")

    @routes.post("/run_test_function")
    async def run_test_function() -> Response:
        asked = HttpRequest(request.scope)
        fields, identity = await read_admin_body(core)
        source = _source(fields.get("bundle"))
        component_id = fields.get("componentId") or ""
        if not isinstance(component_id, str):
            raise errors.bad_json_body("`componentId` must be a string")
        output = parse_format(fields.get("format"), asked.client)
        call = FunctionCall(
            path=_INLINE_PATH,
            args=encode_args(fields.get("args", {})),
            identity=identity,
            request_id=asked.request_id,
            caller="Tester",
            client_version=asked.client.header,
            trace_id=asked.trace_id,
            requester=asked.requester,
        )
        outcome = await core.backend.run_inline(call, source, component_id)
        core.function_log.add(call, outcome, outcome.udf_type, time.time())
        return json_response(envelope(outcome, output, call.request_id, redact=core.settings.redact_errors))

    return routes


def _source(bundle: object) -> str:
    source = bundle.get("source") if isinstance(bundle, dict) else None
    if not isinstance(source, str):
        raise errors.bad_json_body("`bundle.source` must be the text of a module")
    return source
