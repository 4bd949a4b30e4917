"""Messages of the sync protocol: client text to checked values, results to server bytes (spec 01 1.3-1.5).

Promises:
  - `parse_client_message` returns one of the six client messages, every field of the right type, or
    raises WSMessageInvalidJson; unknown fields are ignored, unknown types are not;
  - server messages are bytes put together from pieces that are already JSON. What a thousand sockets
    have in common (a result, its log lines, its journal) is encoded once, by `result_piece`; only
    queryId and versions differ, and they are numbers.

Pure. Function arguments are re-encoded with sorted keys, so that equal calls have equal bytes.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from functions.path import parse_function_path
from log import errors
from log.errors import BackendError
from log.ids import ts_from_base64, ts_to_base64
from log.limits import TRANSITION_CHUNK_BYTES

_U32_MAX = 2**32 - 1
_TS_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class StateVersion:
    """What a client knows: its query set, its identity, and the ts its results are valid at."""

    query_set: int
    identity: int
    ts: int


ZERO_VERSION = StateVersion(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Connect:
    session_id: str
    max_observed_ts: int | None
    client_ts_ms: int | None


@dataclass(frozen=True, slots=True)
class AddQuery:
    query_id: int
    path: str
    args: bytes
    journal: str | None
    component: str


@dataclass(frozen=True, slots=True)
class RemoveQuery:
    query_id: int


@dataclass(frozen=True, slots=True)
class ModifyQuerySet:
    base_version: int
    new_version: int
    modifications: tuple[AddQuery | RemoveQuery, ...]


@dataclass(frozen=True, slots=True)
class RunFunction:
    """A Mutation or Action message: the wire differs only in the type's name."""

    is_mutation: bool
    request_id: int
    path: str
    args: bytes
    component: str


@dataclass(frozen=True, slots=True)
class Authenticate:
    base_version: int
    token_type: str  # "User" | "Admin" | "None"
    value: str = field(repr=False)
    acting_as: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """Telemetry: accepted and dropped."""


ClientMessage = Connect | ModifyQuerySet | RunFunction | Authenticate | ClientEvent


def parse_client_message(text: str) -> ClientMessage:
    """Decode and check one text frame, or raise WSMessageInvalidJson (spec 01 1.4)."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError as failure:
        raise errors.ws_message_invalid_json(str(failure)) from None
    if not isinstance(message, dict):
        raise errors.ws_message_invalid_json("a message is an object")
    kind = message.get("type")
    parse = _PARSERS.get(kind) if isinstance(kind, str) else None
    if parse is None:
        raise errors.ws_message_invalid_json(f"unknown message type {kind!r}")
    try:
        return parse(message)
    except (KeyError, TypeError, ValueError, OverflowError) as failure:
        raise errors.ws_message_invalid_json(f"{kind}: {failure}") from None


def _parse_connect(message: dict[str, Any]) -> Connect:
    session_id = str(uuid.UUID(_string(message, "sessionId")))
    _u32(message, "connectionCount")
    observed = message.get("maxObservedTimestamp")
    client_ts = message.get("clientTs")
    if client_ts is not None and not _is_number(client_ts):
        raise TypeError("clientTs is a number")
    return Connect(
        session_id,
        None if observed is None else decode_ts(observed),
        None if client_ts is None else int(client_ts),
    )


def _parse_modify_query_set(message: dict[str, Any]) -> ModifyQuerySet:
    base_version, new_version = _u32(message, "baseVersion"), _u32(message, "newVersion")
    modifications = message["modifications"]
    if not isinstance(modifications, list):
        raise TypeError("modifications is an array")
    return ModifyQuerySet(
        base_version, new_version, tuple(_parse_modification(item) for item in modifications)
    )


def _parse_modification(item: Any) -> AddQuery | RemoveQuery:
    if not isinstance(item, dict):
        raise TypeError("a modification is an object")
    match item.get("type"):
        case "Add":
            # An absent `args` is null here, but malformed in Mutation and Action (spec 01 1.4).
            args = orjson.dumps(item.get("args"), option=orjson.OPT_SORT_KEYS)
            journal = _optional_string(item, "journal")
            component = _optional_string(item, "componentPath") or ""
            return AddQuery(_u32(item, "queryId"), _path(item), args, journal, component)
        case "Remove":
            return RemoveQuery(_u32(item, "queryId"))
        case other:
            raise ValueError(f"unknown modification type {other!r}")


def _parse_run_function(message: dict[str, Any]) -> RunFunction:
    args = message["args"]
    if not isinstance(args, list):
        raise TypeError("args is an array")
    return RunFunction(
        message["type"] == "Mutation",
        _u32(message, "requestId"),
        _path(message),
        orjson.dumps(args, option=orjson.OPT_SORT_KEYS),
        _optional_string(message, "componentPath") or "",
    )


def _parse_authenticate(message: dict[str, Any]) -> Authenticate:
    base_version = _u32(message, "baseVersion")
    token_type = message["tokenType"]
    if token_type == "None":
        return Authenticate(base_version, "None", "", None)
    if token_type not in ("User", "Admin"):
        raise ValueError(f"unknown tokenType {token_type!r}")
    acting_as = None
    if token_type == "Admin":
        acting_as = message.get("impersonating", message.get("acting_as"))
        if acting_as is not None and not isinstance(acting_as, dict):
            raise TypeError("impersonating is an object")
    return Authenticate(base_version, token_type, _string(message, "value"), acting_as)


def _parse_event(message: dict[str, Any]) -> ClientEvent:
    _string(message, "eventType")
    return ClientEvent()


_PARSERS: dict[str, Callable[[dict[str, Any]], ClientMessage]] = {
    "Connect": _parse_connect,
    "ModifyQuerySet": _parse_modify_query_set,
    "Mutation": _parse_run_function,
    "Action": _parse_run_function,
    "Authenticate": _parse_authenticate,
    "Event": _parse_event,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _u32(message: dict[str, Any], name: str) -> int:
    value = message[name]
    if not _is_number(value) or int(value) != value or not 0 <= value <= _U32_MAX:
        raise ValueError(f"{name} is an unsigned 32-bit number")
    return int(value)


def _string(message: dict[str, Any], name: str) -> str:
    value = message[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is a string")
    return value


def _optional_string(message: dict[str, Any], name: str) -> str | None:
    return None if message.get(name) is None else _string(message, name)


def _path(message: dict[str, Any]) -> str:
    try:
        return parse_function_path(_string(message, "udfPath")).canonical
    except BackendError as refusal:
        raise ValueError(refusal.message) from None


def decode_ts(text: Any) -> int:
    """A client's timestamp, or ValueError (spec 01 1.3)."""
    if not isinstance(text, str):
        raise ValueError("a timestamp is a base64 string")
    ts = ts_from_base64(text)
    if ts > _TS_MAX:
        raise ValueError("a timestamp is below 2^63")
    return ts


