"""Values: the JSON form, limits, sizes, order and printing (spec 01 3.1 to 3.5, spec 03 3.8)."""

from __future__ import annotations

import pickle
from typing import Any

import orjson
import pytest

from log import values
from log.errors import BackendError, ErrorKind
from log.values import COMMIT_TS, INT64_MAX, INT64_MIN, UNDEFINED

from ..support.values import NEGATIVE_NAN

TAGGED: list[tuple[values.Value, dict[str, str]]] = [
    (0, {"$integer": "AAAAAAAAAAA="}),
    (1, {"$integer": "AQAAAAAAAAA="}),
    (42, {"$integer": "KgAAAAAAAAA="}),
    (-1, {"$integer": "//////////8="}),
    (INT64_MIN, {"$integer": "AAAAAAAAAIA="}),
    (INT64_MAX, {"$integer": "/////////38="}),
    (float("nan"), {"$float": "AAAAAAAA+H8="}),
    (float("inf"), {"$float": "AAAAAAAA8H8="}),
    (float("-inf"), {"$float": "AAAAAAAA8P8="}),
    (-0.0, {"$float": "AAAAAAAAAIA="}),
    (b"", {"$bytes": ""}),
    (b"\x00\xff", {"$bytes": "AP8="}),
]


@pytest.mark.parametrize(("value", "tree"), TAGGED)
def test_a_value_json_cannot_say_has_exactly_the_specified_tag(
    value: values.Value, tree: dict[str, str]
) -> None:
    assert values.encode(value) == tree
    assert values.same(values.decode(tree), value)


def test_whole_json_numbers_are_floats_at_every_depth() -> None:
    tree = orjson.loads('[1,{"a":2,"b":[3.5,-4]},12345678901234567890123]')
    assert repr(values.decode(tree)) == "[1.0, {'a': 2.0, 'b': [3.5, -4.0]}, 1.2345678901234568e+22]"
    assert tree[0] == 1 and type(tree[0]) is int, "the tree handed in is not changed"


def test_canonical_bytes_are_sorted_tight_and_keep_the_kind_of_number() -> None:
    value = values.loads(b'{ "b" : 1, "a" : {"z": 1e16, "_": 0.1}, "c": {"$integer":"AQAAAAAAAAA="} }')
    expected = b'{"a":{"_":0.1,"z":1e+16},"b":1.0,"c":{"$integer":"AQAAAAAAAAA="}}'
    assert values.dumps(value) == expected
    assert values.dumps(values.loads(expected)) == expected
    assert values.same(values.loads_canonical(expected), value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"$a":1}', "Field name $a starts with '$', which is reserved."),
        ('{"$integer":"AAAAAAAAAAA=","x":1}', "Field name $integer starts with '$', which is reserved."),
        ('{"$undefined":null}', "Field name $undefined starts with '$', which is reserved."),
        ('{"$set":[]}', "Field name $set starts with '$', which is reserved."),
        (
            '{"é":1}',
            "Field name é has invalid character 'é': "
            "Field names can only contain non-control ASCII characters",
        ),
        ('{"$integer":"AAAA"}', "$integer must hold 8 bytes, received 3"),
        ('{"$integer":1}', "$integer must hold a base64 string"),
        ('{"$bytes":"A"}', "$bytes does not hold valid base64: A"),
        ('{"$bytes":"AB=="}', "$bytes does not hold canonical base64: AB=="),
        ('{"$float":"AAAAAAAA8D8="}', "Float64 1.0 should be encoded as a JSON number, not as $float"),
    ],
)
def test_json_that_is_no_value_is_refused_with_its_reason(text: str, message: str) -> None:
    with pytest.raises(BackendError) as refused:
        values.loads(text)
    assert (refused.value.kind, refused.value.message) == (ErrorKind.BAD_REQUEST, message)


@pytest.mark.parametrize("text", ["", "NaN", "[Infinity]", '"\\ud800"', "1e400", "{'a':1}", "[1,]"])
def test_text_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(BackendError, match="Invalid JSON"):
        values.loads(text)


def test_a_lone_surrogate_is_refused_also_when_it_was_not_json_that_brought_it() -> None:
    for tree in ("\ud800", ["x\udfff"], {"a": "\ud800"}):
        with pytest.raises(BackendError, match="lone surrogates"):
            values.decode(tree)


def test_zero_in_a_float_tag_is_accepted() -> None:
    assert values.same(values.decode({"$float": "AAAAAAAAAAA="}), 0.0)


