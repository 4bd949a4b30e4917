"""gateway/backend.py over the actors: which executor runs a call, what the core's stream says.

Peers are replaced when an actor was restarted (`set_core`, `set_executors`). A query, or a mutation with a
session request, that was lost with its executor is asked again elsewhere, because asking twice changes
nothing; the outcome of any other mutation or action is unknown and said to be.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from actors.calls import wire_call
from actors.executor_pool import ExecutorPool
from actors.runtime import ConnectionLost, Peer
from cluster.call_forms import call_by_action, http_fields, job_call, outcome_of, run_call
from cluster.processes import memory_bytes
from gateway.backend import (
    ROWS_READ,
    FunctionCall,
    FunctionOutcome,
    HttpActionAnswer,
    HttpActionCall,
    HttpActionRun,
    Invalidated,
    Invalidation,
    JobListener,
    MinuteRows,
    Registered,
    StreamListener,
    Unanswered,
)
from log.errors import BackendError, internal_server_error, unknown_outcome
from log.identity import Identity
from log.limits import ACTOR_FACTS_SECONDS_MAX, PUSH_PREPARATION_SECONDS_MAX

_STREAM_OPERATIONS = frozenset({"list_snapshot", "json_schemas", "get_table_column_names"})
SLOW_OPERATIONS = frozenset(
    {
        "evaluate_schema",
        "evaluate_push",
        "start_push",
        "finish_push",
        "update_environment_variables",
        "update_canonical_url",
        *_STREAM_OPERATIONS,
    }
)
"""What evaluates code, or reads much: on a slow executor it stands in no query's way."""
_WORKER_OPERATIONS = frozenset({"request_export", "create_import", "perform_import"})
"""What wakes a worker of the slow executor, and is therefore asked nowhere else."""
_REPEATABLE_OPERATIONS = frozenset({"store_file", "locate_file", "locate_export", *_STREAM_OPERATIONS})

Roster = Callable[[], Mapping[str, Peer | None]]
"""Every other actor of the deployment by its role; None: there is no connection to it now."""