# --- server messages --------------------------------------------------------------------------------

PING = b'{"type":"Ping"}'


def value_piece(value: bytes, log_lines: bytes, journal: str | None) -> tuple[bytes, bytes]:
    """Head and tail around the queryId of a QueryUpdated; shared by every socket that shows it."""
    tail = b"".join(
        (b',"value":', value, b',"logLines":', log_lines, b',"journal":', orjson.dumps(journal), b"}")
    )
    return b'{"type":"QueryUpdated","queryId":', tail


def failure_piece(
    message: str, log_lines: bytes, journal: str | None, data: bytes | None
) -> tuple[bytes, bytes]:
    """Head and tail of a QueryFailed. errorData is there only for a ConvexError, and may be null."""
    parts = [b',"errorMessage":', orjson.dumps(message), b',"logLines":', log_lines]
    parts += [b',"journal":', orjson.dumps(journal), *_error_data(data), b"}"]
    return b'{"type":"QueryFailed","queryId":', b"".join(parts)


def query_removed(query_id: int) -> bytes:
    return b'{"type":"QueryRemoved","queryId":%d}' % query_id


def transition(
    start: StateVersion,
    end: StateVersion,
    modifications: Sequence[bytes],
    client_clock_skew_ms: int | None,
    server_ts: int,
) -> bytes:
    """A Transition. `serverTs` is never null: the npm client would take null as the year 1970."""
    parts = [
        b'{"type":"Transition","startVersion":',
        _version(start),
        b',"endVersion":',
        _version(end),
        b',"modifications":[',
        b",".join(modifications),
    ]
    if client_clock_skew_ms is None:
        parts.append(b'],"serverTs":%d}' % server_ts)
    else:
        parts.append(b'],"clientClockSkew":%d,"serverTs":%d}' % (client_clock_skew_ms, server_ts))
    return b"".join(parts)


def _version(version: StateVersion) -> bytes:
    return b'{"querySet":%d,"identity":%d,"ts":"%s"}' % (
        version.query_set,
        version.identity,
        ts_to_base64(version.ts).encode(),
    )


def mutation_success(request_id: int, result: bytes, ts: int, log_lines: bytes) -> bytes:
    head = b'{"type":"MutationResponse","requestId":%d,"success":true,"result":' % request_id
    tail = b',"ts":"%s","logLines":' % ts_to_base64(ts).encode()
    return b"".join((head, result, tail, log_lines, b"}"))


def action_success(request_id: int, result: bytes, log_lines: bytes) -> bytes:
    head = b'{"type":"ActionResponse","requestId":%d,"success":true,"result":' % request_id
    return b"".join((head, result, b',"logLines":', log_lines, b"}"))


def run_failure(
    is_mutation: bool, request_id: int, message: str, log_lines: bytes, data: bytes | None
) -> bytes:
    """The failing MutationResponse (whose ts is null) or ActionResponse."""
    kind, ts = (b"MutationResponse", b',"ts":null') if is_mutation else (b"ActionResponse", b"")
    head = b'{"type":"%s","requestId":%d,"success":false,"result":' % (kind, request_id)
    parts = [head, orjson.dumps(message), ts, b',"logLines":', log_lines, *_error_data(data), b"}"]
    return b"".join(parts)


def _error_data(data: bytes | None) -> tuple[bytes, ...]:
    return () if data is None else (b',"errorData":', data)


def auth_error(message: str, base_version: int, update_attempted: bool) -> bytes:
    return orjson.dumps(
        {
            "type": "AuthError",
            "error": message,
            "baseVersion": base_version,
            "authUpdateAttempted": update_attempted,
        }
    )


def fatal_error(message: str) -> bytes:
    return orjson.dumps({"type": "FatalError", "error": message})


def chunks(message: bytes, chunk_bytes: int = TRANSITION_CHUNK_BYTES) -> list[bytes]:
    """A Transition as TransitionChunks, cut on character boundaries; itself when small (spec 01 1.14)."""
    if len(message) <= chunk_bytes:
        return [message]
    pieces, start = [], 0
    while start < len(message):
        end = min(start + chunk_bytes, len(message))
        while end < len(message) and message[end] & 0xC0 == 0x80:  # inside a UTF-8 character
            end -= 1
        pieces.append(message[start:end])
        start = end
    tail = b',"totalParts":%d,"transitionId":"%d"}' % (len(pieces), len(message))
    return [
        b'{"type":"TransitionChunk","chunk":%s,"partNumber":%d%s'
        % (orjson.dumps(piece.decode()), number, tail)
        for number, piece in enumerate(pieces)
    ]
