"""The filter expressions of `.filter(q => ...)`: parsed once, evaluated per document (spec 03 2.2).

Comparisons use the total order of all values, so mixed types never fail; arithmetic and boolean operators
need their own types and say so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from functions.errors import evaluation_error, invalid_argument
from log import values
from log.keys import field_at
from log.values import INT64_MAX, INT64_MIN, Operand

Expression = Callable[[dict[str, Any]], Operand]

COMPARISONS: dict[str, Callable[[int], bool]] = {
    "$eq": lambda order: order == 0,
    "$neq": lambda order: order != 0,
    "$lt": lambda order: order < 0,
    "$lte": lambda order: order <= 0,
    "$gt": lambda order: order > 0,
    "$gte": lambda order: order >= 0,
}
"""Whether a comparison holds, by how its left side compares with its right one."""
_ARITHMETIC = {"$add": "add", "$sub": "subtract", "$mul": "multiply", "$div": "divide", "$mod": "mod"}


def parse_filter(tree: Any) -> Callable[[dict[str, Any]], bool]:
    """Compile a serialized expression to a predicate on documents."""
    expression = _parse(tree)
    return lambda document: _boolean(expression(document))


def _parse(tree: Any) -> Expression:
    if not isinstance(tree, dict) or len(tree) != 1:
        raise invalid_argument("query", "queryStream", "a filter expression has exactly one operator")
    ((operator, operand),) = tree.items()
    if operator == "$field":
        path = tuple(str(operand).split("."))
        return lambda document: field_at(document, path)
    if operator == "$literal":
        literal = values.decode_operand(operand)
        return lambda document: literal
    if operator in ("$not", "$neg"):
        inner = _parse(operand)
        if operator == "$not":
            return lambda document: not _boolean(inner(document))
        return lambda document: _negate(inner(document))
    if operator in ("$and", "$or") and isinstance(operand, list):
        return _parse_junction(operator, [_parse(part) for part in operand])
    if not isinstance(operand, list) or len(operand) != 2:
        raise invalid_argument("query", "queryStream", f"{operator} takes two expressions")
    return _parse_binary(operator, _parse(operand[0]), _parse(operand[1]))


def _parse_junction(operator: str, parts: list[Expression]) -> Expression:
    if operator == "$and":
        return lambda document: all(_boolean(part(document)) for part in parts)
    return lambda document: any(_boolean(part(document)) for part in parts)


def _parse_binary(operator: str, left: Expression, right: Expression) -> Expression:
    holds = COMPARISONS.get(operator)
    if holds is not None:
        return lambda document: holds(values.compare(left(document), right(document)))
    verb = _ARITHMETIC.get(operator)
    if verb is not None:
        return lambda document: _calculate(verb, left(document), right(document))
    raise invalid_argument("query", "queryStream", f"unknown operator {operator}")


def _boolean(value: Operand) -> bool:
    if isinstance(value, bool):
        return value
    raise evaluation_error(f"Cannot use value {_shown(value)} as a Boolean")


def _negate(value: Operand) -> Operand:
    if type(value) is float:
        return -value
    if type(value) is int and value != INT64_MIN:
        return -value
    raise evaluation_error(f"Cannot negate {_shown(value)}")


def _calculate(verb: str, left: Operand, right: Operand) -> Operand:
    if type(left) is int and type(right) is int:
        return _integers(verb, left, right)
    if type(left) is float and type(right) is float:
        return _floats(verb, left, right)
    raise evaluation_error(f"Cannot {verb} {_shown(left)} and {_shown(right)}")


def _integers(verb: str, left: int, right: int) -> int:
    if verb in ("divide", "mod"):
        if right == 0:
            raise evaluation_error(f"Cannot {verb} {values.display(left)} by zero")
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        result = quotient if verb == "divide" else left - quotient * right
    else:
        result = {"add": left + right, "subtract": left - right, "multiply": left * right}[verb]
    if not INT64_MIN <= result <= INT64_MAX:
        raise evaluation_error(
            f"Cannot {verb} {values.display(left)} and {values.display(right)}: "
            "the result is out of range for Int64"
        )
    return result


def _floats(verb: str, left: float, right: float) -> float:
    if verb == "divide":
        return left / right if right else _over_zero(left, right)
    if verb == "mod":
        return math.fmod(left, right) if right and math.isfinite(left) else math.nan
    return {"add": left + right, "subtract": left - right, "multiply": left * right}[verb]


def _over_zero(left: float, right: float) -> float:
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def _shown(value: Operand) -> str:
    return f"{values.display(value)} (type {values.type_name(value)})"
