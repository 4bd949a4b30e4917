"""Crons as documents: what a push makes of `crons.ts`, and what a run leaves behind (spec 03 5.2).

`_cron_jobs` says what runs and how often, `_cron_next_run` when it runs next, `_cron_job_logs` how the last
few runs ended. All three change in transactions: of a push, or of the run itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from functions.catalog import Table
from functions.components import owner_of
from functions.crons import first_run, invalid_cron, run_after, stored_schedule
from functions.invocation import RunOutcome
from functions.path import parse_function_path
from functions.transaction import Transaction
from log import values
from log.keys import encode_item
from log.limits import CRON_LOG_CHARACTERS_MAX, CRON_LOGS_HELD_MAX

CRONS, NEXT_RUNS, LOGS = "_cron_jobs", "_cron_next_run", "_cron_job_logs"
_SAME_RUN_NS = 30 * 1_000_000_000  # a next run this near to the new one is left as it is

Functions = Mapping[str, Sequence[Mapping[str, Any]]]
"""What analysis found, by module path."""

Spec = dict[str, Any]
"""`{"identifier", "spec": {"udfPath", "udfArgs" (JSON text), "cronSchedule"}}`, as analysis keeps it."""


def cron_specs(exported: Mapping[str, Any], functions: Functions) -> list[Spec]:
    """What `crons.ts` exports, checked against the functions of the push."""
    return [_cron_spec(name, cron, functions) for name, cron in exported.items()]


def _cron_spec(name: str, cron: Mapping[str, Any], functions: Functions) -> Spec:
    for character in name:
        if not character.isascii() or not character.isprintable():
            raise invalid_cron(f"CronIdentifier {name} has invalid character '{character}'")
    path = parse_function_path(cron["name"])
    types = {found["name"]: found["udfType"] for found in functions.get(path.module, ())}
    if path.function not in types:
        raise invalid_cron(
            f"The cron job '{name}' schedules a function that does not exist: {path.canonical}"
        )
    if types[path.function] == "Query":
        raise invalid_cron(
            f"The cron job '{name}' schedules a query function, only actions and mutations can be scheduled: "
            f"{path.canonical}"
        )
    arguments = values.dumps(values.decode(cron.get("args") or [{}])).decode()
    schedule = stored_schedule(name, cron["schedule"])
    return {
        "identifier": name,
        "spec": {"udfPath": path.canonical, "udfArgs": arguments, "cronSchedule": schedule},
    }


def replace_crons(transaction: Transaction, specs: Sequence[Spec]) -> dict[str, list[str]]:
    """Make the crons of the component the transaction is in those of the push; returns the diff the CLI
    prints."""
    tables, owner = transaction.catalog.tables, transaction.component.path
    rows = transaction.all_documents(tables[CRONS])
    stored = {row["name"]: row for row in rows if owner_of(row) == owner}
    wanted = {spec["identifier"]: _stored_spec(spec["spec"]) for spec in specs}
    diff: dict[str, list[str]] = {"added": [], "updated": [], "deleted": []}
    for name, spec in wanted.items():
        row = stored.get(name)
        if row is None:
            _add(transaction, name, spec)
            diff["added"].append(name)
        elif not values.same(row["cronSpec"], spec):
            _update(transaction, row, spec)
            diff["updated"].append(name)
    for name in stored.keys() - wanted.keys():
        remove_cron(transaction, stored[name])
        diff["deleted"].append(name)
    return {kind: sorted(names) for kind, names in diff.items()}


def _stored_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {**spec, "udfArgs": spec["udfArgs"].encode()}


def _add(transaction: Transaction, name: str, spec: dict[str, Any]) -> None:
    row = {"name": name, "owner": transaction.component.path, "cronSpec": spec}
    cron_id = transaction.insert(CRONS, row)
    due_ts = first_run(spec["cronSchedule"], name, transaction.now_ns)
    fields = {"cronJobId": cron_id, "state": {"type": "pending"}, "prevTs": None, "nextTs": due_ts}
    transaction.insert(NEXT_RUNS, fields)


def _update(transaction: Transaction, row: dict[str, Any], spec: dict[str, Any]) -> None:
    """Other arguments keep the next run, and so does a schedule that moves it by less than a blink."""
    transaction.patch(transaction.catalog.tables[CRONS], row["_id"], {"cronSpec": spec})
    next_run = _next_run_of(transaction, row["_id"])
    if next_run is None or values.same(row["cronSpec"]["cronSchedule"], spec["cronSchedule"]):
        return
    due_ts = first_run(spec["cronSchedule"], row["name"], transaction.now_ns)
    if abs(due_ts - next_run["nextTs"]) >= _SAME_RUN_NS:
        transaction.patch(transaction.catalog.tables[NEXT_RUNS], next_run["_id"], {"nextTs": due_ts})


def remove_cron(transaction: Transaction, row: dict[str, Any]) -> None:
    """With its next run, and with what is kept of past ones."""
    tables = transaction.catalog.tables
    next_run = _next_run_of(transaction, row["_id"])
    if next_run is not None:
        transaction.delete(tables[NEXT_RUNS], next_run["_id"])
    for past_run in _logs_of(transaction, row):
        transaction.delete(tables[LOGS], past_run["_id"])
    transaction.delete(tables[CRONS], row["_id"])


def _next_run_of(transaction: Transaction, cron_id: str) -> dict[str, Any] | None:
    return transaction.first(transaction.catalog.tables[NEXT_RUNS], "by_cron_job_id", encode_item(cron_id))


# --- runs -------------------------------------------------------------------------------------------


def due_cron(transaction: Transaction, run_id: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """(the row of the next run, the cron) if it is due at the transaction's time."""
    tables = transaction.catalog.tables
    next_run = _read(transaction, tables[NEXT_RUNS], run_id)
    if next_run is None or next_run["nextTs"] > transaction.now_ns:
        return None
    cron = _read(transaction, tables[CRONS], next_run["cronJobId"])
    return (next_run, cron) if cron is not None else None


