"""Seeded random values from a small world: collisions, boundaries and special floats are the rule."""

from __future__ import annotations

import random
import struct
from typing import Any

from log.values import INT64_MAX, INT64_MIN, UNDEFINED, Operand, Value

NEGATIVE_NAN: float = struct.unpack(">d", bytes.fromhex("fff8000000000000"))[0]
OTHER_NAN: float = struct.unpack(">d", bytes.fromhex("7ff8000000000001"))[0]

INTEGERS = [0, 1, -1, 127, 128, -128, -129, 255, 256, 2**15, -(2**15), -(2**15) - 1, 2**31, -(2**31) - 1]
INTEGERS += [INT64_MAX, INT64_MIN]
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.1, 1.5, 5e-324, -5e-324, 1e300, -1e300, 1e16, 1e-7, 2.0**53]
FLOATS += [float("inf"), float("-inf"), float("nan"), NEGATIVE_NAN, OTHER_NAN]
STRINGS = ["", "\0", "a", "a\0", "a\0b", "ab", "b", "\x7f", "é", "\uffff", "😀", '"$', "\\", "$integer"]
BYTES = [b"", b"\0", b"\0\0", b"\0\xff", b"a", b"a\0", b"\xff"]
NAMES = ["", "a", "b", "ab", "_a", "a b", "Z", "~"]
SCALARS: list[Value] = [None, True, False, *INTEGERS, *FLOATS, *STRINGS, *BYTES]


def random_value(rng: random.Random, depth: int = 3) -> Value:
    """A value of any type, nested at most `depth` levels."""
    if depth == 0 or rng.random() < 0.6:
        return random_scalar(rng)
    length = rng.choice((0, 1, 1, 2, 3))
    if rng.random() < 0.5:
        return [random_value(rng, depth - 1) for _ in range(length)]
    return {rng.choice(NAMES): random_value(rng, depth - 1) for _ in range(length)}


def random_scalar(rng: random.Random) -> Value:
    if rng.random() < 0.8:
        return rng.choice(SCALARS)
    number: float = struct.unpack(">d", rng.randbytes(8))[0]
    makers: list[Any] = [number, rng.randrange(INT64_MIN, INT64_MAX), rng.randbytes(rng.randrange(4))]
    scalar: Value = rng.choice(makers)
    return scalar


def random_operand(rng: random.Random, depth: int = 3) -> Operand:
    return UNDEFINED if rng.random() < 0.05 else random_value(rng, depth)
