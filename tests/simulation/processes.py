"""Simulated processes: who owns a task, and what dying, freezing and being cut off mean.

A process that is killed never runs again and is heard no more: its tasks are cancelled and its connections
are cut before anything of them can run. A process that is frozen (stopped by a signal, swapped out, or
behind a broken switch) runs on later, as if no time had passed; what it is sent meanwhile waits.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

_running: contextvars.ContextVar[Process] = contextvars.ContextVar("running")


class ProcessKilled(BaseException):
    """Ends the code of a process at the very place where it was killed."""


class Severable(Protocol):
    def cut(self) -> None: ...


class Process:
    """`context` marks all that runs in it: tasks and timers started there inherit the mark."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name, self._loop = name, loop
        self.is_alive = True
        self.frozen_until = 0.0
        self.context = contextvars.copy_context()
        self.context.run(_running.set, self)
        self.connections: dict[Severable, None] = {}
        self.on_death: Callable[[], None] = lambda: None
        self._tasks: dict[asyncio.Task[Any], None] = {}

    @property
    def is_frozen(self) -> bool:
        return self.frozen_until > self._loop.time()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task inside the process."""
        return self.context.run(self._loop.create_task, work)

    def own(self, task: asyncio.Task[Any]) -> None:
        if not self.is_alive:
            task.cancel()
            return
        self._tasks[task] = None
        task.add_done_callback(lambda ended: self._tasks.pop(ended, None))

    def freeze(self, seconds: float) -> None:
        self.frozen_until = max(self.frozen_until, self._loop.time() + seconds)

    def kill(self) -> None:
        if not self.is_alive:
            return
        self.is_alive = False
        for connection in list(self.connections):
            connection.cut()
        for task in list(self._tasks):
            task.cancel()
        self.on_death()


def running_process() -> Process:
    """Whose code this is."""
    return _running.get()


def make_task(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    """A task factory: each task belongs to the process that started it."""
    task = asyncio.Task(work, loop=loop, **options)
    process = _running.get(None)
    if process is not None:
        process.own(task)
    return task
