"""What the dashboard writes: documents, tables and files, with the admin's own hand (spec 02 21).

System functions that are mutations: schemas are enforced, live queries are told, and a conflict runs them
again. What is refused for its size is an answer; what the schema refuses is thrown, as a `ConvexError` whose
data is the text.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from functions.catalog import BY_CREATION_TIME, Table
from functions.system import files
from functions.system.deployment_events import TABLE_CLEARED, record_event
from functions.system.operation import Args, SystemContext, argument
from functions.transaction import Transaction
from log import values
from log.errors import BackendError, bad_request
from log.ids import InvalidId, decode_id
from log.limits import DASHBOARD_CLEARED_PER_CALL, DASHBOARD_DOCUMENTS_MAX, DASHBOARD_EDITED_BYTES_MAX, MIB
from log.values import UNDEFINED

_REMOVED = "__CONVEX_PLACEHOLDER_undefined_"
"""What the dashboard's value of a field to be removed begins with."""
_DONE = {"success": True}


# --- documents --------------------------------------------------------------------------------------


def add_document(transaction: Transaction, args: Args, _context: SystemContext) -> Any:
    """Several, in fact; the table is created by the first."""
    name, documents = _user_table_name(args, "table"), argument(args, "documents", list)
    if len(documents) > DASHBOARD_DOCUMENTS_MAX:
        return _too_many("add")
    for document in documents:
        _as_thrown(partial(transaction.insert, name, document))
    return _DONE


def replace_document(transaction: Transaction, args: Args, _context: SystemContext) -> Any:
    document_id, document = argument(args, "id", str), argument(args, "document", dict)
    table = _table_of(transaction, document_id)
    if table is None or transaction.get(table, document_id) is None:
        return {"success": False, "error": "Document does not exist."}
    _as_thrown(partial(transaction.replace, table, document_id, document))
    return _DONE


def patch_documents(transaction: Transaction, args: Args, _context: SystemContext) -> Any:
    """The documents of `ids`, or all of the table."""
    name, fields, ids = _user_table_name(args, "table"), argument(args, "fields", dict), args.get("ids")
    changes = {name: UNDEFINED if _is_removed(value) else value for name, value in fields.items()}
    transaction.budget.lift_for_system()  # each document is a read
    table = transaction.catalog.tables.get(name)
    if table is None:
        return _DONE
    if not isinstance(ids, list):
        ids, has_more = _first_ids(transaction, table, DASHBOARD_DOCUMENTS_MAX + 1)
        if has_more:
            return _too_many("change")
    if len(ids) > DASHBOARD_DOCUMENTS_MAX:
        return _too_many("change")
    for document_id in ids:
        _as_thrown(partial(transaction.patch, table, document_id, changes))
    return _DONE


def delete_documents(transaction: Transaction, args: Args, _context: SystemContext) -> Any:
    """Those that are still there."""
    doomed = argument(args, "toDelete", list)
    if len(doomed) > DASHBOARD_DOCUMENTS_MAX:
        return _too_many("delete")
    transaction.budget.lift_for_system()
    for each in doomed:
        document_id = argument(each, "id", str)
        table = _table_of(transaction, document_id)
        if table is not None and transaction.get(table, document_id) is not None:
            transaction.delete(table, document_id)
    return _DONE


def clear_table_page(transaction: Transaction, args: Args, _context: SystemContext) -> Any:
    """The oldest documents, to be asked again while there are more: what is gone needs no cursor."""
    transaction.budget.lift_for_system()
    table = transaction.catalog.tables.get(_user_table_name(args, "tableName"))
    ids: list[str] = []
    has_more = False
    if table is not None:
        ids, has_more = _first_ids(transaction, table, DASHBOARD_CLEARED_PER_CALL)
    for document_id in ids:
        assert table is not None
        transaction.delete(table, document_id)
    if table is not None and not has_more:
        facts = {"table_names": [table.name], "component": transaction.component.path}
        record_event(transaction, TABLE_CLEARED, facts)
    return {"deleted": float(len(ids)), "hasMore": has_more, "continueCursor": ""}


def create_table(transaction: Transaction, args: Args, _context: SystemContext) -> Any:
    name = _user_table_name(args, "table")
    if name not in transaction.catalog.tables:
        transaction.create_table(name)
    return None


def _first_ids(transaction: Transaction, table: Table, count: int) -> tuple[list[str], bool]:
    """The oldest `count`, or as many as one edit may read; and whether there may be more. Each document is
    read here and once more when it is changed."""
    index = table.index(BY_CREATION_TIME)
    assert index is not None
    scan = transaction.scan(index, table, b"", None, descending=False)
    ids: list[str] = []
    size_bytes = 0
    while len(ids) < count and size_bytes < DASHBOARD_EDITED_BYTES_MAX:
        if (row := scan.next()) is None:
            return ids, False
        size_bytes += len(row.document)
        document: Any = values.loads_canonical(row.document)
        ids.append(document["_id"])
    return ids, True


def _user_table_name(args: Args, argument_name: str) -> str:
    name: str = argument(args, argument_name, str)
    if name.startswith("_"):
        raise bad_request("InvalidArgument", f"`{name}` is no table of the app.")
    return name


def _table_of(transaction: Transaction, document_id: str) -> Table | None:
    """The user's table that the id is of."""
    try:
        table = transaction.catalog.tables_by_number.get(decode_id(document_id).table_number)
    except InvalidId:
        return None
    return table if table is not None and not table.is_system else None


def _is_removed(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(_REMOVED)


def _as_thrown(write: Callable[[], Any]) -> None:
    """What is refused of a document is thrown so that the page can show it."""
    try:
        write()
    except BackendError as refusal:
        raise BackendError(refusal.kind, refusal.code, refusal.message, refusal.message) from None


def _too_many(verb: str) -> dict[str, Any]:
    megabytes = DASHBOARD_EDITED_BYTES_MAX // MIB
    error = f"Cannot {verb} more than {DASHBOARD_DOCUMENTS_MAX} documents, or {megabytes} MiB, at a time."
    return {"success": False, "error": error}


# --- files ------------------------------------------------------------------------------------------


def delete_file(transaction: Transaction, args: Args, _context: SystemContext) -> Any:
    files.delete_file(transaction, argument(args, "storageId", str))


def delete_files(transaction: Transaction, args: Args, _context: SystemContext) -> Any:
    for storage_id in argument(args, "storageIds", list):
        files.delete_file(transaction, storage_id)


def create_upload_url(transaction: Transaction, _args: Args, context: SystemContext) -> Any:
    assert context.files is not None, "executors have the files of their server"
    return files.create_upload_url(transaction, context.files)
