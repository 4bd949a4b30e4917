"""Threads that run JavaScript beside the loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from log.errors import internal_server_error

Result = TypeVar("Result")
_STACK_BYTES = 64 << 20  # JavaScript nests on it


def javascript_threads(count: int) -> ThreadPoolExecutor:
    """Threads with room for JavaScript's stack. All are started here: the size is that of the moment."""
    before = threading.stack_size(_STACK_BYTES)
    try:
        pool = ThreadPoolExecutor(count, thread_name_prefix="javascript")
        all_there = threading.Barrier(count + 1)
        for _ in range(count):
            pool.submit(all_there.wait)
        all_there.wait()
        return pool
    finally:
        threading.stack_size(before)


class JavaScriptThread:
    """One thread, begun when it is first needed: what is given to it runs one after the other."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._is_closed = False

    async def run(self, work: Callable[[], Result]) -> Result:
        """Beside the loop. JavaScript needs a core and not the interpreter's lock: calls go on meanwhile.
        Refused when it is closed."""
        if self._is_closed:
            raise internal_server_error()
        if self._pool is None:
            self._pool = javascript_threads(1)
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Nothing more is begun; who waits is cancelled. What is under way holds up nobody but the end of the
        process."""
        self._is_closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
