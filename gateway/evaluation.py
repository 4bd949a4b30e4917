"""One session's queries, answered at one ts: from what it holds, from the cache, or by runs it waits for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.results import Holder, QueryResult
from gateway.sync_events import ComputeTransition, QueryToEvaluate
from log.errors import BackendError, ErrorKind
from log.limits import SOCKET_QUERIES_RUNNING_MAX

if TYPE_CHECKING:
    from gateway.query_runner import QueryRunner

Answer = QueryResult | BackendError
Waiter = Callable[[Answer], None]
EvaluationDone = Callable[[int, tuple[tuple[int, Answer], ...]], None]


class Evaluation:
    """One session's queries at one ts. At most SOCKET_QUERIES_RUNNING_MAX of them wait for runs at a time."""

    __slots__ = ("_client_version", "_done", "_error", "_failed", "_holder", "_in_flight", "_pending",
                 "_pumping", "_request", "_results", "_runner", "_trace_id", "_ts")  # fmt: skip

    def __init__(
        self,
        runner: QueryRunner,
        request: ComputeTransition,
        client_version: str,
        holder: Holder,
        done: EvaluationDone,
        failed: Callable[[BackendError], None],
        trace_id: str,
    ) -> None:
        self._runner, self._request = runner, request
        self._client_version, self._trace_id = client_version, trace_id
        self._holder, self._done, self._failed = holder, done, failed
        self._ts = 0
        self._pending: deque[QueryToEvaluate] = deque()
        self._results: list[tuple[int, Answer]] = []
        self._in_flight = 0
        self._error: BackendError | None = None
        self._pumping = False

    def start(self) -> None:
        self._ts = ts = self._runner.covered_ts
        for query in self._request.queries:
            if query.held is None or not query.held.covers(ts):
                self._pending.append(query)
        self._pump()

    def _pump(self) -> None:
        if self._pumping:
            return  # a query was answered from the cache: the loop below goes on
        self._pumping = True
        while self._pending and self._error is None and self._in_flight < SOCKET_QUERIES_RUNNING_MAX:
            query = self._pending.popleft()
            self._in_flight += 1
            self._runner.subscribe(
                query.key,
                self._request.identity,
                query.held,
                self._ts,
                self._client_version,
                self._holder,
                lambda answer, query_id=query.query_id: self._answered(query_id, answer),  # type: ignore[misc]
                self._trace_id,
            )
        self._pumping = False
        if self._in_flight == 0:
            self._end()

    def _answered(self, query_id: int, answer: Answer) -> None:
        self._in_flight -= 1
        if isinstance(answer, BackendError) and answer.kind is not ErrorKind.FEATURE_UNAVAILABLE:
            self._error = answer
        else:
            self._results.append((query_id, answer))
        self._pump()

    def _end(self) -> None:
        if self._error is None:
            self._done(self._ts, tuple(self._results))
            return
        held = [answer for _, answer in self._results if isinstance(answer, QueryResult)]
        self._runner.release(held, self._holder)
        self._failed(self._error)
