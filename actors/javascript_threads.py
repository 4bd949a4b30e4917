"""Threads that run JavaScript beside the loop."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

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
