"""What a query or mutation asks of its host while its JavaScript runs: answered at once, or kept in order.

All calls but nested ones are answered when they are issued; a nested one needs another isolate, so whatever
is issued after it waits until functions/invocation.py has run it.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from functions import errors
from functions.isolate import Isolate
from functions.syscalls import CallContext, answer_async, answer_sync
from log import limits


@dataclass(slots=True)
class FunctionRun:
    """The isolate of one function run and the system calls it still waits for, in issue order.

    `waiting` gains an entry when a call cannot be answered at once (a nested call, or anything issued
    after one: order is kept), and loses it when it is answered.
    """

    context: CallContext
    isolate: Isolate
    seed: bytes
    now_ms: float
    waiting: deque[tuple[int, str, bytes]]
    nested_count: int = 0
    host_seconds: float = 0.0

    # functions.isolate.HostCalls
    def syscall(self, name: str, args: bytes) -> bytes:
        return answer_sync(self.context, name, args)

    def async_syscall(self, call_id: int, name: str, args: bytes) -> bytes | None:
        if self.waiting or name == "1.0/runUdf":
            self.waiting.append((call_id, name, args))
            return None
        return self.answer(name, args)

    def answer(self, name: str, args: bytes) -> bytes:
        started = time.perf_counter()
        try:
            return answer_async(self.context, name, args)
        finally:
            self.host_seconds += time.perf_counter() - started
            if self.host_seconds > limits.FUNCTION_SYSTEM_SECONDS_MAX:
                raise errors.system_timeout()

    def console(self, level: str, messages: list[str]) -> None:
        self.context.logs.add(level, messages)

    def observed(self, what: str) -> None:
        if what == "time":
            self.context.observed.time = True
        else:
            self.context.observed.random = True
