"""An asyncio event loop whose clock only jumps, so that a history takes no time and repeats exactly.

What real loops do in order, this one does in order: callbacks that are ready run first in, first out, for
the code under test relies on it. Chance comes in where reality has it: how long messages and syncs take.

Promises:
  - nothing waits for anything outside; a loop with nothing to do and nothing to wait for raises `Stuck`;
  - `installed` makes the product's reads of clocks and randomness follow this loop and one seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

START_NS = 1_700_000_000_000_000_000
TURNS_MAX = 200_000
"""Turns of the loop in one history; far more than any needs, so that a world that spins is found out."""

BlockingCall = Callable[[Callable[..., Any], tuple[Any, ...]], "asyncio.Future[Any]"]


class Stuck(Exception):
    """Everybody waits, and nothing will come."""


class _Jump:
    """What `BaseEventLoop` waits with. Waiting for a time is being there."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop.jump(timeout)
        return []


class VirtualLoop(asyncio.BaseEventLoop):
    """Overrides the few hooks that asyncio's own selector loop overrides. `blocking_call` says what happens
    to work given to threads; the world sets it."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._turns = 0
        self._selector = _Jump(self)
        self._clock_resolution = 1e-9
        self.blocking_call: BlockingCall | None = None

    def time(self) -> float:
        return self._now

    def now_ns(self) -> int:
        return START_NS + int(self._now * 1e9)

    def jump(self, seconds: float | None) -> None:
        self._turns += 1
        if seconds is None:
            raise Stuck("nothing is ready and no timer runs")
        if self._turns > TURNS_MAX:
            raise Stuck(f"{TURNS_MAX} turns of the loop and no end")
        self._now += seconds

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> asyncio.Future[Any]:
        assert self.blocking_call is not None, "the world decides how long blocking calls take"
        return self.blocking_call(func, args)

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no sockets."""

    def _write_to_self(self) -> None:
        """There is no other thread."""


@contextlib.contextmanager
def installed(loop: VirtualLoop, chance: random.Random, kill: Callable[[int, int], None]) -> Iterator[None]:
    """Clocks, randomness and `os.kill` of this thread are the world's."""

    def seconds() -> float:
        return loop.now_ns() / 1e9

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(time, "time", seconds))
        stack.enter_context(mock.patch.object(time, "time_ns", loop.now_ns))
        stack.enter_context(mock.patch.object(time, "monotonic", loop.time))
        stack.enter_context(mock.patch.object(time, "perf_counter", loop.time))
        stack.enter_context(mock.patch.object(os, "urandom", chance.randbytes))
        stack.enter_context(mock.patch.object(os, "kill", kill))
        yield
