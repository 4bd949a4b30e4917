"""What one process hosts: an actor, its socket server, its connections to the others.

Independent of how the process came to be (Ray, or a test). A host is told the addresses of all actors by
the supervisor (`set_peers`), connects to those it needs, and connects again when one changed or was lost.
An unexpected failure ends the process: the supervisor starts it anew from the log.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn, Protocol

from actors.core import Core
from actors.executor import Executor
from actors.executor_pool import ExecutorPool
from actors.executor_settings import ExecutorSettings
from actors.runtime import Actor, ConnectionLost, PushHandler
from cluster.backend import ClusterBackend
from cluster.data_folder import DataFolder, StartRefused
from cluster.host_config import HostConfig
from cluster.status_actor import StatusActor
from cluster.stores import open_blob_store, open_log_store
from cluster.transport import ActorServer, SocketPeer, connect
from log.blob_store import BlobStore
from log.store import EpochLost

_logger = logging.getLogger(__name__)
_RECONNECT_SECONDS = 0.1
EXIT_STATUS_DEFECT = 70
_CLOCK_BEHIND_NS_MAX = 60 * 10**9

_SLOW_NICENESS = 5
SLOW_EXECUTOR = "slow-executor"

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Peers:
    """Where everyone is."""

    core: Address
    executors: dict[str, Address]
    slow_executors: dict[str, Address] = field(default_factory=dict)


class Host(Protocol):
    """One process's part of a deployment."""

    async def start(self) -> Address: ...

    async def set_peers(self, peers: Peers) -> None: ...

    async def stop(self) -> None: ...


def make_host(config: HostConfig) -> Host:
    if config.role == "core":
        return CoreHost(config)
    if config.role == "gateway":
        return GatewayHost(config)
    if config.role == SLOW_EXECUTOR:
        return SlowExecutorHost(config)
    return ExecutorHost(config)


def stop_process(failure: BaseException) -> NoReturn:
    """The state this process owns may be half-changed (design D5): end, without clean-up."""
    _logger.critical("stopping after an unexpected failure", exc_info=failure)
    logging.shutdown()
    os._exit(EXIT_STATUS_DEFECT)


def check_clock(now_ns: int, last_ts: int) -> None:
    """Commits would still be ordered by a clock that went back, but their times would mean nothing."""
    if last_ts - now_ns > _CLOCK_BEHIND_NS_MAX:
        raise StartRefused(
            f"The clock is {(last_ts - now_ns) // 10**9} s behind the last record of the log. "
            "Set the clock, then start again."
        )


class Link:
    """A connection kept up to one actor: opened, opened again when lost or when the actor moved."""

    def __init__(
        self,
        secret: bytes,
        on_push: PushHandler,
        on_up: Callable[[SocketPeer], Any],
        on_down: Callable[[], None] = lambda: None,
    ) -> None:
        self._secret, self._on_push, self._on_up, self._on_down = secret, on_push, on_up, on_down
        self._address: Address | None = None
        self._peer: SocketPeer | None = None
        self._opening: asyncio.Task[None] | None = None

    @property
    def peer(self) -> SocketPeer | None:
        """The open connection, if there is one now."""
        return self._peer if self._peer is not None and self._peer.is_open else None

    async def point_to(self, address: Address) -> None:
        """Be connected to this address when this returns, or keep trying in the background."""
        if address == self._address and self._peer is not None and self._peer.is_open:
            return
        if address != self._address and self._opening is not None:
            self._opening.cancel()  # it may wait for ever at the old address
            self._opening = None
        self._address = address
        if self._peer is not None:
            self._peer.close()
        await self._open()

    def close(self) -> None:
        self._address = None
        if self._opening is not None:
            self._opening.cancel()
        if self._peer is not None:
            self._peer.close()

    async def _open(self) -> None:
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open_until_up())
        await asyncio.wait({self._opening}, timeout=5)

    async def _open_until_up(self) -> None:
        while (address := self._address) is not None:
            try:
                self._peer = await connect(*address, self._secret, self._on_push, self._lost)
                await self._on_up(self._peer)
                if self._peer.is_open:
                    return
                # Lost meanwhile: `_lost` saw that we are still at it, and left it to us.
            except ConnectionLost:
                await asyncio.sleep(_RECONNECT_SECONDS)
            except Exception as failure:
                stop_process(failure)

    def _lost(self) -> None:
        self._on_down()
        if self._address is not None and (self._opening is None or self._opening.done()):
            self._opening = asyncio.create_task(self._open_until_up())


