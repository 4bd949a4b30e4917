"""One run of a user function: from a checked request to its outcome (spec 03 1).

Resolves the function, checks arguments, enters JavaScript, answers its system calls, runs nested calls in
further isolates, checks the result. All of it happens in one `Transaction` and waits for nothing; commit,
retry and timestamps are the caller's business (actors/executor.py).

Read in this order: Runner.run, _enter, _drive, _run_nested.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from functions import errors, syscall_arguments
from functions.budget import NO_USAGE, Usage
from functions.call_checks import (
    Invocation,
    Refused,
    argument_array,
    check_not_paused,
    checked_args,
    checked_result,
    component_not_found_text,
    resolve,
)
from functions.catalog import AnalysedFunction
from functions.components import APP_PATH
from functions.function_address import FunctionAddress
from functions.function_handles import callee_of
from functions.function_run import FunctionRun
from functions.images import Images
from functions.isolate import (
    AnswerError,
    CallRequest,
    Engine,
    Image,
    Returned,
    Settled,
    Terminated,
)
from functions.limit_warnings import call_warnings
from functions.outcome import (
    JsError,
    LogLines,
    SourceMaps,
    error_of_termination,
    error_of_thrown,
    of_the_whole_call,
    refusal,
    with_canonical_data,
)
from functions.pages import CursorCodec
from functions.source_map import SourceMap
from functions.syscalls import (
    CallContext,
    Observed,
    decode_arguments,
    rejection,
)
from functions.system.files import FileAccess
from functions.transaction import Transaction
from log import limits
from log.errors import CATCHABLE_KINDS, BackendError, ErrorKind
from log.token_signer import TokenSigner

_KINDS = {"Query": "query", "Mutation": "mutation"}
_CALLEE_TYPES = {"query": "Query", "mutation": "Mutation", "snapshotQuery": "SnapshotQuery"}


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How it ended. Exactly one of `value` (canonical JSON) and `error` is set."""

    value: bytes | None
    error: JsError | None
    udf_type: str
    log_lines: tuple[str, ...] = ()
    journal_end: str | None = None
    observed: Observed | None = None
    usage: Usage = NO_USAGE  # of the call's own transaction, nested calls included; no record keeps it
    audit_lines: tuple[bytes, ...] = ()  # JSON objects, of the whole call tree
    rows_read: Mapping[bytes, int] = field(default_factory=dict)  # of `usage`, by tablet


@dataclass(frozen=True, slots=True)
class GivenQuery:
    """A query that is no part of the app: it comes with the call, evaluated in an image of its own."""

    image: Image
    function: AnalysedFunction


@dataclass(frozen=True, slots=True)
class _Callee:
    """A function that may be entered: with its arguments, the image its run starts from, and how positions in
    its errors are found."""

    function: AnalysedFunction
    arguments: bytes
    image: Image
    source_maps: SourceMaps


