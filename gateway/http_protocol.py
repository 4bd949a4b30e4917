"""HTTP on uvicorn with bounds that neither it nor its parser has: the size of a head, and a client's silence.

Without them a request that never ends its headers grows for ever, and one that says nothing holds its
connection for ever. Refusals (400, 414, 431, 408) are the JSON of all others, written here because no request
has reached the application; then the connection is closed. Where another answer of the connection is still
owed it is closed without one.

What it costs a request is a few additions: sizes are counted by reads of the socket, and times are looked at
by one task for all connections (`GatewayServer`), so that no request sets a timer.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway import http_errors as errors
from gateway.http import JSON, cors_headers_of
from gateway.status import http_answer
from log.errors import BackendError
from log.limits import (
    HTTP_HEAD_BYTES_MAX,
    HTTP_HEAD_SECONDS_MAX,
    HTTP_HEADERS_MAX,
    HTTP_PIPELINED_MAX,
    HTTP_URL_BYTES_MAX,
    TRANSFER_SILENCE_SECONDS_MAX,
)

_SEPARATORS_BYTES = 4  # of one header: colon, space, line end
_IDLE_BYTES_MAX = 2 * HTTP_HEAD_BYTES_MAX  # as they come: with spaces and what else is no part of a head


class _Refused(Exception):
    """Ends the parser's work: it takes what its callbacks raise for a malformed request."""


class BoundedHttp(HttpToolsProtocol):
    """One connection. Everything here runs on the event loop's thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._idle_bytes = 0  # received since a head was complete or a piece of a body came
        self._reads = 0
        self._is_in_head = True
        self._is_in_body = False
        self._refusal: HTTPStatus | None = None
        self._waiting_since: float | None = None
        self._reads_then = 0

    # --- sizes --------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return  # what had been read before the connection closed
        self._reads += 1
        self._idle_bytes += len(data)
        super().data_received(data)
        if self._idle_bytes > _IDLE_BYTES_MAX and self._refusal is None:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _headers_too_large())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()  # set by the end of the one before, if both came at once
        self._is_in_head = True

    def on_headers_complete(self) -> None:
        self._is_in_head, self._waiting_since, self._idle_bytes = False, None, 0
        headers = self.headers
        head_bytes = len(self.url) + sum([len(name) + len(value) for name, value in headers])
        head_bytes += _SEPARATORS_BYTES * len(headers)
        if len(self.url) > HTTP_URL_BYTES_MAX:
            self._end(HTTPStatus.REQUEST_URI_TOO_LONG, errors.url_too_long(HTTP_URL_BYTES_MAX))
        if head_bytes > HTTP_HEAD_BYTES_MAX or len(headers) > HTTP_HEADERS_MAX:
            self._end(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _headers_too_large())
        if len(self.pipeline) >= HTTP_PIPELINED_MAX:
            self._end(HTTPStatus.TOO_MANY_REQUESTS, None)
        super().on_headers_complete()
        self._is_in_body = True

    def on_body(self, body: bytes) -> None:
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_body, self._waiting_since, self._idle_bytes = False, None, 0
        super().on_message_complete()
        is_answered = self.cycle is not None and self.cycle.response_complete
        if is_answered and not self.parser.should_upgrade() and not self.transport.is_closing():
            self._watch_idle()

    def _watch_idle(self) -> None:
        """The answer was sent before the request had come whole: only now the connection is between two
        requests. uvicorn watches that from the answer on, and stops at the next byte."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    # --- time ---------------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Refuse a client that is late: with its head as a whole, or with the next piece of a body.
        Called every few seconds, which is as exact as these times are."""
        if self._refusal is not None:
            return
        if not self._is_clients_turn():
            self._waiting_since = None
        elif self._waiting_since is None or (self._is_in_body and self._reads != self._reads_then):
            self._waiting_since, self._reads_then = now, self._reads
        elif now - self._waiting_since >= self._seconds_max:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, errors.request_too_slow(self._seconds_max))

    def _is_clients_turn(self) -> bool:
        if self.timeout_keep_alive_task is not None or self.flow.read_paused:
            return False  # between two requests, which uvicorn watches; or it is we who do not read
        if self._is_in_body:
            return not self.pipeline  # else an earlier one is being answered
        return self._is_in_head and (self.cycle is None or self.cycle.response_complete)

    @property
    def _seconds_max(self) -> int:
        return TRANSFER_SILENCE_SECONDS_MAX if self._is_in_body else HTTP_HEAD_SECONDS_MAX

    # --- refusals -----------------------------------------------------------------------------------

    def _end(self, status: HTTPStatus, failure: BackendError | None) -> None:
        """Refuse from inside the parser, which is not to go on."""
        self._refuse(status, failure)
        raise _Refused

    def _refuse(self, status: HTTPStatus, failure: BackendError | None) -> None:
        """`failure` is what the client is told; None: there is no place for an answer."""
        self._refusal = status
        if failure is not None and not self._owes_another_answer():
            self.transport.write(_answer(status, failure, dict(self.headers or ()).get(b"origin")))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # whoever answers it writes nothing more
            self.cycle.message_event.set()
        self.transport.close()

    def _owes_another_answer(self) -> bool:
        """An earlier request's, or the rest of one that has begun: ours would be taken for it."""
        if self.pipeline or self.cycle is None or self.cycle.response_complete:
            return bool(self.pipeline)
        return not self._is_in_body or self.cycle.response_started

    def send_400_response(self, msg: str) -> None:
        if self._refusal is None:
            self._refuse(HTTPStatus.BAD_REQUEST, errors.bad_http_request(msg))


def _headers_too_large() -> BackendError:
    return errors.headers_too_large(HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX)


def _answer(status: HTTPStatus, failure: BackendError, origin: bytes | None) -> bytes:
    """The whole answer, as a page of that origin may read it."""
    body = http_answer(failure)[1]
    fields = [
        JSON,
        *cors_headers_of(origin),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    return STATUS_LINE[status] + b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n" + body