class ExecutorLinks:
    """Connections kept up to all executors; `changed` hears which are there now, in the order of names."""

    def __init__(self, secret: bytes, changed: Callable[[list[SocketPeer]], None]) -> None:
        self._secret, self._changed = secret, changed
        self._links: dict[str, Link] = {}
        self._up: dict[str, SocketPeer] = {}

    def by_name(self) -> dict[str, SocketPeer | None]:
        """All that were ever pointed to; None for those that are not connected now."""
        return {name: self._links[name].peer for name in sorted(self._links)}

    async def point_to(self, executors: dict[str, Address]) -> None:
        for name in executors.keys() - self._links.keys():
            self._links[name] = self._link(name)
        await asyncio.gather(*(self._links[name].point_to(address) for name, address in executors.items()))

    def close(self) -> None:
        for link in self._links.values():
            link.close()

    def _link(self, name: str) -> Link:
        async def on_up(peer: SocketPeer) -> None:
            self._up[name] = peer
            self._tell()

        def on_down() -> None:
            self._up.pop(name, None)
            self._tell()

        return Link(self._secret, _ignore, on_up, on_down)

    def _tell(self) -> None:
        self._changed([self._up[name] for name in sorted(self._up)])


async def _serve(actor: Actor, config: HostConfig) -> tuple[ActorServer, Address]:
    status = StatusActor(actor, config.role)
    server = ActorServer(status, config.instance_secret, stop_process)
    status.server = server
    return server, await server.start(config.host if config.host != "0.0.0.0" else "127.0.0.1")


def _blobs_of(config: HostConfig) -> BlobStore:
    return open_blob_store(config.files_url, DataFolder(Path(config.data_folder)).files)


class CoreHost:
    """The commit log, the view's writer, the subscriptions and the scheduler."""

    def __init__(self, config: HostConfig) -> None:
        self._config = config
        self._links: list[ExecutorLinks] = []

    async def start(self) -> Address:
        data = Path(self._config.data_folder)
        store = open_log_store(self._config.log_url, data / "log")
        check_clock(time.time_ns(), store.end().ts)
        self._core = Core(store, data / "views", time.time_ns, self._stop_process, _blobs_of(self._config))
        await self._core.start()
        secret, scheduler = self._config.instance_secret, self._core.scheduler
        self._links = [
            ExecutorLinks(secret, scheduler.set_executors),
            ExecutorLinks(secret, scheduler.set_slow_executors),
        ]
        self._server, address = await _serve(self._core, self._config)
        return address

    def _stop_process(self, failure: BaseException) -> NoReturn:
        try:
            if isinstance(failure, EpochLost):
                DataFolder(Path(self._config.data_folder)).mark_fenced(str(failure))
        finally:
            stop_process(failure)

    async def set_peers(self, peers: Peers) -> None:
        """Executors run what is scheduled."""
        fast, slow = self._links
        await asyncio.gather(fast.point_to(peers.executors), slow.point_to(peers.slow_executors))

    async def stop(self) -> None:
        for links in self._links:
            links.close()
        await self._server.stop()
        await self._core.stop()


