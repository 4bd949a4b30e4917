"""Imports as rows of `_snapshot_imports`: uploaded, confirmed, counted, ended (spec 02 18; design D13).

The worker (actors/import_worker.py) does what a row asks for and says here how far it is; the CLI follows the
row. Every step of the worker first finds the import still wanted, in the transaction that writes: so a
cancelled import writes nothing more.
"""

from __future__ import annotations

from typing import Any

from functions.call_checks import component_not_found_text
from functions.components import APP_PATH
from functions.system import transfer_errors as errors
from functions.system.deployment_events import DATA_IMPORTED, record_event, some_of
from functions.system.lifecycle import ImportState, TransferEvent, next_import_state
from functions.system.operation import SystemContext
from functions.transaction import Transaction
from functions.transfer.plan import (
    ImportMode,
    TablePlace,
    TablePlan,
    change_summary,
    needs_confirmation,
)
from functions.transfer.upload import ImportFormat, check_import_table
from functions.transfer.zip_layout import STORAGE
from log import values
from log.errors import bad_json_body
from log.ids import InvalidId, decode_id
from log.limits import IMPORTS_LISTED_MAX

IMPORTS = "_snapshot_imports"

ImportRow = dict[str, Any]

_STORED_FORMATS = {
    ImportFormat.CSV: "csv",
    ImportFormat.JSON_LINES: "jsonl",
    ImportFormat.JSON_ARRAY: "json_array",
    ImportFormat.ZIP: "zip",
}
_STORED_MODES = {
    ImportMode.REQUIRE_EMPTY: "RequireEmpty",
    ImportMode.APPEND: "Append",
    ImportMode.REPLACE: "Replace",
    ImportMode.REPLACE_ALL: "ReplaceAll",
}
_FORMATS = {stored: found for found, stored in _STORED_FORMATS.items()}
_MODES = {stored: found for found, stored in _STORED_MODES.items()}


# --- what operators ask -------------------------------------------------------------------------------


def create_import(
    transaction: Transaction, body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, str]:
    """The row of an upload that is durable under `objectKey`."""
    asked = body["import"]
    component = asked.get("componentPath") or APP_PATH
    if not isinstance(component, str) or transaction.catalog_of(component) is None:
        raise errors.invalid_import(component_not_found_text(str(component)))
    try:
        kind, mode = ImportFormat(asked.get("format")), ImportMode(asked.get("mode"))
    except ValueError as failure:
        raise bad_json_body(f"The import cannot be read: {failure}") from None
    fields = {
        "state": {"state": ImportState.UPLOADED.value},
        "format": _stored_format(kind, asked.get("tableName")),
        "mode": _STORED_MODES[mode],
        "component_path": component,
        "object_key": body["objectKey"],
        "member_id": None,
        "checkpoints": None,
        "requestor": {"type": "snapshotImport"},
    }
    return {"importId": transaction.insert(IMPORTS, fields)}


def _stored_format(kind: ImportFormat, table: Any) -> dict[str, str]:
    if kind is ImportFormat.ZIP:
        if table is not None:
            raise errors.invalid_import_name("A ZIP names its tables itself.")
        return {"format": "zip"}
    if not isinstance(table, str):
        raise errors.invalid_import_name("The import lacks the name of a table.")
    check_import_table(table)
    return {"format": _STORED_FORMATS[kind], "table": table}


