"""Function calls over HTTP: request bodies to calls, outcomes to envelopes (spec 01 2.3, 2.4). Pure.

A function's failure is an envelope with status 200; only a request-level refusal raises. The format is
checked before the function runs, so a mutation is never committed and then answered with BadFormat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import orjson

from functions.path import parse_function_path
from gateway.backend import FunctionOutcome
from gateway.client_version import ClientVersion
from gateway.status import function_error_text
from log import errors
from log.result_formats import converted, format_of


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A checked function call; `path` is canonical, `args` JSON array text with sorted keys."""

    path: str
    args: bytes
    format: str
    component: str = ""


def check_json_content_type(content_type: str | None) -> None:
    """JSON bodies must say so (spec 01 2.1)."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    is_json = media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )
    if not is_json:
        raise errors.bad_json_body("Expected request with `Content-Type: application/json`")


def parse_json_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as failure:
        raise errors.bad_json_body(f"Failed to parse the request body as JSON: {failure}") from None
    if not isinstance(parsed, dict):
        raise errors.bad_json_body("The request body must be a JSON object")
    return parsed


def encode_object(fields: Mapping[str, Any]) -> bytes:
    """What came as JSON, as JSON again: it may be nested deeper than anything may that is passed on."""
    try:
        return orjson.dumps(fields)
    except orjson.JSONEncodeError as failure:
        raise errors.bad_json_body(f"The request body cannot be passed on: {failure}") from None


def parse_call(fields: Mapping[str, Any], client: ClientVersion) -> HttpCall:
    """`{path, args, format?, componentPath?}` as it came in a body or in a batch."""
    path, component = fields.get("path"), fields.get("componentPath")
    if not isinstance(path, str):
        raise errors.bad_json_body("missing field `path`: a string such as module:function")
    if component is not None and not isinstance(component, str):
        raise errors.bad_json_body("`componentPath` must be a string")
    output = parse_format(fields.get("format"), client)
    return HttpCall(
        parse_function_path(path).canonical, encode_args(fields.get("args")), output, component or ""
    )


def parse_query_string_call(query_string: bytes, client: ClientVersion) -> HttpCall:
    """GET /api/query: path, args (JSON text) and format as parameters."""
    try:
        parameters = {name: found[-1] for name, found in parse_qs(query_string.decode()).items()}
        args = orjson.loads(parameters["args"]) if "args" in parameters else {}
    except ValueError as failure:
        raise errors.bad_query_args(f"`args` must be JSON text: {failure}") from None
    if "path" not in parameters:
        raise errors.bad_query_args("missing parameter `path`")
    return parse_call({**parameters, "args": args}, client)


def parse_format(name: Any, client: ClientVersion) -> str:
    return client.default_format if name is None else format_of(name)


def encode_args(args: Any) -> bytes:
    """An object stands for one argument; an array is the legacy list of all of them."""
    if isinstance(args, dict):
        args = [args]
    if not isinstance(args, list):
        raise errors.bad_json_body("`args` must be an object or an array")
    try:
        return orjson.dumps(args, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as failure:  # nested deeper than any value may be
        raise errors.bad_json_body(f"`args` cannot be a value: {failure}") from None


def envelope(outcome: FunctionOutcome, output: str, request_id: str, *, redact: bool) -> bytes:
    """The answer of one call. logLines is left out when empty, errorData when it is no ConvexError."""
    parts: list[bytes]
    if outcome.error is None:
        parts = [b'{"status":"success","value":', converted(outcome.value or b"null", output)]
    else:
        text = function_error_text(request_id, outcome.error.message, redact)
        parts = [b'{"status":"error","errorMessage":', orjson.dumps(text)]
        if outcome.error.data is not None:
            parts += [b',"errorData":', converted(outcome.error.data, output)]
    if outcome.log_lines != b"[]" and not redact:
        parts += [b',"logLines":', outcome.log_lines]
    parts.append(b"}")
    return b"".join(parts)
