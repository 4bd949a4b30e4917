"""Values, keys, ids and validators against twins too simple to be wrong: about 370,000 seeded cases.

A failure prints its seed and case. The worlds are small: equal, adjacent and prefixed values are common.
"""

from __future__ import annotations

import json
import random
import struct
from base64 import b64encode
from typing import Any

from functions.validators import Validator, is_subset, parse_validator
from log import values
from log.ids import decode_id, encode_id
from log.keys import PREFIX_END, decode_items, encode_item, encode_items
from log.values import UNDEFINED, Operand, Value

from ..support.validators import NUMBERS, TABLES, an_id, tree
from ..support.values import NAMES, random_operand, random_value

KEY_CASES = 100_000  # of each promise about keys (spec 04 11, T1)
RANKS: list[type] = [type(UNDEFINED), type(None), int, float, bool, str, bytes, list, dict]


def twin_order(value: Operand) -> tuple[Any, ...]:
    """A Python tuple that sorts as the specification says."""
    rank = RANKS.index(type(value))
    match value:
        case float():
            bits = int.from_bytes(struct.pack(">d", value))
            return rank, (-1, -bits) if bits >> 63 else (1, bits)
        case str():
            return rank, value.encode()
        case list():
            return rank, tuple(map(twin_order, value))
        case dict():
            return rank, tuple((name, twin_order(value[name])) for name in sorted(value))
        case None | values.Undefined():
            return (rank,)
    return rank, value


def twin_sign(left: Any, right: Any) -> int:
    return (left > right) - (left < right)


def twin_tree(value: Value) -> Any:
    """The JSON tree, written from the table of spec 01 3.2."""
    match value:
        case bool():
            return value
        case int():
            return {"$integer": b64encode(struct.pack("<q", value)).decode()}
        case float():
            if value != value or value in (float("inf"), float("-inf")) or str(value) == "-0.0":
                return {"$float": b64encode(struct.pack("<d", value)).decode()}
            return value
        case bytes():
            return {"$bytes": b64encode(value).decode()}
        case list():
            return [twin_tree(item) for item in value]
        case dict():
            return {name: twin_tree(item) for name, item in value.items()}
    return value


def twin_size(value: Value) -> int:
    match value:
        case None | bool():
            return 1
        case int() | float():
            return 9
        case str():
            return 2 + len(value.encode())
        case bytes():
            return 2 + len(value)
        case list():
            return 2 + sum(twin_size(item) for item in value)
    return 2 + sum(len(name) + 1 + twin_size(item) for name, item in value.items())


def twin_nesting(value: Value) -> int:
    if isinstance(value, list | dict):
        items = list(value.values()) if isinstance(value, dict) else value
        return max([1, *(1 + twin_nesting(item) for item in items)])
    return 0


def test_keys_and_compare_order_values_like_their_twin() -> None:
    seed = 101
    rng = random.Random(seed)
    for case in range(KEY_CASES):
        left, right = random_operand(rng), random_operand(rng)
        expected = twin_sign(twin_order(left), twin_order(right))
        assert values.compare(left, right) == expected, (seed, case, left, right)
        assert twin_sign(encode_item(left), encode_item(right)) == expected, (seed, case, left, right)


def test_composite_keys_order_like_tuples_and_prefix_bounds_are_exact() -> None:
    seed = 102
    rng = random.Random(seed)
    for case in range(KEY_CASES):
        left = [random_operand(rng, 1) for _ in range(rng.randrange(1, 4))]
        right = [random_operand(rng, 1) for _ in range(rng.randrange(1, 4))]
        shared = rng.randrange(3)
        right[:shared] = left[:shared]
        left_key, right_key = encode_items(left), encode_items(right)
        orders = [twin_order(value) for value in left], [twin_order(value) for value in right]
        assert twin_sign(left_key, right_key) == twin_sign(*orders), (seed, case, left, right)
        continues = orders[1][: len(left)] == orders[0]
        assert (left_key <= right_key < left_key + PREFIX_END) == continues, (seed, case, left, right)


