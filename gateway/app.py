"""The gateway's application: Quart for everything that is not hot, `HotRoutes` in front (design D18)."""

from __future__ import annotations

from typing import cast

import orjson
from quart import Quart, Response, request
from werkzeug.exceptions import BadHost, HTTPException

from gateway.core import GatewayCore
from gateway.hot_routes import HotRoutes
from gateway.http import App, HttpRequest, Receive, Scope, Send, answer
from gateway.identity import READER_OPERATIONS, require_admin
from gateway.routes.app_metrics import app_metrics_routes
from gateway.routes.data import DataRoutes
from gateway.routes.deploy import deploy_routes
from gateway.routes.files import FileRoutes
from gateway.routes.functions import function_routes, json_response
from gateway.routes.health import health_routes
from gateway.routes.inline_query import inline_query_routes
from gateway.routes.logs import log_routes
from gateway.routes.metrics import metrics_routes
from gateway.routes.streaming_export import streaming_export_routes
from gateway.status import http_answer
from log import errors
from log.blob_store import BlobStore
from log.errors import BackendError
from log.limits import HTTP_ECHO_BODY_BYTES_MAX, HTTP_PUSH_BODY_BYTES_MAX, HTTP_REQUEST_SECONDS_MAX

_RUNNING = "This Convex deployment is running. See https://docs.convex.dev/."

# Known to Convex, unknown to us: answered at once with 400, because the CLI repeats a 404 for 31 seconds
# (spec 02 1). Each is the first part of an address below /api.
_UNBUILT = {
    "actions": "The callback API of Node actions",
    "app_metrics": "The metrics API",
    "get_indexes": "Listing indexes",
    "import": "Importing data in one request",
    "stream_udf_execution": "The old log stream",
    "streaming_import": "Streaming import",
    "v1": "This platform API",
}


def build_app(core: GatewayCore, blobs: BlobStore | None = None) -> HotRoutes:
    """The ASGI application of the API port; without a store of blobs it knows no files."""
    rest = _refusing_bad_hosts(cast(App, ordinary_routes(core)))
    if blobs is not None:
        rest = FileRoutes(core, blobs, DataRoutes(core, blobs, rest))
    return HotRoutes(core, rest)


def ordinary_routes(core: GatewayCore) -> Quart:
    """Everything that is neither hot nor of any size."""
    app = Quart("gateway", static_folder=None)
    app.url_map.merge_slashes = False  # an address is what it says: none leads to another
    app.config["MAX_CONTENT_LENGTH"] = max(HTTP_PUSH_BODY_BYTES_MAX, HTTP_ECHO_BODY_BYTES_MAX)
    app.config["BODY_TIMEOUT"] = HTTP_REQUEST_SECONDS_MAX
    app.config["RESPONSE_TIMEOUT"] = HTTP_REQUEST_SECONDS_MAX
    app.register_blueprint(health_routes(core))
    app.register_blueprint(function_routes(core))
    app.register_blueprint(deploy_routes(core))
    app.register_blueprint(log_routes(core))
    app.register_blueprint(metrics_routes(core))
    app.register_blueprint(app_metrics_routes(core))
    app.register_blueprint(inline_query_routes(core))
    app.register_blueprint(streaming_export_routes(core))
    _add_probes(app, core)
    _add_unbuilt(app)
    _add_error_answers(app)
    return app


def _refusing_bad_hosts(app: App) -> App:
    """Quart reads the Host header before it can refuse anything: one that names no host ends here."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except BadHost:
            await answer(send, 400, b"", [])

    return serve


def _add_probes(app: Quart, core: GatewayCore) -> None:
    """Addresses that tell whether and what we are (spec 01 2.5)."""

    @app.get("/")
    async def running() -> Response:
        return Response(_RUNNING, content_type="text/plain; charset=utf-8")

    @app.get("/instance_name")
    async def instance_name() -> Response:
        return Response(core.settings.instance_name, content_type="text/plain; charset=utf-8")

    @app.get("/instance_version")
    async def instance_version() -> Response:
        return Response(core.settings.server_version, content_type="text/plain; charset=utf-8")

    @app.get("/.well-known/jwks.json")
    async def key_set() -> Response:
        from log.token_signer import public_key_set  # with a library that most gateways never need

        keys = public_key_set(core.settings.instance_secret)
        return Response(orjson.dumps(keys), content_type="application/json")

    @app.post("/echo")
    async def echo() -> Response:
        body = await request.get_data(as_text=False)
        if len(body) > HTTP_ECHO_BODY_BYTES_MAX:
            raise errors.body_too_large(HTTP_ECHO_BODY_BYTES_MAX)
        return Response(body, content_type="application/octet-stream")

    @app.get("/api/check_admin_key")
    async def check_admin_key() -> Response:
        admin = require_admin(core.settings, await core.identify(HttpRequest(request.scope)))
        allowed = [] if admin.may_write else READER_OPERATIONS  # an empty list: everything (spec 02 21)
        answer = {"success": True, "allowedOps": allowed, "isReadOnly": not admin.may_write}
        return json_response(orjson.dumps(answer))


def _add_unbuilt(app: Quart) -> None:
    @app.route("/api/<path:rest>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def unbuilt(rest: str) -> Response:
        what = _UNBUILT.get(rest.partition("/")[0])
        if what is None and not HttpRequest(request.scope).client.reads_structured_logs:
            return Response(b"", 404)
        raise errors.not_supported_yet(what or f"The operation {rest}")  # nothing the CLI asks is a 404


def _add_error_answers(app: Quart) -> None:
    @app.errorhandler(BackendError)
    async def refuse(refusal: BackendError) -> Response:
        status, body = http_answer(refusal)
        return json_response(body, status)

    @app.errorhandler(HTTPException)
    async def refuse_empty(refusal: HTTPException) -> Response:
        """Unknown routes and methods, over-long bodies: the status says it all (spec 01 2.2)."""
        return Response(b"", refusal.code or 500)

    @app.errorhandler(Exception)
    async def fail(failure: Exception) -> Response:
        app.logger.exception("a request failed", exc_info=failure)
        status, body = http_answer(errors.internal_server_error())
        return json_response(body, status)
