"""The formats in which values may be asked for over HTTP (spec 01 2.4, spec 02 20)."""

from __future__ import annotations

from typing import Any, Final

import orjson

from log.errors import bad_format
from log.value_forms import to_clean_json, to_export_json_bytes
from log.values import loads_canonical

ENCODED, CLEAN, EXPORT = "convex_encoded_json", "json", "export_json"
_FORMATS: Final = {
    ENCODED: ENCODED,
    "convex_json": ENCODED,
    CLEAN: CLEAN,
    "convex_clean_json": CLEAN,
    EXPORT: EXPORT,
}


def format_of(name: Any) -> str:
    """ENCODED, CLEAN or EXPORT, by any of its names; BadFormat for everything else."""
    output = _FORMATS.get(name) if isinstance(name, str) else None
    if output is None:
        raise bad_format(str(name))
    return output


def converted(canonical: bytes, output: str) -> bytes:
    """Canonical bytes in the asked format; the encoded one is what we have (D9)."""
    if output == ENCODED:
        return canonical
    value = loads_canonical(canonical)
    if output == CLEAN:
        return orjson.dumps(to_clean_json(value))
    return to_export_json_bytes(value)
