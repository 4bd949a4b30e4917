"""One action in the real engine, with a host of a few lines: JavaScript and host take turns on one thread.

What it asks of `host/...` is answered by `operations`, everything else as `answers` says.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from functions.isolate import AnswerError, Settled
from log.errors import BackendError

from .javascript import RecordingHost, Run

Operation = Callable[[dict[str, Any]], Awaitable[bytes]]
Telling = Callable[[dict[str, Any]], None]
PATIENCE_SECONDS = 30


class DrivenAction(RecordingHost):
    """`await DrivenAction(source).settle()`: the outcome of the exported action `f`."""

    def __init__(
        self,
        source: str,
        operations: dict[str, Operation],
        tellings: dict[str, Telling],
        when_idle: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._run, self._when_idle = Run(source), when_idle
        self._run.host = self
        self._operations, self._tellings = operations, tellings
        self._answers: asyncio.Queue[tuple[int, bytes | AnswerError]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def unawaited(self) -> list[str]:
        return self._run.isolate.unawaited_operations()

    async def settle(self) -> Settled:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                settled = self._run.call("f", kind="action")
                while settled is None:
                    settled = self._run.deliver(*await self._next_answer())
                return settled
        finally:
            for task in self._tasks:
                task.cancel()

    async def _next_answer(self) -> tuple[int, bytes | AnswerError]:
        if self._when_idle is not None:
            await asyncio.sleep(0)  # what was asked begins
            await asyncio.sleep(0)  # what was ended answers
            if self._answers.empty():
                self._when_idle()
        return await self._answers.get()

    def syscall(self, name: str, args: bytes) -> bytes:
        if name not in self._tellings:
            return super().syscall(name, args)
        self._tellings[name](json.loads(args))
        return b"null"

    def async_syscall(self, call_id: int, name: str, args: bytes) -> bytes | None:
        if name not in self._operations:
            return super().async_syscall(call_id, name, args)
        task = asyncio.create_task(self._perform(call_id, self._operations[name](json.loads(args))))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return None

    async def _perform(self, call_id: int, operation: Awaitable[bytes]) -> None:
        try:
            answer: bytes | AnswerError = await operation
        except BackendError as refused:
            answer = AnswerError(refused.message)
        self._answers.put_nowait((call_id, answer))


class VirtualTimers:
    """A host whose time passes only when nothing else is left to do: timers take no time in tests."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.asked: list[float] = []
        self._sleeping: list[tuple[float, int, int, asyncio.Future[bytes]]] = []

    def sleep(self, arguments: dict[str, Any]) -> Awaitable[bytes]:
        woken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.asked.append(arguments["ms"])
        self._sleeping.append((self.now_ms + arguments["ms"], len(self.asked), arguments["id"], woken))
        return woken

    def cancel(self, arguments: dict[str, Any]) -> None:
        for each in list(self._sleeping):
            if each[2] == arguments["id"]:
                self._wake(each)

    def pass_time(self) -> None:
        """Until the first of them is due."""
        if self._sleeping:
            first = min(self._sleeping)
            self.now_ms = first[0]
            self._wake(first)

    def _wake(self, each: tuple[float, int, int, asyncio.Future[bytes]]) -> None:
        self._sleeping.remove(each)
        each[3].set_result(b"null")
