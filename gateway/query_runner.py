"""Runs queries once for everybody who waits for them, and tells holders when a result ends (design D20).

The shell around `ResultCache`: it waits for the backend, the cache decides what may be shown to whom.

Promises:
  - every query of one `evaluate` is answered at the same ts, which the invalidation stream covers;
  - callers that need the same query at the same ts share one run; a herd runs oldest first, at most
    GATEWAY_QUERY_RUNS_MAX at a time;
  - a result handed to a subscriber is registered BEFORE it is handed out, so no write after it is missed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import count

from gateway.backend import Backend, FunctionCall, GatewaySettings, Invalidated, Invalidation
from gateway.concurrency import QUEUED
from gateway.evaluation import Answer, Evaluation, EvaluationDone, Waiter
from gateway.function_log import FunctionLog
from gateway.rerun_log import RerunLog
from gateway.results import Holder, QueryKey, QueryResult, ResultCache, query_result
from gateway.sync_events import ComputeTransition
from log import errors
from log.errors import BackendError
from log.identity import Identity
from log.invariant import InvariantViolation
from log.limits import GATEWAY_QUERY_QUEUE_LENGTH_MAX, GATEWAY_QUERY_RUNS_MAX

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Run:
    """One execution at one ts. `early` waiters take the value as soon as it is known; `subscribers`
    wait for the registration and get one hold each."""

    key: QueryKey
    identity: Identity
    ts: int
    caller: str
    client_version: str
    request_id: str
    share_key: Hashable
    trace_id: str
    early: list[Waiter] = field(default_factory=list)
    subscribers: list[tuple[Identity, Holder, Waiter]] = field(default_factory=list)


class QueryRunner:
    """One per gateway. All methods are called on its event loop."""

    def __init__(
        self,
        backend: Backend,
        settings: GatewaySettings,
        function_log: FunctionLog,
        on_defect: Callable[[BaseException], None],
        cache: ResultCache | None = None,
    ) -> None:
        self._backend = backend
        self._redact = settings.redact_errors
        self._function_log = function_log
        self._on_defect = on_defect
        self._cache = cache or ResultCache()
        self._covered_ts = backend.covered_ts
        self._registrations = count(1)
        self._queued: deque[_Run] = deque()
        self._shared: dict[Hashable, _Run] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Task[None]] = set()
        self._stream_waiters: list[asyncio.Future[None]] = []
        self._watched: dict[int, QueryKey] = {}  # by registration, for the reasons
        self.reruns = RerunLog()
        self.runs_started = 0
        self.cache_hits = self.cache_misses = 0  # of queries that were asked for, however many share a run
        backend.listen(self._stream_advanced)

    @property
    def cache(self) -> ResultCache:
        return self._cache

    @property
    def covered_ts(self) -> int:
        return max(self._covered_ts, self._backend.covered_ts)

    # --- the stream ---------------------------------------------------------------------------------

    def _stream_advanced(self, covered_ts: int, invalidations: Sequence[Invalidation]) -> None:
        """First close every interval, then tell the holders: none may be shown a result that just ended."""
        self._covered_ts = max(self._covered_ts, covered_ts)
        self._note_reasons(invalidations)
        for holder in self._cache.invalidate(invalidations):
            holder.result_invalidated()
        waiters, self._stream_waiters = self._stream_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _note_reasons(self, invalidations: Sequence[Invalidation]) -> None:
        now_seconds = time.time()
        for invalidation in invalidations:
            query = self._watched.pop(invalidation.key, None)
            if query is not None and self._cache.is_held(invalidation.key):
                self.reruns.add(query, invalidation, now_seconds)
                self._function_log.count_invalidation(query.component, query.path, now_seconds)

    async def wait_stream(self, timeout_seconds: float) -> None:
        """Return when the stream moves, or after the timeout."""
        waiter = asyncio.get_running_loop().create_future()
        self._stream_waiters.append(waiter)
        await asyncio.wait((waiter,), timeout=timeout_seconds)

    # --- subscribers --------------------------------------------------------------------------------

    def evaluate(
        self,
        request: ComputeTransition,
        client_version: str,
        holder: Holder,
        done: EvaluationDone,
        failed: Callable[[BackendError], None],
        trace_id: str = "",
    ) -> None:
        """Answer all queries of a session at one ts. Results that differ from what is held carry a hold.

        Calls exactly one of `done` and `failed`, once, perhaps before it returns.
        """
        evaluation = Evaluation(self, request, client_version, holder, done, failed, trace_id)
        if self.covered_ts >= request.min_ts:
            evaluation.start()
        else:
            self._start_when_covered(request.min_ts, evaluation.start, failed)

    def subscribe(
        self,
        key: QueryKey,
        identity: Identity,
        held: QueryResult | None,
        ts: int,
        client_version: str,
        holder: Holder,
        waiter: Waiter,
        trace_id: str = "",
    ) -> None:
        """Answer one query at exactly `ts` through `waiter`, with a hold for `holder`."""
        found = self._cache.find(key, identity, ts, time.monotonic())
        if found is not None:
            self.cache_hits += 1
            self._cache.hold(found, holder)
            waiter(found)
            return
        self.cache_misses += 1
        # Whoever last saw an answer that did not depend on the identity expects the same of the next one.
        expected_own = held is None or held.outcome.observed_identity
        run = self._join(key, identity, ts, expected_own, "SyncWorker", client_version, None, trace_id)
        if run is None:
            waiter(errors.too_many_concurrent_queries())
            return
        run.subscribers.append((identity, holder, waiter))

    def release(self, results: Sequence[QueryResult], holder: Holder) -> None:
        for result in results:
            self._cache.release(result, holder)
        self._undo_dropped()

    # --- one-off queries ----------------------------------------------------------------------------

    def find_now(self, key: QueryKey, identity: Identity) -> QueryResult | None:
        """A cached result that a query arriving now may be given, without waiting for anything."""
        if self._backend.published_ts > self.covered_ts:
            return None  # a write already answered may not have reached us
        found = self._cache.find(key, identity, self.covered_ts, time.monotonic())
        if found is not None:
            self.cache_hits += 1
        return found

    async def query(self, call: FunctionCall, ts: int | None = None) -> QueryResult:
        """Run (or join, or find) a query that nobody subscribes to; at exactly `ts` if given."""
        key = QueryKey(call.path, call.args, call.component, None)
        if ts is None:
            ts = self._backend.published_ts
            await self._backend.wait_covered(ts)
            ts = self.covered_ts
        found = self._cache.find(key, call.identity, ts, time.monotonic())
        if found is not None:
            self.cache_hits += 1
            return found
        self.cache_misses += 1
        run = self._join(
            key, call.identity, ts, True, call.caller, call.client_version, call.request_id, call.trace_id
        )
        if run is None:
            raise errors.too_many_concurrent_queries()
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        run.early.append(lambda answer: None if answered.done() else answered.set_result(answer))
        answer = await answered
        if isinstance(answer, BackendError):
            raise answer
        return answer

    # --- runs ---------------------------------------------------------------------------------------

    def _join(
        self,
        key: QueryKey,
        identity: Identity,
        ts: int,
        expected_own: bool,
        caller: str,
        client_version: str,
        request_id: str | None,
        trace_id: str,
    ) -> _Run | None:
        """The run in progress for this query at this ts, or a new one; None when too many wait."""
        share_key = (key, identity.is_admin, identity if expected_own else None, ts)
        run = self._shared.get(share_key)
        if run is None:
            if len(self._queued) >= GATEWAY_QUERY_QUEUE_LENGTH_MAX:
                return None
            request_id = request_id or os.urandom(8).hex()
            run = _Run(key, identity, ts, caller, client_version, request_id, share_key, trace_id)
            self._shared[share_key] = run
            self._queued.append(run)
            self._start_runs()
        return run

    def _start_runs(self) -> None:
        while self._queued and len(self._running) < GATEWAY_QUERY_RUNS_MAX:
            task = asyncio.get_running_loop().create_task(self._execute(self._queued.popleft()))
            self._running.add(task)
            task.add_done_callback(self._run_ended)
        self._function_log.usage.concurrency.note("Query", QUEUED, len(self._queued))

    def _run_ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._on_defect(failure)
        self._start_runs()

    async def _execute(self, run: _Run) -> None:
        if self._answer_from_cache(run):
            return
        call = FunctionCall(
            path=run.key.path,
            args=run.key.args,
            identity=run.identity,
            component=run.key.component,
            request_id=run.request_id,
            caller=run.caller,
            client_version=run.client_version,
            trace_id=run.trace_id,
        )
        self.runs_started += 1
        try:
            counted = self._function_log.usage.concurrency.counted
            running = self._backend.run_query(call, run.ts, run.key.journal)
            outcome = await counted("Query", call.path, running)
            self._function_log.add(call, outcome, "Query", time.time())
            result = query_result(outcome, run.request_id, self._redact, time.monotonic())
            _answer_early(run, result)  # they subscribe to nothing, so they need not wait any longer
            if result.may_be_found or run.subscribers:
                await self._register(run, result)
        except BackendError as refusal:
            self._finish(run, refusal)
            return
        except Exception as failure:
            # Whoever waits is answered in any case; a broken promise of ours then stops the gateway.
            self._finish(run, errors.internal_server_error())
            if isinstance(failure, InvariantViolation):
                raise
            logger.exception("%s %s neither answered nor refused", run.key.path, run.request_id)
            return
        self._finish(run, result)

    def _answer_from_cache(self, run: _Run) -> bool:
        """A run that waited in the queue may find that an earlier one answered its question."""
        found = self._cache.find(run.key, run.identity, run.ts, time.monotonic())
        if found is None:
            return False
        _answer_early(run, found)
        self._finish(run, found)
        return True

    async def _register(self, run: _Run, result: QueryResult) -> None:
        """Ask to be told of the first write after the result. Closed at once if there was one already."""
        registration = next(self._registrations)
        # Tracked BEFORE asking: the announcement of its end may be handled before we see the answer.
        self._cache.track(result, registration)
        self._watched[registration] = run.key
        try:
            answer = await self._backend.register(registration, result.outcome.reads, result.valid_from)
        except BaseException:
            self._watched.pop(registration, None)
            self._cache.untrack(result, result.valid_from + 1)
            raise
        if isinstance(answer, Invalidated):
            self._watched.pop(registration, None)
            self._cache.untrack(result, answer.ts)

    def _finish(self, run: _Run, answer: Answer) -> None:
        """Hand the answer to everyone who waits. Holds first: the first waiter may cause releases."""
        if self._shared.get(run.share_key) is run:
            del self._shared[run.share_key]
        _answer_early(run, answer)
        subscribers, run.subscribers = run.subscribers, []
        served = [subscriber for subscriber in subscribers if self._may_show(run, subscriber[0], answer)]
        if isinstance(answer, QueryResult):
            for _, holder, _ in served:
                self._cache.hold(answer, holder)
            self._cache.keep(run.key, run.identity, answer)  # AFTER the holds: it may be too large to stay
        for _, _, waiter in served:
            waiter(answer)
        for identity, holder, waiter in subscribers:
            if not self._may_show(run, identity, answer):
                # It expected not to depend on the identity, and did: each identity needs its own run.
                self.subscribe(
                    run.key, identity, None, run.ts, run.client_version, holder, waiter, run.trace_id
                )
        self._undo_dropped()

    @staticmethod
    def _may_show(run: _Run, identity: Identity, answer: Answer) -> bool:
        if isinstance(answer, BackendError) or identity == run.identity:
            return True
        return not answer.outcome.observed_identity

    def _undo_dropped(self) -> None:
        if dropped := self._cache.drain_dropped():
            for registration in dropped:
                self._watched.pop(registration, None)
            self._backend.unregister(dropped)

    def _start_when_covered(
        self, min_ts: int, start: Callable[[], None], failed: Callable[[BackendError], None]
    ) -> None:
        async def wait_and_start() -> None:
            try:
                await self._backend.wait_covered(min_ts)
            except BackendError as refusal:
                failed(refusal)
            else:
                start()

        task = asyncio.get_running_loop().create_task(wait_and_start())
        self._waiting.add(task)
        task.add_done_callback(self._wait_ended)

    def _wait_ended(self, task: asyncio.Task[None]) -> None:
        self._waiting.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._on_defect(failure)


def _answer_early(run: _Run, answer: Answer) -> None:
    waiters, run.early = run.early, []
    for waiter in waiters:
        waiter(answer)
