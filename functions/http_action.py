"""Requests of HTTP actions as JavaScript gets them, and how such a call is entered (spec 03 5.4)."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, replace
from typing import Any

import orjson

from functions.action import ActionContext, PreparedAction
from functions.call_checks import Invocation, Refused, check_not_paused
from functions.catalog import Catalog
from functions.http_routing import HTTP_MODULE, route
from functions.images import Images
from functions.invocation import RunOutcome
from functions.isolate import CallRequest
from functions.outcome import refusal
from functions.path import FunctionPath
from functions.snapshot import SnapshotReader
from log import limits
from log.identity import NO_REQUESTER, UNKNOWN, Identity, Requester

_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS")
NO_ROUTE = b"false"
"""What the run of a request returns that no route takes; its response is the host's."""


@dataclass(frozen=True, slots=True)
class HttpActionRequest:
    """One request, with what came of its body so far. `identity_error` is (code, text) when its Authorization
    names nobody: only who asks for the identity hears of it (spec 01 2.7)."""

    method: str
    url: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    has_more_body: bool
    identity_kind: str
    identity_attributes: bytes | None
    identity_error: tuple[str, str] | None
    request_id: str
    requester_fields: tuple[str | None, ...] = NO_REQUESTER

    @property
    def requester(self) -> Requester:
        return Requester(*self.requester_fields)

    @property
    def has_body(self) -> bool:
        return self.method not in _WITHOUT_BODY and (bool(self.body) or self.has_more_body)

    @property
    def json(self) -> bytes:
        """The argument of `router.runRequest`. A small body that is there goes with it, which saves most
        calls the question; any other is asked for piece by piece."""
        stream_id = "request" if self.has_body else None
        facts = {"method": self.method, "url": self.url, "path": self.path, "headerPairs": self.headers}
        if self.has_body and not self.has_more_body and len(self.body) <= limits.HTTP_ACTION_PIECE_BYTES:
            facts["body"] = b64encode(self.body).decode("ascii")
        return orjson.dumps({**facts, "streamId": stream_id, "signal": "request"})


def prepare_http_action(
    images: Images,
    catalog: Catalog,
    snapshot: SnapshotReader,
    request: HttpActionRequest,
    deployment: dict[str, Any],
    seed: bytes,
    now_ms: float,
) -> PreparedAction | RunOutcome | None:
    """The call of the router that answers, the app's or a component's; None when nobody does; the outcome of
    one that is refused. A component is not told who calls (spec 03 5.5)."""
    routed = route(catalog, request.method, request.path)
    if routed is None:
        return None
    try:
        check_not_paused(catalog)
    except Refused as refused:
        return RunOutcome(None, refusal(refused.message), "HttpAction")
    catalog, component = routed.catalog, routed.catalog.component
    identity = Identity(request.identity_kind, request.identity_attributes) if component.is_app else UNKNOWN
    call = Invocation(
        path=FunctionPath(HTTP_MODULE, "default"),
        udf_type="HttpAction",
        args=b"",
        identity=identity,
        component=component.path,
        request_id=request.request_id,
        requester=request.requester,
        may_call_internal=True,
    )
    entry = CallRequest(
        operation="http",
        target=(HTTP_MODULE, "default", "action"),
        args_json=replace(request, path=routed.path).json,
        now_ms=now_ms,
        seed=seed,
        user_seconds_max=limits.ACTION_SECONDS_MAX,
    )
    context = ActionContext(call, deployment, request.identity_error if component.is_app else None)
    return PreparedAction(context, None, catalog, images.image_of(catalog, snapshot), entry)
