"""Connections with the promises of actors/runtime.py and no others: in order, late, and cut at any time.

A channel is one direction of a connection: messages arrive in the order they were sent, each after a delay
of its own; several that are due at once arrive in one go, as frames of one segment do. When a connection is
cut, what is on its way arrives or not, and each end learns of it in its own time.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any

import msgpack

from actors.runtime import Actor, ConnectionLost, PushHandler
from log.errors import BackendError, ErrorKind

from .processes import Process, ProcessKilled, running_process

Address = tuple[str, int]
_HANDSHAKE_SECONDS = 0.05
_KINDS = {kind.value: kind for kind in ErrorKind}


class Network:
    """How long things take. `observed` hears every answer and push of an actor as it is sent."""

    def __init__(self, loop: asyncio.AbstractEventLoop, chance: random.Random) -> None:
        self.loop, self.chance = loop, chance
        self.slow_share = 0.02
        self.messages = 0
        self.connections: dict[Connection, None] = {}
        self.servers: dict[Address, Server] = {}
        self.observed: Callable[[Process, str, tuple[Any, ...], Any], None] = lambda *_: None

    def delay(self) -> float:
        """Mostly fractions of a millisecond; now and then long enough for everything else to happen."""
        chance = self.chance
        if chance.random() < self.slow_share:
            return chance.random() * 0.3
        return chance.random() * 0.002

    async def connect(
        self, host: str, port: int, secret: bytes, on_push: PushHandler, on_lost: Callable[[], None]
    ) -> SimulatedPeer:
        """In the place of cluster/transport.py's: a frozen process lets whoever connects wait."""
        server = self.servers[host, port]
        await asyncio.sleep(self.delay())
        while server.process.is_frozen and server.process.is_alive:
            await asyncio.sleep(_HANDSHAKE_SECONDS)
        if not server.process.is_alive:
            raise ConnectionLost(f"nobody listens at {host}:{port}")
        return SimulatedPeer(self, running_process(), server, on_push, on_lost)


class Channel:
    """One direction. `receive` runs in the receiver's process."""

    def __init__(self, network: Network, receiver: Process, receive: Callable[[Any], None]) -> None:
        self._network, self._receiver, self._receive = network, receiver, receive
        self._waiting: deque[tuple[float, Any]] = deque()
        self._last_at = 0.0
        self._is_open = True
        self._is_cut = False

    def send(self, message: Any) -> None:
        if not self._is_open:
            return
        network = self._network
        self._last_at = max(self._last_at, network.loop.time() + network.delay())
        self._waiting.append((self._last_at, message))
        network.loop.call_at(self._last_at, self._deliver, context=self._receiver.context)

    def cut(self, *, loses_all: bool) -> None:
        """Nothing more is sent; what is on its way arrives, or nothing does."""
        self._is_open = False
        self._is_cut = loses_all

    def close(self) -> None:
        """The receiver listens no more."""
        self._is_open, self._is_cut = False, True

    def _deliver(self) -> None:
        now = self._network.loop.time() + 1e-9
        while self._waiting and self._waiting[0][0] <= now and not self._is_cut:
            if not self._receiver.is_alive:
                return
            if self._receiver.is_frozen:
                until = self._receiver.frozen_until
                self._network.loop.call_at(until, self._deliver, context=self._receiver.context)
                return
            _, message = self._waiting.popleft()
            self._network.messages += 1
            self._receive(message)


class Connection:
    """Two ends and two channels. An end that was cut off hears `lost`, once, unless it is dead."""

    def __init__(
        self,
        network: Network,
        ends: tuple[Process, Process],
        receive: tuple[Callable[[Any], None], Callable[[Any], None]],
        lost: tuple[Callable[[], None], Callable[[], None]],
    ) -> None:
        """`receive` and `lost` are those of the opening and of the accepting end."""
        self._network, self._ends, self._lost = network, ends, lost
        self.name = f"{ends[0].name} - {ends[1].name}"
        self.to_opener = Channel(network, ends[0], receive[0])
        self.to_acceptor = Channel(network, ends[1], receive[1])
        self._is_cut = False
        network.connections[self] = None
        for end in ends:
            end.connections[self] = None

    def cut(self) -> None:
        if self._is_cut:
            return
        self._is_cut = True
        del self._network.connections[self]
        channels = (self.to_opener, self.to_acceptor)
        for end, channel, lost in zip(self._ends, channels, self._lost, strict=True):
            channel.cut(loses_all=self._network.chance.random() < 0.5)
            end.connections.pop(self, None)
            self._learn(end, channel, lost)

    def _learn(self, end: Process, channel: Channel, lost: Callable[[], None]) -> None:
        def learn() -> None:
            if not end.is_alive:
                return
            if end.is_frozen:
                self._network.loop.call_at(end.frozen_until + 1e-6, learn, context=end.context)
                return
            channel.close()
            lost()

        self._network.loop.call_later(self._network.delay(), learn, context=end.context)


