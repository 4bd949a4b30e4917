"""The JSON trees that carry values between clients, JavaScript, the log and us (spec 01 3.2).

`decode_sized` is the door: one walk over an `orjson.loads` tree converts, checks every rule of a value
(tags, field names, lengths, nesting, size) and measures. Behind it nobody checks again. `encode` is its
inverse. Trees and values are shared, not copied, where they are equal: neither may be changed afterwards.

Where a limit is broken inside a value, the innermost array or object that breaks it is reported, as if
values were built from the leaves up.
"""

from __future__ import annotations

import binascii
import struct
from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

from log.errors import (
    BackendError,
    array_too_long,
    invalid_value,
    too_many_fields,
    value_too_large,
    value_too_nested,
)
from log.limits import (
    ARRAY_ITEMS_MAX,
    FIELD_NAME_BYTES_MAX,
    OBJECT_FIELDS_MAX,
    VALUE_BYTES_MAX,
    VALUE_NESTING_MAX,
)
from log.value_types import COMMIT_TS, INT64_MAX, INT64_MIN, Value, is_ordinary_float

_INT64: Final = struct.Struct("<q")
_FLOAT64: Final = struct.Struct("<d")

Sized = tuple[Value, int, int]
"""A value, its size in bytes (spec 01 3.4) and its nesting (scalars 0, containers 1 + deepest child)."""

_Tags = dict[str, Callable[[Any], Sized]]


def decode_sized(tree: Any, *, may_hold_commit_ts: bool = False) -> Sized:
    """The value a JSON tree stands for, with its size and nesting; a BackendError if it stands for none.

    The placeholder of the coming commit's ts is a value only where a mutation speaks (spec 03 2.9);
    elsewhere it is an unknown `$` field.
    """
    sized = _decode(tree, 1, _TAGS_OF_MUTATIONS if may_hold_commit_ts else _TAGS)
    if sized[1] > VALUE_BYTES_MAX:
        raise value_too_large(sized[1], VALUE_BYTES_MAX)
    return sized


def encode(value: Value) -> Any:
    """The JSON tree of a value. Shares everything JSON can say as it is; field order is kept."""
    kind = type(value)
    if kind is dict:
        return _encode_object(value)  # type: ignore[arg-type]
    if kind is list:
        return _encode_array(value)  # type: ignore[arg-type]
    if kind is float:
        return value if is_ordinary_float(value) else _tag("$float", _FLOAT64.pack(value))  # type: ignore[arg-type]
    if kind is int:
        return _encode_int64(value)  # type: ignore[arg-type]
    if kind is bytes:
        return _tag("$bytes", value)  # type: ignore[arg-type]
    if kind is str or kind is bool or value is None:
        return value
    if value is COMMIT_TS:
        return {"$commitTs": None}
    raise TypeError(f"not a Convex value: {value!r}")


def check_field_name(name: str) -> None:
    """Printable ASCII not starting with `$`, at most 1024 bytes; the empty name is allowed (spec 01 3.3)."""
    if name.startswith("$"):
        raise invalid_value(f"Field name {name} starts with '$', which is reserved.")
    if not (name.isascii() and name.isprintable()):
        culprit = next(char for char in name if not " " <= char <= "~")
        raise invalid_value(
            f"Field name {name} has invalid character {culprit!r}: "
            "Field names can only contain non-control ASCII characters"
        )
    if len(name) > FIELD_NAME_BYTES_MAX:
        raise invalid_value(f"Field name {name} is too long ({len(name)} > maximum {FIELD_NAME_BYTES_MAX})")


