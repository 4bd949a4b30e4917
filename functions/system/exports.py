"""Exports as rows of `_exports`: requested, written, ended, found (spec 02 19; design D13).

The worker (actors/export_worker.py) does what is requested and says here how far it is; the CLI follows the
newest row. The row of a completed export names the ZIP in the blob store until it expires. Timestamps are
int64 nanoseconds, as the CLI prints them into addresses.
"""

from __future__ import annotations

from typing import Any

from functions.system import transfer_errors as errors
from functions.system.lifecycle import ExportState, TransferEvent, next_export_state
from functions.system.operation import SystemContext, enter_component_of_id
from functions.transaction import Transaction
from log import values
from log.blob_store import StoredBlob
from log.errors import bad_json_body
from log.ids import InvalidId, decode_id
from log.keys import encode_item
from log.limits import EXPORT_DAYS

EXPORTS = "_exports"
BY_STATE_AND_TS = "by_state_and_ts"
_TS_DIGITS_MAX = 19
_DAY_NS = 86_400 * 1_000_000_000

ExportRow = dict[str, Any]


# --- what operators ask -------------------------------------------------------------------------------


def request_export(
    transaction: Transaction, body: dict[str, Any], _prepared: None, context: SystemContext
) -> dict[str, str]:
    """One at a time. The CLI looks for the newest row at once, so the row is there when this commits."""
    component_id = body.get("component") or None
    if component_id is not None:
        enter_component_of_id(transaction, component_id)  # or it is refused
    if is_export_under_way(transaction):
        raise errors.export_in_progress()
    fields = {
        "state": ExportState.REQUESTED.value,
        "format": {"format": "zip", "include_storage": bool(body.get("includeStorage"))},
        "component": component_id,
        "requestor": "snapshotExport",
        "expiration_ts": context.now_ns + EXPORT_DAYS * _DAY_NS,
    }
    return {"id": transaction.insert(EXPORTS, fields)}


def cancel_export(
    transaction: Transaction, body: dict[str, Any], _prepared: None, context: SystemContext
) -> dict[str, Any]:
    """One that has ended stays as it is. The worker learns of it when it next says how far it is."""
    row = _require(transaction, body.get("id"))
    if row["state"] in (ExportState.REQUESTED, ExportState.IN_PROGRESS):
        changes = {"start_ts": row.get("start_ts"), "canceled_ts": context.now_ns}
        _move(transaction, row, TransferEvent.CANCELED, changes)
    return {}


