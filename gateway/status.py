"""What an error kind means to the outside: HTTP status, last socket message, close code.

The table lives once, here; nobody else knows 1013 (spec 01 1.12, 2.2). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import orjson

from log.errors import BackendError, ErrorKind
from log.limits import CLOSE_REASON_BYTES_MAX


class LastMessage(Enum):
    """What a client is told before its socket closes."""

    NOTHING = 0
    FATAL_ERROR = 1  # the client gives up for ever: only for its own deterministic faults
    AUTH_ERROR = 2
    AUTH_UPDATE_ERROR = 3


@dataclass(frozen=True, slots=True)
class Treatment:
    """How one kind of error is answered. `close_code` None is a close frame without status."""

    http_status: int
    last_message: LastMessage
    close_code: int | None


_AGAIN = Treatment(503, LastMessage.NOTHING, 1013)
_INTERNAL = Treatment(500, LastMessage.NOTHING, 1011)

TREATMENTS: dict[ErrorKind, Treatment] = {
    ErrorKind.BAD_REQUEST: Treatment(400, LastMessage.FATAL_ERROR, None),
    ErrorKind.CONFLICT: Treatment(409, LastMessage.FATAL_ERROR, None),
    ErrorKind.PAGINATION_LIMIT: Treatment(400, LastMessage.FATAL_ERROR, 1000),
    ErrorKind.UNAUTHENTICATED: Treatment(401, LastMessage.AUTH_ERROR, None),
    ErrorKind.AUTH_UPDATE_FAILED: Treatment(401, LastMessage.AUTH_UPDATE_ERROR, None),
    ErrorKind.FORBIDDEN: Treatment(403, LastMessage.FATAL_ERROR, 1000),
    ErrorKind.NOT_FOUND: Treatment(404, LastMessage.NOTHING, 1000),
    ErrorKind.CLIENT_DISCONNECT: Treatment(408, LastMessage.NOTHING, 1000),
    ErrorKind.RATE_LIMITED: Treatment(429, LastMessage.NOTHING, 1013),
    ErrorKind.OCC: _AGAIN,
    ErrorKind.OVERLOADED: _AGAIN,
    ErrorKind.OUT_OF_RETENTION: _AGAIN,
    ErrorKind.FEATURE_UNAVAILABLE: _AGAIN,
    ErrorKind.REJECTED: _AGAIN,
    ErrorKind.OPERATIONAL: _INTERNAL,
    ErrorKind.INTERNAL: _INTERNAL,
}

_GENERIC_MESSAGE = "Your request couldn't be completed. Try again later."


def close_reason(error: BackendError) -> str:
    """The short code, cut to what a close frame can carry; internal errors say nothing more."""
    if TREATMENTS[error.kind].close_code == 1011:
        return "InternalServerError"
    return error.code.encode()[:CLOSE_REASON_BYTES_MAX].decode(errors="ignore")


def http_answer(error: BackendError) -> tuple[int, bytes]:
    """Status and JSON body of a failed request. Internal details stay in our own logs."""
    hidden = error.kind is ErrorKind.INTERNAL
    body = {
        "code": "InternalServerError" if hidden else error.code,
        "message": _GENERIC_MESSAGE if hidden else error.message,
    }
    return TREATMENTS[error.kind].http_status, orjson.dumps(body)


def function_error_text(request_id: str, message: str, redact: bool) -> str:
    """The text a client reads when a function failed (spec 01 1.16). Redaction leaves the id only."""
    head = f"[Request ID: {request_id}] Server Error"
    return head if redact else f"{head}\n{message}"