def test_keys_give_back_their_values_and_nothing_else_is_a_key() -> None:
    seed = 103
    rng = random.Random(seed)
    for case in range(KEY_CASES):
        items = [random_operand(rng) for _ in range(rng.randrange(3))]
        key = encode_items(items)
        decoded = decode_items(key)
        assert len(decoded) == len(items) and all(map(values.same, decoded, items)), (seed, case, items)
        changed = bytearray(key or b"\x01")
        changed[rng.randrange(len(changed))] = rng.choice((0, 1, 3, 7, 8, 9, 0x10, 0x12, 0x15, 0x61, 0xFF))
        try:
            meaning = decode_items(bytes(changed))
        except ValueError:
            continue
        assert encode_items(meaning) == changed, (seed, case, bytes(changed).hex())


def test_canonical_bytes_are_a_fixed_point_and_say_what_the_twin_says() -> None:
    seed = 104
    rng = random.Random(seed)
    for case in range(15_000):
        value = random_value(rng)
        data = values.dumps(value)
        assert json.loads(data) == twin_tree(value), (seed, case, value)
        for read in (values.loads, values.loads_canonical):
            assert values.same(read(data), value), (seed, case, value)
            assert values.dumps(read(data)) == data, (seed, case, value)
        spaced = json.dumps(twin_tree(value), indent=1)
        assert values.dumps(values.loads(spaced)) == data, (seed, case, value)


def test_sizes_and_nestings_are_those_of_the_twin_however_they_are_found() -> None:
    seed = 105
    rng = random.Random(seed)
    for case in range(15_000):
        value = random_value(rng, 4)
        expected = twin_size(value), twin_nesting(value)
        assert (values.size_of(value), values.nesting_of(value)) == expected, (seed, case, value)
        assert values.decode_sized(twin_tree(value))[1:] == expected, (seed, case, value)


def test_values_are_equal_exactly_when_their_bytes_are() -> None:
    seed = 106
    rng = random.Random(seed)
    for case in range(10_000):
        left, right = random_value(rng, 1), random_value(rng, 1)
        equal_bytes = values.dumps(left) == values.dumps(right)
        assert values.same(left, right) == equal_bytes, (seed, case, left, right)


# --- ids --------------------------------------------------------------------------------------------

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def twin_id(table_number: int, internal_id: bytes) -> str:
    """The id written bit by bit."""
    groups = []
    while True:
        groups.append(table_number % 128 + (128 if table_number >= 128 else 0))
        table_number //= 128
        if not table_number:
            break
    body = bytes(groups) + internal_id
    first = sum(body) % 256
    second = sum(sum(body[: end + 1]) for end in range(len(body))) % 256
    bits = "".join(f"{byte:08b}" for byte in (*body, first, second))
    bits += "0" * (-len(bits) % 5)
    return "".join(ALPHABET[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5))


def test_ids_are_those_of_the_twin_and_decode_to_their_parts() -> None:
    seed = 107
    rng = random.Random(seed)
    for case in range(5_000):
        number = rng.randrange(1, 1 << rng.randrange(1, 33)) if rng.random() < 0.9 else (1 << 32) - 1
        internal_id = rng.randbytes(16)
        text = encode_id(number, internal_id)
        assert text == twin_id(number, internal_id), (seed, case, number, internal_id)
        assert decode_id(text) == (number, internal_id), (seed, case, text)


# --- validators -------------------------------------------------------------------------------------

TYPE_OF = {"null": type(None), "number": float, "bigint": int, "boolean": bool, "string": str, "bytes": bytes}


def random_shape(rng: random.Random, depth: int = 2) -> Any:
    simple = [*TYPE_OF, "any", ["literal", "a"], ["literal", 1], ["literal", True], ["literal", False]]
    simple += [["id", "users"], ["id", "channels"]]
    if depth == 0 or rng.random() < 0.5:
        return rng.choice(simple)
    kind = rng.randrange(4)
    if kind == 0:
        return ["array", random_shape(rng, depth - 1)]
    if kind == 1:
        return ["record", rng.choice(["string", ["id", "users"]]), random_shape(rng, depth - 1)]
    if kind == 2:
        return ["union", *(random_shape(rng, depth - 1) for _ in range(rng.randrange(4)))]
    names = rng.sample(["a", "b", "c"], rng.randrange(4))
    return {name + rng.choice(("", "?")): random_shape(rng, depth - 1) for name in names}


