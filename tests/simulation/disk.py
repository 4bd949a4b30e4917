"""The simulated disk: log records survive every crash once they have landed, and landing takes time.

Between the order to write and the answer there are two moments of chance: when the records are durable, and
when the writer hears of it. A writer that dies in between leaves a batch whose fate only the log knows. What
was already on its way to the disk lands although its writer died or froze, unless a successor has claimed
the log meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from log.record import Record
from log.store import MemoryStore

from .network import Network
from .processes import Process, running_process


class SimulatedDisk(MemoryStore):
    """A MemoryStore whose epoch fences, shared by all writers of a world; `on_durable` hears of appends."""

    def __init__(self, records: Sequence[Record], on_durable: Callable[[Sequence[Record]], None]) -> None:
        super().__init__()
        self._records.extend(records)
        self._on_durable = on_durable

    @property
    def records(self) -> list[Record]:
        return list(self._records)

    def append_and_sync(self, epoch: int, records: Sequence[Record]) -> None:
        super().append_and_sync(epoch, records)
        self._on_durable(records)


class Syncs:
    """Blocking calls: `VirtualLoop.blocking_call`."""

    def __init__(self, network: Network, slowness: int) -> None:
        self._network, self._slowness = network, slowness
        self.syncs = 0
        self.failing = 0  # so many of the next calls fail, before or after what they were to do

    def delay(self) -> float:
        return self._network.delay() * self._slowness

    def start(self, work: Callable[..., Any], args: tuple[Any, ...]) -> asyncio.Future[Any]:
        call = _Call(self, self._network, running_process(), work, args)
        call.begin()
        return call.returned


class _Call:
    """One blocking call: begin, land, come back."""

    def __init__(
        self,
        syncs: Syncs,
        network: Network,
        process: Process,
        work: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> None:
        self._syncs, self._network, self._process = syncs, network, process
        self._work, self._args = work, args
        self._is_on_its_way = network.chance.random() < 0.5
        self.returned: asyncio.Future[Any] = network.loop.create_future()

    def begin(self) -> None:
        self._network.loop.call_later(self._syncs.delay(), self._land, context=self._process.context)

    def _land(self) -> None:
        process, loop = self._process, self._network.loop
        if not self._is_on_its_way:
            if not process.is_alive:
                return
            if process.is_frozen:
                loop.call_at(process.frozen_until + 1e-6, self._land, context=process.context)
                return
        self._syncs.syncs += 1
        value, failure = self._do()
        loop.call_later(self._syncs.delay(), self._come_back, value, failure, context=process.context)

    def _do(self) -> tuple[Any, Exception | None]:
        fails, is_before = False, self._network.chance.random() < 0.5
        if self._syncs.failing > 0:
            self._syncs.failing -= 1
            fails = True
        disk_failure = OSError("the simulated disk failed")
        if fails and is_before:
            return None, disk_failure
        try:
            value = self._work(*self._args)
        except Exception as failure:
            return None, failure
        return value, disk_failure if fails else None

    def _come_back(self, value: Any, failure: Exception | None) -> None:
        process = self._process
        if not process.is_alive or self.returned.done():
            return
        if process.is_frozen:
            at = process.frozen_until + 1e-6
            self._network.loop.call_at(at, self._come_back, value, failure, context=process.context)
        elif failure is not None:
            self.returned.set_exception(failure)
        else:
            self.returned.set_result(value)
