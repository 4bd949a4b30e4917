"""Runs scheduled jobs and crons when they are due: a follower of the log, and a clock (spec 03 5.1, 5.2).

It polls nothing: the queue is folded from the commits that write `_scheduled_jobs` and `_cron_next_run`, and
read once from the view at the start. An executor runs a job and ends it in one transaction, so asking twice
does no harm: after a lost connection, or a failure that is nobody's fault, the job is asked for again, later
and later.

Read in this order: start, follow, _run_forever, _run.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from actors.runtime import ConnectionLost, Peer
from functions.catalog import Catalog
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
)

_logger = logging.getLogger(__name__)
_QUEUES = (JOBS, NEXT_RUNS)
_TABLETS = frozenset(tablet_id_of(SYSTEM_TABLE_BY_NAME[name]) for name in _QUEUES)
_FIRST_DUE_KEY = encode_item(-(2**63))  # after null, which finished jobs hold

Ran = Callable[[str, list[Any]], None]
"""(path, outcome fields): what a job came to, for whoever shows it."""


class Scheduler:
    """actors.commit_log.Follower. One per deployment; `set_executors` says who runs jobs."""

    def __init__(self, now_ns: Callable[[], int], ran: Ran) -> None:
        self._now_ns, self._ran = now_ns, ran
        self._due_ts: dict[str, int] = {}  # of every job to be run
        self._heap: list[tuple[int, str]] = []  # may hold entries that are out of date
        self._failures: dict[str, int] = {}  # of jobs that are tried again
        self._running: dict[str, asyncio.Task[None]] = {}
        self._executors: list[Peer] = []
        self._turn = 0
        self._changed = asyncio.Event()
        self.jobs_run = 0

    @property
    def jobs_waiting(self) -> int:
        return len(self._due_ts)

    def start(self, snapshot: SnapshotReader, catalog: Catalog) -> None:
        """Take up everything that is to be run at the snapshot; `follow` brings what comes after."""
        for name in _QUEUES:
            index = catalog.tables[name].index(BY_NEXT_TS)
            assert index is not None
            self._take_up_all(snapshot, index.index_id)

    def _take_up_all(self, snapshot: SnapshotReader, index_id: bytes) -> None:
        start, limit = _FIRST_DUE_KEY, SCAN_ROWS_PER_FETCH_MAX
        while rows := snapshot.scan(index_id, start, None, descending=False, limit=limit):
            for row in rows:
                self._take_up(row.document)
            start = rows[-1].key + b"\x00"

    def set_executors(self, executors: Sequence[Peer]) -> None:
        self._executors = list(executors)
        self._changed.set()

    def follow(self, commits: Sequence[Commit]) -> None:
        for commit in commits:
            for write in commit.body.writes:
                if write.tablet_id not in _TABLETS:
                    continue
                self._forget(write.document_id)
                if write.document is not None:
                    self._take_up(write.document)

    async def run(self) -> None:
        """Until cancelled. What runs then is asked for again after the next start."""
        try:
            while True:
                self._start_due()
                self._changed.clear()
                await self._wait_for_more()
        finally:
            for task in self._running.values():
                task.cancel()

    def _take_up(self, document: bytes) -> None:
        job = job_id_of(document)
        if job is not None:
            self._enqueue(*job)

    def _enqueue(self, job_id: str, due_ts: int) -> None:
        self._due_ts[job_id] = due_ts
        heapq.heappush(self._heap, (due_ts, job_id))
        self._changed.set()

    def _forget(self, job_id: str) -> None:
        self._due_ts.pop(job_id, None)
        self._failures.pop(job_id, None)

    def _start_due(self) -> None:
        while self._executors and len(self._running) < JOBS_RUNNING_MAX and self._is_first_due():
            due_ts, job_id = heapq.heappop(self._heap)
            if self._due_ts.get(job_id) == due_ts and job_id not in self._running:
                self._running[job_id] = asyncio.create_task(self._run(job_id))

    def _is_first_due(self) -> bool:
        return bool(self._heap) and self._heap[0][0] <= self._now_ns()

    async def _wait_for_more(self) -> None:
        """Until something changed, or the next job is due."""
        seconds = None
        if self._heap and self._executors and len(self._running) < JOBS_RUNNING_MAX:
            seconds = max(0.0, (self._heap[0][0] - self._now_ns()) / 1e9)
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            pass

    async def _run(self, job_id: str) -> None:
        try:
            self._turn += 1
            executor = self._executors[self._turn % len(self._executors)]
            answer = await executor.call("run_job", job_id, os.urandom(16))
        except (ConnectionLost, BackendError) as failure:
            self._try_later(job_id, failure)
        else:
            self.jobs_run += 1
            if answer is not None:
                self._ran(*answer)
            else:
                self._try_later(job_id, None)  # it was not due yet by the executor's clock, or has ended
        finally:
            del self._running[job_id]
            self._changed.set()

    def _try_later(self, job_id: str, failure: Exception | None) -> None:
        """Unless it has ended after all: then its row is not to be run any more."""
        if job_id not in self._due_ts:
            return
        failures = self._failures[job_id] = self._failures.get(job_id, 0) + 1
        seconds = min(JOB_RETRY_SECONDS_MIN * 2 ** (failures - 1), JOB_RETRY_SECONDS_MAX)
        _logger.info("job %s is tried again in %.1f s: %r", job_id, seconds, failure)
        self._enqueue(job_id, self._now_ns() + int(seconds * 1e9))
