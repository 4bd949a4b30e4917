"""Ends JavaScript that has used up its time: one thread per process, whatever the number of isolates.

A call's time is the CPU clock of the thread that executes it, host calls excluded, so a busy machine kills
nobody. Two steps: the interrupt flag, which the engine polls and JavaScript cannot catch, leaves the
isolate usable; when that does not help (one long step inside C), a trap ends the instance.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

POLL_SECONDS = 0.02
IDLE_POLLS_MAX = 50
TRAP_GRACE_SECONDS = 0.25
"""CPU seconds between the flag and the trap."""


class Interruptible(Protocol):
    def interrupt(self) -> None:
        """Ask politely: set the flag."""

    def trap(self) -> None:
        """Make the instance trap at its next check."""


class Meter:
    """CPU seconds of one call. `resume` and `pause` run on the executing thread only."""

    __slots__ = ("_clock", "_limit", "_lock", "_resumed_at", "_target", "_used", "finished", "timed_out")

    def __init__(self, target: Interruptible, limit_seconds: float) -> None:
        self._target, self._limit = target, limit_seconds
        self._used = 0.0
        self._resumed_at: float | None = None
        self._clock = 0
        self._lock = threading.Lock()
        self.timed_out = False
        self.finished = False

    def resume(self) -> None:
        self._resumed_at = time.thread_time()

    def pause(self) -> None:
        if self._resumed_at is not None:
            self._used += time.thread_time() - self._resumed_at
            self._resumed_at = None

    def enter(self) -> None:
        """JavaScript runs on this thread from now on (a later step may run on another one)."""
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self.resume()

    def leave(self) -> None:
        self.pause()

    def finish(self) -> None:
        """The call is over. AFTER this the watchdog does not touch its isolate."""
        with self._lock:
            self.finished = True

    def seconds(self) -> float:
        return self._used

    def expire(self) -> None:
        """From any thread: what was used until now is all there was to use."""
        with self._lock:
            resumed_at = self._resumed_at
            running = time.clock_gettime(self._clock) - resumed_at if resumed_at is not None else 0.0
            self._limit = min(self._limit, self._used + running)

    def check(self) -> None:
        """On the watchdog's thread: interrupt, later trap, what ran for too long."""
        with self._lock:
            resumed_at = self._resumed_at
            if self.finished or resumed_at is None:
                return
            used = self._used + time.clock_gettime(self._clock) - resumed_at
            if used > self._limit:
                self.timed_out = True
                self._target.interrupt()
            if used > self._limit + TRAP_GRACE_SECONDS:
                self._target.trap()


class Watchdog:
    """Polls the running meters; sleeps without waking while nothing runs."""

    def __init__(self) -> None:
        self._running: set[Meter] = set()
        self._wake = threading.Event()
        self._idle = False
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()

    def watch(self, meter: Meter) -> None:
        self._running.add(meter)
        if self._idle:
            self._wake.set()
        elif self._thread is None:
            self._start()

    def unwatch(self, meter: Meter) -> None:
        self._running.discard(meter)

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._poll_for_ever, name="javascript-watchdog", daemon=True
                )
                self._thread.start()

    def _poll_for_ever(self) -> None:
        idle_polls = 0
        while True:
            time.sleep(POLL_SECONDS)
            idle_polls = 0 if self._running else idle_polls + 1
            if idle_polls > IDLE_POLLS_MAX:
                self._sleep_until_watched()
            for meter in list(self._running):
                try:
                    meter.check()
                except OSError:
                    pass  # the thread whose clock this was has ended between two polls

    def _sleep_until_watched(self) -> None:
        self._wake.clear()
        self._idle = True
        # `watch` adds BEFORE it looks at _idle, so whoever it did not wake is seen here.
        if not self._running:
            self._wake.wait()
        self._idle = False


watchdog = Watchdog()
"""The process's one."""
