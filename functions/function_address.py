"""Which function a call names: by name, by reference, or by handle (spec 03 1.5).

A name is one of the caller's own component. A reference leads to a public function of a child. A handle leads
anywhere. Whatever is named here may be called: visibility is for those outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from functions import errors
from functions.components import APP_PATH, child_path
from functions.path import FunctionPath, parse_function_path
from functions.transaction import Transaction
from log.errors import BackendError

_OWN_FUNCTION = "_reference/function/"
_CHILD = "_reference/childComponent/"


@dataclass(frozen=True, slots=True)
class FunctionAddress:
    """A function and the component it is of."""

    component: str
    path: FunctionPath

    @property
    def display(self) -> str:
        """As log lines and handles show it."""
        prefix = f"{self.component}/" if self.component != APP_PATH else ""
        return prefix + self.path.display


def named_address(component: str, args: dict[str, Any], method: str) -> FunctionAddress | None:
    """The function that a call of `method` in a component names; None when it has to be looked up."""
    reference, name = args.get("reference"), args.get("name")
    if args.get("functionHandle") is not None:
        return None
    if reference is not None:
        if isinstance(reference, str) and reference.startswith(_OWN_FUNCTION):
            return FunctionAddress(component, parse_function_path(reference.removeprefix(_OWN_FUNCTION)))
        return None
    if name is None:
        raise errors.invalid_argument(None, method, "Missing required argument 'name'")
    if not isinstance(name, str):
        raise errors.invalid_argument("name", method, "must be a string")
    return FunctionAddress(component, parse_function_path(name))


def address_of_reference(transaction: Transaction, reference: Any) -> FunctionAddress:
    """The public function of a child that `_reference/childComponent/<child>/<module path>/<function>` names,
    seen from the component the transaction is in."""
    text = reference.removeprefix(_CHILD) if isinstance(reference, str) else ""
    child, *module, function = text.split("/") if text.count("/") >= 2 and text != reference else ("", "", "")
    if not child:
        raise errors.invalid_reference(f"Invalid reference {reference!r}")
    component = child_path(transaction.component.path, child)
    catalog = transaction.catalog_of(component)
    if catalog is None or not catalog.component.is_mounted:
        raise errors.invalid_reference(f'Child component "{child}" not found')
    try:
        path = parse_function_path(f"{'/'.join(module)}:{function}")
    except BackendError as refusal:
        raise errors.invalid_reference(refusal.message) from refusal
    found = catalog.modules.get(path.module)
    exported = found.functions.get(path.function) if found is not None else None
    if exported is None or not exported.is_public:
        names = ", ".join([*module, function])
        raise errors.invalid_reference(f'Child component "{child}" does not export [{names}]')
    return FunctionAddress(component, path)
