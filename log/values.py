"""Convex values: bytes in and out, sizes, limits. The door to everything about a single value.

A document is canonicalised once, here, and the same bytes then go to log, views, caches and frames
(design D9). Promises:
  - `dumps` is canonical: equal values give equal bytes, and `dumps(loads(b)) == b` for every `b` it made;
  - whatever `decode`, `decode_sized` or `loads` returned obeys every rule of spec 01 3.1 to 3.3;
  - values are never changed after they were made, so results may share parts with the arguments.

The parts: `value_types` (what is a value, order), `value_json` (trees), `value_forms` (lossy output).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from log.errors import invalid_document, invalid_value, size_text, value_too_large, value_too_nested
from log.limits import (
    DOCUMENT_BYTES_MAX,
    DOCUMENT_NESTING_MAX,
    VALUE_BYTES_MAX,
    VALUE_NESTING_MAX,
)
from log.value_forms import display, to_clean_json, to_export_json_bytes
from log.value_json import check_field_name, decode_sized, encode, utf8_length
from log.value_types import (
    COMMIT_TS,
    INT64_MAX,
    INT64_MIN,
    UNDEFINED,
    CommitTs,
    Operand,
    Undefined,
    Value,
    compare,
    same,
    type_name,
)

__all__ = [
    "COMMIT_TS",
    "INT64_MAX",
    "INT64_MIN",
    "SYSTEM_FIELDS",
    "UNDEFINED",
    "CommitTs",
    "Operand",
    "Undefined",
    "Value",
    "check_document",
    "check_field_name",
    "check_value",
    "compare",
    "decode",
    "decode_operand",
    "decode_patch",
    "decode_sized",
    "display",
    "dumps",
    "encode",
    "loads",
    "loads_canonical",
    "nesting_of",
    "same",
    "size_of",
    "size_text",
    "to_clean_json",
    "to_export_json_bytes",
    "type_name",
]

SYSTEM_FIELDS: Final = ("_id", "_creationTime")


def decode(tree: Any, *, may_hold_commit_ts: bool = False) -> Value:
    """The value of an `orjson.loads` tree; BackendError BAD_REQUEST when it is none (spec 01 3.2, 3.3)."""
    return decode_sized(tree, may_hold_commit_ts=may_hold_commit_ts)[0]


def decode_patch(tree: Any) -> dict[str, Operand]:
    """An object whose top-level fields may be `{"$undefined": null}`: remove this field (spec 03 2.4).

    A patch is part of a mutation, so it may hold COMMIT_TS.
    """
    if type(tree) is not dict:
        raise invalid_value("Value must be an Object")
    removed = {name: UNDEFINED for name, item in tree.items() if _is_undefined(item)}
    for name in removed:
        check_field_name(name)
    rest = {name: item for name, item in tree.items() if name not in removed} if removed else tree
    kept = decode(rest, may_hold_commit_ts=True)
    if type(kept) is not dict:  # the tree was one tagged scalar
        raise invalid_value("Value must be an Object")
    return {**kept, **removed} if removed else kept


def decode_operand(tree: Any) -> Operand:
    """A value, UNDEFINED or COMMIT_TS: for filters and index ranges only (spec 03 2.2)."""
    return UNDEFINED if _is_undefined(tree) else decode(tree, may_hold_commit_ts=True)


def loads(data: bytes | str, *, may_hold_commit_ts: bool = False) -> Value:
    """The value of a JSON text from outside, every rule checked."""
    try:
        tree = orjson.loads(data)
    except orjson.JSONDecodeError as failure:
        raise invalid_value(f"Invalid JSON: {failure}") from None
    return decode(tree, may_hold_commit_ts=may_hold_commit_ts)


def loads_canonical(data: bytes) -> Value:
    """The value of bytes that `dumps` made, trusted: from the log, a view or a cache. Several times faster.

    Canonical floats always carry a point or an exponent, so orjson gives floats; and a tag always shows
    as `"$` in the text (a string may too, which costs only time).
    """
    tree = orjson.loads(data)
    return decode(tree, may_hold_commit_ts=True) if b'"$' in data else tree


def dumps(value: Value) -> bytes:
    """Canonical JSON: no whitespace, fields in byte order, shortest floats, tags of spec 01 3.2."""
    try:
        return orjson.dumps(encode(value), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as failure:
        raise invalid_value(f"not a Convex value: {failure}") from None


def size_of(value: Value) -> int:
    """Bytes as every limit counts them (spec 01 3.4), the client's `getConvexSize`."""
    kind = type(value)
    if kind is dict:
        return _object_size(value)  # type: ignore[arg-type]
    if kind is str:
        return 2 + utf8_length(value)  # type: ignore[arg-type]
    if kind is float or kind is int:
        return 9
    if kind is bool or value is None:
        return 1
    if kind is list:
        return 2 + sum(map(size_of, value))  # type: ignore[arg-type]
    if kind is bytes:
        return 2 + len(value)  # type: ignore[arg-type]
    if value is COMMIT_TS:
        return 9
    raise TypeError(f"not a Convex value: {value!r}")


def _object_size(value: dict[str, Any]) -> int:
    size = 2 + len(value) + utf8_length("".join(value))
    for item in value.values():
        kind = type(item)
        if kind is str:
            size += 2 + (len(item) if item.isascii() else utf8_length(item))
        elif kind is float:
            size += 9
        else:
            size += size_of(item)
    return size


def nesting_of(value: Value) -> int:
    """Scalars 0, arrays and objects 1 + their deepest child (spec 01 3.3)."""
    if type(value) is dict:
        items: Iterable[Any] = value.values()
    elif type(value) is list:
        items = value
    else:
        return 0
    inner = [nesting_of(item) for item in items if type(item) is dict or type(item) is list]
    return 1 + max(inner, default=0)


def check_value(value: Value, size_max: int = VALUE_BYTES_MAX, nesting_max: int = VALUE_NESTING_MAX) -> None:
    """Refuse what is no value or too big: for values made in Python, decoded ones were checked already."""
    _, size, nesting = decode_sized(encode(value), may_hold_commit_ts=True)
    if nesting > nesting_max:
        raise value_too_nested(nesting, nesting_max)
    if size > size_max:
        raise value_too_large(size, size_max)


def check_document(document: dict[str, Any], size: int | None = None, nesting: int | None = None) -> None:
    """Refuse a value, already checked as one, that cannot be a document (spec 01 3.3, spec 04 4.8).

    The document must carry its system fields: they count. `size` and `nesting` are taken as known if given.
    """
    size = size_of(document) if size is None else size
    if size > DOCUMENT_BYTES_MAX:
        raise value_too_large(size, DOCUMENT_BYTES_MAX)
    reason = _document_fault(document, nesting_of(document) if nesting is None else nesting)
    if reason is not None:
        raise invalid_document(display(document), reason)


def _document_fault(document: dict[str, Any], nesting: int) -> str | None:
    if nesting > DOCUMENT_NESTING_MAX:
        return (
            f"Document is too nested (nested {nesting} levels deep > maximum nesting {DOCUMENT_NESTING_MAX})"
        )
    for name in document:
        if name.startswith("_") and name not in SYSTEM_FIELDS:
            return (
                f"Field '{name}' starts with an underscore, "
                "which is only allowed for system fields like '_id'"
            )
    return None


def _is_undefined(tree: Any) -> bool:
    return type(tree) is dict and len(tree) == 1 and "$undefined" in tree and tree["$undefined"] is None
