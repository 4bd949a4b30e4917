"""The scheduler over a queue in memory: an executor that ends jobs, loses connections, or fails."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from actors.runtime import ConnectionLost
from actors.scheduler import Scheduler
from functions import scheduled_jobs
from functions.catalog import BACKEND_STATE, NO_STOPS
from functions.function_address import FunctionAddress
from functions.path import parse_function_path
from functions.system.tables import SYSTEM_TABLE_BY_NAME, tablet_id_of
from functions.transaction import Transaction
from log import values
from log.committer import Commit
from log.errors import internal_server_error
from log.limits import JOB_RETRY_SECONDS_MIN, JOBS_RUNNING_MAX
from log.record import CallTrace, CommitBody, DocumentWrite, RecordKind, make_record

from ..support.deployment import Deployment, functions_module

PATIENCE_SECONDS = 20
PATH = parse_function_path("m:f")


class Queue:
    """Jobs in a database whose commits a scheduler follows; also the executor that runs them."""

    def __init__(self) -> None:
        deployment = Deployment()
        deployment.push(functions_module("m.js", "export const f = mutation();"))
        self.database = deployment.database
        self.told: list[str] = []
        self.late_seconds: list[float] = []
        self._start_ns, self._started_ns = self.database.now_ns, time.monotonic_ns()
        self.scheduler = Scheduler(self.now_ns, self._tell)
        self.asked: list[str] = []
        self.running, self.running_most = 0, 0
        self.refusals: list[Exception] = []  # taken one by one, before anything is run
        self.gate = asyncio.Event()
        self.gate.set()

    def _tell(
        self, component: str, path: str, request_id: str, outcome: list[Any], late_seconds: float
    ) -> None:
        self.told.append(path)
        self.late_seconds.append(late_seconds)

    def transact(self, change: Callable[[Transaction], Any]) -> Any:
        """Commit, and let the scheduler see it."""
        transaction = self.database.begin()
        result = change(transaction)
        body = transaction.commit_body(b"call", CallTrace())
        self.database.commit(transaction)
        ts = self.database.committer.published_ts
        record = make_record(0, 1, ts, 1, RecordKind.COMMIT, body.encode())
        self.scheduler.follow([Commit(record, body)])
        return result

    def now_ns(self) -> int:
        """Time passes, from the database's present on."""
        return self._start_ns + time.monotonic_ns() - self._started_ns

    def add(self, in_ms: float) -> str:
        def change(transaction: Transaction) -> str:
            at_seconds = self.now_ns() / 1e9 + in_ms / 1e3
            return scheduled_jobs.schedule(transaction, FunctionAddress("", PATH), {}, at_seconds)

        return self.transact(change)

    def set_user_state(self, user: str) -> None:
        """As the dashboard pauses and resumes."""
        self.transact(lambda transaction: transaction.insert(BACKEND_STATE, {**NO_STOPS, "user": user}))

    async def call(self, method: str, job_id: str, call_id: bytes, may_start_actions: bool) -> Any:
        assert method == "run_job" and len(call_id) == 16 and not may_start_actions
        self.asked.append(job_id)
        self.running += 1
        self.running_most = max(self.running_most, self.running)
        try:
            await self.gate.wait()
            if self.refusals:
                raise self.refusals.pop()
            ended = {"type": scheduled_jobs.SUCCESS}
            self.transact(lambda transaction: scheduled_jobs.end_job(transaction, job_id, ended))
            return ["ran", "", "m.js:f", "r1", []]
        finally:
            self.running -= 1

    def send(self, method: str, *arguments: Any) -> None:
        raise AssertionError("nothing is sent without waiting for its answer")


