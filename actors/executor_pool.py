"""Executors of one class, as whoever has calls for them sees it: who is there, and who has the least to do.

Peers are replaced when an executor was restarted. A call that was lost with its executor is asked again
elsewhere when asking twice changes nothing; otherwise its outcome is unknown and said to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from actors.runtime import ConnectionLost, Peer
from log.errors import unknown_outcome


class ExecutorPool:
    """`set` says who is there; `ask` waits while nobody is."""

    def __init__(self) -> None:
        self._peers: list[Peer] = []
        self._running: dict[Peer, int] = {}
        self._changed = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        return not self._peers

    @property
    def peers(self) -> Sequence[Peer]:
        return self._peers

    def set(self, peers: Sequence[Peer]) -> None:
        self._peers = list(peers)
        self._running = {peer: self._running.get(peer, 0) for peer in peers}
        self._changed.set()
        self._changed = asyncio.Event()

    async def ask(self, method: str, *arguments: Any, may_repeat: bool) -> Any:
        """The answer of the executor with the least to do."""
        while True:
            peer = await self._choose()
            try:
                return await self._counted(peer, method, *arguments)
            except ConnectionLost:
                if not may_repeat:
                    raise unknown_outcome() from None
                self._forget(peer)

    async def ask_one(self, method: str, *arguments: Any) -> tuple[Peer, asyncio.Task[Any]]:
        """Who was asked, once somebody is, and the answer to come: what belongs to it is told there."""
        peer = await self._choose()
        return peer, asyncio.create_task(self._answered_once(peer, method, *arguments))

    async def _answered_once(self, peer: Peer, method: str, *arguments: Any) -> Any:
        try:
            return await self._counted(peer, method, *arguments)
        except ConnectionLost:
            raise unknown_outcome() from None

    async def _choose(self) -> Peer:
        while not self._peers:
            await self._changed.wait()
        return min(self._peers, key=lambda peer: self._running.get(peer, 0))

    async def _counted(self, peer: Peer, method: str, *arguments: Any) -> Any:
        self._running[peer] = self._running.get(peer, 0) + 1
        try:
            return await peer.call(method, *arguments)
        finally:
            if peer in self._running:
                self._running[peer] -= 1

    def _forget(self, peer: Peer) -> None:
        """Until the supervisor gives its successor."""
        if peer in self._peers:
            self._peers.remove(peer)
        self._running.pop(peer, None)
