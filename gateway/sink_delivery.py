"""Brings what the function log notes to the sinks: the shell around `log_sinks.py`.

One task per sink, so that one whose receiver is away holds up no other. What is under way when the server
stops is flushed for a moment, then given up; what a killed gateway had queued is lost. An unexpected failure
of a task is a defect, and stops the gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.backend import GatewaySettings
from gateway.function_log import Execution, FunctionLog
from gateway.log_sinks import SinkQueue, Verdict
from gateway.sink_targets import FileTarget, Target, WebhookTarget, encode_batch
from log.limits import SINK_FLUSH_SECONDS_MAX

logger = logging.getLogger(__name__)


def sinks_of(
    function_log: FunctionLog, settings: GatewaySettings, on_defect: Callable[[BaseException], None]
) -> list[LogSink]:
    """The sinks that the operator named. `on_defect` is told of what must not be survived."""
    targets: list[Target] = []
    if settings.sink_file:
        targets.append(FileTarget(Path(settings.sink_file)))
    if settings.sink_url:
        targets.append(WebhookTarget(settings.sink_url, settings.instance_secret))
    return [LogSink(function_log, target, on_defect) for target in targets]


class LogSink:
    """One sink: `start`, then `stop` once, both on the gateway's loop."""

    def __init__(
        self,
        function_log: FunctionLog,
        target: Target,
        on_defect: Callable[[BaseException], None],
        queue: SinkQueue | None = None,
    ) -> None:
        self._function_log, self._target, self._on_defect = function_log, target, on_defect
        self._queue = queue if queue is not None else SinkQueue()
        self._due_earlier = asyncio.Event()
        self._is_failing = self._is_stopping = False
        self._dropped_told = 0

    @property
    def dropped(self) -> int:
        return self._queue.dropped

    def start(self) -> None:
        self._function_log.listeners.add(self._noted)
        self._delivering = asyncio.create_task(self._deliver_until_stopped())
        self._delivering.add_done_callback(self._delivering_ended)

    async def stop(self) -> None:
        """Deliver what is left, for as long as a stop may take."""
        self._function_log.listeners.discard(self._noted)
        self._is_stopping = True
        self._due_earlier.set()
        await asyncio.wait((self._delivering,), timeout=SINK_FLUSH_SECONDS_MAX)
        self._delivering.cancel()
        await asyncio.wait((self._delivering,))
        self._queue.give_up()
        self._tell_dropped()

    def _delivering_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._on_defect(failure)

    def _noted(self, execution: Execution) -> None:
        """Called by the log after each execution: take it at once, the ring forgets."""
        if self._queue.add((execution,), time.monotonic()):
            self._due_earlier.set()

    async def _deliver_until_stopped(self) -> None:
        while not self._is_stopping:
            self._due_earlier.clear()
            seconds = self._queue.due_seconds(time.monotonic())
            if seconds == 0:
                await self._deliver_batch()
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._due_earlier.wait()

        while not self._queue.is_empty and await self._deliver_batch() is not Verdict.FAILED:
            pass

    async def _deliver_batch(self) -> Verdict:
        encoded = await asyncio.to_thread(encode_batch, self._queue.take())
        if encoded.failures:
            self._queue.narrow(encoded.executions)
            self._tell_failures(encoded.failures)
            if not encoded.executions:
                return Verdict.REFUSED
        verdict, why = await self._target.deliver(encoded.entries)
        self._queue.settle(verdict, time.monotonic())
        self._tell(verdict, why)
        return verdict

    # --- the server's own log -----------------------------------------------------------------------

    def _tell(self, verdict: Verdict, why: str) -> None:
        """Once when deliveries begin to fail, once when they work again."""
        if verdict is Verdict.FAILED:
            if not self._is_failing:
                logger.warning("%s: executions cannot be delivered, trying again: %s", self._target.name, why)
            self._is_failing = True
            return
        if verdict is Verdict.REFUSED:
            logger.warning("%s: a batch of executions was refused: %s", self._target.name, why)
        elif self._is_failing:
            logger.warning("%s: executions are delivered again", self._target.name)
        self._is_failing = False
        self._tell_dropped()

    def _tell_failures(self, failures: Sequence[tuple[Execution, Exception]]) -> None:
        """Of one batch: the first in full. They left the queue, so nobody meets them again."""
        execution, failure = failures[0]
        text = "%s: %d executions cannot be encoded, the first one of %s"
        logger.error(text, self._target.name, len(failures), execution.path, exc_info=failure)
        self._tell_dropped()

    def _tell_dropped(self) -> None:
        if self.dropped > self._dropped_told:
            count = self.dropped - self._dropped_told
            logger.warning("%s: %d executions were dropped", self._target.name, count)
            self._dropped_told = self.dropped