class ClusterBackend:
    """One per gateway process."""

    def __init__(self) -> None:
        self._core: Peer | None = None
        self._executors, self._slow_executors = ExecutorPool(), ExecutorPool()
        self._listener: StreamListener | None = None
        self._job_listener: JobListener | None = None
        self._published_ts = 0
        self._covered_ts = 0
        self._covered = asyncio.Event()
        self._peers_changed = asyncio.Event()
        self._registered: set[int] = set()
        self._http_numbers = itertools.count(1)  # of HTTP actions, over all executors
        self._roster: Roster = dict
        self._early_pushes: list[tuple[str, tuple[Any, ...]]] | None = None  # while `set_core` listens

    # --- who is there -------------------------------------------------------------------------------

    async def set_core(self, core: Peer) -> None:
        """Follow this core's stream. Registrations of an earlier core are lost: all count as hit."""
        self._early_pushes = []
        published_ts = await core.call("listen")
        self._core = core
        lost, self._registered = sorted(self._registered), set()
        # The first pushes may have arrived with the answer. They cover commits that the lost registrations
        # were not compared with, so these are given up BEFORE they are heard.
        self._advance(published_ts, [Invalidation(key, published_ts, "restart") for key in lost])
        early, self._early_pushes = self._early_pushes, None
        for push in early:
            self.pushed(*push)
        self._notify_peers()

    def set_executors(self, peers: Sequence[Peer]) -> None:
        self._executors.set(peers)

    def set_slow_executors(self, peers: Sequence[Peer]) -> None:
        """Who runs actions; calls of them wait while nobody does."""
        self._slow_executors.set(peers)

    def set_roster(self, roster: Roster) -> None:
        """Whom to ask when somebody wants to know of all actors."""
        self._roster = roster

    def pushed(self, event: str, arguments: tuple[Any, ...]) -> None:
        """actors.runtime.PushHandler of the connection to the core."""
        if self._early_pushes is not None:
            self._early_pushes.append((event, arguments))
            return
        if event == "ran":
            component, path, request_id, fields, late_seconds = arguments
            self._tell_of(job_call(component, path, request_id, late_seconds), fields)
        if event == "stream":
            published_ts, hits = arguments
            invalidations = [Invalidation(*hit) for hit in hits]
            self._registered.difference_update(hit.key for hit in invalidations)
            self._advance(published_ts, invalidations)

    def _tell_of(self, call: FunctionCall, fields: Sequence[Any]) -> None:
        """A function was run that no client had called: a job, or what an action called."""
        if self._job_listener is not None:
            self._job_listener(call, outcome_of(fields))
            self._tell_of_calls(call, fields)

    def _tell_of_calls(self, by: FunctionCall | HttpActionCall, fields: Sequence[Any]) -> None:
        """What an action called is part of its request, and in its trace. Executors are not told of traces:
        the outcome of the action brings the calls to whoever knows."""
        for component, path, identity_kind, called in fields[-1]:
            self._tell_of(call_by_action(by, component, path, identity_kind), called)

    def _advance(self, published_ts: int, invalidations: list[Invalidation]) -> None:
        self._published_ts = max(self._published_ts, published_ts)
        self._covered_ts = max(self._covered_ts, published_ts)
        if self._listener is not None:
            self._listener(self._covered_ts, invalidations)
        self._covered.set()
        self._covered = asyncio.Event()

    def _notify_peers(self) -> None:
        self._peers_changed.set()
        self._peers_changed = asyncio.Event()

    # --- gateway.backend.Backend --------------------------------------------------------------------

    @property
    def published_ts(self) -> int:
        return self._published_ts

    @property
    def covered_ts(self) -> int:
        return self._covered_ts

    @property
    def has_executors(self) -> bool:
        return not self._executors.is_empty

    async def latest_ts(self) -> int:
        ts = await self._ask_core("latest_ts")
        self._published_ts = max(self._published_ts, ts)
        return ts

    async def wait_covered(self, ts: int) -> None:
        while self._covered_ts < ts:
            await self._covered.wait()

    async def run_query(self, call: FunctionCall, ts: int | None, journal: str | None) -> FunctionOutcome:
        return await self._run("Query", call, ts, journal, may_repeat=True)

    async def run_mutation(self, call: FunctionCall) -> FunctionOutcome:
        outcome = await self._run("Mutation", call, None, None, may_repeat=call.session_id is not None)
        self._published_ts = max(self._published_ts, outcome.ts)
        return outcome

    async def run_action(self, call: FunctionCall) -> FunctionOutcome:
        return await self._run_slowly(wire_call(run_call("Action", call, None)), call)

    async def begin_http_action(self, call: HttpActionCall) -> HttpActionRun:
        number = next(self._http_numbers)
        peer, answer = await self._slow_executors.ask_one("http_begin", number, http_fields(call))
        return _HttpRun(self, peer, number, answer, call)

    async def run_any(self, call: FunctionCall) -> FunctionOutcome:
        outcome = await self._run(None, call, None, None, may_repeat=False)
        self._published_ts = max(self._published_ts, outcome.ts)
        return outcome

    async def run_inline(self, call: FunctionCall, source: str, component_id: str) -> FunctionOutcome:
        """Evaluating a module takes longer than a call may keep others waiting."""
        arguments = (wire_call(run_call("Query", call, None)), source, component_id)
        return outcome_of(await self._for_slow_work().ask("run_inline", *arguments, may_repeat=True))

    async def admin(self, operation: str, body: bytes, identity: Identity) -> bytes:
        if operation == "document_deltas":
            return bytes(await self._ask_core(operation, body))
        if operation in _WORKER_OPERATIONS:
            pool = self._slow_executors
        else:
            pool = self._for_slow_work() if operation in SLOW_OPERATIONS else self._executors
        if operation == "finish_push":
            await self._prepare_push(body)
        answer: bytes = await pool.ask(
            "operate", operation, body, may_repeat=operation in _REPEATABLE_OPERATIONS
        )
        return answer

    async def _prepare_push(self, body: bytes) -> None:
        """Give every executor time to make ready for the new code. Who cannot does it when it is called."""
        peers = {*self._executors.peers, *self._slow_executors.peers}
        await asyncio.gather(*(_ask_to_prepare(peer, body) for peer in peers))

    async def register(self, key: int, reads: bytes, ts: int) -> Registered | Invalidated:
        answer = await self._ask_core("register", key, reads, ts)
        if answer[0] == "valid":
            self._registered.add(key)
            return Registered(answer[1])
        return Invalidated(answer[1])

    def unregister(self, keys: Sequence[int]) -> None:
        self._registered.difference_update(keys)
        if self._core is not None:
            self._core.send("unregister", list(keys))

    def listen(self, listener: StreamListener) -> None:
        self._listener = listener

    def listen_to_jobs(self, listener: JobListener) -> None:
        self._job_listener = listener

    async def table_rows(self, metric: str, component: str, table: str) -> list[MinuteRows]:
        readers = {*self._executors.peers, *self._slow_executors.peers}
        asked = readers if metric == ROWS_READ else {self._core}
        answers = await asyncio.gather(*(_rows_of(peer, component, table) for peer in asked if peer))
        return [(minute, rows) for answer in answers for minute, rows in answer]

    async def actor_facts(self) -> list[dict[str, Any]]:
        others = await asyncio.gather(*(_facts_of(role, peer) for role, peer in self._roster().items()))
        pid = os.getpid()
        return [*others, {"role": "gateway", "is_up": True, "pid": pid, "memory_bytes": memory_bytes(pid)}]

    def _for_slow_work(self) -> ExecutorPool:
        return self._executors if self._slow_executors.is_empty else self._slow_executors

    # --- asking -------------------------------------------------------------------------------------

    async def _run(
        self,
        udf_type: str | None,
        call: FunctionCall,
        ts: int | None,
        journal: str | None,
        *,
        may_repeat: bool,
    ) -> FunctionOutcome:
        message = wire_call(run_call(udf_type, call, journal))
        fields = await self._executors.ask("run", message, ts, may_repeat=may_repeat)
        if fields is None:  # an action, as it turned out
            return await self._run_slowly(message, call)
        return outcome_of(fields)

    async def _run_slowly(self, message: tuple[Any, ...], call: FunctionCall) -> FunctionOutcome:
        fields = await self._slow_executors.ask("run", message, None, may_repeat=False)
        return self._ended_slowly(fields, call)

    def _ended_slowly(self, fields: Sequence[Any], call: FunctionCall | HttpActionCall) -> FunctionOutcome:
        self._tell_of_calls(call, fields)
        outcome = outcome_of(fields)
        self._published_ts = max(self._published_ts, outcome.ts)
        return outcome

    async def _ask_core(self, method: str, *arguments: Any) -> Any:
        """Ask the core, or its successor: these questions change nothing when asked twice."""
        while True:
            changed, core = self._peers_changed, self._core
            if core is not None:
                try:
                    return await core.call(method, *arguments)
                except ConnectionLost:
                    if core is not self._core:
                        continue
            await changed.wait()


