"""The history of a deployment: what operators did to it as a whole (spec 02 21).

An event is a row of `_deployment_audit_log`, written in the transaction of what it tells, so both are durable
or neither; of what takes several, in the last. It names what changed and holds none of it: no values of
variables, no documents, no code. Nobody is named: an admin key is no person. Rows go after
EVENT_RETENTION_DAYS (functions/system/garbage.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from functions.catalog import BY_CREATION_TIME
from functions.components import APP_PATH
from functions.pages import PageRequest, read_page
from functions.query import QueryPlan
from functions.system.operation import Args, SystemContext, argument
from functions.transaction import Transaction
from log import values
from log.keys import PREFIX_END, encode_item
from log.limits import EVENT_NAMES_MAX, EVENTS_LISTED_MAX

EVENTS = "_deployment_audit_log"
PUSHED = "push_config_with_components"
STATE_CHANGED = "change_deployment_state"
VARIABLE_CREATED = "create_environment_variable"
VARIABLE_UPDATED = "update_environment_variable"
VARIABLE_DELETED = "delete_environment_variable"
URL_CHANGED = "update_canonical_url"
TABLES_DELETED = "delete_tables"
TABLE_CLEARED = "clear_tables"
COMPONENT_DELETED = "delete_component"
JOB_CANCELED = "cancel_scheduled_function"
ALL_JOBS_CANCELED = "cancel_all_scheduled_functions"
JOBS_DELETED = "delete_scheduled_jobs_table"
DATA_IMPORTED = "snapshot_import"
KEYS_REVOKED = "revoke_admin_keys"

_BY_ACTION = "by_action_and_creation_time"
_COUNTED = ("moduleDiff", "cronDiff", "indexDiff")


def record_event(transaction: Transaction, action: str, metadata: Mapping[str, Any]) -> None:
    """Say in the history that this transaction does `action`."""
    component = transaction.component.path
    transaction.enter_component(APP_PATH)
    transaction.insert(EVENTS, {"action": action, "metadata": dict(metadata), "member_id": None})
    transaction.enter_component(component)


def record_push(
    transaction: Transaction, message: str | None, diffs: Mapping[str, Mapping[str, Any]]
) -> None:
    """How many modules, crons and indexes came and went in each component, by the diffs of finish_push."""
    components = [{"path": path, **_counts(diff)} for path, diff in sorted(diffs.items())]
    record_event(transaction, PUSHED, {"message": message, "components": components})


def _counts(diff: Mapping[str, Any]) -> dict[str, Any]:
    counted = {
        part: {change: float(len(names)) for change, names in diff[part].items() if isinstance(names, list)}
        for part in _COUNTED
    }
    return {"type": diff["diffType"]["type"], "schemaChanged": diff["schemaDiff"] is not None, **counted}


def some_of(names: Iterable[str]) -> list[str]:
    """The first of them: an event is a row, and a deployment may have more tables than a row has room for."""
    return list(islice(names, EVENT_NAMES_MAX))


# --- as the dashboard reads it ------------------------------------------------------------------------


def last_push(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    """The newest push, or None."""
    table = transaction.catalog.tables[EVENTS]
    index = table.index(_BY_ACTION)
    assert index is not None
    of_pushes = encode_item(PUSHED)
    row = transaction.scan(index, table, of_pushes, of_pushes + PREFIX_END, descending=True).next()
    return values.loads_canonical(row.document) if row is not None else None


def event_page(transaction: Transaction, args: Args, context: SystemContext) -> Any:
    """A page, newest first, of those from `minDate` to `maxDate` (milliseconds) whose action is among
    `actions`, as far as the filters say so."""
    filters, options = args.get("filters") or {}, argument(args, "paginationOpts", dict)
    if not isinstance(filters, dict):
        filters = {}
    start, end = _bound(filters.get("minDate")), _bound(filters.get("maxDate"), after=PREFIX_END)
    actions = filters.get("actions")
    operators = (lambda row: row["action"] in actions,) if isinstance(actions, list) else ()
    table = transaction.catalog.tables[EVENTS]
    plan = QueryPlan(
        table=table,
        index=table.index(BY_CREATION_TIME),
        start=start or b"",
        end=end,
        is_descending=True,
        operators=operators,
        fingerprint=values.dumps(["deployment events", filters]),
    )
    request = PageRequest(
        cursor=options.get("cursor"),
        end_cursor=options.get("endCursor"),
        page_size=int(argument(options, "numItems", float)),
    )
    return values.loads_canonical(read_page(plan, transaction, request, None, context.codec).to_json())


def events_from(transaction: Transaction, args: Args, _context: SystemContext) -> Any:
    """The first that were recorded at `fromTimestamp` (milliseconds) or later, oldest first."""
    table = transaction.catalog.tables[EVENTS]
    index = table.index(BY_CREATION_TIME)
    assert index is not None
    scan = transaction.scan(
        index, table, _bound(args.get("fromTimestamp"), b"") or b"", None, descending=False
    )
    found: list[Any] = []
    while len(found) < EVENTS_LISTED_MAX and (row := scan.next()) is not None:
        found.append(values.loads_canonical(row.document))
    return found


def _bound(time_ms: object, after: bytes = b"") -> bytes | None:
    return encode_item(time_ms) + after if isinstance(time_ms, float) else None
