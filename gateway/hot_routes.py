"""The hot routes, plain ASGI in front of Quart (design D18): sync sockets and function calls.

Everything that arrives on the API port passes `HotRoutes.__call__`: preflights and CORS for all, the sync
socket, the three function calls and /version here, the rest by the Quart application behind.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time

from gateway import http
from gateway.backend import FunctionCall, FunctionOutcome
from gateway.client_version import NOBODY, ClientVersion, parse_client_header, parse_path_version
from gateway.core import GatewayCore
from gateway.http import HttpRequest, Receive, Scope, Send, requester_of, trace_id_in
from gateway.http_calls import (
    HttpCall,
    check_json_content_type,
    envelope,
    parse_call,
    parse_json_object,
    parse_query_string_call,
)
from gateway.results import QueryKey
from gateway.routes.http_actions import HttpActionRoutes
from gateway.status import http_answer
from gateway.sync_socket import Handshake, SyncSocket
from gateway.websocket_protocol import DIRECT
from log import errors
from log.errors import BackendError
from log.identity import Identity
from log.invariant import InvariantViolation
from log.limits import HTTP_REQUEST_SECONDS_MAX

logger = logging.getLogger(__name__)

_SYNC_PATH = re.compile(r"/api/(?:([^/]+)/)?sync")
_FUNCTION_METHODS = {
    ("POST", "/api/query"): "Query",
    ("GET", "/api/query"): "Query",
    ("POST", "/api/mutation"): "Mutation",
    ("POST", "/api/action"): "Action",
}
_HTTP_ACTIONS = "/http"


class HotRoutes:
    """The ASGI application of the API port. `rest` serves what is not hot."""

    def __init__(self, core: GatewayCore, rest: http.App) -> None:
        self._core, self._rest = core, rest
        self._http_actions = HttpActionRoutes(core, prefix=_HTTP_ACTIONS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._serve_socket(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve_http(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    # --- HTTP ---------------------------------------------------------------------------------------

    async def _serve_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = HttpRequest(scope)
        if request.path.startswith(f"{_HTTP_ACTIONS}/"):
            await self._http_actions(
                scope, receive, send
            )  # user code answers its own preflights (spec 01 2.6)
            return
        responses = self._core.responses
        if http.is_preflight(request):
            await http.answer_preflight(request, http.counted(send, responses))
            return
        try:
            client = request.client
            udf_type = _FUNCTION_METHODS.get((request.method, request.path))
            if udf_type is not None:
                status, body = 200, await self._call_function(request, client, udf_type, receive)
                headers = [http.JSON, *http.deprecation_headers(client)]
            elif request.path == "/version":
                status, body, headers = 200, self._core.settings.server_version.encode(), [http.TEXT]
            elif _SYNC_PATH.fullmatch(request.path):
                raise _upgrade_refusal(request)
            else:
                counted = http.counted(send, responses)
                await self._rest(scope, receive, _with_headers(counted, http.cors_headers(request)))
                return
        except BackendError as refusal:
            status, body = http_answer(refusal)
            headers = [http.JSON]
            if refusal.code == "ClientVersionUnsupported":
                headers += http.UNSUPPORTED_CLIENT_HEADERS
        except TimeoutError:
            status, body, headers = 408, b"", []
        except Exception as failure:
            if isinstance(failure, InvariantViolation):
                self._core.on_defect(failure)
            logger.exception("a request failed")
            status, body = http_answer(errors.internal_server_error())
            headers = [http.JSON]
        headers += http.cors_headers(request)
        responses[status // 100] += 1  # not `counted`: this is the hot one
        await http.answer(send, status, body, headers)

    async def _call_function(
        self, request: HttpRequest, client: ClientVersion, udf_type: str, receive: Receive
    ) -> bytes:
        """POST /api/{query,mutation,action} and GET /api/query (spec 01 2.3)."""
        if request.method == "GET":
            called = parse_query_string_call(request.query_string, client)
        else:
            check_json_content_type(request.header(b"content-type"))
            called = parse_call(parse_json_object(await http.read_body(receive)), client)
        identity = await self._core.identify(request)
        if udf_type == "Query":
            return await self._run_query(request, client, called, identity)
        call = self._function_call(request, client, called, identity)
        backend = self._core.backend
        run = backend.run_mutation if udf_type == "Mutation" else backend.run_action
        async with asyncio.timeout(HTTP_REQUEST_SECONDS_MAX):
            # Started functions end by themselves, also when nobody waits any longer (spec 01 1.9).
            counted = self._core.function_log.usage.concurrency.counted
            running = self._core.sync.keep_running(counted(udf_type, call.path, run(call)))
            outcome = await asyncio.shield(running)
        return self._answer(call, outcome, called.format, udf_type)

    async def _run_query(
        self, request: HttpRequest, client: ClientVersion, called: HttpCall, identity: Identity
    ) -> bytes:
        """A cached answer without a task or a hop, else a run shared with whoever asks the same."""
        found = self._core.runner.find_now(QueryKey(called.path, called.args), identity)
        call = self._function_call(request, client, called, identity)
        if found is not None:
            return self._answer(call, found.outcome, called.format, "Query", cached=True)
        async with asyncio.timeout(HTTP_REQUEST_SECONDS_MAX):
            result = await self._core.runner.query(call)
        return envelope(
            result.outcome, called.format, call.request_id, redact=self._core.settings.redact_errors
        )

    def _function_call(
        self, request: HttpRequest, client: ClientVersion, called: HttpCall, identity: Identity
    ) -> FunctionCall:
        return FunctionCall(
            path=called.path,
            args=called.args,
            identity=identity,
            request_id=request.request_id,
            client_version=client.header,
            trace_id=request.trace_id,
            requester=request.requester,
        )

    def _answer(
        self,
        call: FunctionCall,
        outcome: FunctionOutcome,
        output: str,
        udf_type: str,
        *,
        cached: bool = False,
    ) -> bytes:
        self._core.function_log.add(call, outcome, udf_type, time.time(), cached=cached)
        return envelope(outcome, output, call.request_id, redact=self._core.settings.redact_errors)

    # --- sync sockets -------------------------------------------------------------------------------

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            client = _socket_client(scope)
        except BackendError as refusal:
            await _refuse_socket(send, *http_answer(refusal))
            return
        if client is None:
            await _refuse_socket(send, 404, b"")
            return
        await send({"type": "websocket.accept"})
        wire = scope["extensions"][DIRECT]
        headers = dict(scope["headers"])
        handshake = Handshake(client, requester_of(scope.get("client"), headers), trace_id_in(headers))
        await SyncSocket(self._core.sync, wire, handshake).run(receive)


def _socket_client(scope: Scope) -> ClientVersion | None:
    """The client of a sync address: by header, else by path, else nobody known; None: no such address."""
    matched = _SYNC_PATH.fullmatch(scope["path"])
    if matched is None:
        return None
    header = dict(scope["headers"]).get(b"convex-client")
    if header is not None:
        return parse_client_header(header.decode("latin-1"))
    version = matched.group(1)
    return NOBODY if version is None else parse_path_version(version)


async def _refuse_socket(send: Send, status: int, body: bytes) -> None:
    await send({"type": "websocket.http.response.start", "status": status, "headers": [http.JSON]})
    await send({"type": "websocket.http.response.body", "body": body})


def _upgrade_refusal(request: HttpRequest) -> BackendError:
    """Why a plain request to the sync address is no handshake (spec 01 1.1)."""
    connection = (request.header(b"connection") or "").lower()
    if "upgrade" not in connection:
        return errors.invalid_upgrade("InvalidConnectionHeader")
    return errors.invalid_upgrade("InvalidUpgradeHeader")


def _with_headers(send: Send, extra: http.Headers) -> Send:
    """Add CORS headers to whatever answers."""
    if not extra:
        return send

    async def send_with_headers(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))  # type: ignore[call-overload]
            message = {**message, "headers": headers + extra}
        await send(message)

    return send_with_headers