def play(scene: Callable[[Queue], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        queue = Queue()
        running = asyncio.create_task(queue.scheduler.run())
        try:
            await asyncio.wait_for(scene(queue), PATIENCE_SECONDS)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(whole())


async def drained(queue: Queue) -> None:
    while queue.scheduler.jobs_waiting or queue.running:
        await asyncio.sleep(0.001)


def test_jobs_run_when_they_are_due_and_in_that_order() -> None:
    async def scene(queue: Queue) -> None:
        later, sooner = queue.add(in_ms=60), queue.add(in_ms=20)
        queue.scheduler.set_executors([queue])
        await asyncio.sleep(0)
        assert queue.asked == [], "neither is due"
        await drained(queue)
        assert queue.asked == [sooner, later] and queue.told == ["m.js:f", "m.js:f"]

    play(scene)


def test_nothing_is_started_while_the_deployment_is_paused_and_all_of_it_afterwards() -> None:
    async def scene(queue: Queue) -> None:
        queue.set_user_state("paused")
        queue.scheduler.set_executors([queue])
        due = [queue.add(in_ms=0), queue.add(in_ms=10)]
        await asyncio.sleep(0.05)
        assert queue.asked == []
        queue.set_user_state("none")
        await drained(queue)
        assert queue.asked == due

    play(scene)


def test_a_scheduler_that_starts_on_a_paused_deployment_waits_too() -> None:
    async def scene(queue: Queue) -> None:
        queue.set_user_state("paused")
        queue.add(in_ms=0)
        newest = queue.database.begin(is_read_only=True)
        successor = Scheduler(queue.now_ns, lambda *told: None)
        successor.start(newest.snapshot, newest.catalog)
        successor.set_executors([queue])
        running = asyncio.create_task(successor.run())
        await asyncio.sleep(0.05)
        running.cancel()
        assert queue.asked == [] and successor.jobs_waiting == 1

    play(scene)


def test_a_job_that_waits_for_an_executor_is_late_by_as_long_as_it_waits() -> None:
    async def scene(queue: Queue) -> None:
        queue.add(in_ms=0)
        queue._start_ns += 5 * 10**9  # so much time passes
        assert 5 <= queue.scheduler.late_seconds < 60, "it is due, and nobody runs it"
        queue.scheduler.set_executors([queue])
        await drained(queue)
        assert queue.scheduler.late_seconds == 0, "nothing is due"
        queue.add(in_ms=60_000)
        assert queue.scheduler.late_seconds == 0, "what is there is not due"
        (late_seconds,) = queue.late_seconds
        assert 5 <= late_seconds < 60

    play(scene)


def test_a_job_that_was_tried_again_is_late_by_its_own_time() -> None:
    async def scene(queue: Queue) -> None:
        queue.refusals = [internal_server_error()]
        queue.add(in_ms=0)
        queue.scheduler.set_executors([queue])
        await drained(queue)
        (late_seconds,) = queue.late_seconds
        assert late_seconds >= JOB_RETRY_SECONDS_MIN, "the wait before the second try is in it"

    play(scene)


def test_a_cancelled_job_is_not_run() -> None:
    async def scene(queue: Queue) -> None:
        job_id, other = queue.add(in_ms=30), queue.add(in_ms=40)
        queue.scheduler.set_executors([queue])
        queue.transact(lambda transaction: scheduled_jobs.cancel(transaction, job_id))
        await drained(queue)
        assert queue.asked == [other]

    play(scene)


def test_what_was_in_the_queue_before_the_start_is_taken_up() -> None:
    async def scene(queue: Queue) -> None:
        known = {queue.add(in_ms=0) for _ in range(5)}
        successor = Scheduler(queue.now_ns, lambda *told: None)
        snapshot = queue.database.begin(is_read_only=True).snapshot
        successor.start(snapshot, queue.database.catalog)
        queue.scheduler = successor
        successor.set_executors([queue])
        running = asyncio.create_task(successor.run())
        await drained(queue)
        running.cancel()
        assert set(queue.asked) == known and len(queue.asked) == 5

    play(scene)


def test_a_job_whose_executor_was_lost_or_failed_is_asked_for_again_until_it_has_ended() -> None:
    async def scene(queue: Queue) -> None:
        queue.refusals = [internal_server_error(), ConnectionLost("it is gone")]
        job_id = queue.add(in_ms=0)
        queue.scheduler.set_executors([queue])
        await drained(queue)
        assert queue.asked == [job_id] * 3 and queue.scheduler.jobs_run == 1

    play(scene)


def test_no_more_than_a_few_jobs_run_at_once_and_all_run_once() -> None:
    seed = 20261126
    chance = random.Random(seed)

    async def scene(queue: Queue) -> None:
        queue.gate.clear()
        known = [queue.add(in_ms=chance.uniform(-5, 10)) for _ in range(60)]
        queue.scheduler.set_executors([queue])
        await asyncio.sleep(0.05)
        assert queue.running == JOBS_RUNNING_MAX
        queue.gate.set()
        await drained(queue)
        assert sorted(queue.asked) == sorted(known), f"seed {seed}"
        assert queue.running_most == JOBS_RUNNING_MAX

    play(scene)


def test_without_executors_jobs_wait() -> None:
    async def scene(queue: Queue) -> None:
        queue.add(in_ms=0)
        await asyncio.sleep(0.02)
        assert queue.asked == [] and queue.scheduler.jobs_waiting == 1
        queue.scheduler.set_executors([queue])
        await drained(queue)
        assert len(queue.asked) == 1

    play(scene)


def test_what_becomes_due_again_while_its_answer_is_on_the_way_is_run_again_but_not_beside_itself() -> None:
    """A cron with a short interval: its next run is in the log before the answer to the last is here."""

    async def scene(queue: Queue) -> None:
        job_id = queue.add(in_ms=0)
        again = [2]

        async def call(method: str, asked_id: str, call_id: bytes, may_start_actions: bool) -> Any:
            queue.asked.append(asked_id)
            queue.running += 1
            queue.running_most = max(queue.running_most, queue.running)
            jobs = queue.database.catalog.tables[scheduled_jobs.JOBS]
            changes: dict[str, Any] = {"nextTs": queue.now_ns() if again[0] else None}
            queue.transact(lambda transaction: transaction.patch(jobs, asked_id, changes))
            again[0] -= 1
            await asyncio.sleep(0.01)
            queue.running -= 1
            return ["ran", "", "m.js:f", "r1", []]

        queue.call = call  # type: ignore[method-assign]
        queue.scheduler.set_executors([queue])
        while len(queue.asked) < 3:
            await asyncio.sleep(0.001)
        assert queue.asked == [job_id] * 3 and queue.running_most == 1

    play(scene)


def test_a_defect_ends_whoever_runs_the_scheduler() -> None:
    async def scene(queue: Queue) -> None:
        queue.refusals = [ZeroDivisionError()]
        queue.add(in_ms=0)
        queue.scheduler.set_executors([queue])
        while queue.refusals or queue.running:
            await asyncio.sleep(0.001)
        with pytest.raises(ZeroDivisionError):
            await queue.scheduler.run()

    play(scene)


def test_jobs_that_were_cancelled_long_before_their_time_are_forgotten() -> None:
    scheduler = Scheduler(lambda: 0, lambda *told: None)
    for number in range(5_000):
        scheduler.follow([_writing(f"job {number}", next_ts=10**18)])
        scheduler.follow([_writing(f"job {number}", next_ts=None)])
    assert scheduler.jobs_waiting == 0
    assert len(scheduler._heap) <= 1_024


def _writing(job_id: str, next_ts: int | None) -> Commit:
    document = values.dumps({"_id": job_id, "nextTs": next_ts})
    tablet_id = tablet_id_of(SYSTEM_TABLE_BY_NAME[scheduled_jobs.JOBS])
    write = DocumentWrite(tablet_id, job_id, 0, len(document), document, ())
    body = CommitBody(0, b"call", CallTrace(), (write,))
    return Commit(make_record(0, 1, 1, 1, RecordKind.COMMIT, b""), body)


@pytest.mark.parametrize("seed", range(6))
def test_every_known_job_is_running_or_in_the_heap_whatever_happens(seed: int) -> None:
    rng = random.Random(seed)

    async def scene(queue: Queue) -> None:
        known: list[str] = []
        for _ in range(40):
            match rng.randrange(5):
                case 0 | 1:
                    known.append(queue.add(in_ms=rng.uniform(-2, 6)))
                case 2 if known:
                    queue.transact(lambda tx: scheduled_jobs.cancel(tx, rng.choice(known)))
                case 3:
                    queue.refusals = [rng.choice([internal_server_error(), ConnectionLost("gone")])]
                case 4:
                    queue.scheduler.set_executors([queue] * rng.randrange(3))
            await asyncio.sleep(0.001)
            scheduler = queue.scheduler
            waiting = set(scheduler._heap)
            for job_id, job in scheduler._jobs.items():
                is_waiting = (job.start_ts, job_id) in waiting
                assert is_waiting or job_id in scheduler._running, f"seed {seed}"
        queue.refusals = []
        queue.scheduler.set_executors([queue])
        await drained(queue)

    play(scene)


def test_it_ends_when_it_is_cancelled_at_the_moment_something_changes() -> None:
    async def scene(queue: Queue) -> None:
        for _ in range(20):
            scheduler = Scheduler(queue.now_ns, lambda *told: None)
            running = asyncio.create_task(scheduler.run())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            scheduler.set_executors([queue])
            running.cancel()
            await asyncio.wait_for(asyncio.gather(running, return_exceptions=True), 5)
            assert running.cancelled()

    play(scene)
