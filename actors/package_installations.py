"""npm packages as calls and pushes wait for them: one installation of a list for all who need it.

On a thread of its own: npm takes minutes, and the loop's common threads are for what is done soon. One list
is installed after the other, as they were asked for.

Promises: what is installed waits for nobody; all who wait for one installation hear the same of it, and who
asks after it failed begins another; after `close` none is under way.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from actors.node_packages import NodePackageFolders
from functions.node_packages import NodePackage, packages_key

_Installation = asyncio.Future[Path | None]


class PackageInstallations:
    """Of one executor. Used on the event loop's thread."""

    def __init__(self, folders: NodePackageFolders) -> None:
        self.folders = folders
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="packages")
        self._under_way: dict[str, _Installation] = {}  # by the key of the list, until it has ended

    async def provide(self, packages: tuple[NodePackage, ...]) -> None:
        """Return when they are installed. 400 InvalidExternalModules says why they cannot be."""
        if self.folders.use(packages):
            return
        key = packages_key(packages)
        if key not in self._under_way:
            self._under_way[key] = self._begin(key, packages)
        await asyncio.shield(self._under_way[key])  # who gives up does not end it for the others

    async def close(self) -> None:
        """Whoever waits is refused soon; returns when npm has gone."""
        self.folders.close()
        if self._under_way:
            await asyncio.wait(self._under_way.values())
        self._thread.shutdown()

    def _begin(self, key: str, packages: tuple[NodePackage, ...]) -> _Installation:
        self.folders.check_open(packages)
        installing = asyncio.get_running_loop().run_in_executor(self._thread, self.folders.provide, packages)
        installing.add_done_callback(partial(self._forget, key))
        return installing

    def _forget(self, key: str, ended: _Installation) -> None:
        del self._under_way[key]
        ended.exception()  # is known: all who waited for it may have given up
