"""The trace a request belongs to: the header `traceparent` of W3C Trace Context, level 1. Pure.

`00-<trace id: 32 hex digits>-<parent id: 16>-<flags: 2>`, lower case. Versions to come may add parts after a
dash. What is malformed is as good as absent (the standard's 3.2.2): tracing must never fail a call.
"""

from __future__ import annotations

import re

_FORM = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?", re.DOTALL)
_VERSION_NOW, _VERSION_INVALID = b"00", b"ff"
_NO_TRACE, _NO_PARENT = b"0" * 32, b"0" * 16


def trace_id_of(header: bytes) -> str:
    """32 hexadecimal digits, or "" for a header that is not valid."""
    matched = _FORM.fullmatch(header.strip(b" \t"))
    if matched is None:
        return ""
    version, trace_id, parent_id, more = matched.groups()
    if version == _VERSION_INVALID or (version == _VERSION_NOW and more is not None):
        return ""
    return "" if trace_id == _NO_TRACE or parent_id == _NO_PARENT else trace_id.decode()
