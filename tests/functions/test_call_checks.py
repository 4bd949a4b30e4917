"""What is checked of arguments and results, at the limit and one above it (spec 03 1.6, 4)."""

from __future__ import annotations

import dataclasses

import orjson
import pytest

from functions.call_checks import Invocation, Refused, checked_args, checked_result
from functions.catalog import AnalysedFunction, Catalog
from functions.path import parse_function_path
from functions.validators import parse_args_validator, parse_returns_validator
from log import values
from log.identity import UNKNOWN

from ..support.memory_database import MemoryDatabase
from ..support.validators import tree

MIB = 1 << 20
PATH = parse_function_path("dir/mod:f")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return MemoryDatabase().catalog


def declared(args: object = None, returns: object = None) -> AnalysedFunction:
    return AnalysedFunction(
        name="f",
        udf_type="Query",
        is_public=True,
        args=parse_args_validator(args),
        returns=parse_returns_validator(returns),
    )


def args_refusal(catalog: Catalog, args: bytes, function: AnalysedFunction) -> str:
    with pytest.raises(Refused) as refused:
        checked_args(catalog, Invocation(PATH, "Query", args, UNKNOWN), function)
    return refused.value.message


def result_refusal(catalog: Catalog, text: bytes, function: AnalysedFunction) -> str:
    with pytest.raises(Refused) as refused:
        checked_result(PATH, "Query", 0, function, catalog, text)
    return refused.value.message


def of_size(size_bytes: int, around: int) -> str:
    """A text that makes the value around it, `around` bytes when it is empty, so large."""
    return "x" * (size_bytes - around)


def test_arguments_may_have_16_mib_and_not_a_byte_more(catalog: Catalog) -> None:
    around = values.size_of([{"text": ""}])
    held = [{"text": of_size(16 * MIB, around)}]
    call = Invocation(PATH, "Query", orjson.dumps(held), UNKNOWN)
    assert checked_args(catalog, call, declared()) == orjson.dumps(held)
    refused = orjson.dumps([{"text": of_size(17 * MIB, around)}])
    assert args_refusal(catalog, refused, declared()) == (
        "Arguments for dir/mod.js:f are too large (actual: 17 MiB, limit: 16 MiB)"
    )


def test_a_result_may_have_16_mib_and_not_a_byte_more(catalog: Catalog) -> None:
    around = values.size_of("")
    held = orjson.dumps(of_size(16 * MIB, around))
    assert checked_result(PATH, "Query", 0, declared(), catalog, held) == held
    refused = orjson.dumps(of_size(17 * MIB, around))
    assert result_refusal(catalog, refused, declared()) == (
        "Function dir/mod.js:f return value is too large (actual: 17 MiB, limit: 16 MiB)"
    )


def test_what_is_no_value_is_refused_by_the_name_of_the_function(catalog: Catalog) -> None:
    assert args_refusal(catalog, b'[{"$bad":1}]', declared()).startswith(
        "Invalid arguments for dir/mod.js:f: Field name $bad starts with"
    )
    assert result_refusal(catalog, b'{"$bad":1}', declared()).startswith(
        "Function dir/mod.js:f return value invalid: Field name $bad starts with"
    )


def test_validators_name_what_they_validate(catalog: Catalog) -> None:
    function = declared(args=tree({"a": "string"}), returns=tree("string"))
    assert args_refusal(catalog, b'[{"a":1}]', function).startswith(
        "ArgumentValidationError: Value does not match validator.\nPath: .a\n"
    )
    assert result_refusal(catalog, b"1", function).startswith(
        "ReturnsValidationError: Value does not match validator.\n"
    )
    anything = dataclasses.replace(function, returns=parse_returns_validator(None))
    assert checked_result(PATH, "Query", 0, anything, catalog, b"1") == values.dumps(1.0)
