"""The process of the gateway: the two public ports, and its connections to everybody else."""

from __future__ import annotations

import asyncio
from importlib import metadata

from cluster.backend import ClusterBackend
from cluster.gateway_questions import GatewayQuestions
from cluster.host_config import Address, HostConfig, Peers
from cluster.links import ExecutorLinks, Link, stop_process
from cluster.status_actor import serve
from cluster.stores import blobs_of
from cluster.transport import SocketPeer
from gateway.backend import GatewaySettings
from gateway.server import GatewayServer


class GatewayHost:
    """The two public ports."""

    def __init__(self, config: HostConfig) -> None:
        self._config = config

    async def start(self) -> Address:
        config = self._config
        self._backend = ClusterBackend()
        settings = GatewaySettings(
            instance_name=config.instance_name,
            instance_secret=config.instance_secret,
            redact_errors=config.redact_errors,
            trusted_proxies=config.trusted_proxies,
            server_version=metadata.version("tidelog"),
            sink_file=config.sink_file,
            sink_url=config.sink_url,
        )
        self._gateway = GatewayServer(
            self._backend, settings, config.host, config.port, config.site_port, blobs_of(config)
        )
        self._core_link = Link(config.instance_secret, self._backend.pushed, self._backend.set_core)
        self._executors = ExecutorLinks(config.instance_secret, self._backend.set_executors)
        self._slow_executors = ExecutorLinks(config.instance_secret, self._backend.set_slow_executors)
        self._backend.set_roster(self._roster)
        self._status_server, address = await serve(GatewayQuestions(self._gateway), config)
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
