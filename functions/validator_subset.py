"""Whether one validator accepts everything another accepts (spec 04 4.6).

Decides whether a push may skip scanning a table. "No" only costs a scan, so it may be wrong; "yes" lets
documents go unchecked, so it may not: every rule below must be provable from `matches` alone.
"""

from __future__ import annotations

from functions.validator_kinds import AnyValue, Array, Id, Literal, Object, Record, Scalar, Union, Validator

_BOOLEAN = Scalar("boolean")
_BOTH_BOOLEANS = (Literal(True), Literal(False))


def is_subset(narrow: Validator, wide: Validator) -> bool:
    """True only if every value `narrow` accepts is accepted by `wide`, whatever the tables are."""
    if narrow == wide or isinstance(wide, AnyValue):
        return True
    if isinstance(narrow, Union):
        return all(is_subset(member, wide) for member in narrow.members)
    if isinstance(wide, Union):
        return _is_subset_of_union(narrow, wide)
    match narrow, wide:
        case Scalar(), Scalar():
            return narrow.python_type is wide.python_type  # bigint and commitTs accept the same
        case Literal(value), Scalar():
            return type(value) is wide.python_type
        case Id(), Scalar("string"):
            return True
        case Array(item), Array(wide_item):
            return is_subset(item, wide_item)
        case Record(keys, values), Record(wide_keys, wide_values):
            return is_subset(keys, wide_keys) and is_subset(values, wide_values)
        case Object(), Object():
            return _is_object_subset(narrow, wide)
    return False


def _is_subset_of_union(narrow: Validator, wide: Union) -> bool:
    if any(is_subset(narrow, member) for member in wide.members):
        return True
    return narrow == _BOOLEAN and all(is_subset(literal, wide) for literal in _BOTH_BOOLEANS)


def _is_object_subset(narrow: Object, wide: Object) -> bool:
    """Objects are closed: every field must be known there; what is required there must be so here."""
    for field in narrow.fields:
        target = wide.by_name.get(field.name)
        if target is None or not is_subset(field.validator, target.validator):
            return False
        if field.is_optional and not target.is_optional:
            return False
    return all(field.is_optional or field.name in narrow.by_name for field in wide.fields)
