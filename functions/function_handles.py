"""Function handles: names of functions that may be kept, passed on and called by anyone (spec 03 1.5).

A handle is the id of a row of `_function_handles`, of which every function has one; what follows the `#` is
for readers. A push that drops a function marks its row, one that brings it back takes the mark away: so a
handle survives pushes, and means the same function as long as there is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from functions import errors
from functions.path import FunctionPath, parse_function_path
from functions.transaction import Transaction
from log import values
from log.errors import not_supported_yet
from log.ids import InvalidId, decode_id
from log.keys import encode_items

TABLE = "_function_handles"
_SCHEME = "function://"
_OWN_FUNCTION = "_reference/function/"
_BY_COMPONENT_PATH = "by_component_path"


def callee_path(transaction: Transaction, args: dict[str, Any], method: str) -> FunctionPath:
    """The function that a call of `method` names: by name, by reference or by handle."""
    handle = args.get("functionHandle")
    return path_of_handle(transaction, handle) if handle is not None else named_path(args, method)


def named_path(args: dict[str, Any], method: str) -> FunctionPath:
    """The same without a handle: nothing has to be looked up."""
    reference, name = args.get("reference"), args.get("name")
    if reference is not None:
        return _path_of_reference(reference)
    if name is None:
        raise errors.invalid_argument(None, method, "Missing required argument 'name'")
    if not isinstance(name, str):
        raise errors.invalid_argument("name", method, "must be a string")
    return parse_function_path(name)


def create_handle(transaction: Transaction, args: dict[str, Any]) -> str:
    """The handle of the named function; one that was given is its own."""
    given = args.get("functionHandle")
    if isinstance(given, str):
        return given
    path = callee_path(transaction, args, "createFunctionHandle")
    table = transaction.catalog.tables[TABLE]
    row = transaction.first(table, _BY_COMPONENT_PATH, encode_items([None, path.canonical]))
    if row is None or row["deletedTs"] is not None:
        raise errors.unresolved_function(path.display)
    return f"{_SCHEME}{row['_id']}#{path.display}"


def path_of_handle(transaction: Transaction, handle: Any) -> FunctionPath:
    """The function a handle stands for, while there is one."""
    text = handle.removeprefix(_SCHEME) if isinstance(handle, str) else ""
    table = transaction.catalog.tables[TABLE]
    document_id = text.partition("#")[0]
    try:
        is_handle = decode_id(document_id).table_number == table.number
    except InvalidId:
        is_handle = False
    row = transaction.get(table, document_id) if is_handle else None
    if row is None:
        raise errors.function_handle_not_found()
    found: dict[str, Any] = values.loads_canonical(row.document)  # type: ignore[assignment]
    if found["deletedTs"] is not None:
        raise errors.function_handle_not_found()
    return parse_function_path(found["path"])


def replace_handles(transaction: Transaction, paths: Iterable[str]) -> None:
    """Give every function of the app (canonical paths) a handle that is alive, and no other one."""
    table = transaction.catalog.tables[TABLE]
    stored = {row["path"]: row for row in transaction.all_documents(table)}
    wanted = set(paths)
    for path in sorted(wanted - stored.keys()):
        transaction.insert(TABLE, {"component": None, "path": path, "deletedTs": None})
    for path, row in sorted(stored.items()):
        is_alive = row["deletedTs"] is None
        if is_alive != (path in wanted):
            transaction.patch(table, row["_id"], {"deletedTs": transaction.now_ns if is_alive else None})


def _path_of_reference(reference: Any) -> FunctionPath:
    if isinstance(reference, str) and reference.startswith(_OWN_FUNCTION):
        return parse_function_path(reference.removeprefix(_OWN_FUNCTION))
    raise not_supported_yet("Calling component functions")
