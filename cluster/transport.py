"""Sockets between actors: msgpack frames over TCP, authenticated with the deployment's secret (design D14).

Frame: 4 bytes length, then msgpack `[kind, ...]`:
    [0, id, method, arguments] call      [1, id, value] answer      [2, id, kind, code, message, data] refusal
    [3, event, arguments] push           [4, method, arguments] send
Frames written in one turn of the loop leave in one write. A connection begins with a handshake in which
each side proves the secret by an HMAC over both nonces; nothing is parsed before, and who takes too long for
it is closed.

A lost connection fails every open call with ConnectionLost: the outcome is unknown (design D3).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import logging
import os
import struct
from collections.abc import Callable
from typing import Any, cast

import msgpack

from actors.runtime import Actor, ConnectionLost, PushHandler
from log import limits
from log.errors import BackendError, ErrorKind
from log.invariant import invariant
from log.secrets import derive

_logger = logging.getLogger(__name__)
_LENGTH = struct.Struct(">I")
_CALL, _ANSWER, _REFUSAL, _PUSH, _SEND = range(5)
_MAGIC = b"tidelog1"
_NONCE_BYTES = 16
_PROOF_BYTES = 32
_KINDS = {kind.value: kind for kind in ErrorKind}


class _Framed(asyncio.Protocol):
    """Frames in and out of one socket after a mutual handshake. Subclasses handle messages."""

    def __init__(self, secret: bytes, *, is_server: bool) -> None:
        self._key = derive(secret, "transport")
        self._is_server = is_server
        self._transport: asyncio.Transport | None = None
        self._inbox = bytearray()
        self._outbox: list[bytes] = []
        self._own_nonce = os.urandom(_NONCE_BYTES)
        self._peer_nonce = b""
        self._is_proven = False
        self._late: asyncio.TimerHandle | None = None
        self.frames_in = 0
        self.frames_out = 0
        self.proven: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # --- asyncio.Protocol ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._transport.set_write_buffer_limits(high=limits.FRAME_BYTES_MAX)
        self._transport.write(_MAGIC + self._own_nonce)
        loop = asyncio.get_running_loop()
        self._late = loop.call_later(limits.HANDSHAKE_SECONDS_MAX, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        self._inbox += data
        if not self._is_proven and not self._shake_hands():
            return
        position, inbox = 0, self._inbox
        while len(inbox) - position >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(inbox, position)
            end = position + _LENGTH.size + length
            if len(inbox) < end:
                if length > limits.FRAME_BYTES_MAX:
                    self._refuse()  # nobody of ours writes such a frame: do not collect it
                break
            frame = bytes(memoryview(inbox)[position + _LENGTH.size : end])
            position = end
            self.frames_in += 1
            self.received(msgpack.unpackb(frame, use_list=False, strict_map_key=False))
        if position:
            del inbox[:position]

    def connection_lost(self, failure: Exception | None) -> None:
        self._transport = None
        self._in_time()
        if not self.proven.done():
            self.proven.set_exception(ConnectionLost("the peer closed during the handshake"))
            self.proven.exception()  # retrieved: whoever waits still gets it
        self.lost()

    # --- sending ------------------------------------------------------------------------------------

    def write(self, message: tuple[Any, ...]) -> None:
        """Queue one frame; everything queued in this turn of the loop leaves together."""
        if self._transport is None:
            return
        body = msgpack.packb(message)
        invariant(len(body) <= limits.FRAME_BYTES_MAX, "a frame fits its limit", length=len(body))
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox.append(_LENGTH.pack(len(body)))
        self._outbox.append(body)
        self.frames_out += 1

    def close(self) -> None:
        self._flush()
        if self._transport is not None:
            self._transport.close()

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def _flush(self) -> None:
        if self._transport is not None and self._outbox:
            self._transport.write(b"".join(self._outbox))
        self._outbox.clear()

    # --- handshake ----------------------------------------------------------------------------------

    def _shake_hands(self) -> bool:
        """Nonces first, then proofs. A wrong proof closes the socket without a word."""
        inbox = self._inbox
        if not self._peer_nonce:
            hello_bytes = len(_MAGIC) + _NONCE_BYTES
            if len(inbox) < hello_bytes:
                return False
            if bytes(inbox[: len(_MAGIC)]) != _MAGIC:
                return self._refuse()
            self._peer_nonce = bytes(inbox[len(_MAGIC) : hello_bytes])
            del inbox[:hello_bytes]
            assert self._transport is not None
            self._transport.write(self._proof(of_server=self._is_server))
        if len(inbox) < _PROOF_BYTES:
            return False
        expected = self._proof(of_server=not self._is_server)
        if not hmac.compare_digest(bytes(inbox[:_PROOF_BYTES]), expected):
            return self._refuse()
        del inbox[:_PROOF_BYTES]
        self._is_proven = True
        self._in_time()
        self.proven.set_result(None)
        return True

    def _proof(self, *, of_server: bool) -> bytes:
        nonces = (self._own_nonce, self._peer_nonce)
        client_nonce, server_nonce = reversed(nonces) if self._is_server else nonces
        side = b"server" if of_server else b"client"
        return hmac.new(self._key, side + client_nonce + server_nonce, hashlib.sha256).digest()

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()

    def _refuse(self) -> bool:
        if self._transport is not None:
            self._transport.abort()
        return False

    # --- for subclasses -----------------------------------------------------------------------------

    def received(self, message: tuple[Any, ...]) -> None:
        raise NotImplementedError

    def lost(self) -> None:
        raise NotImplementedError


class SocketPeer(_Framed):
    """actors.runtime.Peer: the asking end."""

    def __init__(self, secret: bytes, on_push: PushHandler, on_lost: Callable[[], None]) -> None:
        super().__init__(secret, is_server=False)
        self._on_push, self._on_lost = on_push, on_lost
        self._ids = itertools.count(1)
        self._open: dict[int, asyncio.Future[Any]] = {}

    @property
    def calls_open(self) -> int:
        return len(self._open)

    async def call(self, method: str, *arguments: Any) -> Any:
        if not self.is_open:
            raise ConnectionLost(f"no connection to ask {method}")
        call_id = next(self._ids)
        answered = self._open[call_id] = asyncio.get_running_loop().create_future()
        self.write((_CALL, call_id, method, arguments))
        try:
            return await answered
        finally:
            self._open.pop(call_id, None)

    def send(self, method: str, *arguments: Any) -> None:
        self.write((_SEND, method, arguments))

    def received(self, message: tuple[Any, ...]) -> None:
        kind = message[0]
        if kind == _PUSH:
            self._on_push(message[1], message[2])
            return
        answered = self._open.get(message[1])
        if answered is None or answered.done():
            return  # the asker gave up
        if kind == _ANSWER:
            answered.set_result(message[2])
        else:
            answered.set_exception(BackendError(_KINDS[message[2]], *message[3:6]))

    def lost(self) -> None:
        for answered in list(self._open.values()):
            if not answered.done():
                answered.set_exception(ConnectionLost("the peer went away before it answered"))
        self._on_lost()


class _SocketClient(_Framed):
    """The actor's end of one connection; actors.runtime.Client."""

    def __init__(self, secret: bytes, server: ActorServer) -> None:
        super().__init__(secret, is_server=True)
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()

    def push(self, event: str, *arguments: Any) -> None:
        self.write((_PUSH, event, arguments))

    def received(self, message: tuple[Any, ...]) -> None:
        if message[0] == _CALL:
            _, call_id, method, arguments = message
            self._spawn(self._answer(call_id, method, arguments))
        elif message[0] == _SEND:
            self._spawn(self._answer(None, message[1], message[2]))

    def lost(self) -> None:
        self._server.forget(self)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, call_id: int | None, method: str, arguments: tuple[Any, ...]) -> None:
        actor = self._server.actor
        try:
            value = await actor.handle(self, method, arguments)
            if call_id is not None:
                self.write((_ANSWER, call_id, value))
        except BackendError as refusal:
            if call_id is not None:
                facts = (refusal.kind.value, refusal.code, refusal.message, refusal.data)
                self.write((_REFUSAL, call_id, *facts))
        except asyncio.CancelledError:
            raise
        except BaseException as failure:
            _logger.exception("%s failed", method)
            self._server.stop_process(failure)


