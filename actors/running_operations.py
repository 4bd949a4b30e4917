"""What one action has begun and nobody has answered yet, in whichever runtime its JavaScript runs.

Each operation is a task of the event loop; so many run at once, the others wait (spec 03 4). An action may
catch every refusal: it has no transaction to protect (spec 03 0). A defect of ours is kept for whoever owns
the call. Promise: after `end` no task of the call is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from functions.isolate import AnswerError
from functions.syscalls import rejection
from log.errors import BackendError
from log.limits import ACTION_OPERATIONS_RUNNING_MAX

_HOST_CALLS = "host/"
"""Waiting for a timer or for a piece of a body keeps nothing else from starting."""


class Operations(Protocol):
    """What an action may have done for it."""

    async def perform(self, name: str, arguments: dict[str, Any]) -> bytes | AnswerError:
        """Do it; BackendError is a refusal."""

    def tell(self, name: str, arguments: dict[str, Any]) -> None:
        """What has no answer."""

    async def close(self) -> None:
        """The action is over: end what it left."""


class RunningOperations:
    """Used on the event loop's thread. `answered` hears (call id, answer), in the order of the answers."""

    def __init__(self, operations: Operations, answered: Callable[[int, bytes | AnswerError], None]) -> None:
        self._operations, self._answered = operations, answered
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(ACTION_OPERATIONS_RUNNING_MAX)
        self.defect: BaseException | None = None

    def begin(self, call_id: int, name: str, arguments: dict[str, Any]) -> None:
        task = self._loop.create_task(self._perform(call_id, name, arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def tell(self, name: str, arguments: dict[str, Any]) -> None:
        """One turn of the loop later: what it is about may have been begun in the same burst."""
        self._loop.call_soon(self._operations.tell, name, arguments)

    async def end(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._operations.close()

    async def _perform(self, call_id: int, name: str, arguments: dict[str, Any]) -> None:
        try:
            if name.startswith(_HOST_CALLS) and name != "host/fetch":
                answer = await self._operations.perform(name, arguments)
            else:
                async with self._slots:
                    answer = await self._operations.perform(name, arguments)
        except BackendError as refused:
            answer = rejection(refused)
        except Exception as defect:  # ours: whoever owns this process hears of it
            self.defect, answer = defect, b"null"
        self._answered(call_id, answer)