def test_every_printable_field_name_is_allowed_and_so_is_the_empty_one() -> None:
    document = {"": 1.0, " ": 1.0, "a.b": 1.0, "_x": 1.0, "a$": 1.0, "~" * 1024: 1.0}
    assert values.decode(document) == document
    for name in ("\x1f", "\x7f", "\n", "~" * 1025):
        with pytest.raises(BackendError, match="Field name"):
            values.decode({name: 1.0})


def nested(levels: int) -> Any:
    value: Any = 1.0
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


@pytest.mark.parametrize(
    ("at_limit", "beyond", "code", "message"),
    [
        (
            nested(64),
            nested(65),
            "TooNestedError",
            "Value is too nested (nested 65 levels deep > maximum nesting 64)",
        ),
        (
            [None] * 8192,
            [None] * 8193,
            "ArrayTooLong",
            "Array length is too long (8193 > maximum length 8192)",
        ),
        (
            {f"f{n}": None for n in range(1024)},
            {f"f{n}": None for n in range(1025)},
            "TooManyFieldsError",
            "Object has too many fields (1025 > maximum number 1024)",
        ),
        (
            "x" * (2**25 - 2),
            ["x" * (2**25 - 4 + 2**20)],
            "ValueTooLargeError",
            "Value is too large (33 MiB > maximum size 32 MiB)",
        ),
    ],
)
def test_a_limit_admits_what_reaches_it_and_refuses_what_exceeds_it(
    at_limit: Any, beyond: Any, code: str, message: str
) -> None:
    assert values.decode(at_limit) is at_limit
    values.check_value(at_limit)
    for refuse in (values.decode, values.check_value, lambda tree: values.decode([tree])):
        with pytest.raises(BackendError) as refused:
            refuse(beyond)
        assert (refused.value.code, refused.value.message) == (code, message)


def test_depth_is_refused_before_it_can_exhaust_the_stack() -> None:
    with pytest.raises(BackendError, match="nested 65 levels deep"):
        values.loads(b"[" * 1000 + b"]" * 1000)


def test_a_tagged_scalar_adds_no_nesting() -> None:
    tree: Any = {"$integer": "AQAAAAAAAAA="}
    for _ in range(64):
        tree = [tree]
    assert values.decode_sized(tree)[2] == 64


@pytest.mark.parametrize(
    ("value", "size", "nesting"),
    [
        (None, 1, 0),
        (True, 1, 0),
        (7, 9, 0),
        (7.0, 9, 0),
        ("", 2, 0),
        ("é😀", 8, 0),
        (b"abc", 5, 0),
        ([], 2, 1),
        ([None, "a"], 6, 1),
        ({}, 2, 1),
        ({"ab": [1.0]}, 2 + 3 + 11, 2),
    ],
)
def test_size_and_nesting_follow_the_formula_of_the_client(value: Any, size: int, nesting: int) -> None:
    assert (values.size_of(value), values.nesting_of(value)) == (size, nesting)
    assert values.decode_sized(values.encode(value))[1:] == (size, nesting)


def document_of(size: int) -> dict[str, Any]:
    document = {"_id": "j57000820c20a1g7104gm2rc1m70ynr8", "_creationTime": 1.0, "a": ""}
    document["a"] = "x" * (size - values.size_of(document))
    return document


def test_a_document_may_have_one_mebibyte_with_its_system_fields() -> None:
    values.check_document(document_of(2**20))
    with pytest.raises(BackendError) as refused:
        values.check_document(document_of(2**20 + 2**19))
    assert refused.value.code == "ValueTooLargeError"
    assert refused.value.message == "Value is too large (1.5 MiB > maximum size 1 MiB)"
    with pytest.raises(BackendError):
        values.check_document(document_of(2**20 + 1))


def test_a_document_may_be_nested_sixteen_levels() -> None:
    values.check_document({"a": nested(15)})
    with pytest.raises(BackendError) as refused:
        values.check_document({"a": nested(16)})
    assert refused.value.code == "InvalidDocumentError"
    assert "isn't a valid document: Document is too nested (nested 17 levels deep > maximum nesting 16)" in (
        refused.value.message
    )


def test_only_system_fields_start_with_an_underscore_at_the_top_of_a_document() -> None:
    values.check_document({"_id": "x", "_creationTime": 1.0, "a": {"_x": 1.0}})
    with pytest.raises(BackendError) as refused:
        values.check_document({"_x": 1.0})
    assert refused.value.code == "InvalidDocumentError"
    assert refused.value.message == (
        "{_x: 1.0} isn't a valid document: Field '_x' starts with an underscore, "
        "which is only allowed for system fields like '_id'"
    )


