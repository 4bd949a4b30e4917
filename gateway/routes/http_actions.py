"""Requests for the app's own HTTP actions: on the site port, and below /http of the API port (spec 01 2.7).

Plain ASGI, because bodies stream both ways and user code answers everything, preflights and errors too. The
function begins when the head is there; the body follows (gateway/request_body.py). A client that goes away is
noticed at once; the function may go on.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import orjson

from gateway.backend import (
    FunctionCall,
    FunctionOutcome,
    HttpActionAnswer,
    HttpActionCall,
    HttpActionRun,
    HttpPieces,
    Unanswered,
)
from gateway.core import GatewayCore
from gateway.http import (
    JSON,
    TEXT,
    Headers,
    HttpRequest,
    Receive,
    Scope,
    Send,
    answer,
    counted,
)
from gateway.request_body import RequestBody, first_of
from gateway.status import function_error_text, http_answer
from log.errors import BackendError, body_too_large
from log.identity import UNKNOWN, Identity
from log.limits import HTTP_ACTION_NAME_CHARACTERS_MAX, HTTP_ACTION_REQUEST_BYTES_MAX

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_MODULE = b"This Convex deployment does not have HTTP actions enabled."
_NO_ROUTE = b"No matching routes found"
_OURS = frozenset({b"connection", b"transfer-encoding"})


class HttpActionRoutes:
    """An ASGI application. Below `/http` the prefix is taken off what user code sees."""

    def __init__(self, core: GatewayCore, prefix: str = "") -> None:
        self._core, self._prefix = core, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
        elif scope["type"] == "http":
            await self._serve(scope, receive, counted(send, self._core.responses))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = HttpRequest(scope)
        if request.method not in _METHODS:
            await answer(send, 405, b"", [TEXT])
            return
        body = RequestBody(receive, HTTP_ACTION_REQUEST_BYTES_MAX)
        if _closes_connection(scope, request):
            send = body.lingering(send)
        try:
            await self._answer(scope, request, body, send)
        finally:
            body.close()

    async def _answer(self, scope: Scope, request: HttpRequest, body: RequestBody, send: Send) -> None:
        if _declared_bytes(request) > HTTP_ACTION_REQUEST_BYTES_MAX:
            await _refuse_size(send)
            return
        counted = self._core.function_log.usage.concurrency.counted
        await counted("HttpAction", request.path, self._run(scope, request, body, send))

    async def _run(self, scope: Scope, request: HttpRequest, body: RequestBody, send: Send) -> None:
        try:
            call = await self._call_of(scope, request, body)
            run = await self._core.backend.begin_http_action(call)
            body.bring(run)
            answered = await self._answer_of(call, run, body, send)
        except BackendError as refusal:
            status, text = http_answer(refusal)
            await answer(send, status, text, [JSON])
            return
        if isinstance(answered, HttpActionAnswer):
            sending = _Sending(send, run)
            await self._send(call, answered, sending)
            sending.raise_failure()
        elif answered is not None:
            await self._answer_without(call, *answered, send)

    async def _answer_of(
        self, call: HttpActionCall, run: HttpActionRun, body: RequestBody, send: Send
    ) -> HttpActionAnswer | tuple[Unanswered, FunctionOutcome | None] | None:
        """None when the body has become too large meanwhile, which then is the answer."""
        answering = asyncio.ensure_future(run.answer())
        await first_of(answering, body.too_large)
        if not body.too_large.done():
            return await answering
        await _refuse_size(send)
        run.leave()
        self._tell(call, await _outcome_of(await answering), 413)
        return None

    async def _call_of(self, scope: Scope, request: HttpRequest, body: RequestBody) -> HttpActionCall:
        path = scope["raw_path"].partition(b"?")[0].decode("latin-1").removeprefix(self._prefix) or "/"
        query = request.query_string.decode("latin-1")
        host = request.header(b"host") or "localhost"
        identity, identity_error = await self._identify(request)
        first, has_more = await body.first()
        return HttpActionCall(
            method=request.method,
            url=f"{_scheme(request)}://{host}{path}{'?' if query else ''}{query}",
            path=path,
            headers=tuple(
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
            ),
            body=first,
            has_more_body=has_more,
            identity=identity,
            identity_error=identity_error,
            request_id=request.request_id,
            trace_id=request.trace_id,
            requester=request.requester,
        )

    async def _identify(self, request: HttpRequest) -> tuple[Identity, tuple[str, str] | None]:
        """A foreign Authorization is user code's business, until it asks who calls."""
        try:
            return await self._core.identify(request), None
        except BackendError as refusal:
            return UNKNOWN, (refusal.code, refusal.message)

    # --- responses ----------------------------------------------------------------------------------

    async def _send(self, call: HttpActionCall, answered: HttpActionAnswer, send: Send) -> None:
        has_body = call.method != "HEAD"
        headers = [
            (name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in answered.headers
        ]
        await send({"type": "http.response.start", "status": answered.status, "headers": _sendable(headers)})
        if isinstance(answered.body, bytes):
            await send({"type": "http.response.body", "body": answered.body if has_body else b""})
            outcome = answered.outcome
        else:
            outcome = await self._send_pieces(answered.body, has_body, send)
        self._tell(call, outcome, answered.status)

    async def _send_pieces(self, pieces: HttpPieces, has_body: bool, send: Send) -> FunctionOutcome:
        """How the run ended, which is told also when the client has not waited for it."""
        while isinstance(piece := await pieces.read(), bytes):
            if has_body:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        if piece.error is None:  # a failed run leaves the response unfinished: the connection ends
            await send({"type": "http.response.body", "body": b""})
        return piece

    async def _answer_without(
        self, call: HttpActionCall, why: Unanswered, outcome: FunctionOutcome | None, send: Send
    ) -> None:
        if why is Unanswered.FAILED:
            assert outcome is not None, "a run that failed has an outcome"
            body = self._failure(call.request_id, outcome)
            await answer(send, 500, body, [JSON])
            self._tell(call, outcome, 500)
            return
        await answer(send, 404, _NO_MODULE if why is Unanswered.NO_MODULE else _NO_ROUTE, [TEXT])

    def _failure(self, request_id: str, outcome: FunctionOutcome) -> bytes:
        """What a client reads of a function that failed before it answered (spec 03 3.7)."""
        redact = self._core.settings.redact_errors
        trace = outcome.error.message if outcome.error is not None else "The function returned no response.\n"
        code = function_error_text(request_id, "", redact=True)
        if redact:
            fields: dict[str, Any] = {"code": code}
        else:
            fields = {"code": f"{code}: {trace.partition(chr(10))[0]}", "trace": trace.rstrip("\n")}
        text = orjson.dumps(fields)
        data = outcome.error.data if outcome.error is not None else None
        return text if data is None else text[:-1] + b',"data":' + data + b"}"

    def _tell(self, call: HttpActionCall, outcome: FunctionOutcome | None, status: int) -> None:
        """The log of functions knows HTTP actions by their method and path (spec 01 2.9)."""
        if outcome is None:
            return
        called = FunctionCall(
            path=f"{call.method} {call.path}"[:HTTP_ACTION_NAME_CHARACTERS_MAX],  # kept, and counted by
            args=b"[]",
            identity=call.identity,
            request_id=call.request_id,
            caller="HttpEndpoint",
            trace_id=call.trace_id,
        )
        told = replace(outcome, udf_type="HttpAction")
        self._core.function_log.add(called, told, "HttpAction", time.time(), http_status=status)


class _Sending:
    """The way to the client. What the server will not send (more than the `content-length` that the function
    gave) ends it: the run is left, and still heard to its end."""

    def __init__(self, send: Send, run: HttpActionRun) -> None:
        self._send, self._run = send, run
        self._failure: Exception | None = None

    async def __call__(self, message: dict[str, Any]) -> None:
        if self._failure is not None:
            return
        try:
            await self._send(message)
        except Exception as failure:
            self._failure = failure
            self._run.leave()

    def raise_failure(self) -> None:
        """Which ends the connection, and stands in the log of the process."""
        if self._failure is not None:
            raise self._failure


async def _outcome_of(
    answered: HttpActionAnswer | tuple[Unanswered, FunctionOutcome | None],
) -> FunctionOutcome | None:
    """How a run ended whose response goes nowhere."""
    if not isinstance(answered, HttpActionAnswer):
        return answered[1]
    if isinstance(answered.body, bytes):
        return answered.outcome
    while isinstance(piece := await answered.body.read(), bytes):
        pass
    return piece


def _scheme(request: HttpRequest) -> str:
    """As the client spoke to the outermost proxy."""
    forwarded = request.header(b"x-forwarded-proto")
    if forwarded is None:
        parts = (request.header(b"forwarded") or "").replace(",", ";").split(";")
        named = [part.strip()[len("proto=") :] for part in parts if part.strip().lower().startswith("proto=")]
        forwarded = named[0].strip('"') if named else None
    return forwarded if forwarded in ("http", "https") else "http"


def _sendable(headers: Headers) -> Headers:
    """Without what only the server may say."""
    return [(name, value) for name, value in headers if name not in _OURS]


def _declared_bytes(request: HttpRequest) -> int:
    """Zero where the body says itself where it ends."""
    declared = request.header(b"content-length") or ""
    return int(declared) if declared.isascii() and declared.isdigit() else 0


def _closes_connection(scope: Scope, request: HttpRequest) -> bool:
    tokens = (request.header(b"connection") or "").lower().split(",")
    return scope["http_version"] == "1.0" or "close" in (token.strip() for token in tokens)


async def _refuse_size(send: Send) -> None:
    refusal = body_too_large(HTTP_ACTION_REQUEST_BYTES_MAX)
    await answer(send, 413, http_answer(refusal)[1], [JSON])
