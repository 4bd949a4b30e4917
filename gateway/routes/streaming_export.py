"""What connectors ask for to copy the database elsewhere (spec 02 20): a snapshot, and what came after it.

A read-only key may do all of it. The arguments come in the address, or as JSON; what they mean is decided by
the backend, whose bytes are the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quart import Blueprint, Response, request

from gateway.core import GatewayCore
from gateway.http import HttpRequest
from gateway.http_calls import encode_object
from gateway.identity import require_admin
from gateway.routes.deploy import read_admin_body
from gateway.routes.functions import json_response
from log import errors

_TEXTS = ("tableName", "component", "format", "selection")
_FLAGS = ("deltaSchema", "byComponent")
_TS_DIGITS_MAX = 19
_TIMESTAMPS = {
    "list_snapshot": ("snapshot",),
    "document_deltas": ("cursor",),
    "json_schemas": (),
    "get_table_column_names": (),
}
"""The operations, and which of their arguments are numbers."""


def streaming_export_routes(core: GatewayCore) -> Blueprint:
    routes = Blueprint("streaming_export", __name__, url_prefix="/api")

    def add(operation: str) -> None:
        async def handle() -> Response:
            if request.method == "POST":
                fields, identity = await read_admin_body(core)
            else:
                identity = require_admin(core.settings, await core.identify(HttpRequest(request.scope)))
                fields = _arguments(request.args, _TIMESTAMPS[operation])
            return json_response(await core.backend.admin(operation, encode_object(fields), identity))

        routes.add_url_rule(f"/{operation}", endpoint=operation, view_func=handle, methods=["GET", "POST"])

    for operation in _TIMESTAMPS:
        add(operation)

    @routes.route("/test_streaming_export_connection", methods=["GET", "POST"])
    async def test_connection() -> Response:
        require_admin(core.settings, await core.identify(HttpRequest(request.scope)))
        return Response(b"")

    return routes


def _arguments(given: Mapping[str, str], timestamps: tuple[str, ...]) -> dict[str, Any]:
    """The known ones, as JSON would have them; an admin key that came among them goes no further."""
    texts = (*_TEXTS, *(() if "cursor" in timestamps else ("cursor",)))
    arguments: dict[str, Any] = {name: given[name] for name in texts if name in given}
    arguments.update({name: _timestamp(name, given[name]) for name in timestamps if name in given})
    arguments.update({name: _flag(name, given[name]) for name in _FLAGS if name in given})
    return arguments


def _timestamp(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _TS_DIGITS_MAX):
        raise errors.bad_query_args(f"`{name}` must be a timestamp in nanoseconds")
    return int(text)


def _flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise errors.bad_query_args(f"`{name}` must be true or false")
    return text == "true"
