"""One HTTP action between the gateway, which asks, and JavaScript, which reads and writes (spec 03 5.4).

Each side waits for the other: a piece that JavaScript writes is kept until the gateway takes it, and there is
one at a time; of the request's body a bounded part is kept until JavaScript asks (actors/incoming_body.py).
When the client has gone pieces are dropped, nobody waits any more, and JavaScript is told so.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from actors.incoming_body import IncomingBody
from functions import errors, syscall_arguments
from functions.http_action import HttpActionRequest
from functions.outcome import LogLines
from log.errors import body_too_large, client_disconnected
from log.limits import HTTP_ACTION_REQUEST_BYTES_MAX, HTTP_ACTION_RESPONSE_BYTES_MAX

_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TOO_LARGE = "HttpResponseTooLarge: HTTP actions support responses up to 20 MiB"


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What is sent before the body; `body` is all of it when it was known at once."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes | None


class HttpExchange:
    """`head` and `take` are the gateway's side, `perform` is JavaScript's; `end` when its run is over."""

    def __init__(self, request: HttpActionRequest) -> None:
        has_body = request.has_body
        self.body = IncomingBody(request.body if has_body else b"", has_body and request.has_more_body)
        self.logs = LogLines()  # of the run, once it is there
        self._head: asyncio.Future[ResponseHead | None] = asyncio.get_running_loop().create_future()
        self._piece: bytes | None = None  # written, and not taken yet
        self._is_over = False
        self._gone = asyncio.Event()
        self._changed = asyncio.Event()
        self._bytes_written = 0

    # --- the gateway's side -------------------------------------------------------------------------

    async def head(self) -> ResponseHead | None:
        """The head of the response; None when the run ended without one."""
        return await asyncio.shield(self._head)

    async def take(self) -> bytes | None:
        """The next piece of the body, None at its end, or when the client has gone."""
        await self._until(lambda: self._piece is not None or self._is_over or self.is_left)
        piece = self._piece
        self._hold(None)
        return piece

    def refuse_body(self) -> None:
        """The request's body is larger than it may be."""
        self.body.fail(body_too_large(HTTP_ACTION_REQUEST_BYTES_MAX))

    @property
    def is_left(self) -> bool:
        return self._gone.is_set()

    def leave(self) -> None:
        """The client has gone."""
        if self.is_left:
            return
        self._gone.set()
        self.body.fail(client_disconnected())
        self._hold(None)

    async def end(self) -> None:
        """JavaScript is over. Returns when the last piece was taken."""
        self.body.drop()
        if not self._head.done():
            self._head.set_result(None)
        await self._until(lambda: self._piece is None)
        self._is_over = True
        self._changed.set()

    def _hold(self, piece: bytes | None) -> None:
        self._piece = piece
        self._changed.set()

    async def _until(self, is_so: Callable[[], bool]) -> None:
        """Whoever changes something sets the event, and all who wait look again."""
        while not is_so():
            self._changed.clear()
            await self._changed.wait()

    # --- JavaScript's side --------------------------------------------------------------------------

    async def perform(self, name: str, arguments: dict[str, Any]) -> bytes:
        return await _HANDLERS[name](self, arguments)

    async def _read(self, _arguments: dict[str, Any]) -> bytes:
        piece = await self.body.read()
        return b'"' + b64encode(piece) + b'"' if piece else b"null"

    async def _wait_gone(self, _arguments: dict[str, Any]) -> bytes:
        await self._gone.wait()
        return b"null"

    async def _set_head(self, arguments: dict[str, Any]) -> bytes:
        status = syscall_arguments.whole_number(arguments, "status", "Response")
        piece = syscall_arguments.optional_text(arguments, "piece", "Response")
        pairs = arguments.get("headerPairs")
        if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs) or self._head.done():
            raise errors.invalid_argument("headerPairs", "Response", "expected pairs of strings, once")
        if not 200 <= status <= 599:
            raise errors.invalid_argument("status", "Response", "expected a status from 200 to 599")
        body = _decoded(piece) if piece is not None else None
        self._head.set_result(ResponseHead(status, tuple((name, value) for name, value in pairs), body))
        return b"null"

    async def _write(self, arguments: dict[str, Any]) -> bytes:
        """Whether there will be use for more. A piece that crosses the limit is left out."""
        piece = _decoded(syscall_arguments.text(arguments, "piece", "Response"))
        if self._bytes_written + len(piece) > HTTP_ACTION_RESPONSE_BYTES_MAX:
            self.logs.add("ERROR", [_TOO_LARGE])
            return b"true"
        self._bytes_written += len(piece)
        await self._until(lambda: self._piece is None)
        if piece and not self.is_left:
            self._hold(piece)
        return b"false" if self.is_left else b"true"


_HANDLERS: dict[str, Callable[[HttpExchange, dict[str, Any]], Awaitable[bytes]]] = {
    "host/requestRead": HttpExchange._read,
    "host/requestGone": HttpExchange._wait_gone,
    "host/responseHead": HttpExchange._set_head,
    "host/responseWrite": HttpExchange._write,
}
EXCHANGE_CALLS = frozenset(_HANDLERS)


def _is_pair(pair: Any) -> bool:
    """The package's Headers let nothing else pass; a head made by hand may not end its line, or our own."""
    if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
        return False
    name, value = pair
    return bool(_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value))


def _decoded(piece: str) -> bytes:
    try:
        return b64decode(piece, validate=True)
    except ValueError as failure:
        raise errors.invalid_argument("piece", "Response", "expected base64") from failure
