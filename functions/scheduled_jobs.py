"""Scheduled functions as documents: jobs are written, cancelled and ended in transactions (spec 03 2.6, 5.1).

A job is a row of `_scheduled_jobs`; its arguments are a row of their own, for they may be large and the
queue is read often. While it is to be run, `nextTs` says when; a finished job has none. Who runs jobs is
`actors/scheduler.py`.
"""

from __future__ import annotations

from typing import Any

import orjson

from functions import errors
from functions.components import is_owned_by
from functions.function_address import FunctionAddress
from functions.path import parse_function_path
from functions.transaction import Transaction
from log import values
from log.ids import InvalidId, decode_id
from log.keys import encode_item

JOBS = "_scheduled_jobs"
ARGUMENTS = "_scheduled_job_args"
BY_NEXT_TS = "by_next_ts"
PENDING, IN_PROGRESS, SUCCESS, FAILED, CANCELED = "pending", "inProgress", "success", "failed", "canceled"

_DISTANCE_SECONDS_MAX = 5 * 366 * 24 * 3600
_NANOSECONDS = 1_000_000_000


def schedule(
    transaction: Transaction,
    callee: FunctionAddress,
    arguments: Any,
    at_seconds: Any,
    parent_job_id: str | None = None,
) -> str:
    """Write a job that is due at `at_seconds` (since 1970); returns its id. A time that is past means now.
    What a cancelled job (`parent_job_id`) still schedules is cancelled from the start."""
    if not isinstance(at_seconds, int | float) or isinstance(at_seconds, bool):
        raise errors.invalid_argument("ts", "scheduler", "must be a number of seconds")
    if transaction.component.is_being_deleted:
        raise errors.component_deleted(transaction.component.path)
    now_ns = transaction.now_ns
    distance_seconds = at_seconds - now_ns / _NANOSECONDS
    if abs(distance_seconds) > _DISTANCE_SECONDS_MAX:
        raise errors.scheduled_too_far(is_future=distance_seconds > 0)
    _check_function(transaction, callee)
    text = values.dumps(values.decode(arguments if isinstance(arguments, list) else [arguments]))
    transaction.budget.schedule_function(len(text))
    at_ns = round(at_seconds * _NANOSECONDS)
    job_id = transaction.insert(
        JOBS,
        {
            "component": callee.component,
            "owner": transaction.component.path,
            "udfPath": callee.path.canonical,
            "argsId": transaction.insert(ARGUMENTS, {"args": text}),
            "state": {"type": PENDING},
            "nextTs": max(at_ns, now_ns),
            "completedTs": None,
            "originalScheduledTs": at_ns,
            "attempts": {"systemErrors": 0, "occErrors": 0},
        },
    )
    if _is_canceled(transaction, parent_job_id):
        end_job(transaction, job_id, {"type": CANCELED})
    return job_id


def cancel(transaction: Transaction, document_id: Any) -> None:
    """A job that has not ended never will run; what has ended stays as it is."""
    table = transaction.catalog.tables[JOBS]
    try:
        is_job = decode_id(document_id).table_number == table.number
    except (InvalidId, TypeError, AttributeError):
        is_job = False
    if not is_job:
        raise errors.no_scheduled_function_id()
    job = read_job(transaction, document_id)
    if job is None or not is_owned_by(transaction.component, job):
        raise errors.nonexistent_document("Update", document_id)
    if job["state"]["type"] in (PENDING, IN_PROGRESS):
        end_job(transaction, document_id, {"type": CANCELED})


def _is_canceled(transaction: Transaction, job_id: str | None) -> bool:
    """Of the job that is being run. One of a cron has a row elsewhere, and cannot be cancelled."""
    if job_id is None or decode_id(job_id).table_number != transaction.catalog.tables[JOBS].number:
        return False
    job = read_job(transaction, job_id)
    return job is not None and job["state"]["type"] == CANCELED


def read_job(transaction: Transaction, document_id: str) -> dict[str, Any] | None:
    row = transaction.get(transaction.catalog.tables[JOBS], document_id)
    return values.loads_canonical(row.document) if row is not None else None  # type: ignore[return-value]


def read_arguments(transaction: Transaction, job: dict[str, Any]) -> bytes:
    """The argument array of a job, as canonical JSON text."""
    row = transaction.get(transaction.catalog.tables[ARGUMENTS], job["argsId"])
    if row is None:
        return b"[]"
    document: dict[str, Any] = values.loads_canonical(row.document)  # type: ignore[assignment]
    return bytes(document["args"])


def end_job(transaction: Transaction, document_id: str, state: dict[str, Any]) -> None:
    """The job is over: `state` says how."""
    ended = {"state": state, "nextTs": None, "completedTs": transaction.now_ns}
    transaction.patch(transaction.catalog.tables[JOBS], document_id, ended)


def remove_ended_jobs(transaction: Transaction, cutoff_ns: int, rows_max: int) -> int:
    """Delete jobs that ended before the cutoff, with their arguments; returns how many."""
    table = transaction.catalog.tables[JOBS]
    index = table.index("by_completed_ts")
    assert index is not None
    # Jobs that have not ended hold null there, which sorts first.
    scan = transaction.scan(index, table, encode_item(-(2**63)), encode_item(cutoff_ns), descending=False)
    gone: list[Any] = []
    while len(gone) < rows_max and (row := scan.next()) is not None:
        gone.append(values.loads_canonical(row.document))
    for job in gone:
        transaction.delete(table, job["_id"])
        transaction.delete(transaction.catalog.tables[ARGUMENTS], job["argsId"])
    return len(gone)


def user_view(transaction: Transaction, job: dict[str, Any]) -> dict[str, Any]:
    """The row of `_scheduled_functions` that user code sees (spec 03 5.1)."""
    state = dict(job["state"])
    view = {
        "_id": job["_id"],
        "_creationTime": job["_creationTime"],
        "name": parse_function_path(job["udfPath"]).display,
        "args": values.loads_canonical(read_arguments(transaction, job)),
        "state": {"kind": state.pop("type"), **state},
        "scheduledTime": job["originalScheduledTs"] / 1e6,
    }
    if job["completedTs"] is not None:
        view["completedTime"] = job["completedTs"] / 1e6
    return view


def _check_function(transaction: Transaction, callee: FunctionAddress) -> None:
    path, catalog = callee.path, transaction.catalog_of(callee.component)
    module = catalog.modules.get(path.module) if catalog is not None else None
    if module is None:
        raise errors.scheduled_module_missing(path.module)
    if path.function not in module.functions:
        raise errors.scheduled_function_missing(path.function, path.module)


def job_id_of(document: bytes) -> tuple[str, int] | None:
    """(job id, due ts) of a stored job that is to be run, None for one that has ended. Decodes only a row."""
    job = orjson.loads(document)
    next_ts = job["nextTs"]
    return None if next_ts is None else (job["_id"], values.decode(next_ts))  # type: ignore[return-value]
