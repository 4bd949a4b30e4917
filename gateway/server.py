"""Runs the gateway on two ports inside an existing event loop: API and site (design D18, D27).

Each port is bound exclusively to an explicit host: two servers on one port would share clients at random.
No signal handlers: whoever runs the process decides when to stop and calls `shutdown`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from ipaddress import ip_network

import uvicorn

from gateway.app import build_app
from gateway.backend import Backend, GatewaySettings
from gateway.core import GatewayCore
from gateway.http import App
from gateway.http_protocol import BoundedHttp
from gateway.routes.http_actions import HttpActionRoutes
from gateway.sink_delivery import LogSink, sinks_of
from gateway.websocket_protocol import DirectWebSocket
from log import errors
from log.blob_store import BlobStore
from log.limits import GATEWAY_HEARTBEAT_SECONDS, SOCKET_MESSAGE_BYTES_MAX

logger = logging.getLogger(__name__)

_LISTEN_BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 75
_GRACEFUL_SECONDS = 5


def networks_of(text: str) -> list[str]:
    """Addresses and networks separated by commas. Those of IPv4 also in the form that a socket shows which
    listens for both families."""
    given = [ip_network(part.strip()) for part in text.split(",") if part.strip()]
    mapped = [f"::ffff:{each.network_address}/{96 + each.prefixlen}" for each in given if each.version == 4]
    return [*map(str, given), *mapped]


def bind_exclusively(host: str, port: int) -> socket.socket:
    """A listening socket on host:port (0: any free one), or PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio switches Nagle's delay off only where it reads TCP here; left
    # out, every second small frame waits 40 ms for the client's delayed acknowledgement (measured).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # REUSEADDR only skips the wait after a restart; on Linux it never lets two servers listen.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_LISTEN_BACKLOG)
    except OSError as failure:
        listener.close()
        raise errors.port_taken(host, port) from failure
    listener.setblocking(False)
    return listener


class GatewayServer:
    """Start with `start` (or `serve`, which returns at the end), stop with `shutdown`.

    A defect stops the gateway; `serve` then raises it, so that the process ends and is started anew.
    """

    def __init__(
        self,
        backend: Backend,
        settings: GatewaySettings,
        host: str = "127.0.0.1",
        port: int = 3210,
        site_port: int | None = 3211,
        blobs: BlobStore | None = None,
    ) -> None:
        self._backend, self._settings, self._blobs = backend, settings, blobs
        self._host = host
        self._listener = bind_exclusively(host, port)
        try:
            self._site_listener = None if site_port is None else bind_exclusively(host, site_port)
        except BaseException:
            self._listener.close()
            raise
        self._servers: list[uvicorn.Server] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._sinks: list[LogSink] = []
        self._defect: BaseException | None = None
        self._watching: asyncio.TimerHandle | None = None
        self.core: GatewayCore | None = None

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def site_port(self) -> int | None:
        return None if self._site_listener is None else int(self._site_listener.getsockname()[1])

    @property
    def executions_dropped(self) -> int | None:
        """Executions that sinks have given up; None where there are no sinks."""
        return sum(sink.dropped for sink in self._sinks) if self._sinks else None

    async def start(self) -> None:
        """Return once both ports answer."""
        self.core = GatewayCore(self._backend, self._settings, self._stop_on_defect)
        self.core.start()
        self._sinks = sinks_of(self.core.function_log, self._settings, self._stop_on_defect)
        for sink in self._sinks:
            sink.start()
        self._serve(build_app(self.core, self._blobs), self._listener)
        if self._site_listener is not None:
            self._serve(HttpActionRoutes(self.core), self._site_listener)
        while not all(server.started for server in self._servers):
            ended = [task for task in self._tasks if task.done()]
            for task in ended:
                task.result()
            await asyncio.sleep(0.005)
        self._watch_connections()

    async def serve(self) -> None:
        """Serve until `shutdown` or a defect."""
        await self.start()
        await asyncio.gather(*self._tasks)
        self._stop_core()
        if self._defect is not None:
            raise self._defect

    async def shutdown(self, drain_seconds: float = 0.0) -> None:
        """Announce it at /health/ready for `drain_seconds`, serving meanwhile; then close the ports and the
        sockets (clients reconnect by themselves)."""
        if self.core is not None:
            self.core.is_draining = True
        await asyncio.sleep(drain_seconds)
        self._stop_core()
        if self.core is not None:
            self.core.sync.close_all()
        for server in self._servers:
            server.should_exit = True
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(sink.stop() for sink in self._sinks))

    def _stop_core(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self.core is not None:
            self.core.stop()

    def look_at_connections(self, now: float) -> None:
        """Close those whose clients are late with a request, at the loop's time `now`."""
        for server in self._servers:
            for connection in list(server.server_state.connections):
                if isinstance(connection, BoundedHttp):
                    connection.look(now)

    def _watch_connections(self) -> None:
        """Now and then: one timer for all connections."""
        loop = asyncio.get_running_loop()
        self.look_at_connections(loop.time())
        self._watching = loop.call_later(GATEWAY_HEARTBEAT_SECONDS, self._watch_connections)

    def _serve(self, app: App, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app,  # type: ignore[arg-type]
            http=BoundedHttp,
            ws=DirectWebSocket,
            loop="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=bool(self._settings.trusted_proxies),
            forwarded_allow_ips=networks_of(self._settings.trusted_proxies),
            server_header=False,
            date_header=False,
            ws_max_size=SOCKET_MESSAGE_BYTES_MAX,
            ws_ping_interval=None,  # our own heartbeat pings: one timer for all sockets
            ws_per_message_deflate=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        )
        server = uvicorn.Server(config)
        self._servers.append(server)
        # `_serve` and not `serve`: the latter would take over the process's signal handlers.
        self._tasks.append(asyncio.get_running_loop().create_task(server._serve(sockets=[listener])))

    def _stop_on_defect(self, defect: BaseException) -> None:
        logger.critical("a promise of the gateway is broken: stopping", exc_info=defect)
        self._defect = self._defect or defect
        for server in self._servers:
            server.should_exit = True
