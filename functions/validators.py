"""Validators of arguments, results and documents: the door to the files beside this one.

`validator_kinds` says what is accepted and how faults read, `validator_json` reads the exported form,
`validator_subset` compares two validators. Here is what only function calls need: the arity rules.
"""

from __future__ import annotations

from collections.abc import Sequence

from functions.validator_json import parse_args_validator, parse_returns_validator, parse_validator
from functions.validator_kinds import (
    AnyValue,
    Array,
    Field,
    Id,
    Literal,
    Object,
    Record,
    Scalar,
    TableNames,
    Union,
    Validator,
)
from functions.validator_subset import is_subset
from log.values import Value, display

__all__ = [
    "AnyValue",
    "Array",
    "Field",
    "Id",
    "Literal",
    "Object",
    "Record",
    "Scalar",
    "TableNames",
    "Union",
    "Validator",
    "args_error",
    "is_subset",
    "parse_args_validator",
    "parse_returns_validator",
    "parse_validator",
]


def args_error(validator: Validator, args: Sequence[Value], tables: TableNames) -> str | None:
    """Why a call's positional arguments are refused, or None (spec 03 3.8).

    Without "ArgumentValidationError: ", which only top-level calls put before it. `v.any()` means that the
    function declared nothing: then any number of arguments is accepted.
    """
    if isinstance(validator, AnyValue):
        return None
    if len(args) != 1:
        return (
            "Expected to receive a single object as the function's argument. "
            f"Instead received {len(args)} arguments: {display(list(args))}"
        )
    if type(args[0]) is not dict:
        return (
            f"Expected to receive an object as the function's argument. Instead received: {display(args[0])}"
        )
    return validator.check(args[0], tables)