class ActorServer:
    """Serves one actor on a TCP port of one explicit address."""

    def __init__(self, actor: Actor, secret: bytes, stop_process: Callable[[BaseException], None]) -> None:
        self.actor, self.stop_process = actor, stop_process
        self._secret = secret
        self._clients: set[_SocketClient] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str) -> tuple[str, int]:
        """Listen on a free port; returns the address others connect to."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, host, 0)
        bound = self._server.sockets[0].getsockname()
        return bound[0], bound[1]

    async def stop(self) -> None:
        for client in list(self._clients):
            client.close()
        if self._server is not None:
            self._server.close()

    def forget(self, client: _SocketClient) -> None:
        self._clients.discard(client)
        self.actor.disconnected(client)

    def frames(self) -> tuple[int, int]:
        """(frames in, frames out) over the connections that are open now."""
        return sum(c.frames_in for c in self._clients), sum(c.frames_out for c in self._clients)

    def _accept(self) -> _SocketClient:
        client = _SocketClient(self._secret, self)
        self._clients.add(client)
        return client


async def connect(
    host: str, port: int, secret: bytes, on_push: PushHandler, on_lost: Callable[[], None]
) -> SocketPeer:
    """Open a proven connection, or raise ConnectionLost."""
    loop = asyncio.get_running_loop()
    try:
        _, peer = await loop.create_connection(lambda: SocketPeer(secret, on_push, on_lost), host, port)
    except OSError as failure:
        raise ConnectionLost(f"cannot connect to {host}:{port}: {failure}") from failure
    try:
        await peer.proven
    except BaseException:
        peer.close()
        raise
    return peer
