"""Order-preserving bytes: `encode_item(a) < encode_item(b)` exactly when `compare(a, b) < 0` (spec 04 4.2).

An index key is the concatenation of one self-delimiting item per field and the document's id, so bytes
compare like tuples of values. The same bytes stand in the log, in views, read sets and subscriptions.

Promises:
  - one encoding per value: `encode_items(decode_items(key)) == key`, anything else is refused;
  - no item starts with FF, so `prefix + PREFIX_END` is above every key that continues `prefix` with another
    item and below everything else. Incrementing the last byte instead would swallow strings that continue
    with NUL: "a" is 10 61 00 and "a\\0" is 10 61 00 FF 00 (spec 04 4.3).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any, Final

from log.limits import VALUE_NESTING_MAX
from log.value_types import COMMIT_TS, INT64_MAX, UNDEFINED, CommitTs, Operand, Undefined

PREFIX_END: Final = b"\xff"

_UNDEFINED, _NULL, _INT64_ZERO, _FLOAT64 = 0x01, 0x03, 0x08, 0x0D
_FALSE, _TRUE, _STRING, _BYTES, _ARRAY, _OBJECT = 0x0E, 0x0F, 0x10, 0x11, 0x12, 0x15
_END: Final = b"\x00"  # below every tag: a shorter container comes first
_ESCAPED_NUL: Final = b"\x00\xff"  # above `_END` followed by any tag

_TAGGED_FLOAT64: Final = struct.Struct(">Bd")
_FLOAT64_BE: Final = struct.Struct(">d")
_INT64_WIDTHS: Final = (0, 1, 2, 4, 8)  # bytes by distance of the tag from that of zero


def encode_items(values: Iterable[Operand]) -> bytes:
    """The key of a tuple of values."""
    return b"".join(map(encode_item, values))


def encode_item(value: Operand) -> bytes:
    """The bytes of one value, or of a missing field."""
    kind = type(value)
    if kind is str:
        return b"\x10" + value.encode().replace(b"\x00", b"\x00\xff") + b"\x00"  # type: ignore[union-attr]
    if kind is float:
        return _encode_float64(value)  # type: ignore[arg-type]
    if value is None:
        return b"\x03"
    return _ENCODERS[kind](value)


def index_key(fields: tuple[tuple[str, ...], ...], document: dict[str, Any], document_id: str) -> bytes:
    """The key of `document` in an index over `fields` (dotted paths, split); the id makes it unique."""
    items = [
        encode_item(document.get(path[0], UNDEFINED) if len(path) == 1 else field_at(document, path))
        for path in fields
    ]
    items.append(encode_item(document_id))
    return b"".join(items)


def string_prefix(prefix: str) -> tuple[bytes, bytes]:
    """Start and end of all keys whose first item is a string that begins with `prefix`."""
    start = encode_item(prefix)[: -len(_END)]
    return start, start + PREFIX_END


def commit_ts_offsets(fields: tuple[tuple[str, ...], ...], document: Any) -> tuple[int, ...]:
    """Where the digits of each COMMIT_TS stand in the `index_key` of `document`: eight bytes from there."""
    offsets: list[int] = []
    position = 0
    for path in fields:
        item = field_at(document, path)
        offsets.extend(_commit_ts_offsets(item, position))
        position += len(encode_item(item))
    return tuple(offsets)


def field_at(document: Any, path: tuple[str, ...]) -> Operand:
    """The value at a path of object fields; UNDEFINED if it is missing or leads through a non-object."""
    value = document
    for name in path:
        if type(value) is not dict or name not in value:
            return UNDEFINED
        value = value[name]
    result: Operand = value
    return result


def decode_items(data: bytes) -> list[Operand]:
    """The values of a key. ValueError unless it is exactly what `encode_items` makes of them."""
    values: list[Operand] = []
    position = 0
    while position < len(data):
        value, position = _decode_item(data, position, 0)
        values.append(value)
    return values


# --- encoding ---------------------------------------------------------------------------------------


def _encode_float64(number: float) -> bytes:
    """IEEE total order as unsigned bytes: set the sign bit of a positive, flip all bits of a negative."""
    packed = _TAGGED_FLOAT64.pack(
        _FLOAT64, -number
    )  # negation flips the sign bit alone, also of zero and NaN
    if packed[1] & 0x80:
        return packed
    bits = int.from_bytes(packed[1:]) | 1 << 63  # the bits of the negative number itself
    return b"\x0d" + (bits ^ 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8)


def _encode_int64(number: int) -> bytes:
    """Tag 8 minus or plus a width class, two's complement: long negatives first, long positives last."""
    if number == 0:
        return b"\x08"
    for distance in (1, 2, 3, 4):
        width = _INT64_WIDTHS[distance]
        limit = 1 << (8 * width - 1)
        if -limit <= number < limit:
            tag = _INT64_ZERO + distance if number > 0 else _INT64_ZERO - distance
            return bytes((tag,)) + number.to_bytes(width, signed=True)
    raise OverflowError(f"{number} is no Int64")


def _encode_bytes(content: bytes) -> bytes:
    return b"\x11" + content.replace(_END, _ESCAPED_NUL) + _END


