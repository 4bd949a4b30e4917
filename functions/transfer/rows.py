"""Rows of an uploaded file, read one at a time: JSON lines, a JSON array, CSV (spec 02 18, spec 04 8).

A row is a document with or without its system fields. Rows are numbered from 1; in CSV the header does not
count. Every fault names its row in the specified text. There may be any number of lines; each has a bound, so
that memory does not depend on the file.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from typing import IO, Any

import orjson

from functions.system import transfer_errors as errors
from log import values
from log.errors import BackendError
from log.ids import InvalidId, decode_id
from log.limits import IMPORT_JSON_ARRAY_BYTES_MAX, IMPORT_LINE_BYTES_MAX

Row = tuple[int, dict[str, Any]]
"""The number of a row and its document."""

_BOM = b"\xef\xbb\xbf"
_FLOAT = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE | re.ASCII
)
csv.field_size_limit(IMPORT_LINE_BYTES_MAX)  # 128 KiB otherwise, for the whole process


def json_lines(stream: IO[bytes]) -> Iterator[Row]:
    """One object per line; empty lines are none."""
    number = 0
    while line := stream.readline(IMPORT_LINE_BYTES_MAX + 1):
        number += 1
        if number == 1:
            _refuse_bom(line)
        if len(line) > IMPORT_LINE_BYTES_MAX:
            raise errors.invalid_json_row(number, f"it has more than {IMPORT_LINE_BYTES_MAX} bytes")
        if line.strip():
            yield number, _document(number, _parsed_line(number, line))


def json_array(stream: IO[bytes]) -> Iterator[Row]:
    """The objects of one array, which is read whole and is therefore bounded."""
    text = stream.read(IMPORT_JSON_ARRAY_BYTES_MAX + 1)
    if len(text) > IMPORT_JSON_ARRAY_BYTES_MAX:
        size_bytes = len(text) + sum(len(piece) for piece in iter(lambda: stream.read(1 << 16), b""))
        raise errors.json_array_too_large(size_bytes, IMPORT_JSON_ARRAY_BYTES_MAX)
    _refuse_bom(text)
    _check_utf8(text)
    try:
        tree = orjson.loads(text)
    except orjson.JSONDecodeError as failure:
        raise errors.invalid_json(str(failure)) from None
    if not isinstance(tree, list):
        raise errors.not_a_json_array()
    for number, item in enumerate(tree, start=1):
        yield number, _document(number, item)


def csv_rows(stream: IO[bytes]) -> Iterator[Row]:
    """A header with the names of fields, then cells: numbers where they can be, else strings."""
    text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
    try:
        yield from _csv_documents(csv.reader(text, strict=True))
    except UnicodeDecodeError as failure:
        raise errors.not_utf8(str(failure)) from None
    finally:
        text.detach()  # the stream is its owner's to close


def _csv_documents(reader: Iterator[list[str]]) -> Iterator[Row]:
    header = [name.strip(" ") for name in _next_cells(reader, 0) or ()]
    if not any(header):
        raise errors.csv_without_headers()
    for name in header:
        try:
            values.check_field_name(name)
        except BackendError as refusal:
            raise errors.invalid_csv_header(name, refusal.message) from None
    number = 0
    while True:
        number += 1
        cells = _next_cells(reader, number)
        if cells is None:
            return
        if len(cells) != len(header):
            raise errors.csv_row_length(number)
        yield number, {name: cell_value(cell) for name, cell in zip(header, cells, strict=True)}


def _next_cells(reader: Iterator[list[str]], number: int) -> list[str] | None:
    """The next line with cells; None at the end."""
    try:
        return next((cells for cells in reader if cells), None)
    except csv.Error as failure:
        raise errors.invalid_csv_row(number, str(failure)) from None


def cell_value(cell: str) -> float | str | None:
    """A number if all of the cell is a float literal as Rust has them, null if that number is not finite."""
    if _FLOAT.fullmatch(cell) is None:
        return cell
    number = float(cell)
    return number if math.isfinite(number) else None


# --- documents ----------------------------------------------------------------------------------------


def id_of(number: int, document: dict[str, Any]) -> str | None:
    """The id a row brings along; one that is no id is refused."""
    found = document.get("_id")
    if found is None:
        return None
    try:
        decode_id(found if isinstance(found, str) else "")
    except InvalidId as failure:
        raise errors.invalid_row_id(number, str(failure)) from None
    return found  # type: ignore[no-any-return]


def _parsed_line(number: int, line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as failure:
        _check_utf8(line)
        raise errors.invalid_json_row(number, str(failure)) from None


def _document(number: int, tree: Any) -> dict[str, Any]:
    try:
        document = values.decode(tree)
    except BackendError as refusal:
        raise errors.invalid_row_value(number, refusal.message) from None
    if not isinstance(document, dict):
        raise errors.row_not_an_object(number)
    created_ms = document.get("_creationTime", 0.0)
    if type(created_ms) is not float or not math.isfinite(created_ms):
        raise errors.invalid_row_value(number, "_creationTime must be a number")
    return document


def _refuse_bom(text: bytes) -> None:
    if text.startswith(_BOM):
        raise errors.bom_not_supported()


def _check_utf8(text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError as failure:
        raise errors.not_utf8(str(failure)) from None
