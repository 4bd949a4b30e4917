"""Function handles: names of functions that may be kept, passed on and called by anyone, in any component
(spec 03 1.5).

A handle is the id of a row of `_function_handles`, of which every function has one; what follows the `#` is
for readers. A push that drops a function marks its row, one that brings it back takes the mark away: so a
handle survives pushes, and means the same function as long as there is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from functions import errors
from functions.function_address import FunctionAddress, address_of_reference, named_address
from functions.path import parse_function_path
from functions.transaction import Transaction
from log import values
from log.ids import InvalidId, decode_id
from log.keys import encode_items

TABLE = "_function_handles"
_SCHEME = "function://"
_BY_COMPONENT_PATH = "by_component_path"


def callee_of(transaction: Transaction, args: dict[str, Any], method: str) -> FunctionAddress:
    """The function that a call of `method` names, in the component the transaction is in."""
    named = named_address(transaction.component.path, args, method)
    if named is not None:
        return named
    handle = args.get("functionHandle")
    if handle is not None:
        return address_of_handle(transaction, handle)
    return address_of_reference(transaction, args.get("reference"))


def create_handle(transaction: Transaction, args: dict[str, Any]) -> str:
    """The handle of the named function; one that was given is its own."""
    given = args.get("functionHandle")
    if isinstance(given, str):
        return given
    address = callee_of(transaction, args, "createFunctionHandle")
    path, catalog = address.path, transaction.catalog_of(address.component)
    namespace = catalog.component.namespace if catalog is not None else None
    table = transaction.catalog.tables[TABLE]
    row = transaction.first(table, _BY_COMPONENT_PATH, encode_items([namespace, path.canonical]))
    if row is None or row["deletedTs"] is not None:
        raise errors.unresolved_function(path.display)
    return f"{_SCHEME}{row['_id']}#{address.display}"


def address_of_handle(transaction: Transaction, handle: Any) -> FunctionAddress:
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
    component = transaction.component_of(found["component"])
    if found["deletedTs"] is not None or component is None:
        raise errors.function_handle_not_found()
    return FunctionAddress(component.path, parse_function_path(found["path"]))


def replace_handles(transaction: Transaction, functions: Iterable[tuple[str | None, str]]) -> None:
    """Give every function of the deployment (namespace, canonical path) a handle that is alive, and no other
    one."""
    table = transaction.catalog.tables[TABLE]
    stored = {(row["component"], row["path"]): row for row in transaction.all_documents(table)}
    wanted = set(functions)
    for namespace, path in sorted(wanted - stored.keys(), key=_order):
        transaction.insert(TABLE, {"component": namespace, "path": path, "deletedTs": None})
    for function, row in sorted(stored.items(), key=lambda each: _order(each[0])):
        is_alive = row["deletedTs"] is None
        if is_alive != (function in wanted):
            transaction.patch(table, row["_id"], {"deletedTs": transaction.now_ns if is_alive else None})


def _order(function: tuple[str | None, str]) -> tuple[str, str]:
    return function[0] or "", function[1]
