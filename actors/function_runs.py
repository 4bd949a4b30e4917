"""One run of a function: what comes out of a call and an attempt, wherever the snapshot came from.

The executor runs calls here when they arrive and commits what they wrote; actors/replay.py runs recorded
calls here again and compares. One code for both, so that a difference is never one between two codes.

Promise: equal (call, snapshot, clock, seed, modules) give equal results, reads and writes, byte for byte.
"""

from __future__ import annotations

import zlib

from actors.calls import UNPLACED_TS, Ended, RunCall
from actors.chain import Attempt, Done
from actors.session_requests import record_outcome, recorded_outcome
from functions.call_checks import Invocation
from functions.invocation import GivenQuery, Runner, RunOutcome
from functions.path import FunctionPath, parse_function_path
from functions.transaction import Transaction
from log.record import CallTrace


def run_query(runner: Runner, call: RunCall, path: FunctionPath, attempt: Attempt) -> Ended:
    """The result at the attempt's snapshot, with what was read for it."""
    transaction = attempt.transaction
    outcome = runner.run(transaction, invocation_of(call, path), attempt.seed, attempt.clock.now_ms)
    return _read(outcome, transaction)


def run_given_query(runner: Runner, given: GivenQuery, call: RunCall, attempt: Attempt) -> Ended:
    """As `run_query`, of a query that is no part of the app."""
    transaction, invocation = attempt.transaction, invocation_of(call, parse_function_path(call.path))
    outcome = runner.run_given(given, transaction, invocation, attempt.seed, attempt.clock.now_ms)
    return _read(outcome, transaction)


def _read(outcome: RunOutcome, transaction: Transaction) -> Ended:
    return Ended(outcome, transaction.begin_ts, transaction.reads.encode())


def run_mutation(runner: Runner, call: RunCall, path: FunctionPath, attempt: Attempt) -> Done[Ended]:
    """The result, and the trace to commit the attempt's writes and audit lines with; without a trace there is
    nothing to commit: the session's request was answered before, the function failed, or it left nothing."""
    transaction, clock, seed = attempt.transaction, attempt.clock, attempt.seed
    recorded = recorded_outcome(transaction, call)
    if recorded is not None:
        return Done(recorded)
    outcome = runner.run(transaction, invocation_of(call, path), seed, clock.now_ms)
    ended = Ended(outcome, UNPLACED_TS)
    if outcome.error is not None:
        return Done(ended)
    record_outcome(transaction, call, outcome)
    leaves_something = transaction.has_writes or outcome.audit_lines
    return Done(ended, trace_of(call, attempt, outcome) if leaves_something else None)


def logs_crc(lines: tuple[str, ...]) -> int:
    """The digest of a call's console, as records keep it."""
    return zlib.crc32("\n".join(lines).encode("utf-8", "surrogatepass"))


def invocation_of(call: RunCall, path: FunctionPath) -> Invocation:
    """What the runtime is asked to run for a call."""
    identity = call.identity
    return Invocation(
        path=path,
        udf_type=call.udf_type,
        args=call.args,
        identity=identity,
        component=call.component,
        request_id=call.request_id,
        journal_end=call.journal,
        may_call_internal=identity.is_admin or call.may_call_internal,
        job_id=call.parent_job_id,
        requester=call.requester,
    )


def trace_of(call: RunCall, attempt: Attempt, outcome: RunOutcome) -> CallTrace:
    """What the record of a run keeps of it."""
    return CallTrace(
        path=call.path,
        component=call.component,
        args=call.args,
        identity=call.identity_kind,
        identity_attributes=call.identity_attributes,
        seed=attempt.seed,
        now_ms=attempt.clock.now_ms,
        outcome_crc=zlib.crc32(outcome.value or b""),
        session_id=call.session_id,
        session_request=call.session_request,
        creation_ms=attempt.clock.creation_ms,
        request_id=call.request_id,
        logs_crc=logs_crc(outcome.log_lines),
        may_call_internal=call.may_call_internal,
        parent_job_id=call.parent_job_id or "",
        audit_lines=outcome.audit_lines,
        requester=tuple(call.requester) if outcome.observed and outcome.observed.requester else (),
    )
