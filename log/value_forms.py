"""How a value is shown to people and to programs that do not speak Convex JSON. All of it loses something.

`display` is for error texts (spec 03 3.8), `to_clean_json` and `to_export_json_bytes` are the result formats
"json" and "export_json" (spec 01 2.4). What must be read back goes through `log/values.py` instead.
"""

from __future__ import annotations

import math
import re
from base64 import b64encode
from typing import Any, Final

import orjson

from log.value_json import encode
from log.value_types import COMMIT_TS, UNDEFINED, Operand, Value

_BARE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def display(value: Operand) -> str:
    """One line for error texts: `{a: 1.0, b: "x", n: 5}`, fields in order (spec 03 3.8).

    How bytes and unusual field names print is not specified; ours cannot be mistaken for a string.
    """
    if value is UNDEFINED:
        return "undefined"
    if value is COMMIT_TS:
        return "[unresolved commit timestamp]"  # as the npm package prints it
    if type(value) is int:
        return str(value)
    if type(value) is float:
        return _display_float(value)
    if type(value) is bytes:
        return f"Bytes({b64encode(value).decode()})"
    if type(value) is list:
        return "[" + ", ".join(map(display, value)) + "]"
    if type(value) is dict:
        return (
            "{" + ", ".join(f"{_display_name(name)}: {display(value[name])}" for name in sorted(value)) + "}"
        )
    return orjson.dumps(value).decode()


def to_clean_json(value: Value) -> Any:
    """A JSON tree anybody can read, types lost: int64 and special floats become strings (spec 01 2.4)."""
    if type(value) is int:
        return str(value)
    if type(value) is float:
        return value if math.isfinite(value) else _special_name(value)
    if type(value) is bytes:
        return b64encode(value).decode()
    if type(value) is list:
        return [to_clean_json(item) for item in value]
    if type(value) is dict:
        return {name: to_clean_json(item) for name, item in value.items()}
    return value


def to_export_json_bytes(value: Value) -> bytes:
    """JSON text in which 5 is an int64 and 5.0 a float64 (spec 01 2.4), which no tree can say."""
    return orjson.dumps(_export_tree(value), option=orjson.OPT_SORT_KEYS)


def _export_tree(value: Value) -> Any:
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return value
    if type(value) is list:
        return [_export_tree(item) for item in value]
    if type(value) is dict:
        return {name: _export_tree(item) for name, item in value.items()}
    return encode(value)


def _display_float(number: float) -> str:
    return orjson.dumps(number).decode() if math.isfinite(number) else _special_name(number)


def _special_name(number: float) -> str:
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def _display_name(name: str) -> str:
    return name if _BARE_NAME.fullmatch(name) else orjson.dumps(name).decode()
