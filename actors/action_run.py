"""One action under way: JavaScript runs in bursts on a thread, between them its isolate is suspended (D12).

Operations that JavaScript begins run as tasks of the event loop; their answers are queued and delivered one
after the other, in the order in which they came. While nothing has come, no thread is held.

Promise: when `settle` has ended, however it did, no thread is in the isolate and no task of the call is left.

Read in this order: settle, _step, _begin, _perform.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor as Threads
from typing import Any, Protocol

from functions.action import ActionContext, ActionHost
from functions.isolate import AnswerError, CallRequest, Image, Isolate, Settled, Terminated
from functions.syscalls import rejection
from log.errors import BackendError
from log.limits import ACTION_OPERATIONS_RUNNING_MAX, ACTION_SECONDS_MAX

_TIMED_OUT = f"Function execution timed out (maximum duration: {ACTION_SECONDS_MAX}s)"
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


class ActionRun:
    """One call. Made and used on the event loop's thread; JavaScript runs on one of `threads`."""

    def __init__(
        self, context: ActionContext, isolate: Isolate, threads: Threads, operations: Operations
    ) -> None:
        self._isolate, self._threads, self._operations = isolate, threads, operations
        self._loop = asyncio.get_running_loop()
        self._answers: asyncio.Queue[tuple[int, bytes | AnswerError]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(ACTION_OPERATIONS_RUNNING_MAX)
        self._defect: BaseException | None = None
        self.host = ActionHost(context, self._begin_from_thread, self._tell_from_thread)

    async def settle(self, image: Image, request: CallRequest) -> Settled:
        """Run the action to its end, or to the end of its time."""
        try:
            async with asyncio.timeout(ACTION_SECONDS_MAX) as limit:
                return await self._run(image, request)
        except TimeoutError:
            if not limit.expired():
                raise
            return Terminated(_TIMED_OUT, "timeout")
        finally:
            await self._end_operations()

    async def _run(self, image: Image, request: CallRequest) -> Settled:
        settled = await self._step(self._isolate.start, image, request, self.host)
        while settled is None:
            call_id, answer = await self._answers.get()
            if self._defect is not None:
                raise self._defect
            settled = await self._step(self._isolate.deliver, call_id, answer)
        if isinstance(settled, Terminated) and settled.cause is not None:
            raise settled.cause
        return settled

    async def _step(self, step: Callable[..., Settled | None], *arguments: Any) -> Settled | None:
        """One burst. Who is cancelled meanwhile waits until JavaScript has been stopped."""
        burst = self._loop.run_in_executor(self._threads, step, *arguments)
        try:
            return await asyncio.shield(burst)
        except asyncio.CancelledError:
            self._isolate.expire()
            await asyncio.wait({burst})
            raise

    # --- operations ---------------------------------------------------------------------------------

    def _begin_from_thread(self, call_id: int, name: str, arguments: dict[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self._begin, call_id, name, arguments)

    def _tell_from_thread(self, name: str, arguments: dict[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self._tell, name, arguments)

    def _tell(self, name: str, arguments: dict[str, Any]) -> None:
        """One turn of the loop later: what it is about may have been begun in the same burst."""
        self._loop.call_soon(self._operations.tell, name, arguments)

    def _begin(self, call_id: int, name: str, arguments: dict[str, Any]) -> None:
        task = self._loop.create_task(self._perform(call_id, name, arguments))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _perform(self, call_id: int, name: str, arguments: dict[str, Any]) -> None:
        """An action may catch every refusal: it has no transaction to protect (spec 03 0)."""
        try:
            if name.startswith(_HOST_CALLS) and name != "host/fetch":
                answer = await self._operations.perform(name, arguments)
            else:
                async with self._slots:
                    answer = await self._operations.perform(name, arguments)
        except BackendError as refused:
            answer = rejection(refused)
        except Exception as defect:  # ours: whoever owns this process hears of it
            self._defect, answer = defect, b"null"
        self._answers.put_nowait((call_id, answer))

    async def _end_operations(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self._operations.close()
