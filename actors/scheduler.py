"""Runs scheduled jobs and crons when they are due: a follower of the log, and a clock (spec 03 5.1, 5.2).

It polls nothing: the queue is folded from the commits that write `_scheduled_jobs` and `_cron_next_run`, and
read once from the view at the start. An executor runs a mutation and ends its job in one transaction, so
asking twice does no harm: after a lost connection, or a failure that is nobody's fault, the job is asked for
again, later and later. An action that had begun has then failed (actors/action_jobs.py).

While the deployment is paused nothing is started; what became due then runs when it goes on.

Invariant: every known job is running, or has an entry in the heap for the moment it is to be asked for.

Read in this order: start, follow, run, _run.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from actors.runtime import ConnectionLost, Peer
from functions.catalog import BACKEND_STATE, Catalog, is_pause
from functions.cron_jobs import NEXT_RUNS
from functions.scheduled_jobs import BY_NEXT_TS, JOBS, job_id_of
from functions.snapshot import SnapshotReader
from functions.system.tables import SYSTEM_TABLE_BY_NAME, tablet_id_of
from log.committer import Commit
from log.errors import BackendError
from log.keys import encode_item
from log.limits import (
    JOB_RETRY_SECONDS_MAX,
    JOB_RETRY_SECONDS_MIN,
    JOBS_RUNNING_MAX,
    SCAN_ROWS_PER_FETCH_MAX,
    SCHEDULER_SLEEP_SECONDS_MAX,
)

_logger = logging.getLogger(__name__)
_QUEUES = (JOBS, NEXT_RUNS)
_TABLETS = frozenset(tablet_id_of(SYSTEM_TABLE_BY_NAME[name]) for name in _QUEUES)
_STATE_TABLET = tablet_id_of(SYSTEM_TABLE_BY_NAME[BACKEND_STATE])
_FIRST_DUE_KEY = encode_item(-(2**63))  # after null, which finished jobs hold
_DOUBLINGS_MAX = 20
_STALE_ENTRIES_MAX = 1_024

Ran = Callable[[str, str, str, list[Any], float], None]
"""(component, path, request id, outcome fields, seconds it began after its time): what a job came to."""


@dataclass(slots=True)
class _Job:
    """Something to be run at `due_ts`, as the log says; not before `retry_ts`, after a failure."""

    due_ts: int
    retry_ts: int = 0
    failures: int = 0

    @property
    def start_ts(self) -> int:
        return max(self.due_ts, self.retry_ts)


class Scheduler:
    """actors.commit_log.Follower. One per deployment; `set_executors` says who runs jobs."""

    def __init__(self, now_ns: Callable[[], int], ran: Ran) -> None:
        self._now_ns, self._ran = now_ns, ran
        self._jobs: dict[str, _Job] = {}
        self._heap: list[tuple[int, str]] = []  # (start_ts, job id); may hold entries that are out of date
        self._running: dict[str, asyncio.Task[None]] = {}
        self._executors: list[Peer] = []
        self._slow_executors: list[Peer] = []
        self._starts = 0
        self._is_paused = False  # as the log says
        self._changed = asyncio.Event()
        self._defect: BaseException | None = None
        self.jobs_run = 0

    @property
    def jobs_waiting(self) -> int:
        return len(self._jobs)

    @property
    def late_seconds(self) -> float:
        """How long the next job to begin has been due; 0 when none is. Who waits to be tried again is not."""
        if not self._heap:
            return 0.0
        start_ts, job_id = self._heap[0]
        job = self._jobs.get(job_id)
        is_current = job is not None and job.start_ts == start_ts and job_id not in self._running
        return max(0.0, (self._now_ns() - start_ts) / 1e9) if is_current else 0.0

    def start(self, snapshot: SnapshotReader, catalog: Catalog) -> None:
        """Take up everything that is to be run at the snapshot; `follow` brings what comes after."""
        self._is_paused = catalog.is_paused
        for name in _QUEUES:
            index = catalog.tables[name].index(BY_NEXT_TS)
            assert index is not None
            self._take_up_all(snapshot, index.index_id)

    def set_executors(self, executors: Sequence[Peer]) -> None:
        self._executors = list(executors)
        self._changed.set()

    def set_slow_executors(self, executors: Sequence[Peer]) -> None:
        """Who runs the actions. While nobody does they are asked for later."""
        self._slow_executors = list(executors)

    def follow(self, commits: Sequence[Commit]) -> None:
        for commit in commits:
            for write in commit.body.writes:
                if write.tablet_id in _TABLETS:
                    self._take_up(write.document_id, write.document)
                elif write.tablet_id == _STATE_TABLET:
                    self._is_paused = write.document is not None and is_pause(orjson.loads(write.document))
                    self._changed.set()

    async def run(self) -> None:
        """Until cancelled. What runs then is asked for again after the next start."""
        try:
            while True:
                if self._defect is not None:
                    raise self._defect
                self._start_due()
                self._changed.clear()
                await self._wait_for_more()
        finally:
            for task in self._running.values():
                task.cancel()

    # --- the queue ----------------------------------------------------------------------------------

    def _take_up_all(self, snapshot: SnapshotReader, index_id: bytes) -> None:
        start, limit = _FIRST_DUE_KEY, SCAN_ROWS_PER_FETCH_MAX
        while rows := snapshot.scan(index_id, start, None, descending=False, limit=limit):
            for row in rows:
                job = job_id_of(row.document)
                assert job is not None, "the index begins behind what has ended"
                self._take_up(job[0], row.document)
            start = rows[-1].key + b"\x00"

    def _take_up(self, job_id: str, document: bytes | None) -> None:
        """What the log says of a job now."""
        job = job_id_of(document) if document is not None else None
        if job is None:
            self._jobs.pop(job_id, None)
            self._forget_stale_entries()
            return
        self._jobs[job_id] = _Job(due_ts=job[1])
        self._push(job_id)

    def _push(self, job_id: str) -> None:
        """Have the job asked for at its time, if it is still to be run."""
        job = self._jobs.get(job_id)
        if job is not None:
            heapq.heappush(self._heap, (job.start_ts, job_id))
            self._changed.set()

    def _forget_stale_entries(self) -> None:
        """Jobs that were cancelled long before their time may not fill the memory."""
        if len(self._heap) > 2 * len(self._jobs) + _STALE_ENTRIES_MAX:
            self._heap = [(job.start_ts, job_id) for job_id, job in self._jobs.items()]
            heapq.heapify(self._heap)

    def _start_due(self) -> None:
        while self._may_start and self._is_first_due():
            start_ts, job_id = heapq.heappop(self._heap)
            job = self._jobs.get(job_id)
            if job is None or job.start_ts != start_ts or job_id in self._running:
                continue  # out of date; who is running is pushed again when it ends
            executor = self._executors[self._starts % len(self._executors)]
            self._starts += 1
            self._running[job_id] = asyncio.create_task(self._run(job_id, job, executor))

    @property
    def _may_start(self) -> bool:
        return bool(self._executors) and not self._is_paused and len(self._running) < JOBS_RUNNING_MAX

    def _is_first_due(self) -> bool:
        return bool(self._heap) and self._heap[0][0] <= self._now_ns()

    async def _wait_for_more(self) -> None:
        """Until something changed, or the next job is due. The clock may be set: it is looked at anew."""
        seconds = float(SCHEDULER_SLEEP_SECONDS_MAX)
        if self._heap and self._may_start:
            seconds = min(seconds, max(0.0, (self._heap[0][0] - self._now_ns()) / 1e9))
        # Not wait_for: it may swallow a cancellation that comes at the same time, and nobody could end us.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    # --- one job ------------------------------------------------------------------------------------

    async def _run(self, job_id: str, job: _Job, executor: Peer) -> None:
        late_seconds = max(0.0, (self._now_ns() - job.due_ts) / 1e9)
        try:
            ran = await self._ask(job_id, executor)
            if ran is None:
                self._try_later(job, "it was not to be run")  # by the executor's clock, or it has ended
            else:
                self.jobs_run += 1
                component, path, request_id, outcome = ran
                self._ran(component, path, request_id, outcome, late_seconds)
        except (ConnectionLost, BackendError) as failure:
            self._try_later(job, repr(failure))
        except Exception as failure:
            self._defect = failure  # whoever runs us ends the process that owns this state
        finally:
            del self._running[job_id]
            self._push(job_id)
            self._changed.set()

    async def _ask(self, job_id: str, executor: Peer) -> Any:
        """(component, path, request id, outcome fields) of what was run. An action that has begun is run by
        a slow executor."""
        slow = (
            self._slow_executors[self._starts % len(self._slow_executors)] if self._slow_executors else None
        )
        answer = await executor.call("run_job", job_id, os.urandom(16), slow is not None)
        if answer is None or answer[0] == "ran":
            return answer and answer[1:]
        assert slow is not None, "an executor begins no action that nobody runs"
        return await slow.call("run_job_action", job_id, answer[1])

    def _try_later(self, job: _Job, why: str) -> None:
        """Of no effect when the log has said something newer about the job meanwhile."""
        job.failures += 1
        doublings = min(job.failures - 1, _DOUBLINGS_MAX)
        seconds = min(JOB_RETRY_SECONDS_MIN * 2**doublings, JOB_RETRY_SECONDS_MAX)
        job.retry_ts = self._now_ns() + int(seconds * 1e9)
        _logger.info("a job is tried again in %.1f s: %s", seconds, why)