class _HttpRun:
    """gateway.backend.HttpActionRun and HttpPieces, of a run on one slow executor."""

    def __init__(
        self,
        backend: ClusterBackend,
        peer: Peer,
        number: int,
        answer: asyncio.Task[Sequence[Any]],
        call: HttpActionCall,
    ) -> None:
        self._backend, self._peer, self._number = backend, peer, number
        self._answer, self._call = answer, call

    async def answer(self) -> HttpActionAnswer | tuple[Unanswered, FunctionOutcome | None]:
        match await self._answer:
            case ["stream", status, headers]:
                return HttpActionAnswer(status, _pairs(headers), self)
            case ["whole", status, headers, body, fields]:
                return HttpActionAnswer(status, _pairs(headers), body, self._ended(fields))
            case [kind, *fields]:
                return Unanswered(kind), self._ended(fields[0]) if fields else None
        raise internal_server_error()

    async def write(self, piece: bytes, has_more: bool) -> bool:
        try:
            return bool(await self._peer.call("http_write", self._number, piece, has_more))
        except ConnectionLost:
            return False  # `answer` or `read` says what that means

    def refuse_body(self) -> None:
        self._peer.send("http_refuse", self._number)

    async def read(self) -> bytes | FunctionOutcome:
        try:
            piece, fields = await self._peer.call("http_read", self._number)
        except ConnectionLost:
            raise unknown_outcome() from None
        if piece is not None:
            return bytes(piece)
        return self._ended(fields)

    def leave(self) -> None:
        self._peer.send("http_leave", self._number)

    def _ended(self, fields: Sequence[Any]) -> FunctionOutcome:
        return self._backend._ended_slowly(fields, self._call)


async def _ask_to_prepare(peer: Peer, body: bytes) -> None:
    with contextlib.suppress(ConnectionLost, BackendError, TimeoutError):
        async with asyncio.timeout(PUSH_PREPARATION_SECONDS_MAX):
            await peer.call("prepare_push", body)


async def _facts_of(role: str, peer: Peer | None) -> dict[str, Any]:
    if peer is not None:
        try:
            async with asyncio.timeout(ACTOR_FACTS_SECONDS_MAX):
                return {**await peer.call("status"), "role": role, "is_up": True}
        except (ConnectionLost, BackendError, TimeoutError):
            pass  # it is reported as what it is for whoever asks: not there
    return {"role": role, "is_up": False}


async def _rows_of(peer: Peer, component: str, table: str) -> Sequence[Sequence[int]]:
    """None of whoever does not answer, or has been there for less than all of it: a chart has gaps then."""
    with contextlib.suppress(ConnectionLost, BackendError, TimeoutError):
        async with asyncio.timeout(ACTOR_FACTS_SECONDS_MAX):
            found: Sequence[Sequence[int]] = await peer.call("table_rows", component, table)
            return found
    return ()


def _pairs(headers: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers)
