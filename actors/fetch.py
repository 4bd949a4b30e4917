"""fetch() of actions on the wire: one request, one response, both in pieces (spec 03 3.9).

What a call of fetch() means is decided in JavaScript (functions/engine/prelude/network/): redirects, signals,
which headers. Here a request is sent and what comes back is handed over, with the compression undone.

Promises:
  - bodies are held in pieces: what nobody reads stays with the sender, what cannot be sent is not taken;
  - after `abort` nothing of a request waits, reads or writes; after `close` nothing of the action does;
  - where the rules refuse an address no connection to it is made, whatever name led there;
  - requests of different actions share connections, and nothing else: there is no cookie and no cache.

Read in this order: Fetches, _Exchange, HttpTransport.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import socket
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypeVar

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from actors.egress import Address, EgressRules
from functions import syscall_arguments
from functions.errors import egress_forbidden, fetch_failed, invalid_argument, too_many_fetches
from log.limits import (
    FETCH_CONNECT_SECONDS_MAX,
    FETCH_HEADER_BYTES_MAX,
    FETCH_HEADERS_MAX,
    FETCH_IDLE_SECONDS_MAX,
    FETCH_PIECE_BYTES_MAX,
    FETCHES_OPEN_MAX,
)

_ENDED = "The request has ended"
_FAILURES = (aiohttp.ClientError, OSError, TimeoutError, ValueError)
"""What the transport raises for a peer, a network or a request that is wrong."""
_OURS_ALONE = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect"}
)
"""Headers that speak of the connection, which is not the caller's."""
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_UNDONE = frozenset({"br", "deflate", "gzip", "zstd"})
"""Codings that the transport undoes, or fails: then the response is described as if they had not been."""
_OF_A_CODING = (b"content-encoding", b"content-length")

T = TypeVar("T")


class Fetches:
    """What one action has asked of the network. Used on the event loop's thread."""

    def __init__(self, transport: HttpTransport) -> None:
        self._transport = transport
        self._open: dict[int, _Exchange] = {}
        self._last_id = -1  # the greatest that `fetch` has seen; JavaScript counts upwards
        self._ended_early: set[int] = set()  # aborted before `fetch` has seen them
        self._news = asyncio.Event()  # one of the two above has changed

    async def fetch(self, arguments: dict[str, Any]) -> bytes:
        """Send a request; its answer is the head of the response."""
        request_id = _id(arguments)
        self._last_id = max(self._last_id, request_id)
        self._news.set()
        if request_id in self._ended_early:
            self._ended_early.remove(request_id)
            raise fetch_failed(_ENDED)
        if request_id in self._open:
            raise invalid_argument("id", "fetch", f"{request_id} is in use")
        if len(self._open) >= FETCHES_OPEN_MAX:
            raise too_many_fetches(FETCHES_OPEN_MAX)
        exchange = self._open[request_id] = _Exchange(_request(arguments))
        try:
            return _head(await exchange.send(self._transport))
        except BaseException:
            self._forget(request_id, exchange)
            raise

    async def write(self, arguments: dict[str, Any]) -> bytes:
        """Hand over the next piece of a streamed body, None for its end; answered once it is taken."""
        request_id, piece = _id(arguments), _bytes_or_none(arguments, "chunk")
        while request_id > self._last_id and request_id not in self._ended_early:
            self._news.clear()
            await self._news.wait()  # the request itself still queues for its turn
        await self._find(arguments).write(piece)
        return b"null"

    async def read(self, arguments: dict[str, Any]) -> bytes:
        """The next piece of the response's body, null at its end."""
        exchange = self._find(arguments)
        try:
            piece = await exchange.read()
        except BaseException:
            self._forget(_id(arguments), exchange)
            raise
        if piece:
            return orjson.dumps(_encoded(piece))
        self._forget(_id(arguments), exchange)
        return b"null"

    def abort(self, arguments: dict[str, Any]) -> None:
        """End a request, whatever it is doing, even one that is yet to begin."""
        request_id = arguments.get("id")
        if not isinstance(request_id, int):
            return
        exchange = self._open.get(request_id)
        if exchange is not None:
            self._forget(request_id, exchange)
        elif request_id > self._last_id and len(self._ended_early) < FETCHES_OPEN_MAX:
            self._ended_early.add(request_id)
            self._news.set()

    async def close(self) -> None:
        """The action is over: end what it has left."""
        left = list(self._open.items())
        for request_id, exchange in left:
            self._forget(request_id, exchange)
        for _, exchange in left:
            await exchange.all_ended()

    def _find(self, arguments: dict[str, Any]) -> _Exchange:
        exchange = self._open.get(_id(arguments))
        if exchange is None:
            raise fetch_failed(_ENDED)
        return exchange

    def _forget(self, request_id: int, exchange: _Exchange) -> None:
        exchange.end()
        if self._open.get(request_id) is exchange:
            del self._open[request_id]


