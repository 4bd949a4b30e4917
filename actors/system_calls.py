"""Runs what an operator asks: `_system/...` functions and operations of CLI and dashboard (design D13).

They are Python over a transaction and wait for nothing but its commit. What is slow about an operation is
evaluated before, on a thread, once, however often its transaction must be run: one after the other, beside
the calls.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from actors.calls import UNPLACED_TS, Ended, RunCall
from actors.chain import Attempt, Done
from actors.executor_settings import ExecutorSettings, files_of
from actors.javascript_threads import JavaScriptThread
from actors.node_analysis import NodeAnalysis
from actors.package_installations import PackageInstallations
from actors.session_requests import record_outcome, recorded_outcome
from actors.transactor import Transactor
from functions.call_checks import component_not_found_text
from functions.invocation import RunOutcome
from functions.isolate import Engine
from functions.node_packages import NodePackage
from functions.outcome import JsError
from functions.pages import CursorCodec
from functions.path import FunctionPath
from functions.syscalls import Observed
from functions.system.errors import while_pushing
from functions.system.operation import Operation, SystemContext, enter_asked_component
from functions.system.registry import OPERATIONS, SYSTEM_FUNCTIONS
from functions.system.transfer_errors import timestamp_not_reached
from functions.transaction import Transaction
from log import limits, values
from log.errors import (
    BackendError,
    ErrorKind,
    bad_request,
    not_supported_yet,
    operation_not_permitted,
    out_of_retention,
)
from log.record import CallTrace

_MALFORMED = (TypeError, ValueError, AttributeError, LookupError, OverflowError, RecursionError)
_ANSWERED_KINDS = (ErrorKind.BAD_REQUEST, ErrorKind.PAGINATION_LIMIT)
_logger = logging.getLogger(__name__)


class SystemCalls:
    """Of one executor. `begin_reading` gives a snapshot at a ts, or the newest (None)."""

    def __init__(
        self,
        engine: Engine,
        settings: ExecutorSettings,
        codec: CursorCodec,
        transactor: Transactor,
        begin_reading: Callable[[int | None], Awaitable[Attempt]],
        now_ns: Callable[[], int],
        packages: PackageInstallations,
    ) -> None:
        self._packages = packages
        self._evaluations = JavaScriptThread()
        # From what an evaluation relies on until its outcome is committed: one that came between would only
        # find that the deployment has changed.
        self._one_at_a_time = asyncio.Lock()
        self._engine, self._settings, self._codec = engine, settings, codec
        self._transactor, self._begin_reading, self._now_ns = transactor, begin_reading, now_ns

    def close(self) -> None:
        """Evaluate nothing more."""
        self._evaluations.close()

    async def run(self, call: RunCall, path: FunctionPath, ts: int | None) -> Ended:
        """A refusal is a result as any other: it has a ts, and what was read for it, and may be held."""
        function = SYSTEM_FUNCTIONS.get(path.canonical)
        transaction = (await self._begin_reading(ts)).transaction
        has_component = transaction.catalog_of(call.component) is not None
        if function is None or not has_component or not call.identity.is_admin:
            return _ended(transaction, None, JsError(_refusal(call, path)))
        arguments = values.loads(call.args)
        args = arguments[0] if isinstance(arguments, list) and arguments else {}

        def run(transaction: Transaction, context: SystemContext) -> bytes:
            with _refusing_malformed(path.display):
                enter_asked_component(transaction, call.component, args)
                return values.dumps(function.run(transaction, args, context))

        if function.udf_type == "Mutation":
            check_may_write(call, function.udf_type)
            return await self._run_mutation(call, path, run)
        try:
            return _ended(transaction, run(transaction, self._context()), None)
        except BackendError as refusal:
            return _ended(transaction, None, _failure(refusal))

    async def _run_mutation(
        self, call: RunCall, path: FunctionPath, run: Callable[[Transaction, SystemContext], bytes]
    ) -> Ended:
        """Once for each request of a session, as an app's mutations (spec 01 1.8)."""

        def work(attempt: Attempt) -> Done[Ended]:
            transaction = attempt.transaction
            recorded = recorded_outcome(transaction, call)
            if recorded is not None:
                return Done(recorded)
            outcome = _outcome(run(transaction, self._context()), None)
            record_outcome(transaction, call, outcome)
            trace = _trace_of(path.canonical, attempt) if transaction.has_writes else None
            return Done(Ended(outcome, UNPLACED_TS), trace)

        try:
            ended, ts = await self._transactor.transact(
                path.canonical, call.call_id, limits.SYSTEM_ATTEMPTS_MAX, work
            )
        except BackendError as refusal:
            return Ended(_outcome(None, _failure(refusal)), 0)
        return ended.at(ts)

    async def operate(self, name: str, body: bytes) -> bytes:
        """An HTTP operation: prepared once, then applied in a transaction, again after a conflict."""
        operation = OPERATIONS.get(name)
        if operation is None:
            raise not_supported_yet(f"The operation {name}")
        tree = orjson.loads(body)
        if operation.reads_at is not None:
            return await self._operate_at(name, operation, tree)
        if operation.packages is not None:
            with _refusing_malformed(name):
                packages = operation.packages(tree)
            await self._install(packages)
        if operation.prepare is None:
            return await self._apply(name, operation, tree, None)
        async with self._one_at_a_time:
            attempt = await self._begin_reading(None)
            with _refusing_malformed(name):
                evaluation = operation.prepare(attempt.transaction, tree, self._context())
                prepared = await self._evaluations.run(evaluation)
            return await self._apply(name, operation, tree, prepared)

    async def _apply(self, name: str, operation: Operation, tree: Any, prepared: Any) -> bytes:
        def run(transaction: Transaction, context: SystemContext) -> bytes:
            with _refusing_malformed(name):
                return orjson.dumps(operation.run(transaction, tree, prepared, context))

        answer, _ts = await self.transact(f"_system/{name}", os.urandom(16), run)
        return answer

    async def _operate_at(self, name: str, operation: Operation, tree: Any) -> bytes:
        """One that only reads: at a moment of its caller's choice, or at the newest when that is no longer
        kept. The newest may be lost as well, where nothing was committed for long and then something is
        between beginning and reading: it begins again."""
        assert operation.reads_at is not None
        with _refusing_malformed(name):
            ts = operation.reads_at(tree, self._context())
        if ts is not None and ts > (await self._begin_reading(None)).transaction.begin_ts:
            raise timestamp_not_reached(ts)
        for _ in range(limits.SYSTEM_ATTEMPTS_MAX):
            try:
                transaction = (await self._begin_reading(ts)).transaction
                with _refusing_malformed(name):
                    return orjson.dumps(operation.run(transaction, tree, None, self._context()))
            except BackendError as refusal:
                if refusal.kind is not ErrorKind.OUT_OF_RETENTION:
                    raise
                ts = None
        raise out_of_retention()

    async def _install(self, packages: tuple[NodePackage, ...]) -> None:
        """Beside everything else that runs: it takes as long as npm does."""
        try:
            await self._packages.provide(packages)
        except BackendError as refusal:
            raise while_pushing(refusal) from refusal

    async def transact(
        self, source: str, call_id: bytes, run: Callable[[Transaction, SystemContext], bytes]
    ) -> tuple[bytes, int]:
        """Run system code until it commits; returns its answer and the ts it belongs to."""

        def work(attempt: Attempt) -> Done[bytes]:
            answer = run(attempt.transaction, self._context())
            has_writes = attempt.transaction.has_writes
            return Done(answer, _trace_of(source, attempt) if has_writes else None)

        return await self._transactor.transact(source, call_id, limits.SYSTEM_ATTEMPTS_MAX, work)

    async def transact_for_action(self, source: str, work: Callable[[Transaction], bytes]) -> bytes:
        answer, _ts = await self.transact(
            source, os.urandom(16), lambda transaction, _context: work(transaction)
        )
        return answer

    def _context(self) -> SystemContext:
        settings = self._settings
        return SystemContext(
            engine=self._engine,
            instance_name=settings.instance_name,
            cloud_origin=settings.cloud_origin,
            site_origin=settings.site_origin,
            now_ns=self._now_ns(),
            random_bytes=os.urandom,
            codec=self._codec,
            node=NodeAnalysis(self._packages.folders),
            files=files_of(settings),
        )


