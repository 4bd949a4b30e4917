"""What each simulated process hosts: the real core, executors and gateways, over simulated connections.

Built as cluster/core_host.py and its neighbours build them, with their `Link`; what differs is the ground
they stand on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import orjson

from actors.chain import Attempt, Done
from actors.core import Core
from actors.executor import Executor
from actors.executor_settings import ExecutorSettings
from actors.runtime import Actor
from cluster.backend import ClusterBackend
from cluster.links import Link
from functions.isolate import Engine
from gateway.backend import GatewaySettings
from gateway.client_version import parse_path_version
from gateway.core import GatewayCore
from gateway.sync_socket import Handshake, SyncSocket
from log.identity import NO_REQUESTER
from log.limits import SYSTEM_ATTEMPTS_MAX
from log.record import CallTrace

from .app import AppRunner, set_release
from .model import RELEASE_PATH
from .network import Connection, Network, Server, SimulatedPeer
from .processes import Process

_SECRET = b"s" * 32
_HANDSHAKE = Handshake(parse_path_version("1.48.0"), NO_REQUESTER)
StopProcess = Callable[[Process, BaseException], None]


class CoreHost:
    """One reign: a core in a process of its own. `server` is there once it is up."""

    def __init__(self, process: Process, core: Core) -> None:
        self.process, self.core = process, core
        self.server: Server | None = None

    async def start(self, network: Network, stop: Callable[[BaseException], None]) -> None:
        try:
            await self.core.start()
        except Exception as failure:
            stop(failure)
            return
        self.server = Server(network, self.process, self.core, stop)


class ExecutorHost:
    """An executor that runs the app in Python. `seed` is that of its back-offs."""

    def __init__(
        self,
        network: Network,
        process: Process,
        now_ns: Callable[[], int],
        stop: Callable[[BaseException], None],
    ) -> None:
        self.process, self.telling = process, asyncio.Lock()
        settings = ExecutorSettings("simulated", _SECRET, "http://cloud", "http://site")
        self.executor = Executor(cast(Engine, None), settings, now_ns)
        self.executor._runner = AppRunner()  # type: ignore[assignment]
        self.executor._transactor._random = network.chance
        self.link = process.context.run(Link, _SECRET, _ignore, self.executor.connect)
        self.server = Server(network, process, cast(Actor, self.executor), stop)

    async def set_peers(self, core: Server, executors: dict[str, Server]) -> None:
        await self.link.point_to(core.address)

    async def release(self, name: str, call_id: bytes) -> None:
        """As an operation of the command line runs: system code in a transaction, until it commits."""
        args = orjson.dumps([{"operation": name}])

        def work(attempt: Attempt) -> Done[None]:
            set_release(attempt.transaction, name)
            return Done(None, CallTrace(path=RELEASE_PATH, identity="system", args=args, seed=attempt.seed))

        transact = self.executor._transactor.transact
        with contextlib.suppress(AssertionError):  # not connected yet: nothing happens
            await transact(RELEASE_PATH, call_id, SYSTEM_ATTEMPTS_MAX, work)


class GatewayHost:
    """A gateway without its ports: clients connect to `accept` directly."""

    def __init__(self, network: Network, process: Process, stop: Callable[[BaseException], None]) -> None:
        self.process, self.network = process, network
        self.is_serving = False
        self.telling = asyncio.Lock()
        self.backend = ClusterBackend()
        settings = GatewaySettings("simulated", _SECRET)
        self._up: dict[str, SimulatedPeer] = {}
        self._links: dict[str, Link] = {}
        self._core_link = Link(_SECRET, self.backend.pushed, self.backend.set_core)
        self.core = GatewayCore(self.backend, settings, stop)

    async def set_peers(self, core: Server, executors: dict[str, Server]) -> None:
        """As cluster/gateway_host.py does it: clients are let in when all were reached or out of reach."""
        for name in executors.keys() - self._links.keys():
            self._links[name] = self._executor_link(name)
        pointing = [self._links[name].point_to(server.address) for name, server in executors.items()]
        await asyncio.gather(self._core_link.point_to(core.address), *pointing)
        self.is_serving = True

    def _executor_link(self, name: str) -> Link:
        async def on_up(peer: SimulatedPeer) -> None:
            self._up[name] = peer
            self._share()

        def on_down() -> None:
            self._up.pop(name, None)
            self._share()

        return Link(_SECRET, _ignore, on_up, on_down)  # type: ignore[arg-type]

    def _share(self) -> None:
        self.backend.set_executors([self._up[name] for name in sorted(self._up)])


class ClientConnection:
    """A WebSocket between a client and a gateway: the client's end here, a `Wire` at the gateway's."""

    def __init__(
        self,
        gateway: GatewayHost,
        client: Process,
        received: Callable[[bytes], None],
        lost: Callable[[], None],
    ) -> None:
        self._gateway = gateway
        self._wire = _SimulatedWire()
        self._connection = Connection(
            gateway.network,
            (client, gateway.process),
            (received, self._wire.received),
            (lost, self._wire.gone),
        )
        self._wire.connection = self._connection
        socket = gateway.process.context.run(SyncSocket, gateway.core.sync, self._wire, _HANDSHAKE)
        gateway.process.spawn(socket.run(self._wire.receive))

    def send(self, text: str) -> None:
        self._connection.to_acceptor.send(text)

    def stop_reading(self, seconds: float) -> None:
        """The client reads nothing for a while: the gateway must not pile up what it says."""
        self._wire.is_writable = False
        process = self._gateway.process
        self._gateway.network.loop.call_later(seconds, self._read_again, context=process.context)

    def _read_again(self) -> None:
        if self._gateway.process.is_alive:
            self._wire.read_again()


class _SimulatedWire:
    """gateway.sync_socket.Wire and the ASGI `receive` of one connection."""

    def __init__(self) -> None:
        self.last_received = 0.0
        self.on_writable: Callable[[], None] | None = None
        self.is_writable, self.is_open = True, True
        self.connection: Connection | None = None
        self._inbox: deque[dict[str, Any]] = deque()
        self._arrived: asyncio.Event = asyncio.Event()

    def received(self, text: str) -> None:
        self.last_received = asyncio.get_running_loop().time()
        self._inbox.append({"type": "websocket.receive", "text": text})
        self._arrived.set()

    def gone(self) -> None:
        self.is_open, self.is_writable = False, True
        self._inbox.append({"type": "websocket.disconnect"})
        self._arrived.set()
        if self.on_writable is not None:
            self.on_writable()

    async def receive(self) -> dict[str, Any]:
        while not self._inbox:
            self._arrived.clear()
            await self._arrived.wait()
        return self._inbox.popleft()

    def read_again(self) -> None:
        self.is_writable = True
        if self.on_writable is not None:
            self.on_writable()

    def write_text(self, data: bytes) -> None:
        if self.connection is not None:
            self.connection.to_opener.send(data)

    def write_ping(self) -> None:
        return None

    def close_now(self, code: int | None, reason: str) -> None:
        if self.connection is not None:
            self.connection.cut()


def _ignore(event: str, arguments: tuple[Any, ...]) -> None:
    return None
