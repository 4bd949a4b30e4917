"""Positions of a bundle translated to positions of the sources (source map revision 3).

The lookup takes the engine's 1-based line and column as if they were 0-based and prints the token's
0-based position: that is how the reference numbers frames (spec 03 3.6), and tests of apps compare them.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import orjson

_BASE64 = {
    character: digit
    for digit, character in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
}


class SourceMap:
    """A parsed map; `find` is the greatest token at or before a position."""

    def __init__(self, text: str) -> None:
        tree: dict[str, Any] = orjson.loads(text)
        self._sources: list[str] = tree.get("sources", [])
        self._generated: list[tuple[int, int]] = []
        self._original: list[tuple[int, int, int]] = []
        self._parse(tree.get("mappings", ""))

    def find(self, line: int, column: int) -> tuple[str, int, int] | None:
        """(source file, line, column) for a generated position, or None without a token."""
        position = bisect_right(self._generated, (line, column)) - 1
        if position < 0:
            return None
        source, original_line, original_column = self._original[position]
        if not 0 <= source < len(self._sources):
            return None
        return self._sources[source], original_line, original_column

    def _parse(self, mappings: str) -> None:
        source = original_line = original_column = 0
        for generated_line, line in enumerate(mappings.split(";")):
            generated_column = 0
            for segment in line.split(",") if line else ():
                fields = _decode_vlq(segment)
                generated_column += fields[0]
                if len(fields) >= 4:
                    source += fields[1]
                    original_line += fields[2]
                    original_column += fields[3]
                    self._generated.append((generated_line, generated_column))
                    self._original.append((source, original_line, original_column))


def _decode_vlq(segment: str) -> list[int]:
    fields, value, shift = [], 0, 0
    for character in segment:
        digit = _BASE64[character]
        value |= (digit & 31) << shift
        if digit & 32:
            shift += 5
        else:
            fields.append(-(value >> 1) if value & 1 else value >> 1)
            value, shift = 0, 0
    return fields