def utf8_length(text: str) -> int:
    """Bytes of `text` in UTF-8. A lone surrogate has none and makes the text no value (spec 01 3.1)."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise invalid_value("Strings must be valid Unicode: lone surrogates are not allowed") from None


def _decode(tree: Any, depth: int, tags: _Tags) -> Sized:
    """`depth` is the nesting this tree has from the outside if it is a container."""
    kind = type(tree)
    if kind is dict:
        return _decode_object(tree, depth, tags)
    if kind is list:
        return _decode_array(tree, depth, tags)
    if kind is str:
        return tree, 2 + utf8_length(tree), 0
    if kind is float:
        return tree, 9, 0
    if kind is int:
        return float(tree), 9, 0  # JSON knows one kind of number and it is Float64
    if kind is bool or tree is None:
        return tree, 1, 0
    raise TypeError(f"not a JSON tree: {tree!r}")


def _decode_object(tree: dict[str, Any], depth: int, tags: _Tags) -> Sized:
    """Scalars are handled in the loop: most values are flat objects and a call per field would double it."""
    if len(tree) == 1:
        ((name, item),) = tree.items()
        if name in tags:
            return tags[name](item)
    _check_container(len(tree), depth, too_many_fields, OBJECT_FIELDS_MAX)
    size, nesting, value = 2 + _names_size(tree), 0, tree
    for name, item in tree.items():
        kind = type(item)
        if kind is str:
            size += 2 + (len(item) if item.isascii() else utf8_length(item))
        elif kind is float:
            size += 9
        elif kind is bool or item is None:
            size += 1
        else:
            decoded, item_size, item_nesting = _decode(item, depth + 1, tags)
            size += item_size
            if item_nesting > nesting:
                nesting = item_nesting
            if decoded is not item:
                if value is tree:
                    value = dict(tree)
                value[name] = decoded
    if size > VALUE_BYTES_MAX:
        raise value_too_large(size, VALUE_BYTES_MAX)
    return value, size, nesting + 1


def _decode_array(tree: list[Any], depth: int, tags: _Tags) -> Sized:
    _check_container(len(tree), depth, array_too_long, ARRAY_ITEMS_MAX)
    size, nesting, value = 2, 0, tree
    for position, item in enumerate(tree):
        if type(item) is float:
            size += 9
            continue
        decoded, item_size, item_nesting = _decode(item, depth + 1, tags)
        size += item_size
        if item_nesting > nesting:
            nesting = item_nesting
        if decoded is not item:
            if value is tree:
                value = list(tree)
            value[position] = decoded
    if size > VALUE_BYTES_MAX:
        raise value_too_large(size, VALUE_BYTES_MAX)
    return value, size, nesting + 1


def _check_container(
    length: int, depth: int, too_long: Callable[[int, int], BackendError], length_max: int
) -> None:
    if depth > VALUE_NESTING_MAX:
        raise value_too_nested(depth, VALUE_NESTING_MAX)
    if length > length_max:
        raise too_long(length, length_max)


def _names_size(tree: dict[str, Any]) -> int:
    """Bytes of all field names and their terminators. Names are checked one by one only when in doubt."""
    names = "".join(tree)
    if not (names.isascii() and names.isprintable()) or "$" in names or len(names) > FIELD_NAME_BYTES_MAX:
        for name in tree:
            check_field_name(name)
    return len(names) + len(tree)


def _decode_int64(item: Any) -> Sized:
    return _INT64.unpack(_eight_bytes("$integer", item))[0], 9, 0


def _decode_float64(item: Any) -> Sized:
    number: float = _FLOAT64.unpack(_eight_bytes("$float", item))[0]
    if is_ordinary_float(number) and number != 0.0:
        raise invalid_value(f"Float64 {number} should be encoded as a JSON number, not as $float")
    return number, 9, 0


def _decode_bytes(item: Any) -> Sized:
    content = _from_base64("$bytes", item)
    return content, 2 + len(content), 0


def _decode_commit_ts(item: Any) -> Sized:
    if item is not None:
        raise invalid_value("$commitTs must hold null")
    return COMMIT_TS, 9, 0


_TAGS: Final[_Tags] = {
    "$integer": _decode_int64,
    "$float": _decode_float64,
    "$bytes": _decode_bytes,
}
_TAGS_OF_MUTATIONS: Final[_Tags] = {**_TAGS, "$commitTs": _decode_commit_ts}


def _eight_bytes(tag: str, item: Any) -> bytes:
    content = _from_base64(tag, item)
    if len(content) != 8:
        raise invalid_value(f"{tag} must hold 8 bytes, received {len(content)}")
    return content


def _from_base64(tag: str, item: Any) -> bytes:
    """Strict: standard alphabet, padding, no unused bits, so that a value has one JSON text only."""
    if type(item) is not str:
        raise invalid_value(f"{tag} must hold a base64 string")
    try:
        content = binascii.a2b_base64(item, strict_mode=True)
    except ValueError:
        raise invalid_value(f"{tag} does not hold valid base64: {item[:100]}") from None
    if b64encode(content).decode() != item:
        raise invalid_value(f"{tag} does not hold canonical base64: {item[:100]}")
    return content


def _tag(tag: str, content: bytes) -> dict[str, str]:
    return {tag: b64encode(content).decode()}


def _encode_int64(number: int) -> dict[str, str]:
    if not INT64_MIN <= number <= INT64_MAX:
        raise invalid_value(f"Integer {number} does not fit into an Int64")
    return _tag("$integer", _INT64.pack(number))


def _encode_object(value: dict[str, Any]) -> dict[str, Any]:
    tree = value
    for name, item in value.items():
        if type(item) is str:
            continue
        encoded = encode(item)
        if encoded is not item:
            if tree is value:
                tree = dict(value)
            tree[name] = encoded
    return tree


def _encode_array(value: list[Any]) -> list[Any]:
    tree = value
    for position, item in enumerate(value):
        encoded = encode(item)
        if encoded is not item:
            if tree is value:
                tree = list(value)
            tree[position] = encoded
    return tree
