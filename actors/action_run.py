"""One action under way: JavaScript runs in bursts on a thread, between them its isolate is suspended (D12).

Operations that JavaScript begins run as tasks of the event loop; their answers are queued and delivered one
after the other, in the order in which they came. While nothing has come, no thread is held.

Promise: when `settle` has ended, however it did, no thread is in the isolate and no task of the call is left.

Read in this order: settle, _step, _begin_from_thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor as Threads
from typing import Any

from actors.running_operations import Operations, RunningOperations
from functions.action import ActionContext, ActionHost
from functions.isolate import AnswerError, CallRequest, Image, Isolate, Settled, Terminated
from log.limits import ACTION_SECONDS_MAX

_TIMED_OUT = f"Function execution timed out (maximum duration: {ACTION_SECONDS_MAX}s)"


class ActionRun:
    """One call. Made and used on the event loop's thread; JavaScript runs on one of `threads`."""

    def __init__(
        self, context: ActionContext, isolate: Isolate, threads: Threads, operations: Operations
    ) -> None:
        self._isolate, self._threads = isolate, threads
        self._loop = asyncio.get_running_loop()
        self._answers: asyncio.Queue[tuple[int, bytes | AnswerError]] = asyncio.Queue()
        self._running = RunningOperations(operations, self._answered)
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
            await self._running.end()

    async def _run(self, image: Image, request: CallRequest) -> Settled:
        settled = await self._step(self._isolate.start, image, request, self.host)
        while settled is None:
            call_id, answer = await self._answers.get()
            if self._running.defect is not None:
                raise self._running.defect
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
        self._loop.call_soon_threadsafe(self._running.begin, call_id, name, arguments)

    def _tell_from_thread(self, name: str, arguments: dict[str, Any]) -> None:
        self._loop.call_soon_threadsafe(self._running.tell, name, arguments)

    def _answered(self, call_id: int, answer: bytes | AnswerError) -> None:
        self._answers.put_nowait((call_id, answer))
