"""The process of the core: commit log, view, subscriptions, scheduler, and its connections to executors."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import NoReturn

from actors.core import Core
from cluster.data_folder import DataFolder, StartRefused
from cluster.host_config import Address, HostConfig, Peers
from cluster.links import ExecutorLinks, stop_process
from cluster.status_actor import serve
from cluster.stores import blobs_of, log_opener, open_log_store
from log.store import EpochLost

_CLOCK_BEHIND_NS_MAX = 60 * 10**9


def check_clock(now_ns: int, last_ts: int) -> None:
    """Commits would still be ordered by a clock that went back, but their times would mean nothing."""
    if last_ts - now_ns > _CLOCK_BEHIND_NS_MAX:
        raise StartRefused(
            f"The clock is {(last_ts - now_ns) // 10**9} s behind the last record of the log. "
            "Set the clock, then start again."
        )


class CoreHost:
    """The commit log, the view's writer, the subscriptions and the scheduler."""

    def __init__(self, config: HostConfig) -> None:
        self._config = config
        self._links: list[ExecutorLinks] = []

    async def start(self) -> Address:
        data = Path(self._config.data_folder)
        store = open_log_store(self._config.log_url, data / "log")
        check_clock(time.time_ns(), store.end().ts)
        opener = log_opener(store, self._config.log_url, data / "log")
        self._core = Core(
            store, data / "views", time.time_ns, self._stop_process, blobs_of(self._config), opener
        )
        await self._core.start()
        secret, scheduler = self._config.instance_secret, self._core.scheduler
        self._links = [
            ExecutorLinks(secret, scheduler.set_executors),
            ExecutorLinks(secret, scheduler.set_slow_executors),
        ]
        self._server, address = await serve(self._core, self._config)
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