# --- one request and its response ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Request:
    """What is to be sent. `body` is an _Upload when its pieces follow one by one."""

    url: URL
    method: str
    headers: list[tuple[str, str]]
    body: bytes | _Upload | None


class _Exchange:
    """From the first byte of a request to the last one of its response."""

    def __init__(self, request: _Request) -> None:
        self._request = request
        self._response: aiohttp.ClientResponse | None = None
        self._working: set[asyncio.Task[Any]] = set()
        self._reads = asyncio.Lock()  # a stream has one reader; whoever asks twice gets two pieces in turn
        self._has_ended = False

    async def send(self, transport: HttpTransport) -> aiohttp.ClientResponse:
        self._response = await self._unless_ended(transport.send(self._request))
        return self._response

    async def write(self, piece: bytes | None) -> None:
        if not isinstance(self._request.body, _Upload):
            raise invalid_argument("id", "fetch", "the body of the request was given whole")
        await self._unless_ended(self._request.body.put(piece))

    async def read(self) -> bytes:
        """b"" is the end."""
        if self._response is None:
            raise invalid_argument("id", "fetch", "the response is not there yet")
        return await self._unless_ended(self._read(self._response.content))

    def end(self) -> None:
        """A connection whose response was read to its end is kept for others, another one is closed."""
        self._has_ended = True
        for task in self._working:
            task.cancel()
        if self._response is not None:
            self._response.release()

    async def all_ended(self) -> None:
        if self._working:
            await asyncio.wait(self._working)

    async def _read(self, content: aiohttp.StreamReader) -> bytes:
        async with self._reads:
            return await content.read(FETCH_PIECE_BYTES_MAX)

    async def _unless_ended(self, work: Coroutine[Any, Any, T]) -> T:
        """Do a part of it, until `end`; what the network does wrong becomes the caller's error."""
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        try:
            return await task
        except asyncio.CancelledError:
            if self._has_ended and not _is_being_cancelled():
                raise fetch_failed(_ENDED) from None
            raise
        except _FAILURES as failure:
            raise fetch_failed(str(failure) or type(failure).__name__) from failure


