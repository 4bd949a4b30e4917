"""All actors in one process, calling one another directly: tests, and installations without Ray.

Every message still goes through msgpack, so that what works here has the wire's types.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack

from actors.core import Core
from actors.executor import Executor
from actors.executor_pool import ExecutorPool
from actors.executor_settings import ExecutorSettings
from actors.runtime import Actor, PushHandler
from cluster.backend import ClusterBackend
from cluster.stores import log_opener, open_log_store
from functions.isolate import Engine
from log.store import LogStore


class DirectPeer:
    """actors.runtime.Peer and Client at once: both ends of a connection inside one process."""

    def __init__(self, actor: Actor, on_push: PushHandler) -> None:
        self._actor, self._on_push = actor, on_push

    async def call(self, method: str, *arguments: Any) -> Any:
        answer = _copied(await self._actor.handle(self, method, _copied(arguments)))
        await asyncio.sleep(0)  # what was pushed meanwhile is heard before the answer
        return answer

    def send(self, method: str, *arguments: Any) -> None:
        task = asyncio.get_running_loop().create_task(self.call(method, *arguments))
        _background.add(task)
        task.add_done_callback(_background.discard)

    def push(self, event: str, *arguments: Any) -> None:
        asyncio.get_running_loop().call_soon(self._on_push, event, _copied(arguments))


_background: set[asyncio.Task[Any]] = set()


def _copied(message: Any) -> Any:
    return msgpack.unpackb(msgpack.packb(message), use_list=False, strict_map_key=False)


class LocalRuntime:
    """A whole deployment in this process. `backend` is what a gateway is built on."""

    def __init__(
        self,
        data_folder: Path,
        engine: Engine,
        settings: ExecutorSettings,
        *,
        store: LogStore | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.failures: list[BaseException] = []
        log_store, opener = store, None
        if log_store is None:
            log_store = open_log_store("", data_folder / "log")
            opener = log_opener(log_store, "", data_folder / "log")
        self.core = Core(log_store, data_folder / "views", now_ns, self.failures.append, open_log=opener)
        self._executors = ExecutorPool()
        self.executor = Executor(engine, settings, now_ns, self._executors)
        self.backend = ClusterBackend()

    async def start(self) -> None:
        await self.core.start()
        await self.executor.connect(DirectPeer(self.core, _ignore))
        executor = DirectPeer(self.executor, _ignore)  # a fast one and a slow one at once
        for be_told in (
            self._executors.set,
            self.core.scheduler.set_executors,
            self.core.scheduler.set_slow_executors,
            self.backend.set_executors,
            self.backend.set_slow_executors,
        ):
            be_told([executor])
        core = DirectPeer(self.core, self.backend.pushed)
        self.backend.set_roster(lambda: {"core": core, "executor-1": executor})
        await self.backend.set_core(core)

    async def stop(self) -> None:
        await self.executor.close()
        await self.core.stop()
        self.executor.release_view()


def _ignore(event: str, arguments: tuple[Any, ...]) -> None:
    return None