def set_export_expiration(
    transaction: Transaction, body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    row = _require(transaction, body.get("id"))
    expiration_ts = body.get("expirationTsNs")
    if isinstance(expiration_ts, bool) or not isinstance(expiration_ts, int):
        raise bad_json_body("`expirationTsNs` must be a timestamp in nanoseconds")
    if row["state"] != ExportState.COMPLETED:
        raise errors.export_not_complete()
    transaction.patch(transaction.catalog.tables[EXPORTS], row["_id"], {"expiration_ts": expiration_ts})
    return {}


def locate_export(
    transaction: Transaction, body: dict[str, Any], _prepared: None, context: SystemContext
) -> dict[str, Any]:
    """What the gateway must know to send the ZIP; asked by the timestamp or the id of the export."""
    row = _find(transaction, str(body.get("snapshot")))
    if row is None:
        raise errors.export_not_found()
    if row["state"] != ExportState.COMPLETED:
        raise errors.export_not_complete()
    if row["expiration_ts"] < context.now_ns:
        raise errors.export_not_found()
    return {"storageKey": row["zip_object_key"], "size": row["size"], "startTs": row["start_ts"]}


def latest_export(transaction: Transaction, _args: dict[str, Any], _context: SystemContext) -> Any:
    """`_system/cli/exports:getLatest`: the newest row, whatever came of it; None before the first."""
    table = transaction.catalog.tables[EXPORTS]
    index = table.index("by_creation_time")
    assert index is not None
    row = transaction.scan(index, table, b"", None, descending=True).next()
    return values.loads_canonical(row.document) if row is not None else None


# --- what the worker does -----------------------------------------------------------------------------


def next_requested(transaction: Transaction) -> ExportRow | None:
    return _in_state(transaction, ExportState.REQUESTED)


def begin_export(transaction: Transaction, export_id: str, start_ts: int) -> bool:
    """False: it was canceled meanwhile."""
    row = read_export(transaction, export_id)
    if row is None or row["state"] != ExportState.REQUESTED:
        return False
    _move(transaction, row, TransferEvent.STARTED, {"start_ts": start_ts})
    return True


def tell_progress(transaction: Transaction, export_id: str, message: str) -> bool:
    """False: it is not wanted any more."""
    row = read_export(transaction, export_id)
    if row is None or row["state"] != ExportState.IN_PROGRESS:
        return False
    transaction.patch(transaction.catalog.tables[EXPORTS], export_id, {"progress_message": message})
    return True


def complete_export(transaction: Transaction, export_id: str, zip_blob: StoredBlob, now_ns: int) -> None:
    """The blob is durable BEFORE this commits."""
    row = read_export(transaction, export_id)
    if row is None or row["state"] != ExportState.IN_PROGRESS:
        return
    changes = {
        "complete_ts": now_ns,
        "zip_object_key": zip_blob.key,
        "size": zip_blob.size_bytes,
        "progress_message": values.UNDEFINED,
    }
    _move(transaction, row, TransferEvent.FINISHED, changes)


def fail_export(transaction: Transaction, export_id: str, now_ns: int) -> None:
    """Unless it has ended in another way."""
    row = read_export(transaction, export_id)
    if row is not None and row["state"] in (ExportState.REQUESTED, ExportState.IN_PROGRESS):
        changes = {"start_ts": row.get("start_ts", now_ns), "failed_ts": now_ns}
        _move(transaction, row, TransferEvent.FAILED, changes)


def fail_interrupted(transaction: Transaction, now_ns: int) -> None:
    """Those whose worker ended with them half written."""
    while (row := _in_state(transaction, ExportState.IN_PROGRESS)) is not None:
        fail_export(transaction, row["_id"], now_ns)


def read_export(transaction: Transaction, export_id: str) -> ExportRow | None:
    row = transaction.get(transaction.catalog.tables[EXPORTS], export_id)
    return values.loads_canonical(row.document) if row is not None else None  # type: ignore[return-value]


def zips_in_use(transaction: Transaction, now_ns: int) -> set[str]:
    """Blobs that exports can still be downloaded from."""
    table = transaction.catalog.tables[EXPORTS]
    return {
        row["zip_object_key"]
        for row in transaction.all_documents(table)
        if row["state"] == ExportState.COMPLETED and row["expiration_ts"] >= now_ns
    }


def is_over_since(row: ExportRow, cutoff_ns: int) -> bool:
    """Whether nothing could come of it any more before the cutoff: it had expired, failed or was canceled."""
    ends = {
        ExportState.COMPLETED: "expiration_ts",
        ExportState.FAILED: "failed_ts",
        ExportState.CANCELED: "canceled_ts",
    }
    end = ends.get(ExportState(row["state"]))
    return end is not None and bool(row[end] < cutoff_ns)


def is_export_under_way(transaction: Transaction) -> bool:
    """Requested, or being written."""
    return any(_in_state(transaction, state) for state in (ExportState.REQUESTED, ExportState.IN_PROGRESS))


# --- rows ---------------------------------------------------------------------------------------------


def _move(transaction: Transaction, row: ExportRow, event: TransferEvent, changes: dict[str, Any]) -> None:
    state = next_export_state(row["state"], event)
    table = transaction.catalog.tables[EXPORTS]
    transaction.patch(table, row["_id"], {"state": state.value, **changes})


def _in_state(transaction: Transaction, state: ExportState) -> ExportRow | None:
    table = transaction.catalog.tables[EXPORTS]
    return transaction.first(table, BY_STATE_AND_TS, encode_item(state.value))


def _require(transaction: Transaction, export_id: Any) -> ExportRow:
    row = _by_id(transaction, str(export_id))
    if row is None:
        raise errors.export_not_found()
    return row


def _find(transaction: Transaction, snapshot: str) -> ExportRow | None:
    if not snapshot.isdecimal():
        return _by_id(transaction, snapshot)
    if len(snapshot) > _TS_DIGITS_MAX or (start_ts := int(snapshot)) >= 1 << 63:
        raise errors.bad_snapshot_id(snapshot)
    table = transaction.catalog.tables[EXPORTS]
    for state in ExportState:
        prefix = encode_item(state.value) + encode_item(start_ts)
        row = transaction.first(table, BY_STATE_AND_TS, prefix)
        if row is not None:
            return row
    return None


def _by_id(transaction: Transaction, export_id: str) -> ExportRow | None:
    table = transaction.catalog.tables[EXPORTS]
    try:
        number = decode_id(export_id).table_number
    except InvalidId:
        raise errors.bad_snapshot_id(export_id) from None
    return read_export(transaction, export_id) if number == table.number else None
