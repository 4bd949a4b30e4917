"""Connections that are kept up: to an actor wherever it is now, opened again when it moved or was lost."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any, NoReturn

from actors.runtime import ConnectionLost, PushHandler
from cluster.host_config import Address
from cluster.transport import SocketPeer, connect

_logger = logging.getLogger(__name__)
_RECONNECT_SECONDS = 0.1
EXIT_STATUS_DEFECT = 70


def stop_process(failure: BaseException) -> NoReturn:
    """The state this process owns may be half-changed (design D5): end, without clean-up."""
    _logger.critical("stopping after an unexpected failure", exc_info=failure)
    logging.shutdown()
    os._exit(EXIT_STATUS_DEFECT)


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

        return Link(self._secret, ignore, on_up, on_down)

    def _tell(self) -> None:
        self._changed([self._up[name] for name in sorted(self._up)])


def ignore(event: str, arguments: tuple[Any, ...]) -> None:
    """An actors.runtime.PushHandler for whoever is pushed nothing."""