def test_a_patch_says_which_top_level_fields_to_remove() -> None:
    patch = values.decode_patch({"a": 1, "b": {"$undefined": None}})
    assert patch == {"a": 1.0, "b": UNDEFINED} and patch["b"] is UNDEFINED
    assert values.decode_patch({}) == {}
    refused: list[Any] = [
        [],
        {"$integer": "AQAAAAAAAAA="},
        {"a": {"b": {"$undefined": None}}},
        {"$a": {"$undefined": None}},
    ]
    for tree in refused:
        with pytest.raises(BackendError):
            values.decode_patch(tree)


def test_an_operand_is_a_value_or_undefined_or_the_coming_commit() -> None:
    assert values.decode_operand({"$undefined": None}) is UNDEFINED
    assert values.decode_operand({"$commitTs": None}) is COMMIT_TS
    assert values.decode_operand([1]) == [1.0]


def test_the_commit_placeholder_is_an_unknown_field_to_whoever_does_not_ask_for_it() -> None:
    with pytest.raises(BackendError, match=r"^Field name \$commitTs starts with '\$', which is reserved\.$"):
        values.decode({"a": {"$commitTs": None}})


def test_what_is_no_value_cannot_be_written() -> None:
    with pytest.raises(BackendError, match="does not fit into an Int64"):
        values.dumps([INT64_MAX + 1])
    with pytest.raises(BackendError, match="not a Convex value"):
        values.dumps("\ud800")
    for stranger in (UNDEFINED, (1, 2), {1: 2}, object()):
        with pytest.raises((TypeError, BackendError)):
            values.dumps({"a": stranger})  # type: ignore[dict-item]


ASCENDING: list[Any] = [
    UNDEFINED,
    None,
    INT64_MIN,
    -1,
    0,
    9,
    INT64_MAX,
    NEGATIVE_NAN,
    float("-inf"),
    -1.0,
    -0.0,
    0.0,
    1.0,
    float("inf"),
    float("nan"),
    False,
    True,
    "",
    "a",
    "a\0",
    "b",
    "\uffff",
    "😀",
    b"",
    b"a",
    b"a\0",
    [],
    [None],
    [None, None],
    [1.0],
    {},
    {"": 1.0},
    {"a": 1.0},
    {"a": 1.0, "b": None},
    {"a": 2.0},
    {"b": None},
]


def test_the_order_of_values_is_the_specified_one() -> None:
    for position, left in enumerate(ASCENDING):
        for other, right in enumerate(ASCENDING):
            assert values.compare(left, right) == (position > other) - (position < other), (left, right)


def test_undefined_is_one_object_also_after_pickling() -> None:
    assert pickle.loads(pickle.dumps(UNDEFINED)) is UNDEFINED
    assert values.type_name(UNDEFINED) == "Undefined" and values.type_name(1.0) == "Float64"


def test_values_print_as_error_texts_show_them() -> None:
    value = {"b": [1, 1.0, -0.5], "a": 'say "hi"\n', "c": {"x y": None, "d": True}, "e": b"\0"}
    assert values.display(value) == (
        '{a: "say \\"hi\\"\\n", b: [1, 1.0, -0.5], c: {d: true, "x y": null}, e: Bytes(AA==)}'
    )
    assert [values.display(item) for item in (UNDEFINED, float("nan"), float("-inf"))] == [
        "undefined",
        "NaN",
        "-Infinity",
    ]


def test_the_lossy_formats_are_those_of_the_http_api() -> None:
    value = {"i": 5, "f": 5.0, "z": -0.0, "n": float("nan"), "m": float("-inf"), "b": b"\xff", "a": [1, None]}
    assert values.to_clean_json(value) == {
        "i": "5",
        "f": 5.0,
        "z": -0.0,
        "n": "NaN",
        "m": "-Infinity",
        "b": "/w==",
        "a": ["1", None],
    }
    assert values.to_export_json_bytes(value) == (
        b'{"a":[1,null],"b":{"$bytes":"/w=="},"f":5.0,"i":5,"m":{"$float":"AAAAAAAA8P8="},'
        b'"n":{"$float":"AAAAAAAA+H8="},"z":-0.0}'
    )


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (12, "12 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (17 * 2**20, "17 MiB"),
        (2**20 + 1, "1 MiB"),
        (1300, "1.27 KiB"),
    ],
)
def test_sizes_print_in_binary_units_with_at_most_two_decimals(size: int, text: str) -> None:
    assert values.size_text(size) == text