class ExecutorHost:
    """One JavaScript engine."""

    def __init__(self, config: HostConfig, others: ExecutorPool | None = None) -> None:
        self._config, self._others = config, others

    async def start(self) -> Address:
        from functions.quickjs import Engine

        config = self._config
        settings = ExecutorSettings(
            config.instance_name,
            config.instance_secret,
            config.cloud_origin,
            config.site_origin,
            _blobs_of(config),
            config.egress_refuse_private,
            DataFolder(Path(config.data_folder)).node if self._others is not None else None,
            config.actions_at_once_max,
            config.node_actions_at_once_max,
        )
        engine = Engine(Path(config.cache_folder))
        self._executor = Executor(engine, settings, time.time_ns, self._others)
        self._link = Link(config.instance_secret, _ignore, self._executor.connect)
        self._server, address = await _serve(self._executor, config)
        return address

    async def set_peers(self, peers: Peers) -> None:
        await self._link.point_to(peers.core)

    async def stop(self) -> None:
        self._link.close()
        await self._server.stop()
        await self._executor.close()


class SlowExecutorHost(ExecutorHost):
    """The engine that runs actions (design D12). The queries and mutations they call are run by the others,
    which go before it where processors are few."""

    def __init__(self, config: HostConfig) -> None:
        self._pool = ExecutorPool()
        super().__init__(config, self._pool)

    async def start(self) -> Address:
        os.nice(_SLOW_NICENESS)
        self._links = ExecutorLinks(self._config.instance_secret, self._pool.set)
        return await super().start()

    async def set_peers(self, peers: Peers) -> None:
        await asyncio.gather(super().set_peers(peers), self._links.point_to(peers.executors))

    async def stop(self) -> None:
        self._links.close()
        await super().stop()


class GatewayHost:
    """The two public ports."""

    def __init__(self, config: HostConfig) -> None:
        self._config = config

    async def start(self) -> Address:
        from cluster.gateway_questions import GatewayQuestions
        from gateway.backend import GatewaySettings
        from gateway.server import GatewayServer

        config = self._config
        self._backend = ClusterBackend()
        settings = GatewaySettings(
            instance_name=config.instance_name,
            instance_secret=config.instance_secret,
            cloud_origin=config.cloud_origin,
            site_origin=config.site_origin,
            redact_errors=config.redact_errors,
            server_version=metadata.version("tidelog"),
            sink_file=config.sink_file,
            sink_url=config.sink_url,
        )
        self._gateway = GatewayServer(
            self._backend, settings, config.host, config.port, config.site_port, _blobs_of(config)
        )
        self._core_link = Link(config.instance_secret, self._backend.pushed, self._backend.set_core)
        self._executors = ExecutorLinks(config.instance_secret, self._backend.set_executors)
        self._slow_executors = ExecutorLinks(config.instance_secret, self._backend.set_slow_executors)
        self._backend.set_roster(self._roster)
        self._status_server, address = await _serve(GatewayQuestions(self._gateway), config)
        self._is_serving = False
        return address

    def _roster(self) -> dict[str, SocketPeer | None]:
        return {
            "core": self._core_link.peer,
            **self._executors.by_name(),
            **self._slow_executors.by_name(),
        }

    async def set_peers(self, peers: Peers) -> None:
        """The ports answer once a core and an executor are there."""
        # At the same time: an executor that does not answer keeps nobody from the new core.
        await asyncio.gather(
            self._core_link.point_to(peers.core),
            self._executors.point_to(peers.executors),
            self._slow_executors.point_to(peers.slow_executors),
        )
        if not self._is_serving:
            self._is_serving = True
            self._serving = asyncio.create_task(self._serve_until_stopped())

    async def stop(self) -> None:
        if self._is_serving:
            await self._gateway.shutdown(self._config.drain_seconds)
        self._core_link.close()
        self._executors.close()
        self._slow_executors.close()
        await self._status_server.stop()

    async def _serve_until_stopped(self) -> None:
        try:
            await self._gateway.serve()
        except BaseException as failure:
            stop_process(failure)


def _ignore(event: str, arguments: tuple[Any, ...]) -> None:
    return None