class SimulatedPeer:
    """actors.runtime.Peer: the asking end of a connection to an actor."""

    def __init__(
        self,
        network: Network,
        owner: Process,
        server: Server,
        on_push: PushHandler,
        on_lost: Callable[[], None],
    ) -> None:
        self._on_push, self._on_lost = on_push, on_lost
        self._next_id = 0
        self._open: dict[int, asyncio.Future[Any]] = {}
        self._is_open = True
        client = _Client(network, server)
        self._connection = Connection(
            network,
            (owner, server.process),
            (self._received, client.received),
            (self._lose, client.lost),
        )
        client.connection = self._connection

    @property
    def is_open(self) -> bool:
        return self._is_open

    async def call(self, method: str, *arguments: Any) -> Any:
        if not self._is_open:
            raise ConnectionLost(f"no connection to ask {method}")
        self._next_id += 1
        call_id = self._next_id
        answered = self._open[call_id] = asyncio.get_running_loop().create_future()
        self._connection.to_acceptor.send((call_id, method, msgpack.packb(arguments)))
        try:
            return await answered
        finally:
            self._open.pop(call_id, None)

    def send(self, method: str, *arguments: Any) -> None:
        self._connection.to_acceptor.send((None, method, msgpack.packb(arguments)))

    def close(self) -> None:
        """Nothing is received any more; whoever waits learns of it a turn of the loop later."""
        self._connection.to_opener.close()
        self._connection.cut()
        asyncio.get_running_loop().call_soon(self._lose)

    def _received(self, message: tuple[str, Any, bytes]) -> None:
        kind, key, packed = message
        content = _unpacked(packed)
        if kind == "push":
            self._on_push(key, content)
            return
        answered = self._open.get(key)
        if answered is None or answered.done():
            return
        if kind == "answer":
            answered.set_result(content)
        else:
            answered.set_exception(BackendError(_KINDS[content[0]], *content[1:]))

    def _lose(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        for answered in list(self._open.values()):
            if not answered.done():
                answered.set_exception(ConnectionLost("the peer went away before it answered"))
        self._on_lost()


class _Client:
    """actors.runtime.Client: the actor's end."""

    def __init__(self, network: Network, server: Server) -> None:
        self._network, self._server = network, server
        self.connection: Connection | None = None

    def push(self, event: str, *arguments: Any) -> None:
        self._network.observed(self._server.process, event, arguments, None)
        self._send(("push", event, msgpack.packb(arguments)))

    def received(self, message: tuple[int | None, str, bytes]) -> None:
        call_id, method, packed = message
        asyncio.get_running_loop().create_task(self._answer(call_id, method, _unpacked(packed)))

    def lost(self) -> None:
        self._server.actor.disconnected(self)

    async def _answer(self, call_id: int | None, method: str, arguments: tuple[Any, ...]) -> None:
        """As the real server does: refusals are answered, anything else unexpected ends the process."""
        try:
            value = await self._server.actor.handle(self, method, arguments)
            if call_id is not None:
                self._network.observed(self._server.process, method, arguments, value)
                self._send(("answer", call_id, msgpack.packb(value)))
        except BackendError as refusal:
            if call_id is not None:
                facts = (refusal.kind.value, refusal.code, refusal.message, refusal.data)
                self._send(("refusal", call_id, msgpack.packb(facts)))
        except (asyncio.CancelledError, ProcessKilled):
            raise
        except BaseException as failure:
            self._server.stop_process(failure)

    def _send(self, message: tuple[str, Any, bytes]) -> None:
        if self._server.process.is_alive and self.connection is not None:
            self.connection.to_opener.send(message)


class Server:
    """Where an actor listens, from now on."""

    def __init__(
        self, network: Network, process: Process, actor: Actor, stop_process: Callable[[BaseException], None]
    ) -> None:
        self.process, self.actor, self.stop_process = process, actor, stop_process
        self.address: Address = (process.name, len(network.servers))
        network.servers[self.address] = self


def _unpacked(packed: bytes) -> Any:
    return msgpack.unpackb(packed, use_list=False, strict_map_key=False)
