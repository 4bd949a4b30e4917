"""One run of a scheduled mutation: the job's end is in the transaction of what it wrote (spec 03 5.1).

So it takes effect exactly once, whoever dies when. The function's failure ends the job too: then nothing
but the end is written. Called again for a job that has ended, it does nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from actors.calls import UNPLACED_TS, Ended, RunCall
from actors.chain import Attempt, Done
from actors.function_runs import trace_of
from functions import scheduled_jobs
from functions.invocation import Invocation, Runner, RunOutcome
from functions.outcome import refusal
from functions.path import parse_function_path
from functions.transaction import Transaction
from log.errors import CATCHABLE_KINDS, BackendError, not_supported_yet
from log.identity import Identity

_NOBODY = Identity("unknown", None)
_UNSUPPORTED_TYPE = "Unsupported function type. Only Mutation and Action can be scheduled."


def run_job(runner: Runner, job_id: str, request_id: str, attempt: Attempt) -> Done[Ended | None]:
    """What the job came to, with the trace to commit it; None when there is nothing to run."""
    transaction = attempt.transaction
    job = scheduled_jobs.read_job(transaction, job_id)
    if job is None or job["nextTs"] is None:
        return Done(None)
    running = {"type": scheduled_jobs.IN_PROGRESS, "requestId": request_id}
    jobs = transaction.catalog.tables[scheduled_jobs.JOBS]
    transaction.patch(jobs, job_id, {"state": running})  # as the job sees itself; never committed
    call = _call_of(job, scheduled_jobs.read_arguments(transaction, job), request_id)
    before = transaction.savepoint()
    outcome = _run(runner, call, job_id, attempt)
    if outcome.error is None:
        scheduled_jobs.end_job(transaction, job_id, {"type": scheduled_jobs.SUCCESS})
    else:
        transaction.roll_back(before)
        failed = {"type": scheduled_jobs.FAILED, "error": outcome.error.message}
        scheduled_jobs.end_job(transaction, job_id, failed)
    return Done(Ended(outcome, UNPLACED_TS), replace(trace_of(call, attempt, outcome), job_id=job_id))


def _call_of(job: dict[str, Any], arguments: bytes, request_id: str) -> RunCall:
    return RunCall(
        udf_type=None,
        path=job["udfPath"],
        component=job["component"],
        args=arguments,
        identity_kind=_NOBODY.kind,
        identity_attributes=None,
        request_id=request_id,
        journal=None,
        call_id=b"",
        session_id=None,
        session_request=None,
    )


def _run(runner: Runner, call: RunCall, job_id: str, attempt: Attempt) -> RunOutcome:
    """What cannot be run fails like a function that threw: nobody else would hear of it."""
    udf_type = _type_of(attempt.transaction, call.path)
    if udf_type == "Action":
        return RunOutcome(None, refusal(not_supported_yet("Running actions").message), "Action")
    if udf_type == "Query":
        return RunOutcome(None, refusal(_UNSUPPORTED_TYPE), "Query")
    invocation = Invocation(
        path=parse_function_path(call.path),
        udf_type=None,
        args=call.args,
        identity=_NOBODY,
        component=call.component,
        request_id=call.request_id,
        may_call_internal=True,
        job_id=job_id,
    )
    try:
        return runner.run(attempt.transaction, invocation, attempt.seed, attempt.clock.now_ms)
    except BackendError as failure:
        if failure.kind not in CATCHABLE_KINDS:
            raise
        return RunOutcome(None, refusal(failure.message), "Mutation")


def _type_of(transaction: Transaction, path: str) -> str | None:
    """What the job's function is now; None when it is gone (whose lookup says so)."""
    parsed = parse_function_path(path)
    module = transaction.catalog.modules.get(parsed.module)
    function = module.functions.get(parsed.function) if module is not None else None
    return function.udf_type if function is not None else None
