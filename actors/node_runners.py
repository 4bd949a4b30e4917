"""The Node processes of one executor: started when a call needs one, used again, ended on any doubt (D12).

Each runs one call at a time, so what one call prints, leaves behind or breaks is never another's. A process
has loaded one bundle under one environment; those of an earlier push end when a later one is asked for.

Promises: a process that was handed out is nobody else's until it is given back; after `close` none is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from actors.node_folder import NodeFolder
from actors.node_process import NodeProcess, find_node
from actors.package_installations import PackageInstallations
from functions.node_bundle import NodeBundle
from log.limits import NODE_PROCESS_CALLS_MAX, NODE_PROCESS_MEMORY_BYTES_MAX, NODE_PROCESSES_IDLE_MAX


class NodeRunners:
    """Used on the event loop's thread."""

    def __init__(self, folder: Path, packages: PackageInstallations) -> None:
        self._folder, self._packages = NodeFolder(folder), packages
        self._node: str | None = None
        self._idle: list[NodeProcess] = []
        self._busy: set[NodeProcess] = set()

    @property
    def pids(self) -> list[int]:
        return sorted(process.pid for process in (*self._idle, *self._busy))

    async def take(self, bundle: NodeBundle, sources: Callable[[], dict[str, str]]) -> NodeProcess:
        """A process for one call of the bundle; it must be given back."""
        process = await self._take_idle(bundle) or await self._start(bundle, sources)
        self._busy.add(process)
        process.calls_run += 1
        return process

    async def give_back(self, process: NodeProcess, memory_bytes: int | None) -> None:
        """After a call. `memory_bytes` is what the process holds, None = it must not be used again."""
        self._busy.discard(process)
        is_worn = process.calls_run >= NODE_PROCESS_CALLS_MAX
        is_fit = memory_bytes is not None and memory_bytes <= NODE_PROCESS_MEMORY_BYTES_MAX
        if is_fit and not is_worn and len(self._idle) < NODE_PROCESSES_IDLE_MAX:
            self._idle.append(process)
        else:
            await process.end()

    async def close(self) -> None:
        """End them all, in the middle of their calls too."""
        processes = [*self._idle, *self._busy]
        self._idle.clear()
        self._busy.clear()
        await asyncio.gather(*(process.end() for process in processes))

    async def _take_idle(self, bundle: NodeBundle) -> NodeProcess | None:
        """The one used last, which is the warmest; those that cannot be used any more end. So do all when
        their packages are gone from the disk: they may load more of them."""
        key, has_packages = bundle.key, self._packages.folders.use(bundle.packages)
        unfit = [
            process
            for process in self._idle
            if not has_packages or process.key != key or not process.is_running
        ]
        self._idle = [process for process in self._idle if process not in unfit]
        found = self._idle.pop() if self._idle else None  # BEFORE waiting: nobody else may take it
        await asyncio.gather(*(process.end() for process in unfit))
        return found

    async def _start(self, bundle: NodeBundle, sources: Callable[[], dict[str, str]]) -> NodeProcess:
        packages = self._packages.folders.folder_of(bundle.packages)
        if not self._packages.folders.use(bundle.packages):
            texts = sources()  # BEFORE waiting for npm, which may take longer than the snapshot stays
            await self._packages.provide(bundle.packages)
            sources = partial(dict, texts)
        folder = self._folder.bundle(bundle, sources, packages)
        if self._node is None:
            self._node = await asyncio.to_thread(find_node)
        process = NodeProcess(bundle.key)
        await process.start(self._node, folder, bundle.environment)
        return process