def perform_import(
    transaction: Transaction, body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    """Leaves `waiting_for_confirmation` in this commit, because the CLI looks again at once."""
    row = _require(transaction, body.get("importId"))
    if row["state"]["state"] == ImportState.UPLOADED:
        raise errors.invalid_import("The upload has not been read through yet.")
    if row["state"]["state"] == ImportState.WAITING:
        _move(transaction, row, TransferEvent.CONFIRMED, {"progress_message": "Importing"})
    return {}


def cancel_import(
    transaction: Transaction, body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    row = _require(transaction, body.get("importId"))
    if row["state"]["state"] in (ImportState.COMPLETED, ImportState.FAILED):
        raise errors.cannot_cancel_import()
    _move(transaction, row, TransferEvent.CANCELED, {"error_message": errors.IMPORT_CANCELED})
    return {}


def get_import(transaction: Transaction, args: dict[str, Any], _context: SystemContext) -> Any:
    """`_system/cli/queryImport:default`; None for what is none."""
    return _find(transaction, args.get("importId"))


def list_imports(transaction: Transaction, _args: dict[str, Any], _context: SystemContext) -> Any:
    """`_system/cli/queryImport:list`: the newest first."""
    table = transaction.catalog.tables[IMPORTS]
    index = table.index("by_creation_time")
    assert index is not None
    scan = transaction.scan(index, table, b"", None, descending=True)
    found: list[Any] = []
    while len(found) < IMPORTS_LISTED_MAX and (row := scan.next()) is not None:
        found.append(values.loads_canonical(row.document))
    return found


# --- what the worker reads of a row -------------------------------------------------------------------


def format_of(row: ImportRow) -> tuple[ImportFormat, str | None]:
    return _FORMATS[row["format"]["format"]], row["format"].get("table")


def mode_of(row: ImportRow) -> ImportMode:
    return _MODES[row["mode"]]


def component_of(row: ImportRow) -> str:
    """The path of the component that the upload is for."""
    return str(row["component_path"])


def next_to_do(transaction: Transaction) -> ImportRow | None:
    """The oldest that is to be parsed, or is confirmed and not begun."""
    for row in _in_progress_or_uploaded(transaction):
        if row["state"]["state"] == ImportState.UPLOADED or row["checkpoints"] is None:
            return row
    return None


def uploads_in_use(transaction: Transaction) -> set[str]:
    """Blobs that imports still have to read."""
    ended = (ImportState.COMPLETED, ImportState.FAILED)
    rows = transaction.all_documents(transaction.catalog.tables[IMPORTS])
    return {row["object_key"] for row in rows if row["state"]["state"] not in ended}


def is_over_since(row: ImportRow, cutoff_ns: int) -> bool:
    """Whether it had ended before the cutoff. One that failed before that was written down: whether it began
    before it."""
    match row["state"]["state"]:
        case ImportState.COMPLETED:
            return bool(row["state"]["timestamp"] < cutoff_ns)
        case ImportState.FAILED:
            return bool(row.get("failed_ts", row["_creationTime"] * 1e6) < cutoff_ns)
    return False


# --- what the worker writes ---------------------------------------------------------------------------


def ask_confirmation(transaction: Transaction, import_id: str, plans: list[TablePlan]) -> None:
    row = read_import(transaction, import_id)
    if row is not None and row["state"]["state"] == ImportState.UPLOADED:
        facts = {
            "message_to_confirm": change_summary(plans),
            "require_manual_confirmation": needs_confirmation(plans),
        }
        _move(transaction, row, TransferEvent.PARSED, facts)


def begin_import(
    transaction: Transaction, import_id: str, plans: list[TablePlan], tablet_ids: dict[TablePlace, str]
) -> None:
    """Its checkpoints say that it has begun: whoever finds it after a restart knows it is half done."""
    checkpoints = [
        {
            "component_path": plan.component,
            "display_table_name": plan.name,
            "tablet_id": tablet_ids[plan.place],
            "total_num_rows_to_write": plan.creates,
            "num_rows_written": 0,
            "existing_rows_in_table": plan.existing,
            "existing_rows_to_delete": plan.deletes,
            "is_missing_id_field": False,
        }
        for plan in plans
    ]
    transaction.patch(transaction.catalog.tables[IMPORTS], import_id, {"checkpoints": checkpoints})


def is_wanted(transaction: Transaction, import_id: str) -> bool:
    row = read_import(transaction, import_id)
    return row is not None and row["state"]["state"] == ImportState.IN_PROGRESS


def tell_progress(transaction: Transaction, import_id: str, table: TablePlace, rows_written: int) -> None:
    """With the rows, in their transaction."""
    row = read_import(transaction, import_id)
    assert row is not None
    checkpoints = [
        {**each, "num_rows_written": rows_written} if _place_of(each) == table else each
        for each in row["checkpoints"]
    ]
    total = sum(each["total_num_rows_to_write"] for each in checkpoints)
    written = sum(each["num_rows_written"] for each in checkpoints)
    state = {
        "state": ImportState.IN_PROGRESS.value,
        "progress_message": f'Importing "{table.name}" ({written} of {total} documents)',
        "checkpoint_messages": [
            f'Imported {_counted(each)} into "{each["display_table_name"]}"'
            for each in checkpoints
            if 0 < each["total_num_rows_to_write"] == each["num_rows_written"]
        ],
    }
    changes = {"state": state, "checkpoints": checkpoints}
    transaction.patch(transaction.catalog.tables[IMPORTS], import_id, changes)


def _place_of(checkpoint: dict[str, Any]) -> TablePlace:
    return TablePlace(checkpoint["component_path"], checkpoint["display_table_name"])


def _counted(checkpoint: dict[str, Any]) -> str:
    what = "files" if checkpoint["display_table_name"] == STORAGE else "documents"
    return f"{checkpoint['num_rows_written']} {what}"


def complete_import(transaction: Transaction, import_id: str, rows_written: int, now_ns: int) -> None:
    row = read_import(transaction, import_id)
    assert row is not None
    facts = {"num_rows_written": rows_written, "timestamp": now_ns}
    _move(transaction, row, TransferEvent.FINISHED, facts)
    tables = some_of(each["display_table_name"] for each in row["checkpoints"] or ())
    told = {"import_id": import_id, "table_names": tables, "num_rows_written": rows_written}
    record_event(transaction, DATA_IMPORTED, told)


def fail_import(transaction: Transaction, import_id: str, message: str) -> None:
    """Unless it has ended in another way."""
    row = read_import(transaction, import_id)
    if row is not None and row["state"]["state"] not in (ImportState.COMPLETED, ImportState.FAILED):
        _move(transaction, row, TransferEvent.FAILED, {"error_message": message})


def fail_interrupted(transaction: Transaction) -> None:
    """Those whose worker ended with them half written."""
    text = errors.while_importing(errors.import_interrupted())
    for row in _in_progress_or_uploaded(transaction):
        if row["checkpoints"] is not None:
            fail_import(transaction, row["_id"], text)


def read_import(transaction: Transaction, import_id: str) -> ImportRow | None:
    row = transaction.get(transaction.catalog.tables[IMPORTS], import_id)
    return values.loads_canonical(row.document) if row is not None else None  # type: ignore[return-value]


# --- rows ---------------------------------------------------------------------------------------------


def _in_progress_or_uploaded(transaction: Transaction) -> list[ImportRow]:
    rows = transaction.all_documents(transaction.catalog.tables[IMPORTS])
    wanted = (ImportState.UPLOADED, ImportState.IN_PROGRESS)
    found = [row for row in rows if row["state"]["state"] in wanted]
    return sorted(found, key=lambda row: float(row["_creationTime"]))


def _move(transaction: Transaction, row: ImportRow, event: TransferEvent, facts: dict[str, Any]) -> None:
    state = next_import_state(row["state"]["state"], event)
    changes: dict[str, Any] = {"state": {"state": state.value, **facts}}
    if state is ImportState.FAILED:
        changes["failed_ts"] = transaction.now_ns  # ours, beside the state: when it may be forgotten
    transaction.patch(transaction.catalog.tables[IMPORTS], row["_id"], changes)


def _require(transaction: Transaction, import_id: Any) -> ImportRow:
    row = _find(transaction, import_id)
    if row is not None:
        return row
    try:
        decode_id(str(import_id))
    except InvalidId as failure:
        raise errors.invalid_import(f"The import id cannot be read: {failure}") from None
    raise errors.import_not_found()


def _find(transaction: Transaction, import_id: Any) -> ImportRow | None:
    try:
        number = decode_id(str(import_id)).table_number
    except InvalidId:
        return None
    is_import = number == transaction.catalog.tables[IMPORTS].number
    return read_import(transaction, str(import_id)) if is_import else None
