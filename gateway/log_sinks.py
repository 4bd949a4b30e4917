"""What one sink of the function log has yet to deliver: batches, retries, and what is given up. Pure.

Executions wait in a queue bounded in number and bytes: beyond it the oldest are dropped and counted, because
whoever called a function must never wait for whoever collects logs. A batch leaves the queue when it is full
or its oldest entry has waited long enough. One that could not be delivered is tried again, ever more slowly;
one that the receiver will never take is dropped, and so is an execution that cannot be encoded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum

from gateway.function_log import Execution
from log.invariant import invariant
from log.limits import (
    SINK_BATCH_BYTES_MAX,
    SINK_BATCH_ENTRIES_MAX,
    SINK_BATCH_SECONDS,
    SINK_QUEUE_BYTES_MAX,
    SINK_QUEUE_ENTRIES_MAX,
    SINK_RETRY_SECONDS_FIRST,
    SINK_RETRY_SECONDS_MAX,
)

_ENTRY_BYTES = 1_024
"""About what an entry takes beside its log lines, or its audit line."""
_NEVER_TAKEN = frozenset({400, 413, 422})
"""Statuses about the body itself. What else may be wrong, an operator can put right meanwhile."""


class Verdict(Enum):
    """What became of a batch."""

    DELIVERED = "delivered"
    FAILED = "failed"
    REFUSED = "refused"


def verdict_of(status: int) -> Verdict:
    """What the status of a receiver's answer means for the batch."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    return Verdict.REFUSED if status in _NEVER_TAKEN else Verdict.FAILED


class SinkQueue:
    """See the module text. Times are seconds of one monotonic clock."""

    def __init__(
        self, entries_max: int = SINK_QUEUE_ENTRIES_MAX, bytes_max: int = SINK_QUEUE_BYTES_MAX
    ) -> None:
        self._entries_max, self._bytes_max = entries_max, bytes_max
        self._waiting: deque[tuple[float, Execution]] = deque()
        self._waiting_bytes = 0
        self._batch: list[Execution] = []  # taken, and not settled yet
        self._failures = 0  # of this batch
        self._not_before = 0.0
        self.dropped = 0

    @property
    def is_empty(self) -> bool:
        return not self._batch and not self._waiting

    def add(self, executions: Sequence[Execution], now: float) -> bool:
        """Whether whoever waits for the next batch should look again: it is due earlier than it was."""
        was_empty, was_full = not self._waiting, self._has_full_batch()
        for execution in executions:
            self._waiting.append((now, execution))
            self._waiting_bytes += _size_bytes(execution)
        while len(self._waiting) > self._entries_max or self._waiting_bytes > self._bytes_max:
            self._pop()
            self.dropped += 1
        return was_empty or (not was_full and self._has_full_batch())

    def due_seconds(self, now: float) -> float | None:
        """How long until there is something to deliver; None: not before something is added."""
        if self._batch:
            return max(0.0, self._not_before - now)
        if not self._waiting:
            return None
        if self._has_full_batch():
            return 0.0
        return max(0.0, self._waiting[0][0] + SINK_BATCH_SECONDS - now)

    def take(self) -> list[Execution]:
        """The batch to deliver now: the one that failed, or the next. Settle it before taking another one."""
        if not self._batch:
            size_bytes = 0
            while self._waiting and len(self._batch) < SINK_BATCH_ENTRIES_MAX:
                size_bytes += _size_bytes(self._waiting[0][1])
                if self._batch and size_bytes > SINK_BATCH_BYTES_MAX:
                    break
                self._batch.append(self._pop())
        return self._batch

    def narrow(self, kept: list[Execution]) -> None:
        """Only these of the batch can be delivered; the others are dropped."""
        invariant(bool(self._batch), "a batch was taken before it is narrowed")
        self.dropped += len(self._batch) - len(kept)
        self._batch = kept
        if not kept:
            self._failures, self._not_before = 0, 0.0

    def settle(self, verdict: Verdict, now: float) -> None:
        """Say what became of the batch."""
        invariant(bool(self._batch), "a batch was taken before it is settled")
        if verdict is Verdict.FAILED:
            self._not_before = now + retry_seconds(self._failures)
            self._failures += 1
            return
        if verdict is Verdict.REFUSED:
            self.dropped += len(self._batch)
        self._batch, self._failures, self._not_before = [], 0, 0.0

    def give_up(self) -> None:
        """Drop everything, and count it."""
        self.dropped += len(self._batch) + len(self._waiting)
        self._batch, self._waiting_bytes = [], 0
        self._waiting.clear()

    def _has_full_batch(self) -> bool:
        return len(self._waiting) >= SINK_BATCH_ENTRIES_MAX or self._waiting_bytes >= SINK_BATCH_BYTES_MAX

    def _pop(self) -> Execution:
        execution = self._waiting.popleft()[1]
        self._waiting_bytes -= _size_bytes(execution)
        return execution


def retry_seconds(failures: int) -> float:
    """How long to wait after a batch failed once more."""
    return float(min(SINK_RETRY_SECONDS_FIRST * 2 ** min(failures, 16), SINK_RETRY_SECONDS_MAX))


def _size_bytes(execution: Execution) -> int:
    named = len(execution.path) + len(execution.component)
    audited = sum(_ENTRY_BYTES + len(line) for line in execution.audit_lines)
    return _ENTRY_BYTES + named + len(execution.log_lines) + len(execution.error or "") + audited
