"""What a Convex value is in Python, and the one total order over values (spec 01 3.1, 3.5).

    Null None | Int64 int | Float64 float | Boolean bool | String str | Bytes bytes
    Array list | Object dict[str, value]

Exact types only: a subclass (an enum, a named tuple) is not a value. Values are never changed once they
were built or decoded, so they may be shared. `UNDEFINED` stands for a missing field in keys, filters and
patches; it is not a value and never appears inside one.

`COMMIT_TS` stands for the ts of the commit a value will be part of (spec 03 2.9). It appears inside the
values of a mutation that has not committed, and is the largest Int64 to every comparison.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final, TypeAlias, final

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1


@final
class Undefined:
    """The type of `UNDEFINED`. There is one instance, also after pickling, so `is` compares it."""

    _instance: Undefined | None = None

    def __new__(cls) -> Undefined:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __reduce__(self) -> tuple[type[Undefined], tuple[()]]:
        return Undefined, ()

    def __repr__(self) -> str:
        return "UNDEFINED"


UNDEFINED: Final = Undefined()


@final
class CommitTs:
    """The type of `COMMIT_TS`. There is one instance, also after pickling, so `is` compares it."""

    _instance: CommitTs | None = None

    def __new__(cls) -> CommitTs:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __reduce__(self) -> tuple[type[CommitTs], tuple[()]]:
        return CommitTs, ()

    def __repr__(self) -> str:
        return "COMMIT_TS"


COMMIT_TS: Final = CommitTs()

Value: TypeAlias = bool | int | float | str | bytes | CommitTs | list[Any] | dict[str, Any] | None

Operand: TypeAlias = Value | Undefined
"""What a filter or an index range compares with: a value, or a field that is not there."""

_NAME_AND_RANK: Final[dict[type, tuple[str, int]]] = {
    Undefined: ("Undefined", 0),
    type(None): ("Null", 1),
    int: ("Int64", 2),
    CommitTs: ("Int64", 2),
    float: ("Float64", 3),
    bool: ("Boolean", 4),
    str: ("String", 5),
    bytes: ("Bytes", 6),
    list: ("Array", 7),
    dict: ("Object", 8),
}


def type_name(value: Operand) -> str:
    """The name error texts use: "Int64", "Object", ..."""
    return _name_and_rank(value)[0]


def is_ordinary_float(number: float) -> bool:
    """Whether JSON can say it: finite and not negative zero."""
    return math.isfinite(number) and (number != 0.0 or math.copysign(1.0, number) > 0.0)


def float_order(number: float) -> int:
    """An unsigned integer that sorts like IEEE totalOrder: -NaN < -inf < .. < -0 < 0 < .. < inf < NaN."""
    bits: int = struct.unpack(">Q", struct.pack(">d", number))[0]
    return bits ^ 0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else bits | 1 << 63


def compare(left: Operand, right: Operand) -> int:
    """-1, 0 or 1 in the order of indexes and filters. Int64 and Float64 never interleave (spec 01 3.5)."""
    kind = type(left)
    if kind is not type(right):
        # Types of one rank are an Int64 and the coming ts.
        order = _sign(_name_and_rank(left)[1], _name_and_rank(right)[1])
        return order or _sign(_as_int64(left), _as_int64(right))
    if kind is float:
        return _sign(float_order(left), float_order(right))  # type: ignore[arg-type]
    if kind is list:
        return _compare_arrays(left, right)  # type: ignore[arg-type]
    if kind is dict:
        return _compare_objects(left, right)  # type: ignore[arg-type]
    if left is None or left is UNDEFINED or left is COMMIT_TS:
        return 0
    # Python compares str by code point, which is the order of UTF-8 bytes.
    return _sign(left, right)


def same(left: Operand, right: Operand) -> bool:
    """Equality of values: unlike `==`, 1 is not 1.0, -0.0 is not 0.0 and NaN is itself.

    The coming ts equals only itself, though it compares like the largest Int64.
    """
    return compare(left, right) == 0 and _have_same_types(left, right)


def _name_and_rank(value: Operand) -> tuple[str, int]:
    try:
        return _NAME_AND_RANK[type(value)]
    except KeyError:
        raise TypeError(f"not a Convex value: {value!r}") from None


def _as_int64(value: Any) -> Any:
    return INT64_MAX if value is COMMIT_TS else value


def _have_same_types(left: Any, right: Any) -> bool:
    """Of two values that compare equal, hence have one shape."""
    if type(left) is dict:
        return all(_have_same_types(item, right[name]) for name, item in left.items())
    if type(left) is list:
        return all(map(_have_same_types, left, right))
    return type(left) is type(right)


def _sign(left: Any, right: Any) -> int:
    return (left > right) - (left < right)


def _compare_arrays(left: list[Any], right: list[Any]) -> int:
    for one, other in zip(left, right, strict=False):
        if order := compare(one, other):
            return order
    return _sign(len(left), len(right))


def _compare_objects(left: dict[str, Any], right: dict[str, Any]) -> int:
    """As sorted lists of (name, value); the first differing pair decides, by name before value."""
    for one, other in zip(sorted(left), sorted(right), strict=False):
        if order := _sign(one, other) or compare(left[one], right[other]):
            return order
    return _sign(len(left), len(right))