def _encode_array(items: list[Any]) -> bytes:
    return b"\x12" + b"".join(map(encode_item, items)) + _END


def _encode_object(value: dict[str, Any]) -> bytes:
    fields = (_encode_name(name) + encode_item(value[name]) for name in sorted(value))
    return b"\x15" + b"".join(fields) + _END


def _encode_name(name: str) -> bytes:
    """Names hold no NUL. The empty one is marked by FF, else it would read as the end of the object."""
    return name.encode() + _END if name else _ESCAPED_NUL


_ENCODERS: Final[dict[type, Any]] = {
    Undefined: lambda _: b"\x01",
    int: _encode_int64,
    bool: lambda value: b"\x0f" if value else b"\x0e",
    bytes: _encode_bytes,
    list: _encode_array,
    dict: _encode_object,
    CommitTs: lambda _: _encode_int64(INT64_MAX),
}


def _commit_ts_offsets(item: Any, position: int) -> Iterator[int]:
    """`position` is where the item itself begins; every kind of item begins with a tag of one byte."""
    if item is COMMIT_TS:
        yield position + 1
    elif type(item) is list:
        for part in item:
            yield from _commit_ts_offsets(part, position + 1)
            position += len(encode_item(part))
    elif type(item) is dict:
        for name in sorted(item):
            position += len(_encode_name(name))
            yield from _commit_ts_offsets(item[name], position + 1)
            position += len(encode_item(item[name]))


# --- decoding ---------------------------------------------------------------------------------------


def _decode_item(data: bytes, position: int, depth: int) -> tuple[Any, int]:
    """The item at `position` and the position behind it; UNDEFINED only outside of containers."""
    if position >= len(data):
        raise _malformed("ends within an item", position)
    if depth > VALUE_NESTING_MAX:
        raise _malformed("is nested too deep", position)
    tag, start = data[position], position + 1
    if tag in (_STRING, _BYTES):
        content, end = _decode_escaped(data, start)
        return (_text(content, start) if tag == _STRING else content), end
    if tag == _FLOAT64:
        return _decode_float64(_take(data, start, 8)), start + 8
    if abs(tag - _INT64_ZERO) <= 4:
        return _decode_int64(data, tag, start)
    if tag == _ARRAY:
        return _decode_array(data, start, depth)
    if tag == _OBJECT:
        return _decode_object(data, start, depth)
    if tag in _CONSTANTS and not (tag == _UNDEFINED and depth):
        return _CONSTANTS[tag], start
    raise _malformed(f"holds an unknown tag {tag:02X}", position)


_CONSTANTS: Final = {_UNDEFINED: UNDEFINED, _NULL: None, _FALSE: False, _TRUE: True}


def _decode_float64(packed: bytes) -> float:
    bits = int.from_bytes(packed)
    bits ^= 1 << 63 if bits >> 63 else 0xFFFF_FFFF_FFFF_FFFF
    number: float = _FLOAT64_BE.unpack(bits.to_bytes(8))[0]
    return number


def _decode_int64(data: bytes, tag: int, start: int) -> tuple[int, int]:
    width = _INT64_WIDTHS[abs(tag - _INT64_ZERO)]
    number = int.from_bytes(_take(data, start, width), signed=True)
    if _encode_int64(number)[0] != tag:
        raise _malformed(f"holds the integer {number} in another width than its shortest", start)
    return number, start + width


def _decode_array(data: bytes, position: int, depth: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    while _take(data, position, 1) != _END:
        item, position = _decode_item(data, position, depth + 1)
        items.append(item)
    return items, position + 1


def _decode_object(data: bytes, position: int, depth: int) -> tuple[dict[str, Any], int]:
    value: dict[str, Any] = {}
    last = None
    while not _ends_object(data, position):
        name, position = _decode_name(data, position)
        if last is not None and name <= last:
            raise _malformed(f"holds the field {name!r} out of order", position)
        value[name], position = _decode_item(data, position, depth + 1)
        last = name
    return value, position + 1


def _ends_object(data: bytes, position: int) -> bool:
    return _take(data, position, 1) == _END and data[position + 1 : position + 2] != PREFIX_END


def _decode_name(data: bytes, position: int) -> tuple[str, int]:
    if data.startswith(_ESCAPED_NUL, position):
        return "", position + 2
    end = data.find(_END, position)
    if end < 0:
        raise _malformed("ends within a field name", position)
    return _text(data[position:end], position), end + 1


def _decode_escaped(data: bytes, start: int) -> tuple[bytes, int]:
    """Content up to the first NUL that is no escape."""
    end = data.find(_END, start)
    while end >= 0 and data[end + 1 : end + 2] == PREFIX_END:
        end = data.find(_END, end + 2)
    if end < 0:
        raise _malformed("ends within a string", start)
    return data[start:end].replace(_ESCAPED_NUL, _END), end + 1


def _text(content: bytes, position: int) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise _malformed("holds a string that is not UTF-8", position) from None


def _take(data: bytes, start: int, length: int) -> bytes:
    content = data[start : start + length]
    if len(content) != length:
        raise _malformed("ends within an item", start)
    return content


def _malformed(what: str, position: int) -> ValueError:
    return ValueError(f"the key {what} at byte {position}")
