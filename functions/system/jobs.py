"""What an operator does with scheduled functions: cancels one, or all that wait (spec 02 21, spec 03 5.1)."""

from __future__ import annotations

from typing import Any

from functions import scheduled_jobs
from functions.path import parse_function_path
from functions.scheduled_jobs import BY_NEXT_TS, CANCELED, JOBS
from functions.system.deployment_events import ALL_JOBS_CANCELED, JOB_CANCELED, record_event
from functions.system.operation import SystemContext
from functions.transaction import Transaction
from log import values
from log.errors import bad_json_body
from log.keys import encode_item
from log.limits import JOBS_CANCELLED_PER_STEP

_FIRST_TS = -(2**63)  # behind null, which finished jobs hold


def cancel_job(
    transaction: Transaction, body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    """One job; one that has ended stays as it is."""
    scheduled_jobs.cancel(transaction, body.get("id"))
    record_event(transaction, JOB_CANCELED, {"id": body["id"]})
    return {}


def cancel_all_jobs(
    transaction: Transaction, body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, bool]:
    """The next of those that are due from `startNextTs` until before `endNextTs` and call `udfPath`, as far
    as given; to be asked again until `isDone`."""
    path = body.get("udfPath")
    canonical = parse_function_path(path).canonical if isinstance(path, str) else None
    table = transaction.catalog.tables[JOBS]
    index = table.index(BY_NEXT_TS)
    assert index is not None
    start, end = _timestamp(body, "startNextTs", _FIRST_TS), _timestamp(body, "endNextTs", None)
    end_key = encode_item(end) if end is not None else None
    scan = transaction.scan(index, table, encode_item(start), end_key, descending=False)
    found: list[str] = []
    while len(found) < JOBS_CANCELLED_PER_STEP and (row := scan.next()) is not None:
        job: dict[str, Any] = values.loads_canonical(row.document)  # type: ignore[assignment]
        if canonical is None or job["udfPath"] == canonical:
            found.append(job["_id"])
    for job_id in found:
        scheduled_jobs.end_job(transaction, job_id, {"type": CANCELED})
    is_done = len(found) < JOBS_CANCELLED_PER_STEP
    if is_done:
        record_event(transaction, ALL_JOBS_CANCELED, {"udf_path": canonical})
    return {"isDone": is_done}


def _timestamp(body: dict[str, Any], name: str, otherwise: int | None) -> int | None:
    """Nanoseconds, as a number or as the decimal text that JavaScript makes of large ones."""
    value = body.get(name)
    if value is None:
        return otherwise
    if isinstance(value, str) and value.lstrip("-").isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) >= 2**63:
        raise bad_json_body(f"`{name}` must be a timestamp in nanoseconds")
    return int(value)
