"""Who may start: first come, first served, within a number and a sum of bytes (design D12)."""

from __future__ import annotations

import asyncio

from functions.errors import too_many_concurrent_actions
from log.limits import ACTION_ADMISSION_SECONDS_MAX


class Admission:
    """One queue and what runs past it."""

    def __init__(self, running_max: int, bytes_max: int) -> None:
        self._running_max, self._bytes_max = running_max, bytes_max
        self._bytes = 0
        self._turns = asyncio.Lock()
        self._left = asyncio.Event()
        self.running = self.waiting = 0

    async def enter(self, size_bytes: int) -> None:
        """Wait for room; refused with the specified text when there is none for too long (spec 03 4)."""
        self.waiting += 1
        try:
            async with asyncio.timeout(ACTION_ADMISSION_SECONDS_MAX), self._turns:
                while not self._has_room(size_bytes):
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            raise too_many_concurrent_actions(self.running) from None
        finally:
            self.waiting -= 1
        self.running += 1
        self._bytes += size_bytes

    def leave(self, size_bytes: int) -> None:
        self.running -= 1
        self._bytes -= size_bytes
        self._left.set()

    def _has_room(self, size_bytes: int) -> bool:
        is_alone = self.running == 0
        return is_alone or (self.running < self._running_max and self._bytes + size_bytes <= self._bytes_max)
