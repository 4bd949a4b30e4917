"""Rows of uploaded files: what each format gives, and the text of every fault."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from typing import IO, Any

import pytest

from functions.transfer.rows import Row, cell_value, csv_rows, id_of, json_array, json_lines
from log import values
from log.errors import BackendError
from log.limits import IMPORT_JSON_ARRAY_BYTES_MAX, IMPORT_LINE_BYTES_MAX

Parse = Callable[[IO[bytes]], Iterator[Row]]


def read(parse: Parse, content: bytes) -> list[Row]:
    return list(parse(io.BytesIO(content)))


def refusal(parse: Parse, content: bytes) -> str:
    with pytest.raises(BackendError) as raised:
        read(parse, content)
    return raised.value.message


def test_lines_are_numbered_as_they_stand_in_the_file_and_empty_ones_are_left_out() -> None:
    content = b'{"a":1}\n\n  \r\n{"b":{"$integer":"AQAAAAAAAAA="}}'
    assert read(json_lines, content) == [(1, {"a": 1.0}), (4, {"b": 1})]
    assert read(json_lines, b"") == []


def test_an_array_gives_its_objects() -> None:
    assert read(json_array, b' [{"a":[null]},{}] ') == [(1, {"a": [None]}), (2, {})]


def test_cells_are_numbers_where_they_can_be_and_strings_elsewhere() -> None:
    content = '\ufeff a , b\r\n1,"x, ""y"""\r\n\r\n,ä\r\n'.encode()
    assert read(csv_rows, content) == [(1, {"a": 1.0, "b": 'x, "y"'}), (2, {"a": "", "b": "ä"})]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1", 1.0),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("+1e3", 1000.0),
        ("1E-2", 0.01),
        ("nan", None),
        ("-Inf", None),
        ("INFINITY", None),
        ("1e999", None),
    ],
)
def test_a_cell_that_rust_reads_as_a_float_is_one(cell: str, value: float | None) -> None:
    assert cell_value(cell) == value


@pytest.mark.parametrize(
    "cell", ["", " 1", "1 ", "1_0", "0x10", ".", "e5", "1e", "1,5", "infinit", "١", "--1"]
)
def test_every_other_cell_is_a_string(cell: str) -> None:
    assert cell_value(cell) == cell


@pytest.mark.parametrize(
    ("parse", "content", "text"),
    [
        (json_lines, b"{}\n3", "Row 2 wasn't an object"),
        (json_lines, b'{"$integer":"AQAAAAAAAAA="}', "Row 1 wasn't an object"),
        (json_lines, b"{}\n{", "Row 2 wasn't valid JSON: "),
        (json_lines, b'{"$x":1}', "Row 1 wasn't a valid Convex value: "),
        (json_lines, b'{"_creationTime":"now"}', "Row 1 wasn't a valid Convex value: "),
        (json_lines, b'{"a":"\xff"}', "Import wasn't valid UTF8: "),
        (json_lines, b"\xef\xbb\xbf{}", "UTF-8 BOM is not supported. Please save your file without BOM."),
        (json_array, b"\xef\xbb\xbf[]", "UTF-8 BOM is not supported. Please save your file without BOM."),
        (json_array, b"{}", "Not a JSON array"),
        (json_array, b"[", "Not valid JSON: "),
        (json_array, b"[{},1]", "Row 2 wasn't an object"),
        (csv_rows, b"", "CSV file doesn't have headers"),
        (csv_rows, b"\n\n", "CSV file doesn't have headers"),
        (csv_rows, b"a,$b\n", 'CSV header "$b" isn\'t a valid field name: '),
        (csv_rows, b"a,b\n1,2\n1\n", "CSV row 2 doesn't have all of the fields in the header"),
        (csv_rows, b"a\n1,2\n", "CSV row 1 doesn't have all of the fields in the header"),
        (csv_rows, b'a\n"x', "Failed to parse CSV row 1: "),
        (csv_rows, b"a\n\xff\n", "Import wasn't valid UTF8: "),
    ],
)
def test_every_fault_has_its_text(parse: Parse, content: bytes, text: str) -> None:
    assert refusal(parse, content).startswith(text)


def test_an_array_or_a_line_is_refused_when_it_is_one_byte_too_long() -> None:
    fits = b"[" + b" " * (IMPORT_JSON_ARRAY_BYTES_MAX - 2) + b"]"
    assert read(json_array, fits) == []
    expected = f"Import is too large for JSON ({len(fits) + 1} bytes > maximum {len(fits)}). "
    assert refusal(json_array, fits + b" ") == expected + "Consider converting data to JSONLines"
    line = b"{}" + b" " * (IMPORT_LINE_BYTES_MAX - 3) + b"\n"
    assert read(json_lines, line * 2) == [(1, {}), (2, {})]
    assert refusal(json_lines, b" " + line).startswith("Row 1 wasn't valid JSON: ")


@pytest.mark.parametrize("found", ["", "nothing", 7.0])
def test_an_id_that_is_none_is_refused(found: Any) -> None:
    with pytest.raises(BackendError, match="Row 3 has an _id that is none"):
        id_of(3, {"_id": found})


def test_documents_that_were_exported_are_read_back_as_they_were() -> None:
    seed = 7
    rng = random.Random(seed)
    scalars: list[Any] = [None, True, 1.5, -0.0, float("inf"), 7, -(2**63), b"\x00\xff", "ä\n\u2028", ""]
    documents = [
        {f"f{n}": [rng.choice(scalars), {"g": rng.choice(scalars)}] for n in range(rng.randrange(4))}
        for _ in range(200)
    ]
    lines = b"".join(values.dumps(document) + b"\n" for document in documents)
    found = [document for _, document in read(json_lines, lines)]
    assert all(map(values.same, found, documents)), f"seed {seed}"
