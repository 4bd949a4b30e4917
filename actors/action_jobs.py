"""Scheduled actions and action crons: started at most once (spec 03 5.1, 5.2).

A first transaction writes that the run has begun, then the action runs, then another one writes how it
ended. Who finds a run begun that nobody waits for any more writes that it failed: whether it did its work is
unknown, and it is not done twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from actors.calls import UNPLACED_TS, Ended, RunCall
from actors.chain import Attempt, Done
from actors.job_runs import call_of_job, type_of
from functions import cron_jobs, scheduled_jobs
from functions.components import owner_of
from functions.invocation import RunOutcome
from functions.outcome import JsError
from functions.transaction import Transaction
from log.ids import decode_id
from log.record import CallTrace

_LOST = RunOutcome(None, JsError("Transient error while executing action"), "Action")


@dataclass(frozen=True, slots=True)
class _Due:
    """What is to be run, and what its row says of it. `cron` is None for a scheduled function."""

    row: dict[str, Any]
    component: str
    path: str
    arguments: bytes
    cron: dict[str, Any] | None

    @property
    def is_begun(self) -> bool:
        return bool(self.row["state"]["type"] == scheduled_jobs.IN_PROGRESS)


def begin_action(
    job_id: str, request_id: str, attempt: Attempt, *, may_start: bool
) -> tuple[tuple[str, str], Done[Ended | RunCall | None]] | None:
    """The action's component and path, and the call to make now that its row says so; how it ended, when it
    was lost; Done(None) when there is nothing to do now. None: the job is no action's."""
    transaction = attempt.transaction
    due = _find(transaction, job_id)
    if due is None:
        return None
    address, trace = (due.component, due.path), _trace("_system/begin_action", attempt)
    if due.is_begun:
        _end(transaction, due, _LOST)
        return address, Done(Ended(_LOST, UNPLACED_TS), trace)
    if type_of(transaction, due.component, due.path) != "Action":
        return None
    if not may_start:
        return address, Done(None)
    state = {"type": scheduled_jobs.IN_PROGRESS, "requestId": request_id, "executionId": request_id}
    transaction.patch(_table(transaction, due), due.row["_id"], {"state": state})
    parent_job_id = job_id if due.cron is None else None
    call = call_of_job(due.component, due.path, due.arguments, request_id, parent_job_id)
    return address, Done(call, trace)


def end_action(transaction: Transaction, job_id: str, request_id: str, outcome: RunOutcome) -> None:
    """How the run ended; of no effect when it was cancelled, or counts as lost, meanwhile."""
    due = _find(transaction, job_id)
    if due is not None and due.is_begun and due.row["state"]["requestId"] == request_id:
        _end(transaction, due, outcome)


def put_back_action(transaction: Transaction, job_id: str, request_id: str) -> None:
    """The run had begun and did not start: the deployment was paused in between. It is to be run again."""
    due = _find(transaction, job_id)
    if due is not None and due.is_begun and due.row["state"]["requestId"] == request_id:
        state = {"type": scheduled_jobs.PENDING}
        transaction.patch(_table(transaction, due), due.row["_id"], {"state": state})


def _find(transaction: Transaction, job_id: str) -> _Due | None:
    tables = transaction.catalog.tables
    if decode_id(job_id).table_number == tables[cron_jobs.NEXT_RUNS].number:
        found = cron_jobs.due_cron(transaction, job_id)
        if found is None:
            return None
        spec, component = found[1]["cronSpec"], owner_of(found[1])
        return _Due(found[0], component, spec["udfPath"], bytes(spec["udfArgs"]), found[1])
    job = scheduled_jobs.read_job(transaction, job_id)
    if job is None or job["nextTs"] is None:
        return None
    arguments = scheduled_jobs.read_arguments(transaction, job)
    return _Due(job, job["component"], job["udfPath"], arguments, None)


def _end(transaction: Transaction, due: _Due, outcome: RunOutcome) -> None:
    if due.cron is not None:
        cron_jobs.end_run(transaction, due.row, due.cron, outcome)
    elif outcome.error is None:
        scheduled_jobs.end_job(transaction, due.row["_id"], {"type": scheduled_jobs.SUCCESS})
    else:
        state = {"type": scheduled_jobs.FAILED, "error": outcome.error.message}
        scheduled_jobs.end_job(transaction, due.row["_id"], state)


def _table(transaction: Transaction, due: _Due) -> Any:
    return transaction.catalog.tables[scheduled_jobs.JOBS if due.cron is None else cron_jobs.NEXT_RUNS]


def _trace(source: str, attempt: Attempt) -> CallTrace:
    """System code writes here: nothing that a replay would run again."""
    return CallTrace(
        path=source,
        identity="system",
        seed=attempt.seed,
        now_ms=attempt.clock.now_ms,
        creation_ms=attempt.clock.creation_ms,
    )
