"""Whether the deployment runs functions: paused and resumed by an operator (spec 02 22, spec 03 1.6).

The state is a row of `_backend_state`, read with the catalog: a pause is a commit like any other, every live
query is run again after it and tells its client why it has no result, and a mutation that was running meets
a conflict. System functions and pushes go on.
"""

from __future__ import annotations

from typing import Any

from functions import cron_jobs
from functions.catalog import BACKEND_STATE, NO_STOPS, PAUSED
from functions.system.deployment_events import STATE_CHANGED, record_event
from functions.system.errors import deployment_not_paused
from functions.system.operation import Args, SystemContext
from functions.transaction import Transaction


def pause_deployment(
    transaction: Transaction, _body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    """Run no functions from now on. Of no effect when it is paused."""
    if not transaction.catalog.is_paused:
        _write(transaction, PAUSED)
        record_event(transaction, STATE_CHANGED, {"old_state": "running", "new_state": "paused"})
    return {}


def unpause_deployment(
    transaction: Transaction, _body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    """Run functions again. Jobs that became due meanwhile run now; runs of crons are left out."""
    if not transaction.catalog.is_paused:
        raise deployment_not_paused()
    _write(transaction, NO_STOPS["user"])
    record_event(transaction, STATE_CHANGED, {"old_state": "paused", "new_state": "running"})
    cron_jobs.skip_due_runs(transaction)
    return {}


def _write(transaction: Transaction, user: str) -> None:
    table = transaction.catalog.tables[BACKEND_STATE]
    rows = transaction.all_documents(table)
    if rows:
        transaction.patch(table, rows[0]["_id"], {"user": user})
    else:
        transaction.insert(BACKEND_STATE, {**NO_STOPS, "user": user})


# --- as the dashboard sees it -------------------------------------------------------------------------


def deployment_state(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    return {"state": "paused" if transaction.catalog.is_paused else "running"}


def backend_state(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    rows = transaction.all_documents(transaction.catalog.tables[BACKEND_STATE])
    return {name: rows[0][name] if rows else none for name, none in NO_STOPS.items()}