@contextmanager
def _refusing_malformed(name: str) -> Iterator[None]:
    """What an operator sent is checked where it is used; what no check met is their error all the same. The
    transaction is given up, so nothing is half done. Our promises (InvariantViolation) are not caught."""
    try:
        yield
    except _MALFORMED as failure:
        _logger.warning("%s could not use what it was sent", name, exc_info=True)
        fault = f"{name} cannot use these arguments ({type(failure).__name__})."
        raise bad_request("InvalidArgument", fault) from failure


def _trace_of(source: str, attempt: Attempt) -> CallTrace:
    clock = attempt.clock
    return CallTrace(
        path=source,
        identity="system",
        seed=attempt.seed,
        now_ms=clock.now_ms,
        creation_ms=clock.creation_ms,
    )


def check_may_write(call: RunCall, udf_type: str) -> None:
    """Refuse a call that writes to whoever came with a read-only key."""
    if not call.identity.may_write:
        raise operation_not_permitted(f"RunInternal{udf_type}s")


def _refusal(call: RunCall, path: FunctionPath) -> str:
    """Why a system function is not run. Who is no admin is told the same whether it exists or not."""
    if call.component and call.identity.is_admin:
        return component_not_found_text(call.component) + "\n"
    return f"Could not find public function for '{path.display}'.\n"


def _failure(refusal: BackendError) -> JsError:
    """What the caller did wrong, as the failure of a function; anything else is raised."""
    if refusal.kind not in _ANSWERED_KINDS:
        raise refusal
    if refusal.data is not None:
        return JsError(f"Uncaught ConvexError: {refusal.message}\n", values.dumps(refusal.data))
    return JsError(f"Uncaught Error: {refusal.message}\n")


def _outcome(value: bytes | None, error: JsError | None) -> RunOutcome:
    return RunOutcome(value, error, "Mutation", observed=Observed())


def _ended(transaction: Transaction, value: bytes | None, error: JsError | None) -> Ended:
    observed = Observed(identity=error is not None)
    outcome = RunOutcome(value, error, "Query", observed=observed)
    return Ended(outcome, transaction.begin_ts, transaction.reads.encode())