def end_run(
    transaction: Transaction, next_run: dict[str, Any], cron: dict[str, Any], outcome: RunOutcome
) -> None:
    """The run is over: keep how it ended, and say when the next one is due."""
    name, spec = cron["name"], cron["cronSpec"]
    _log(transaction, cron, _status_of(outcome), outcome.log_lines)
    due_ts, missed = run_after(spec["cronSchedule"], name, next_run["nextTs"], transaction.now_ns)
    if missed:
        _log(transaction, cron, {"type": "canceled", "num_canceled": missed}, ())
    for past_run in _logs_of(transaction, cron)[:-CRON_LOGS_HELD_MAX]:
        transaction.delete(transaction.catalog.tables[LOGS], past_run["_id"])
    changes = {"state": {"type": "pending"}, "prevTs": next_run["nextTs"], "nextTs": due_ts}
    transaction.patch(transaction.catalog.tables[NEXT_RUNS], next_run["_id"], changes)


def skip_due_runs(transaction: Transaction) -> None:
    """Runs that are due and have not begun are left out: each cron goes on with its next one from now."""
    table = transaction.catalog.tables[NEXT_RUNS]
    crons = {cron["_id"]: cron for cron in transaction.all_documents(transaction.catalog.tables[CRONS])}
    for next_run in transaction.all_documents(table):
        cron = crons.get(next_run["cronJobId"])
        is_waiting = next_run["state"]["type"] == "pending" and next_run["nextTs"] <= transaction.now_ns
        if cron is None or not is_waiting:
            continue
        schedule, name = cron["cronSpec"]["cronSchedule"], cron["name"]
        due_ts, missed = run_after(schedule, name, next_run["nextTs"], transaction.now_ns)
        _log(transaction, cron, {"type": "canceled", "num_canceled": missed + 1}, ())
        transaction.patch(table, next_run["_id"], {"nextTs": due_ts})


def _log(
    transaction: Transaction, cron: dict[str, Any], status: dict[str, Any], lines: Sequence[str]
) -> None:
    characters = 0
    kept: list[str] = []
    for line in lines:
        characters += len(line)
        if characters > CRON_LOG_CHARACTERS_MAX:
            break
        kept.append(line)
    spec = cron["cronSpec"]
    fields = {
        "name": cron["name"],
        "owner": owner_of(cron),
        "ts": transaction.now_ns,
        "udfPath": spec["udfPath"],
        "udfArgs": spec["udfArgs"],
        "status": status,
        "logLines": {"logLines": kept, "isTruncated": len(kept) < len(lines)},
        "executionTime": 0.0,  # not measured: it would be another one when the run is replayed
    }
    transaction.insert(LOGS, fields)


def _status_of(outcome: RunOutcome) -> dict[str, Any]:
    if outcome.error is not None:
        return {"type": "err", "error": outcome.error.message}
    text = (outcome.value or b"null").decode()
    if len(text) > CRON_LOG_CHARACTERS_MAX:
        truncated = {"type": "truncated", "truncated_log": text[:CRON_LOG_CHARACTERS_MAX]}
        return {"type": "success", "result": truncated}
    value = values.decode(orjson.loads(text), may_hold_commit_ts=True)
    return {"type": "success", "result": {"type": "default", "value": value}}


def _logs_of(transaction: Transaction, cron: dict[str, Any]) -> list[dict[str, Any]]:
    """Of one cron, oldest first."""
    table = transaction.catalog.tables[LOGS]
    index = table.index("by_name_and_ts")
    assert index is not None
    prefix = encode_item(cron["name"])
    scan = transaction.scan(index, table, prefix, prefix + b"\xff", descending=False)
    found: list[dict[str, Any]] = []
    while (row := scan.next()) is not None:
        found.append(values.loads_canonical(row.document))  # type: ignore[arg-type]
    return [past_run for past_run in found if owner_of(past_run) == owner_of(cron)]


def _read(transaction: Transaction, table: Table, document_id: str) -> dict[str, Any] | None:
    row = transaction.get(table, document_id)
    return values.loads_canonical(row.document) if row is not None else None  # type: ignore[return-value]
