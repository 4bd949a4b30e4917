"""The filters of the dashboard's table page: which documents it shows, and in which order (spec 02 21). Pure.

    {"clauses": [{"op", "field", "value", "enabled"}], "order": "asc" | "desc"}    as base64 of JSON

A document is shown when every enabled clause holds. Comparisons use the total order of all values, and a
field that is not there is smaller than every value.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

import orjson

from functions.filter import COMPARISONS
from log import values
from log.errors import bad_request, not_supported_yet
from log.ids import InvalidId, decode_id
from log.keys import field_at
from log.limits import DASHBOARD_FILTER_BYTES_MAX
from log.values import UNDEFINED, Operand, compare

Document = dict[str, Any]
Predicate = Callable[[Document], bool]

_TYPES: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "bigint",
    float: "number",
    str: "string",
    bytes: "bytes",
    list: "array",
    dict: "object",
}


def parse_filters(encoded: str | None) -> tuple[str, Predicate | None]:
    """(order, whether a document is shown; None: all are). Newest first where nothing is said."""
    if not encoded:
        return "desc", None
    try:
        decoded = base64.b64decode(encoded, validate=True)
        if len(decoded) > DASHBOARD_FILTER_BYTES_MAX:  # each row of a page is compared with each value of it
            raise ValueError(f"they have more than {DASHBOARD_FILTER_BYTES_MAX} bytes")
        tree = orjson.loads(decoded)
    except (binascii.Error, ValueError) as failure:
        raise _bad_filters(str(failure)) from None
    clauses = tree.get("clauses", []) if isinstance(tree, dict) else None
    if not isinstance(clauses, list) or not all(isinstance(clause, dict) for clause in clauses):
        raise _bad_filters("`clauses` is a list of objects")
    if tree.get("index"):
        raise not_supported_yet("Filtering a table of the dashboard by an index")
    parsed = [_parse_clause(clause) for clause in clauses if clause.get("enabled", True)]
    order = "asc" if tree.get("order") == "asc" else "desc"
    return order, (lambda document: all(holds(document) for holds in parsed)) if parsed else None


def _parse_clause(clause: dict[str, Any]) -> Predicate:
    operator, path = clause.get("op"), tuple(str(clause.get("field", "")).split("."))
    if operator in ("type", "notype"):
        wanted, is_wanted = clause.get("value"), operator == "type"
        return lambda document: _has_type(field_at(document, path), wanted) is is_wanted
    if operator in ("anyOf", "noneOf"):
        listed = clause.get("value")
        if not isinstance(listed, list):
            raise _bad_filters(f"the value of {operator} is a list")
        operands, is_any = [values.decode_operand(each) for each in listed], operator == "anyOf"
        return lambda document: _is_among(field_at(document, path), operands) is is_any
    accepts = COMPARISONS.get(f"${operator}")
    if accepts is None:
        raise _bad_filters(f"{operator!r} is no operator")
    operand = values.decode_operand(clause["value"]) if "value" in clause else UNDEFINED
    return lambda document: accepts(compare(field_at(document, path), operand))


def _is_among(value: Operand, operands: list[Operand]) -> bool:
    return any(compare(value, each) == 0 for each in operands)


def _has_type(value: Operand, wanted: Any) -> bool:
    """An id is a string too."""
    if wanted == "id":
        return isinstance(value, str) and _is_id(value)
    return ("unset" if value is UNDEFINED else _TYPES.get(type(value))) == wanted


def _is_id(text: str) -> bool:
    try:
        decode_id(text)
    except InvalidId:
        return False
    return True


def _bad_filters(fault: str) -> Exception:
    return bad_request("InvalidArgument", f"The filters cannot be read: {fault}.")
