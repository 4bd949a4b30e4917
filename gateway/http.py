"""Plain ASGI for HTTP: the one request object, answers, and CORS (spec 01 2.1, 2.6).

Quart would cost 230 us more per call (design D18); these few lines are what the hot routes need of a
framework. Errors become `{"code","message"}` here, for hot and ordinary routes alike.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any

from gateway.client_version import NOBODY, ClientVersion, parse_client_header
from gateway.traceparent import trace_id_of
from log import errors
from log.identity import Requester
from log.limits import HTTP_FUNCTION_BODY_BYTES_MAX, USER_AGENT_CHARACTERS_MAX

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON = (b"content-type", b"application/json")
TEXT = (b"content-type", b"text/plain; charset=utf-8")
_ALLOW_METHODS = (b"access-control-allow-methods", b"GET, POST, OPTIONS, PATCH, DELETE, PUT")
_ALLOW_CREDENTIALS = (b"access-control-allow-credentials", b"true")
_VARY = (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
_MAX_AGE = (b"access-control-max-age", b"86400")


class HttpRequest:
    """One request, its headers decoded once. Header names are lower case, as ASGI promises."""

    __slots__ = ("_peer", "headers", "method", "path", "query_string")

    def __init__(self, scope: Scope) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query_string: bytes = scope["query_string"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self._peer = scope.get("client")

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def client(self) -> ClientVersion:
        """The client that speaks; raises for one too old (spec 01 2.1)."""
        header = self.headers.get(b"convex-client")
        return NOBODY if header is None else parse_client_header(header.decode("latin-1"))

    @property
    def request_id(self) -> str:
        return self.header(b"convex-request-id") or os.urandom(8).hex()

    @property
    def trace_id(self) -> str:
        return trace_id_in(self.headers)

    @property
    def requester(self) -> Requester:
        return requester_of(self._peer, self.headers)


def trace_id_in(headers: Mapping[bytes, bytes]) -> str:
    header = headers.get(b"traceparent")
    return "" if header is None else trace_id_of(header)


def _address(host: str) -> str | None:
    """As it is written usually; None for what is no address, as some proxies say of a client they hide."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def requester_of(peer: tuple[str, int] | None, headers: Mapping[bytes, bytes]) -> Requester:
    """`peer` is the client of a connection, or who a trusted proxy says it is: the server has put that in its
    place (gateway/server.py)."""
    user_agent = headers.get(b"user-agent")
    return Requester(
        _address(peer[0]) if peer is not None else None,
        user_agent.decode("latin-1")[:USER_AGENT_CHARACTERS_MAX] if user_agent is not None else None,
    )


async def read_body(receive: Receive, bytes_max: int = HTTP_FUNCTION_BODY_BYTES_MAX) -> bytes:
    """The whole body, refused as soon as it is larger than allowed."""
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise errors.client_disconnected()
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > bytes_max:
            raise errors.body_too_large(bytes_max)
        pieces.append(piece)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def answer(send: Send, status: int, body: bytes, headers: Headers) -> None:
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def counted(send: Send, responses: Counter[int]) -> Send:
    """Count the response by the first digit of its status."""

    async def send_counted(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            responses[message["status"] // 100] += 1
        await send(message)

    return send_counted


def cors_headers(request: HttpRequest) -> Headers:
    """What a browser on another origin needs to read the answer; nothing for everybody else."""
    return cors_headers_of(request.headers.get(b"origin"))


def cors_headers_of(origin: bytes | None) -> Headers:
    """The same, of a request that came from a page of this origin."""
    if origin is None:
        return []
    return [(b"access-control-allow-origin", origin), _ALLOW_CREDENTIALS, _VARY]


def is_preflight(request: HttpRequest) -> bool:
    return request.method == "OPTIONS" and b"access-control-request-method" in request.headers


async def answer_preflight(request: HttpRequest, send: Send) -> None:
    """Browsers ask before they send; the answer never reaches a handler (spec 01 2.6)."""
    headers = [*cors_headers(request), _ALLOW_METHODS, _MAX_AGE]
    asked = request.headers.get(b"access-control-request-headers")
    if asked is not None:
        headers.append((b"access-control-allow-headers", asked))
    await answer(send, 200, b"", headers)


def deprecation_headers(client: ClientVersion) -> Headers:
    """A hint for old but served clients (spec 01 2.1)."""
    if not client.must_upgrade:
        return []
    message = b"Your Convex client is old and will stop being served. Upgrade it."
    return [(b"x-convex-deprecation-state", b"UpgradeRequired"), (b"x-convex-deprecation-message", message)]


UNSUPPORTED_CLIENT_HEADERS: Headers = [
    (b"x-convex-deprecation-state", b"Unsupported"),
    (b"x-convex-deprecation-message", b"This Convex client is no longer supported. Upgrade it."),
]