class _Upload:
    """A request body that comes piece by piece: the next one is taken when the last was sent."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        self._unwanted = asyncio.get_running_loop().create_future()

    async def put(self, piece: bytes | None) -> None:
        """Wait until it is taken; refused when the request has ended without it."""
        putting = asyncio.create_task(self._pieces.put(piece))
        try:
            if not self._unwanted.done():
                await asyncio.wait({putting, self._unwanted}, return_when=asyncio.FIRST_COMPLETED)
            is_taken = putting.done()
        finally:
            putting.cancel()
        if not is_taken:
            raise fetch_failed(_ENDED)

    async def pieces(self) -> AsyncIterator[bytes]:
        """For the transport, which drops the iterator when it wants no more."""
        try:
            while (piece := await self._pieces.get()) is not None:
                if piece:  # an empty piece would be read as the end
                    yield piece
        finally:
            if not self._unwanted.done():
                self._unwanted.set_result(None)


# --- connections -----------------------------------------------------------------------------------------


class HttpTransport:
    """Connections to other people's servers: one for all actions of a process."""

    def __init__(self, rules: EgressRules) -> None:
        self._rules = rules
        self._session: aiohttp.ClientSession | None = None  # set by the first request, until `close`

    async def send(self, request: _Request) -> aiohttp.ClientResponse:
        """The response, once its head is there."""
        if not self._rules.allow_host(request.url.host or ""):
            raise egress_forbidden()
        body = request.body
        return await self._opened().request(
            request.method,
            request.url,
            headers=request.headers,
            data=body.pieces() if isinstance(body, _Upload) else body,
            allow_redirects=False,
            skip_auto_headers=("content-type", "user-agent"),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            # As many connections as requests: an action that reads nothing must not make others wait.
            connector = aiohttp.TCPConnector(
                limit=0, keepalive_timeout=FETCH_IDLE_SECONDS_MAX, resolver=_CheckingResolver(self._rules)
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=FETCH_CONNECT_SECONDS_MAX),
                read_bufsize=FETCH_PIECE_BYTES_MAX,
                max_line_size=FETCH_HEADER_BYTES_MAX,
                max_field_size=FETCH_HEADER_BYTES_MAX,
                max_headers=FETCH_HEADERS_MAX,
            )
        return self._session


class _CheckingResolver(AbstractResolver):
    """Names become addresses that may be connected to: what is connected to is what was checked."""

    def __init__(self, rules: EgressRules) -> None:
        self._rules = rules
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        allowed = [each for each in found if self._rules.allow_address(_address(each["host"]))]
        if found and not allowed:
            raise egress_forbidden()
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


def _address(text: str) -> Address:
    return ip_address(text.partition("%")[0])


# --- from and to JavaScript ------------------------------------------------------------------------------


def _request(arguments: dict[str, Any]) -> _Request:
    is_streamed = arguments.get("hasStreamedBody") is True
    content = _bytes_or_none(arguments, "body")
    method = syscall_arguments.text(arguments, "method", "fetch")
    try:
        # As JavaScript wrote it: signatures may depend on each character.
        address = URL(syscall_arguments.text(arguments, "url", "fetch"), encoded=True)
    except ValueError as failure:
        raise fetch_failed(str(failure)) from failure
    if address.scheme not in ("http", "https") or not address.host:
        raise fetch_failed("Only http and https are supported")
    headers = _headers(arguments.get("headers"), keeps_length=is_streamed)
    return _Request(address, method, headers, _Upload() if is_streamed else content)


def _headers(given: Any, *, keeps_length: bool) -> list[tuple[str, str]]:
    """Without those that only the transport knows."""
    headers = []
    for pair in given if isinstance(given, list) else ():
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(each, str) for each in pair):
            raise invalid_argument("headers", "fetch", "must be pairs of strings")
        name = pair[0].lower()
        if not _NAME.fullmatch(name):
            raise invalid_argument("headers", "fetch", f"{pair[0]!r} is no name of a header")
        if name not in _OURS_ALONE and (keeps_length or name != "content-length"):
            headers.append((pair[0], pair[1]))
    return headers


def _head(response: aiohttp.ClientResponse) -> bytes:
    dropped = _OF_A_CODING if response.headers.get("content-encoding", "").lower() in _UNDONE else ()
    headers = [
        [name.decode("latin-1"), value.decode("latin-1")]
        for name, value in response.raw_headers
        if name.lower() not in dropped
    ]
    return orjson.dumps({"status": response.status, "statusText": response.reason or "", "headers": headers})


def _id(arguments: dict[str, Any]) -> int:
    return syscall_arguments.whole_number(arguments, "id", "fetch")


def _bytes_or_none(arguments: dict[str, Any], name: str) -> bytes | None:
    text = arguments.get(name)
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as failure:
        raise invalid_argument(name, "fetch", "must be base64") from failure


def _encoded(piece: bytes) -> str:
    return base64.b64encode(piece).decode("ascii")


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
