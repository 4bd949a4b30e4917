"""One run of a scheduled mutation: its end is in the transaction of what it wrote (spec 03 5.1, 5.2).

So it takes effect exactly once, whoever dies when. The function's failure is an end too: then nothing else
is written. Called again for what has ended, or for a cron that is not due, it does nothing.
"""

from __future__ import annotations

from actors.calls import UNPLACED_TS, Ended, RunCall
from actors.chain import Attempt, Done
from actors.function_runs import trace_of
from functions import cron_jobs, scheduled_jobs
from functions.call_checks import Invocation
from functions.components import owner_of
from functions.invocation import Runner, RunOutcome
from functions.outcome import refusal
from functions.path import parse_function_path
from functions.transaction import Transaction
from log.errors import CATCHABLE_KINDS, BackendError
from log.identity import UNKNOWN
from log.ids import decode_id

_UNSUPPORTED_TYPE = "Unsupported function type. Only Mutation and Action can be scheduled."


def run_job(runner: Runner, job_id: str, request_id: str, attempt: Attempt) -> Done[Ended | None]:
    """What a job, or the next run of a cron, came to, with the trace to commit it; None when there is
    nothing to run."""
    crons = attempt.transaction.catalog.tables[cron_jobs.NEXT_RUNS]
    is_cron = decode_id(job_id).table_number == crons.number
    ended = (_run_cron if is_cron else _run_scheduled)(runner, job_id, request_id, attempt)
    if ended is None:
        return Done(None)
    call, outcome = ended
    return Done(Ended(outcome, UNPLACED_TS), trace_of(call, attempt, outcome)._replace(job_id=job_id))


def _run_scheduled(
    runner: Runner, job_id: str, request_id: str, attempt: Attempt
) -> tuple[RunCall, RunOutcome] | None:
    transaction = attempt.transaction
    job = scheduled_jobs.read_job(transaction, job_id)
    if job is None or job["nextTs"] is None:
        return None
    running = {"type": scheduled_jobs.IN_PROGRESS, "requestId": request_id, "executionId": request_id}
    jobs = transaction.catalog.tables[scheduled_jobs.JOBS]
    transaction.patch(jobs, job_id, {"state": running})  # as the job sees itself; never committed
    arguments = scheduled_jobs.read_arguments(transaction, job)
    call = call_of_job(job["component"], job["udfPath"], arguments, request_id)
    outcome = _run(runner, call, job_id, attempt)
    transaction.budget.lift_for_system()
    if outcome.error is None:
        scheduled_jobs.end_job(transaction, job_id, {"type": scheduled_jobs.SUCCESS})
    else:
        failed = {"type": scheduled_jobs.FAILED, "error": outcome.error.message}
        scheduled_jobs.end_job(transaction, job_id, failed)
    return call, outcome


def _run_cron(
    runner: Runner, run_id: str, request_id: str, attempt: Attempt
) -> tuple[RunCall, RunOutcome] | None:
    due = cron_jobs.due_cron(attempt.transaction, run_id)
    if due is None:
        return None
    next_run, cron = due
    spec = cron["cronSpec"]
    call = call_of_job(owner_of(cron), spec["udfPath"], bytes(spec["udfArgs"]), request_id)
    outcome = _run(runner, call, None, attempt)
    attempt.transaction.budget.lift_for_system()
    cron_jobs.end_run(attempt.transaction, next_run, cron, outcome)
    return call, outcome


def call_of_job(
    component: str, path: str, arguments: bytes, request_id: str, parent_job_id: str | None = None
) -> RunCall:
    """Nobody's call, who may call everything."""
    return RunCall(
        udf_type=None,
        path=path,
        component=component,
        args=arguments,
        identity_kind=UNKNOWN.kind,
        identity_attributes=None,
        request_id=request_id,
        journal=None,
        call_id=b"",
        session_id=None,
        session_request=None,
        may_call_internal=True,
        parent_job_id=parent_job_id,
    )


def _run(runner: Runner, call: RunCall, job_id: str | None, attempt: Attempt) -> RunOutcome:
    """What cannot be run fails like a function that threw: nobody else would hear of it. The writes of what
    failed are undone."""
    udf_type = type_of(attempt.transaction, call.component, call.path)
    if udf_type in ("Query", "Action"):  # an action that was none when the run began (actors/action_jobs.py)
        return RunOutcome(None, refusal(_UNSUPPORTED_TYPE), udf_type)
    invocation = Invocation(
        path=parse_function_path(call.path),
        udf_type=None,
        args=call.args,
        identity=UNKNOWN,
        component=call.component,
        request_id=call.request_id,
        may_call_internal=True,
        job_id=job_id,
    )
    before = attempt.transaction.savepoint()
    try:
        outcome = runner.run(attempt.transaction, invocation, attempt.seed, attempt.clock.now_ms)
    except BackendError as failure:
        if failure.kind not in CATCHABLE_KINDS:
            raise
        outcome = RunOutcome(None, refusal(failure.message), "Mutation")
    if outcome.error is not None:
        attempt.transaction.roll_back(before)
    return outcome


def type_of(transaction: Transaction, component: str, path: str) -> str | None:
    """What the job's function is now; None when it is gone (whose lookup says so)."""
    parsed, catalog = parse_function_path(path), transaction.catalog_of(component)
    module = catalog.modules.get(parsed.module) if catalog is not None else None
    function = module.functions.get(parsed.function) if module is not None else None
    return function.udf_type if function is not None else None