def random_match(rng: random.Random, shape: Any) -> Value:
    """A value that often has the shape; where it cannot, anything."""
    match shape:
        case dict():
            kept = [name for name in shape if not name.endswith("?") or rng.random() < 0.5]
            return {name.rstrip("?"): near_match(rng, shape[name]) for name in kept}
        case ["array", item]:
            return [near_match(rng, item) for _ in range(rng.randrange(3))]
        case ["record", keys, item]:
            name = an_id("users") if keys != "string" else rng.choice(NAMES)
            return {name: near_match(rng, item)} if rng.random() < 0.8 else {}
        case ["union", *members] if members:
            return near_match(rng, rng.choice(members))
        case ["literal", value]:
            return values.decode(value)
        case ["id", _]:
            return an_id(rng.choice(list(NUMBERS)))
    samples: dict[str, list[Value]] = {
        "null": [None],
        "number": [1.0, -0.0],
        "bigint": [1],
        "boolean": [True, False],
    }
    samples |= {"string": ["a", "b"], "bytes": [b"a"]}
    return rng.choice(samples.get(shape, [1.0]) if isinstance(shape, str) else [1.0])


def near_match(rng: random.Random, shape: Any) -> Value:
    return random_match(rng, shape) if rng.random() < 0.93 else random_value(rng, 1)


def twin_accepts(shape: Any, value: Value) -> bool:
    """Whether a value has a shape, straight from the shape."""
    match shape:
        case "any":
            return True
        case str():
            return type(value) is TYPE_OF[shape]
        case dict():
            allowed = {name.rstrip("?"): inner for name, inner in shape.items()}
            return (
                isinstance(value, dict)
                and all(name in allowed and twin_accepts(allowed[name], item) for name, item in value.items())
                and all(name.endswith("?") or name in value for name in shape)
            )
        case ["array", inner]:
            return isinstance(value, list) and all(twin_accepts(inner, item) for item in value)
        case ["record", keys, inner]:
            return isinstance(value, dict) and all(
                twin_accepts(keys, name) and twin_accepts(inner, item) for name, item in value.items()
            )
        case ["union", *members]:
            return any(twin_accepts(member, value) for member in members)
        case ["id", table]:
            return value == an_id(table)
    return values.same(value, values.decode(shape[1]))


def built(shape: Any) -> Validator:
    return parse_validator(tree(shape))


def test_validators_accept_what_their_twin_accepts_and_explain_everything_else() -> None:
    seed = 108
    rng = random.Random(seed)
    accepted = 0
    for case in range(15_000):
        shape = random_shape(rng)
        value = near_match(rng, shape)
        expected = twin_accepts(shape, value)
        accepted += expected
        validator = built(shape)
        assert validator.matches(value, TABLES) == expected, (seed, case, shape, value)
        assert (validator.explain(value, TABLES, ()) is None) == expected, (seed, case, shape, value)
    assert 3_000 < accepted < 14_000, "both answers are common"


def test_a_subset_accepts_nothing_its_superset_refuses() -> None:
    seed = 109
    rng = random.Random(seed)
    subsets = 0
    for case in range(8_000):
        narrow, wide = random_shape(rng), random_shape(rng)
        if rng.random() < 0.5:
            wide = ["union", wide, narrow] if rng.random() < 0.5 else random_widening(rng, narrow)
        if not is_subset(built(narrow), built(wide)):
            continue
        subsets += 1
        for _ in range(4):
            value = random_match(rng, narrow)
            if twin_accepts(narrow, value):
                assert twin_accepts(wide, value), (seed, case, narrow, wide, value)
    assert subsets > 1_500, "the interesting answer is common"


def random_widening(rng: random.Random, shape: Any) -> Any:
    """Usually accepts more than `shape`; sometimes not, which is the point."""
    match shape:
        case dict():
            return {rng.choice((name, name.rstrip("?") + "?")): inner for name, inner in shape.items()}
        case ["array", inner]:
            return ["array", random_widening(rng, inner)]
        case ["literal", value]:
            return {str: "string", int: "number", bool: "boolean"}[type(value)]
        case ["id", _]:
            return "string"
        case "boolean":
            return ["union", ["literal", True], rng.choice([["literal", False], "null"])]
    return "any"
