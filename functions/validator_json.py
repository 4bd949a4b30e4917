"""Reads validators from the JSON that the npm package exports (spec 03 3.8, spec 04 4.6).

Refusals are BackendErrors: InvalidRecordType and UnsupportedFloatLiteral where the specification names them,
InvalidSchema for everything else. Inside nested objects the text names the way to the fault.
"""

from __future__ import annotations

import math
from typing import Any

from functions.validator_kinds import (
    AnyValue,
    Array,
    Field,
    Id,
    Literal,
    Object,
    Record,
    Scalar,
    Union,
    Validator,
)
from log.errors import BackendError, ErrorKind, bad_request, invalid_schema
from log.ids import is_identifier
from log.limits import VALUE_NESTING_MAX
from log.values import decode

_ANY_ALIASES = frozenset({"any", "map", "set"})


def parse_validator(tree: Any) -> Validator:
    """The validator a JSON tree describes."""
    return _parse(tree, 0)


def parse_args_validator(tree: Any) -> Validator:
    """An exported args validator: an object or any; null means that nothing was declared."""
    validator = AnyValue() if tree is None else parse_validator(tree)
    if not isinstance(validator, Object | AnyValue):
        raise bad_request("InvalidArgsValidator", "Args validator must be an object or any")
    return validator


def parse_returns_validator(tree: Any) -> Validator:
    """An exported returns validator; null means that nothing was declared."""
    return AnyValue() if tree is None else parse_validator(tree)


def _parse(tree: Any, depth: int) -> Validator:
    kind = _member(tree, "type", str)
    if depth > VALUE_NESTING_MAX:
        raise invalid_schema(f"Validators may be nested at most {VALUE_NESTING_MAX} levels deep")
    if kind in _ANY_ALIASES:
        return AnyValue()
    if kind in Scalar.PYTHON_TYPES:
        return Scalar(kind)
    match kind:
        case "literal":
            return _parse_literal(tree)
        case "id":
            return Id(_member(tree, "tableName", str))
        case "array":
            return Array(_parse(_member(tree, "value", dict), depth + 1))
        case "record":
            return _parse_record(tree, depth)
        case "object":
            return _parse_object(_member(tree, "value", dict), depth)
        case "union":
            return Union(tuple(_parse(member, depth + 1) for member in _member(tree, "value", list)))
    raise invalid_schema(f"Unknown validator type: {kind}")


def _parse_literal(tree: dict[str, Any]) -> Literal:
    value = decode(tree.get("value"))
    if isinstance(value, float) and not math.isfinite(value):
        raise bad_request("UnsupportedFloatLiteral", f"A literal number must be finite, received {value}")
    if not isinstance(value, str | bool | int | float):
        raise invalid_schema("A literal must be a string, number, bigint or boolean")
    return Literal(value)


def _parse_record(tree: dict[str, Any], depth: int) -> Record:
    keys = _parse(_member(tree, "keys", dict), depth + 1)
    values = _member(tree, "values", dict)
    if values.get("optional"):
        raise _invalid_record("Records cannot have optional values")
    _check_record_keys(keys)
    return Record(keys, _parse(_member(values, "fieldType", dict), depth + 1))


def _check_record_keys(keys: Validator) -> None:
    """String, id, or a union of those: a record says nothing about single names."""
    match keys:
        case Scalar("string") | Id():
            return
        case Union(members):
            for member in members:
                _check_record_keys(member)
        case Literal(value) if isinstance(value, str):
            raise _invalid_record("Records cannot have string literal keys")
        case _:
            raise _invalid_record(f"Records can only have string keys. Received {keys.text}.")


def _invalid_record(message: str) -> BackendError:
    return bad_request("InvalidRecordType", message)


def _parse_object(members: dict[str, Any], depth: int) -> Object:
    return Object(tuple(_parse_field(name, members[name], depth) for name in sorted(members)))


def _parse_field(name: str, tree: Any, depth: int) -> Field:
    if not is_identifier(name):
        raise invalid_schema(
            f"Invalid field name `{name}`: field names in validators start with a letter or underscore and "
            "contain only letters, digits and underscores"
        )
    try:
        validator = _parse(_member(tree, "fieldType", dict), depth + 1)
    except BackendError as failure:
        text = f"Invalid validator for key `{name}`: {failure.message}"
        raise BackendError(ErrorKind.BAD_REQUEST, failure.code, text) from None
    return Field(name, validator, bool(tree.get("optional", False)))


def _member(tree: Any, name: str, kind: type) -> Any:
    """The member of a JSON object that must be there and of this type."""
    if type(tree) is not dict:
        raise invalid_schema("A validator must be a JSON object")
    if type(tree.get(name)) is not kind:
        raise invalid_schema(f"A validator is missing its `{name}`, or it has the wrong type")
    return tree[name]
