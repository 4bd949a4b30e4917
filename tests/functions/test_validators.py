"""Validators: what is accepted, every error text, how they print, subsets (spec 03 3.8, 04 4.6)."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from functions.validators import (
    args_error,
    is_subset,
    parse_args_validator,
    parse_returns_validator,
    parse_validator,
)
from log.errors import BackendError
from log.ids import encode_id

from ..support.validators import TABLES, an_id, tree, validator

INT_ONE = {"$integer": "AQAAAAAAAAA="}


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        ("null", None),
        ("number", 1.0),
        ("bigint", 1),
        ("commitTs", 1),
        ("boolean", False),
        ("string", ""),
        ("bytes", b""),
        ("any", {"a": [1]}),
        (["literal", "x"], "x"),
        (["literal", 1], 1.0),
        (["literal", INT_ONE], 1),
        (["literal", False], False),
        (["id", "users"], an_id("users")),
        (["id", "_storage"], an_id("_storage")),
        (["array", "number"], []),
        (["array", "number"], [1.0, 2.0]),
        (["record", "string", "number"], {"any name": 1.0}),
        (["record", ["id", "users"], "null"], {an_id("users"): None}),
        ({"a": "string", "b?": "number"}, {"a": "x"}),
        ({"a": "string", "b?": "number"}, {"b": 1.0, "a": "x"}),
        (["union", "string", {"kind": ["literal", "k"]}], {"kind": "k"}),
    ],
)
def test_a_value_of_the_right_shape_is_accepted(shape: Any, value: Any) -> None:
    assert validator(shape).check(value, TABLES) is None


@pytest.mark.parametrize(
    ("shape", "value", "text"),
    [
        ("string", 1.0, "Value does not match validator.\n\nValue: 1.0\nValidator: v.string()"),
        ("number", 1, "Value does not match validator.\n\nValue: 1\nValidator: v.float64()"),
        ("bigint", 1.0, "Value does not match validator.\n\nValue: 1.0\nValidator: v.int64()"),
        ("number", True, "Value does not match validator.\n\nValue: true\nValidator: v.float64()"),
        (
            ["id", "users"],
            an_id("channels"),
            f'Found ID "{an_id("channels")}" from table `channels`, which does not match the table name in '
            'validator `v.id("users")`.',
        ),
        (
            {"a": ["array", ["id", "users"]]},
            {"a": [an_id("users"), an_id("_tables")]},
            f'Found ID "{an_id("_tables")}" from a system table, which does not match the table name in '
            'validator `v.id("users")`.Path: .a[1]',
        ),
        (
            ["id", "users"],
            "nonsense",
            'Value does not match validator.\n\nValue: "nonsense"\nValidator: v.id("users")',
        ),
        (["literal", "x"], "y", '`"y"` does not match literal validator `v.literal("x")`.'),
        (["literal", 1], 1, "`1` does not match literal validator `v.literal(1.0)`."),
        (["literal", INT_ONE], 1.0, "`1.0` does not match literal validator `v.literal(<bigint>)`."),
        (["literal", 0], -0.0, "`-0.0` does not match literal validator `v.literal(0.0)`."),
        (["literal", True], 1, "`1` does not match literal validator `v.literal(true)`."),
        (
            {"a": {"b": ["literal", "x"]}},
            {"a": {"b": None}},
            '`null` does not match literal validator `v.literal("x")`.Path: .a.b',
        ),
        (
            {"f": "string"},
            {},
            "Object is missing the required field `f`. Consider wrapping the field validator in "
            "`v.optional(...)` if this is expected.\n\nObject: {}\nValidator: v.object({f: v.string()})",
        ),
        (
            {"a": {"f": "string", "g?": "any"}},
            {"a": {"g": 1.0}},
            "Object is missing the required field `f`. Consider wrapping the field validator in "
            "`v.optional(...)` if this is expected.\nPath: .a\nObject: {g: 1.0}\n"
            "Validator: v.object({f: v.string(), g: v.optional(v.any())})",
        ),
        (
            {"a": "string"},
            {"a": "x", "z": 1.0, "y": 2.0},
            "Object contains extra field `y` that is not in the validator.\n\n"
            'Object: {a: "x", y: 2.0, z: 1.0}\nValidator: v.object({a: v.string()})',
        ),
        (
            ["record", "string", ["array", "null"]],
            {"k": [None, 1.0]},
            "Value does not match validator.\nPath: .values()[1]\nValue: 1.0\nValidator: v.null()",
        ),
        (
            ["record", ["id", "users"], "null"],
            {"k": None},
            'Value does not match validator.\nPath: .keys()\nValue: "k"\nValidator: v.id("users")',
        ),
        (
            ["union", "string", "null"],
            1.0,
            "Value does not match validator.\n\nValue: 1.0\nValidator: v.union(v.string(), v.null())",
        ),
        (
            ["union", {"a": "string"}],
            {"a": 1.0},
            "Value does not match validator.\nPath: .a\nValue: 1.0\nValidator: v.string()",
        ),
        (["union"], None, "Value does not match validator.\n\nValue: null\nValidator: v.union()"),
    ],
)
def test_a_fault_has_the_specified_text(shape: Any, value: Any, text: str) -> None:
    assert validator(shape).check(value, TABLES) == text


def test_an_id_of_an_unknown_table_matches_nothing() -> None:
    text = validator(["id", "users"]).check(encode_id(20_000, bytes(16)), TABLES)
    assert text is not None and text.startswith("Value does not match validator.")


SHAPES: list[Any] = [
    *["null", "number", "bigint", "commitTs", "boolean", "string", "bytes", "any"],
    *[["literal", "x"], ["literal", 1], ["literal", INT_ONE], ["literal", True]],
    ["id", "users"],
    ["array", ["union", "string", "null"]],
    ["record", "string", {"a?": "number"}],
    {"b": "any", "a?": ["array", "bytes"]},
]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_validator_survives_its_json_and_a_pickle(shape: Any) -> None:
    original = validator(shape)
    assert original.check({"not": "a match"}, TABLES) is not None or original.text in ("v.any()",)
    assert parse_validator(original.to_json()) == original
    copy = pickle.loads(pickle.dumps(original))
    assert copy == original and copy.text == original.text and hash(copy) == hash(original)


def test_literals_of_different_types_are_different_validators() -> None:
    literals = {validator(["literal", value]) for value in (1, INT_ONE, True, "1")}
    assert len(literals) == 4


@pytest.mark.parametrize(
    ("json", "code", "part"),
    [
        (None, "InvalidSchema", "must be a JSON object"),
        ({}, "InvalidSchema", "missing its `type`"),
        ({"type": "date"}, "InvalidSchema", "Unknown validator type: date"),
        ({"type": "id"}, "InvalidSchema", "missing its `tableName`"),
        (tree(["literal", None]), "InvalidSchema", "A literal must be"),
        (tree(["literal", {"$float": "AAAAAAAA8H8="}]), "UnsupportedFloatLiteral", "finite"),
        (tree(["record", "number", "any"]), "InvalidRecordType", "Records can only have string keys."),
        (
            tree(["record", ["literal", "a"], "any"]),
            "InvalidRecordType",
            "Records cannot have string literal keys",
        ),
        (tree(["record", ["union", "string", ["literal", "a"]], "any"]), "InvalidRecordType", "literal keys"),
        (
            {
                "type": "record",
                "keys": tree("string"),
                "values": {"fieldType": tree("any"), "optional": True},
            },
            "InvalidRecordType",
            "optional",
        ),
        (tree({"a-b": "any"}), "InvalidSchema", "Invalid field name `a-b`"),
        (tree({"a" * 65: "any"}), "InvalidSchema", "Invalid field name"),
        (
            tree({"f": {"g": ["record", "null", "any"]}}),
            "InvalidRecordType",
            "Invalid validator for key `f`: Invalid validator for key `g`: Records can only",
        ),
    ],
)
def test_json_that_is_no_validator_is_refused_with_its_code(json: Any, code: str, part: str) -> None:
    with pytest.raises(BackendError) as refused:
        parse_validator(json)
    assert refused.value.code == code
    assert part in refused.value.message


def test_the_old_names_of_any_are_read_as_any() -> None:
    assert parse_validator({"type": "map"}) == parse_validator({"type": "set"}) == validator("any")


def test_arguments_are_declared_by_an_object_or_not_at_all() -> None:
    assert parse_args_validator(tree({"a": "string"})) == validator({"a": "string"})
    assert parse_args_validator(None) == parse_returns_validator(None) == validator("any")
    for shape in ("string", ["union", {"a": "any"}], ["record", "string", "any"]):
        with pytest.raises(BackendError, match="Args validator must be an object or any"):
            parse_args_validator(tree(shape))


def test_a_validated_function_takes_exactly_one_object() -> None:
    declared = validator({"a": "number"})
    assert args_error(declared, [{"a": 1.0}], TABLES) is None
    assert args_error(declared, [], TABLES) == (
        "Expected to receive a single object as the function's argument. Instead received 0 arguments: []"
    )
    assert args_error(declared, ["x", 1.0], TABLES) == (
        "Expected to receive a single object as the function's argument. "
        'Instead received 2 arguments: ["x", 1.0]'
    )
    assert args_error(declared, [[1.0]], TABLES) == (
        "Expected to receive an object as the function's argument. Instead received: [1.0]"
    )
    assert (args_error(declared, [{}], TABLES) or "").startswith("Object is missing the required field `a`.")


def test_a_function_that_declares_nothing_takes_anything() -> None:
    for args in ([], [1.0, 2.0], [None]):
        assert args_error(validator("any"), args, TABLES) is None


SUBSETS: list[tuple[Any, Any]] = [
    ("string", "any"),
    (["literal", "x"], "string"),
    (["literal", 1], "number"),
    (["literal", INT_ONE], "bigint"),
    (["literal", True], "boolean"),
    (["id", "users"], "string"),
    ("boolean", ["union", ["literal", True], ["literal", False]]),
    ("boolean", ["union", ["literal", True], "null", ["union", ["literal", False]]]),
    ("bigint", "commitTs"),
    ("commitTs", "bigint"),
    (["array", ["id", "users"]], ["array", "string"]),
    (["record", ["id", "users"], ["literal", 1]], ["record", "string", "number"]),
    (["union", "string", "null"], ["union", "null", "number", "string"]),
    (["union"], "null"),
    ("null", ["union", "null"]),
    ({"a": "string"}, {"a?": "string"}),
    ({"a": "string"}, {"a": "string", "b?": "number"}),
    ({"a": ["literal", "x"]}, {"a": ["union", "null", "string"]}),
]


@pytest.mark.parametrize(("narrow", "wide"), SUBSETS)
def test_a_narrower_validator_is_a_subset_of_a_wider_one(narrow: Any, wide: Any) -> None:
    assert is_subset(validator(narrow), validator(wide))


NOT_SUBSETS: list[tuple[Any, Any]] = [
    ("any", "string"),
    ("string", ["literal", "x"]),
    ("string", ["id", "users"]),
    (["id", "users"], ["id", "channels"]),
    (["literal", INT_ONE], "number"),
    (["literal", 1], ["literal", INT_ONE]),
    ("boolean", ["union", ["literal", True], "null"]),
    ("bigint", "number"),
    (["array", "string"], ["array", ["literal", "x"]]),
    (["union", "string", "null"], "string"),
    ({"a?": "string"}, {"a": "string"}),
    ({"a": "string"}, {}),
    ({"a": "string"}, {"a": "string", "b": "number"}),
    ({}, {"a": "string"}),
]


@pytest.mark.parametrize(("narrow", "wide"), NOT_SUBSETS)
def test_a_validator_that_accepts_more_is_no_subset(narrow: Any, wide: Any) -> None:
    assert not is_subset(validator(narrow), validator(wide))
