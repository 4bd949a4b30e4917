"""The processes of executors: fast ones, and the slow one that runs actions."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from actors.executor import Executor
from actors.executor_pool import ExecutorPool
from actors.executor_settings import ExecutorSettings
from cluster.data_folder import DataFolder
from cluster.host_config import Address, HostConfig, Peers
from cluster.links import ExecutorLinks, Link, ignore
from cluster.status_actor import serve
from cluster.stores import blobs_of
from functions.quickjs import Engine

_SLOW_NICENESS = 5


class ExecutorHost:
    """One JavaScript engine."""

    def __init__(self, config: HostConfig, others: ExecutorPool | None = None) -> None:
        self._config, self._others = config, others

    async def start(self) -> Address:
        config = self._config
        settings = ExecutorSettings(
            config.instance_name,
            config.instance_secret,
            config.cloud_origin,
            config.site_origin,
            blobs_of(config),
            config.egress_refuse_private,
            DataFolder(Path(config.data_folder)).node if self._others is not None else None,
            config.actions_at_once_max,
            config.node_actions_at_once_max,
            DataFolder(Path(config.data_folder)).node_packages,
        )
        engine = Engine(Path(config.cache_folder))
        self._executor = Executor(engine, settings, time.time_ns, self._others)
        self._link = Link(config.instance_secret, ignore, self._executor.connect)
        self._server, address = await serve(self._executor, config)
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