class Runner:
    """Runs functions on one engine. One thread."""

    def __init__(
        self,
        engine: Engine,
        images: Images,
        codec: CursorCodec,
        deployment: dict[str, Any],
        files: FileAccess | None = None,
        signer: TokenSigner | None = None,
    ) -> None:
        self._engine, self.images = engine, images
        self._codec, self.deployment = codec, deployment
        self.files, self._signer = files, signer

    def run(self, transaction: Transaction, call: Invocation, seed: bytes, now_ms: float) -> RunOutcome:
        """Run a pushed function to the end, in its component. Function failures are outcomes; a raised
        BackendError is a system error."""
        if transaction.catalog_of(call.component) is None:
            return _refused(Refused(component_not_found_text(call.component)), call.udf_type or "Query")
        transaction.enter_component(call.component)
        try:
            return self._run_pushed(transaction, call, seed, now_ms)
        finally:
            transaction.enter_component(APP_PATH)

    def _run_pushed(
        self, transaction: Transaction, call: Invocation, seed: bytes, now_ms: float
    ) -> RunOutcome:
        udf_type = call.udf_type or "Query"
        try:
            udf_type, function = resolve(transaction.catalog, call)
            if udf_type == "Action":  # by a push between the look-up of an untyped call and its run
                raise Refused(f"Function {call.path.canonical} has just become an action. Call it again.")
            arguments = checked_args(transaction.catalog, call, function)
        except Refused as refused:
            return _refused(refused, udf_type)
        callee = self._callee(transaction, function, arguments)
        return self._run(callee, transaction, call, udf_type, seed, now_ms)

    def run_given(
        self, given: GivenQuery, transaction: Transaction, call: Invocation, seed: bytes, now_ms: float
    ) -> RunOutcome:
        """As `run`, with a query that comes with the call; the call's path is only its name."""
        try:
            check_not_paused(transaction.catalog)
            arguments = checked_args(transaction.catalog, call, given.function)
        except Refused as refused:
            return _refused(refused, "Query")
        callee = _Callee(given.function, arguments, given.image, _no_source_map)
        return self._run(callee, transaction, call, "Query", seed, now_ms)

    def _callee(self, transaction: Transaction, function: AnalysedFunction, arguments: bytes) -> _Callee:
        """A function of the component the transaction is in."""
        catalog, snapshot = transaction.catalog, transaction.snapshot

        def find(path: str) -> SourceMap | None:
            return self.images.source_map_of(catalog, snapshot, path)

        return _Callee(function, arguments, self.images.image_of(catalog, snapshot), find)

    def _run(
        self,
        callee: _Callee,
        transaction: Transaction,
        call: Invocation,
        udf_type: str,
        seed: bytes,
        now_ms: float,
    ) -> RunOutcome:
        logs, observed = LogLines(), Observed()
        if udf_type == "Query":
            transaction.is_read_only = True
        context = CallContext(
            transaction=transaction,
            path=call.path,
            component=call.component,
            udf_type=udf_type,
            identity=call.identity,
            codec=self._codec,
            deployment=self.deployment,
            logs=logs,
            observed=observed,
            files=self.files,
            signer=self._signer,
            now_ms=now_ms,
            request_id=call.request_id,
            job_id=call.job_id,
            requester=call.requester,
            journal_end=call.journal_end,
        )
        try:
            settled = self._enter(callee, context, seed, now_ms, limits.FUNCTION_USER_SECONDS_MAX)
            value, error = self._finish(callee, context, settled)
        except _StackKilled as killed:
            value, error = None, killed.error
        for warning in call_warnings(callee.arguments, transaction.budget, value):
            logs.add("WARN", [warning])
        usage, rows = transaction.budget.usage(keeps_writes=error is None), transaction.budget.rows_read
        journal = context.journal_end_next
        audited = transaction.audited if error is None else ()
        return RunOutcome(
            value, error, udf_type, tuple(logs.pretty()), journal, observed, usage, audited, rows
        )

    def _enter(
        self, callee: _Callee, context: CallContext, seed: bytes, now_ms: float, user_seconds: float
    ) -> Settled:
        isolate = self._engine.isolate()
        run = FunctionRun(context, isolate, seed, now_ms, deque())
        request = CallRequest(
            operation="call",
            target=(context.path.module, context.path.function, _KINDS[context.udf_type]),
            args_json=callee.arguments,
            now_ms=now_ms,
            seed=seed,
            user_seconds_max=user_seconds,
        )
        try:
            return self._drive(run, isolate.start(callee.image, request, run), user_seconds)
        finally:
            self._engine.release(isolate)

    def _drive(self, run: FunctionRun, settled: Settled | None, user_seconds: float) -> Settled:
        """Answer waiting system calls in the order they were issued until the function has settled."""
        while settled is None:
            call_id, name, args = run.waiting.popleft()
            answer: bytes | AnswerError
            try:
                if name == "1.0/runUdf":
                    answer = self._run_nested(run, decode_arguments(args), user_seconds)
                else:
                    answer = run.answer(name, args)
            except BackendError as refused:
                if refused.kind not in CATCHABLE_KINDS:
                    raise
                answer = rejection(refused)
            settled = run.isolate.deliver(call_id, answer)
        if isinstance(settled, Terminated) and settled.cause is not None:
            raise settled.cause
        return settled

    def _finish(
        self, callee: _Callee, context: CallContext, settled: Settled
    ) -> tuple[bytes | None, JsError | None]:
        """The canonical result, or the error with its source positions."""
        if isinstance(settled, Returned):
            try:
                return self._checked(context, callee.function, settled.json), None
            except Refused as refused:
                return None, refusal(refused.message)
        if isinstance(settled, Terminated):
            return None, error_of_termination(settled)
        return None, error_of_thrown(with_canonical_data(settled), callee.source_maps)

    def _checked(self, context: CallContext, function: AnalysedFunction, text: bytes) -> bytes:
        catalog = context.transaction.catalog
        return checked_result(context.path, context.udf_type, context.depth, function, catalog, text)

    # --- nested calls (spec 03 2.5) -----------------------------------------------------------------

    def _run_nested(
        self, parent: FunctionRun, args: dict[str, Any], user_seconds: float
    ) -> bytes | AnswerError:
        """Run the callee as a sub-transaction: its writes vanish when it fails, its reads stay."""
        caller = parent.context
        callee_type = syscall_arguments.one_of(args, "udfType", _CALLEE_TYPES, "runUdf")
        if callee_type != "Query" and caller.udf_type == "Query":
            raise errors.invalid_function_call(callee_type, caller.udf_type)
        if caller.depth + 1 > limits.NESTED_CALL_DEPTH_MAX:
            raise errors.call_depth_exceeded()
        transaction = caller.transaction
        if callee_type == "SnapshotQuery":
            transaction, callee_type = _beginning_of(transaction), "Query"
        address = callee_of(transaction, args, "runUdf")
        transaction.enter_component(address.component)
        try:
            return self._run_at(address, transaction, callee_type, parent, args, user_seconds)
        finally:
            transaction.enter_component(caller.component)
            caller.transaction.audited = transaction.audited  # of a snapshot query, too

    def _run_at(
        self,
        address: FunctionAddress,
        transaction: Transaction,
        callee_type: str,
        parent: FunctionRun,
        args: dict[str, Any],
        user_seconds: float,
    ) -> bytes | AnswerError:
        """The transaction is in the callee's component."""
        caller = parent.context
        call = Invocation(
            path=address.path,
            udf_type=callee_type,
            args=argument_array(args.get("args")),
            identity=caller.identity,
            component=address.component,
            may_call_internal=True,
            is_from_mutation=caller.udf_type == "Mutation",
        )
        try:
            _, function = resolve(transaction.catalog, call)
            arguments = checked_args(transaction.catalog, call, function)
        except Refused as refused:
            raise errors.invalid_args(refused.message) from refused
        parent.nested_count += 1
        context = replace(
            caller,
            transaction=transaction,
            path=call.path,
            component=call.component,
            udf_type=callee_type,
            depth=caller.depth + 1,
            journal_end=None,
            journal_end_next=None,
            has_paginated=False,
            streams={},
            stream_count=0,
        )
        callee = self._callee(transaction, function, arguments)
        return self._nested_answer(parent, context, callee, args, user_seconds)

    def _nested_answer(
        self,
        parent: FunctionRun,
        context: CallContext,
        callee: _Callee,
        args: dict[str, Any],
        user_seconds: float,
    ) -> bytes | AnswerError:
        transaction = context.transaction
        ceilings, was_read_only = transaction.budget.ceilings, transaction.is_read_only
        asked_limits = syscall_arguments.whole_numbers(args, "transactionLimits", "runUdf")
        savepoint = transaction.savepoint()
        transaction.budget.ceilings = transaction.budget.narrowed(asked_limits)
        transaction.is_read_only = was_read_only or context.udf_type == "Query"
        seed = hashlib.sha256(parent.seed + parent.nested_count.to_bytes(4, "big")).digest()
        left = max(0.001, user_seconds - parent.isolate.user_seconds())
        try:
            settled = self._enter(callee, context, seed, parent.now_ms, left)
            value, error = self._finish(callee, context, settled)
        except BaseException:
            transaction.roll_back(savepoint)
            raise
        finally:
            transaction.budget.ceilings, transaction.is_read_only = ceilings, was_read_only
        if error is None:
            assert value is not None
            return value
        transaction.roll_back(savepoint)
        if isinstance(settled, Terminated) and settled.code in ("timeout", "memory"):
            raise _StackKilled(of_the_whole_call(settled, error))
        return AnswerError(error.message, error.data)


class _StackKilled(BackendError):
    """Time or memory ran out in a nested call: no caller may catch it; `error` is the outcome."""

    def __init__(self, error: JsError) -> None:
        super().__init__(ErrorKind.OPERATIONAL, "FunctionStackKilled", error.message)
        self.error = error


def _refused(refused: Refused, udf_type: str) -> RunOutcome:
    return RunOutcome(None, refusal(refused.message), udf_type, observed=Observed())


def _no_source_map(_path: str) -> SourceMap | None:
    """A given query is its own source, whatever module of the app has its path."""
    return None


def _beginning_of(transaction: Transaction) -> Transaction:
    """What the mutation began with, for a query whose reads nobody compares (spec 03 2.5)."""
    beginning = Transaction(
        transaction.snapshot,
        transaction.catalog_at_begin,
        now_ms=transaction.now_ns / 1e6,
        random_bytes=transaction.random_bytes,
        is_read_only=True,
    )
    beginning.enter_component(transaction.component.path)
    beginning.audited = transaction.audited
    return beginning
