"""What `log.audit(body)` leaves behind once its call has succeeded: lines of JSON (spec 03 2.7).

A body may hold variables, `{"$var": "now"}`, whose values the function itself never sees. Its transaction
keeps the line with values in their places, and limits are of that; what is rolled back takes its lines with
it. Values follow from what a record keeps of its call, so a replay makes the same lines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from functions import errors
from functions import syscall_arguments as arguments
from functions.transaction import Transaction
from log import limits
from log.errors import BackendError
from log.identity import Identity

_METHOD: Final = "auditLog"
_VARIABLE: Final = "$var"
_NAMES: Final = ("ip", "userAgent", "requestId", "now", "convexActor")
_VARIABLES: Final = {name: orjson.dumps({_VARIABLE: name}) for name in _NAMES}
_OF_REQUESTER: Final = (_VARIABLES["ip"], _VARIABLES["userAgent"])
_ADMINS: Final[dict[str, dict[str, Any]]] = {
    "admin": {"type": "admin"},
    "reader": {"type": "admin", "isReadOnly": True},
    "acting": {"type": "admin", "isActingAsUser": True},
}


def add_line(transaction: Transaction, args: dict[str, Any], values: Mapping[str, Any]) -> bool:
    """Keep one line, or raise InvalidArgument or AuditLogsExceedLimits; limits are of the whole call tree.
    Whether the body names values of the request's sender, which a replay then has to know."""
    body = arguments.json_object(args, "body", _METHOD)
    if _VARIABLE in body:
        raise _refused("a body is an object, not a variable")
    _check(body, 1)
    given, lines = orjson.dumps(body), transaction.audited
    line = _resolved(given, values)
    if (
        len(lines) >= limits.AUDIT_LINES_MAX
        or len(line) > limits.AUDIT_LINE_BYTES_MAX
        or sum(map(len, lines)) + len(line) > limits.AUDIT_BYTES_MAX
    ):
        raise errors.audit_logs_exceed_limits()
    transaction.audited = (*lines, line)
    return any(variable in given for variable in _OF_REQUESTER)


def actor_of(identity: Identity) -> dict[str, Any] | None:
    """What is known of the admin who calls, also of one who acts as a user; None for everybody else.

    Admin keys have no owners, so it says only which kind of admin.
    """
    return _ADMINS.get(identity.kind)


def _resolved(line: bytes, values: Mapping[str, Any]) -> bytes:
    """With values in the places of variables. The bytes of a variable mean nothing else: inside a string
    their quotes would be escaped, in a value too."""
    if b"$" in line:
        for name, variable in _VARIABLES.items():
            if variable in line:
                line = line.replace(variable, orjson.dumps(values[name]))
    return line


def _check(tree: Any, depth: int) -> None:
    """Of a body, only variables may have names that begin with `$`."""
    if depth > limits.VALUE_NESTING_MAX:
        raise _refused(f"nested deeper than {limits.VALUE_NESTING_MAX} levels")
    if isinstance(tree, list):
        for item in tree:
            _check(item, depth + 1)
    elif isinstance(tree, dict):
        if _VARIABLE in tree:
            _check_variable(tree)
            return
        for name, item in tree.items():
            if name.startswith("$"):
                raise _refused(f'names must not start with "$": "{name}"')
            _check(item, depth + 1)


def _check_variable(tree: dict[str, Any]) -> None:
    name = tree[_VARIABLE]
    if not isinstance(name, str) or name not in _NAMES:
        raise _refused(f"unknown variable {orjson.dumps(name).decode()}")
    if len(tree) != 1:
        raise _refused("a variable is an object of its own")


def _refused(cause: str) -> BackendError:
    return errors.invalid_argument("body", _METHOD, cause)
