"""What an operator does with scheduled functions: cancels one, or all that wait (spec 02 21, spec 03 5.1)."""

from __future__ import annotations

from itertools import islice
from typing import Any

from functions import scheduled_jobs
from functions.call_checks import component_not_found_text
from functions.components import owner_of
from functions.path import parse_function_path
from functions.scheduled_jobs import BY_NEXT_TS, CANCELED, JOBS
from functions.system.deployment_events import ALL_JOBS_CANCELED, JOB_CANCELED, record_event
from functions.system.operation import SystemContext, component_of_id, key_in_next
from functions.transaction import Transaction
from log import values
from log.errors import bad_json_body, bad_request
from log.keys import encode_item
from log.limits import JOBS_READ_PER_STEP

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
) -> dict[str, Any]:
    """The next of those that are due from `startNextTs` until before `endNextTs`, call `udfPath` and are of
    the component named, as far as given; to be asked again with `next` as it was answered, until `isDone`."""
    path = body.get("udfPath")
    canonical = parse_function_path(path).canonical if isinstance(path, str) else None
    owner = _owner(transaction, body)
    start, end = _timestamp(body, "startNextTs", _FIRST_TS), _timestamp(body, "endNextTs", None)
    table = transaction.catalog.tables[JOBS]
    index = table.index(BY_NEXT_TS)
    assert index is not None
    after_key = key_in_next(body.get("next"))
    start_key = encode_item(start) if after_key is None else after_key + b"\x00"
    end_key = encode_item(end) if end is not None else None
    scan = transaction.scan(index, table, start_key, end_key, descending=False)
    rows = [row for row in islice(iter(scan.next, None), JOBS_READ_PER_STEP) if row is not None]
    for row in rows:
        job: dict[str, Any] = values.loads_canonical(row.document)  # type: ignore[assignment]
        if canonical in (None, job["udfPath"]) and owner in (None, owner_of(job)):
            scheduled_jobs.end_job(transaction, job["_id"], {"type": CANCELED})
    if len(rows) == JOBS_READ_PER_STEP:
        return {"isDone": False, "next": {"afterKey": rows[-1].key.hex()}}
    record_event(transaction, ALL_JOBS_CANCELED, {"udf_path": canonical, "component": owner})
    return {"isDone": True}


def _owner(transaction: Transaction, body: dict[str, Any]) -> str | None:
    """The path of the component whose jobs are meant; None where nothing is said: all are."""
    if "componentId" not in body and "componentPath" not in body:
        return None
    if isinstance(path := body.get("componentPath"), str):
        if transaction.catalog_of(path) is None:
            raise bad_request("ComponentNotFound", component_not_found_text(path))
        return path
    return component_of_id(transaction, body.get("componentId") or "").path


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
