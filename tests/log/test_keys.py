"""Keys: golden vectors, order, refusal of everything that is not canonical (spec 04 4.2, 4.3, 11 T1)."""

from __future__ import annotations

from typing import Any

import pytest

from log.keys import PREFIX_END, decode_items, encode_item, encode_items, field_at, index_key, string_prefix
from log.values import INT64_MAX, INT64_MIN, UNDEFINED, same

from ..support.values import NEGATIVE_NAN

GOLDEN: list[tuple[Any, str]] = [
    (UNDEFINED, "01"),
    (None, "03"),
    (INT64_MIN, "048000000000000000"),
    (-(2**31) - 1, "04FFFFFFFF7FFFFFFF"),
    (-32769, "05FFFF7FFF"),
    (-129, "06FF7F"),
    (-128, "0780"),
    (-1, "07FF"),
    (0, "08"),
    (1, "0901"),
    (127, "097F"),
    (128, "0A0080"),
    (32768, "0B00008000"),
    (2**31, "0C0000000080000000"),
    (INT64_MAX, "0C7FFFFFFFFFFFFFFF"),
    (NEGATIVE_NAN, "0D0007FFFFFFFFFFFF"),
    (float("-inf"), "0D000FFFFFFFFFFFFF"),
    (-1.0, "0D400FFFFFFFFFFFFF"),
    (-0.0, "0D7FFFFFFFFFFFFFFF"),
    (0.0, "0D8000000000000000"),
    (1.0, "0DBFF0000000000000"),
    (1.5, "0DBFF8000000000000"),
    (float("inf"), "0DFFF0000000000000"),
    (float("nan"), "0DFFF8000000000000"),
    (False, "0E"),
    (True, "0F"),
    ("", "1000"),
    ("\0", "1000FF00"),
    ("a", "106100"),
    ("a\0", "106100FF00"),
    ("a\0b", "106100FF6200"),
    (b"", "1100"),
    (b"\0", "1100FF00"),
    (b"\xff", "11FF00"),
    ([], "1200"),
    ([1], "12090100"),
    ([[], []], "121200120000"),
    ({}, "1500"),
    ({"": None}, "1500FF0300"),
    ({"": None, "a": None}, "1500FF0361000300"),
    ({"a": None}, "1561000300"),
    ({"a": {}}, "156100150000"),
]


@pytest.mark.parametrize(("value", "hexadecimal"), GOLDEN)
def test_a_value_has_its_golden_key_and_the_key_gives_it_back(value: Any, hexadecimal: str) -> None:
    assert encode_item(value).hex().upper() == hexadecimal
    (decoded,) = decode_items(bytes.fromhex(hexadecimal))
    assert same(decoded, value)


def test_golden_keys_ascend_in_the_order_of_their_values_also_before_another_item() -> None:
    for follower in (b"", encode_item(UNDEFINED), encode_item({"z": "z"})):
        keys = [encode_item(value) + follower for value, _ in GOLDEN]
        assert keys == sorted(keys)


@pytest.mark.parametrize(
    "hexadecimal",
    [
        "00",
        "02",
        "FF",
        "09",
        "0900",
        "0A007F",
        "06FF80",
        "0C000000007FFFFFFF",
        "0D00",
        "10",
        "1061",
        "106100FF",
        "10FF00",
        "12",
        "120100",
        "1561",
        "156100",
        "15610003",
        "15620003610003" + "00",
        "15610003610003" + "00",
        "12" * 70 + "00" * 70,
    ],
)
def test_bytes_that_no_value_encodes_to_are_refused(hexadecimal: str) -> None:
    with pytest.raises(ValueError, match="the key"):
        decode_items(bytes.fromhex(hexadecimal))


def test_a_prefix_bound_contains_exactly_the_keys_that_continue_with_an_item() -> None:
    prefix = encode_item("a")
    inside = [encode_items(["a", value]) for value, _ in GOLDEN]
    outside = [encode_items([text, None]) for text in ("", "a\0", "a\0b", "aa", "b")]
    assert all(prefix < key < prefix + PREFIX_END for key in inside)
    assert not any(prefix <= key < prefix + PREFIX_END for key in outside)


def test_an_index_key_is_its_fields_in_order_and_then_the_id() -> None:
    document = {"a": {"b": 1.0, "c": "x"}, "d": None}
    fields = (("a", "b"), ("d",), ("a", "missing"), ("d", "through_null"), ("e",))
    key = index_key(fields, document, "id")
    assert decode_items(key) == [1.0, None, UNDEFINED, UNDEFINED, UNDEFINED, "id"]
    assert index_key((), document, "id") == encode_item("id")


def test_a_path_leads_through_objects_only() -> None:
    assert field_at({"a": [{"b": 1.0}]}, ("a", "b")) is UNDEFINED
    assert field_at({"a": {"b": {"c": None}}}, ("a", "b", "c")) is None
    assert field_at({"a": "text"}, ("a", "a")) is UNDEFINED


def test_an_integer_beyond_int64_has_no_key() -> None:
    for number in (INT64_MAX + 1, INT64_MIN - 1):
        with pytest.raises(OverflowError):
            encode_item(number)


@pytest.mark.parametrize(
    ("prefix", "inside", "outside"),
    [
        ("", ["", "a", "\0", "\U0010ffff"], []),
        ("a", ["a", "ab", "a\0", "a\0b", "aé", "a\U0010ffff"], ["", "A", "`\U0010ffff", "b", "ba"]),
        ("ab", ["ab", "abc", "ab\0"], ["a", "aa\U0010ffff", "a\0b", "ac", "ba"]),
        ("é", ["é", "éa"], ["e", "è", "ê", "è\U0010ffff", "\u0301"]),
        ("a\0", ["a\0", "a\0b", "a\0\0"], ["a", "a\x01", "ab"]),
        ("\U0010ffff", ["\U0010ffff", "\U0010ffffa"], ["\U0010fffe", "\uffff"]),
    ],
)
def test_the_bounds_of_a_prefix_hold_exactly_the_strings_that_begin_with_it(
    prefix: str, inside: list[str], outside: list[str]
) -> None:
    start, end = string_prefix(prefix)
    assert [text for text in inside if not start <= encode_item(text) < end] == []
    assert [text for text in outside if start <= encode_item(text) < end] == []
    others = [UNDEFINED, None, 1, 1.0, True, prefix.encode(), b"\xff", [prefix], {"a": prefix}]
    assert [value for value in others if start <= encode_item(value) < end] == []


def test_the_bounds_of_a_prefix_hold_keys_of_more_items() -> None:
    start, end = string_prefix("ab")
    assert start <= encode_items(["ab", b"\xff"]) < end and start <= encode_items(["abc", None]) < end
    assert not start <= encode_items(["a", "b"]) < end and not start <= encode_items([None, "ab"]) < end
