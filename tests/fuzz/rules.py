"""What every answer must be, whatever was asked (spec 01 2.2; docs/reference/errors.md). Pure."""

from __future__ import annotations

import re
from functools import cache

import orjson

from ..test_docs import read, table_rows
from .requests import FuzzRequest
from .site import Answered

STATUSES = frozenset({200, 206, 308, 400, 401, 403, 404, 405, 408, 409, 413, 416, 429, 503})
EMPTY = frozenset({400, 404, 405, 408, 413, 416})
"""Statuses that may come without a body: they say it all."""
_FUNCTION_FAILURE = re.compile(r"\[Request ID: [^\]]*\] Server Error")


@cache
def documented_codes() -> frozenset[str]:
    return frozenset(row[0] for row in table_rows(read("reference/errors.md")))


def fault_of(request: FuzzRequest, answered: Answered) -> str | None:
    """What is wrong with an answer; None: nothing."""
    status = answered.status
    if status is None:
        return answered.failure
    if status == 500:
        return None if _may_fail(request, answered) else "500 where the specification has none"
    if status not in STATUSES:
        return f"{status} is none of the specified statuses"
    if status < 400 or (not answered.body and status in EMPTY) or request.method == "HEAD":
        return None
    if request.path.startswith("/http/") and answered.headers.get(b"content-type", b"").startswith(b"text/"):
        return None  # there is no such route, or no router
    return _fault_of_refusal(answered.body)


def _fault_of_refusal(body: bytes) -> str | None:
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError:
        return f"a refusal that is no JSON: {body[:200]!r}"
    if not isinstance(tree, dict) or not isinstance(tree.get("message"), str):
        return f"a refusal without code and message: {body[:200]!r}"
    code = tree.get("code")
    return None if code in documented_codes() else f"{code!r} is no documented code"


def _may_fail(request: FuzzRequest, answered: Answered) -> bool:
    """500 as the specification has it: a ts that cannot be read (spec 01 2.3), a component named by who may
    not (spec 01 4.4), and an HTTP action that failed (spec 03 3.7)."""
    if request.path.startswith("/http/"):
        return _FUNCTION_FAILURE.search(answered.body.decode("utf-8", "replace")) is not None
    return request.path in ("/api/query_at_ts", "/api/function")
