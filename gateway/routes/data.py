"""Data in and out over HTTP: exports are downloaded, imports uploaded and performed (spec 02 18, 19).

Plain ASGI for the same reason as files (routes/files.py): bodies of any size in constant memory. Everything
here is for admins. Refusals are raised, for `HotRoutes` to answer.

An upload comes in parts, each a blob whose key its signed token holds: nothing is remembered here between two
requests. When all are there they become one blob, durable BEFORE its import is asked for.

Read in this order: DataRoutes.__call__, _ROUTES at the end, _download_export, _finish_upload.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import orjson

from gateway import http
from gateway.blob_transfer import receive_blob, send_pieces
from gateway.core import GatewayCore
from gateway.http import Headers, HttpRequest, Receive, Scope, Send
from gateway.http_calls import encode_object, parse_json_object
from gateway.identity import require_admin
from log import errors
from log.blob_store import BlobMissing, BlobStore
from log.identity import Identity
from log.limits import IMPORT_PART_BYTES_MAX, IMPORT_PARTS_MAX
from log.secrets import seal, unseal

logger = logging.getLogger(__name__)

_ZIP = (b"content-type", b"application/zip")
_UPLOAD, _PART = "import-upload", "import-part"
_PART_DIGITS_MAX = 4
_CACHE = (b"cache-control", b"private, max-age=2592000")


class DataRoutes:
    """The ASGI application of the addresses in `_ROUTES`; `rest` serves everything else."""

    def __init__(self, core: GatewayCore, blobs: BlobStore, rest: http.App) -> None:
        self._core, self._blobs, self._rest = core, blobs, rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _route_of(scope)
        if found is None:
            await self._rest(scope, receive, send)
            return
        (handle, writes), last_part = found
        request = HttpRequest(scope)
        identity = require_admin(self._core.settings, await self._core.identify(request), writes)
        await handle(self, _Asked(request, last_part, identity, receive, send))

    # --- exports ------------------------------------------------------------------------------------

    async def _request_export(self, asked: _Asked) -> None:
        fields = {
            "includeStorage": asked.parameter("includeStorage") == "true",
            "component": asked.parameter("component"),
        }
        await self._operate("request_export", fields, asked)
        await http.answer(asked.send, 200, b"", [])

    async def _cancel_export(self, asked: _Asked) -> None:
        await self._operate("cancel_export", {"id": asked.last_part}, asked)
        await http.answer(asked.send, 200, b"", [])

    async def _set_export_expiration(self, asked: _Asked) -> None:
        body = parse_json_object(await http.read_body(asked.receive))
        await self._operate("set_export_expiration", {**body, "id": asked.last_part}, asked)
        await http.answer(asked.send, 200, b"", [])

    async def _download_export(self, asked: _Asked) -> None:
        found = await self._operate("locate_export", {"snapshot": asked.last_part}, asked)
        try:
            opened = await asyncio.to_thread(self._blobs.open, found["storageKey"])
        except BlobMissing:
            logger.warning("the blob %s of an export is not there", found["storageKey"])
            raise errors.internal_server_error() from None
        try:
            headers = self._export_headers(found)
            await asked.send({"type": "http.response.start", "status": 200, "headers": headers})
            await send_pieces(opened, found["size"], asked.receive, asked.send)
        finally:
            await asyncio.to_thread(opened.close)

    def _export_headers(self, found: dict[str, Any]) -> Headers:
        """The CLI takes everything behind `filename=` for the name, so it is not quoted."""
        name = f"snapshot_{self._core.settings.instance_name}_{found['startTs']}.zip"
        disposition = f"attachment; filename={name}".encode()
        length = b"%d" % found["size"]
        return [(b"content-length", length), (b"content-disposition", disposition), _CACHE, _ZIP]

    # --- imports ------------------------------------------------------------------------------------

    async def _start_upload(self, asked: _Asked) -> None:
        token = seal(self._core.settings.instance_secret, _UPLOAD, os.urandom(16))
        await http.answer(asked.send, 200, orjson.dumps({"uploadToken": token}), [http.JSON])

    async def _upload_part(self, asked: _Asked) -> None:
        upload_id = self._upload_id(asked.parameter("uploadToken"))
        number = asked.parameter("partNumber") or ""
        if not (
            number.isdecimal() and len(number) <= _PART_DIGITS_MAX and 1 <= int(number) <= IMPORT_PARTS_MAX
        ):
            raise errors.bad_query_args(f"`partNumber` must be between 1 and {IMPORT_PARTS_MAX}.")
        blob = await receive_blob(self._blobs, asked.receive, IMPORT_PART_BYTES_MAX)
        part = orjson.dumps([upload_id, int(number), blob.key])
        token = seal(self._core.settings.instance_secret, _PART, part)
        await http.answer(asked.send, 200, orjson.dumps(token), [http.JSON])

    async def _finish_upload(self, asked: _Asked) -> None:
        body = parse_json_object(await http.read_body(asked.receive))
        upload_id, tokens = self._upload_id(body.get("uploadToken")), body.get("partTokens")
        if not isinstance(tokens, list) or not isinstance(body.get("import"), dict):
            raise errors.bad_json_body("an upload has `import` and `partTokens`")
        keys = self._part_keys(upload_id, tokens)
        key = await asyncio.to_thread(_joined, self._blobs, keys)
        fields = {"import": body["import"], "objectKey": key}
        answer = await self._operate("create_import", fields, asked)
        await http.answer(asked.send, 200, orjson.dumps(answer), [http.JSON])

    def _upload_id(self, token: Any) -> str:
        found = unseal(self._core.settings.instance_secret, _UPLOAD, token if isinstance(token, str) else "")
        if found is None:
            raise errors.bad_upload_token()
        return found.hex()

    def _part_keys(self, upload_id: str, tokens: list[Any]) -> list[str]:
        """The blobs of the parts in the order of their numbers, which must be those from 1 on."""
        parts = {}
        for token in tokens:
            part = unseal(self._core.settings.instance_secret, _PART, token if isinstance(token, str) else "")
            owner, number, key = orjson.loads(part) if part is not None else ("", 0, "")
            if owner != upload_id:
                raise errors.bad_upload_token()
            parts[number] = key
        if sorted(parts) != list(range(1, len(tokens) + 1)):
            raise errors.bad_json_body("the parts of an upload have the numbers from 1 on")
        return [parts[number] for number in sorted(parts)]

    async def _perform_import(self, asked: _Asked) -> None:
        await self._operate_on_body("perform_import", asked)

    async def _cancel_import(self, asked: _Asked) -> None:
        await self._operate_on_body("cancel_import", asked)

    async def _operate_on_body(self, name: str, asked: _Asked) -> None:
        body = parse_json_object(await http.read_body(asked.receive))
        await self._operate(name, body, asked)
        await http.answer(asked.send, 200, b"", [])

    # --- the backend --------------------------------------------------------------------------------

    async def _operate(self, name: str, fields: dict[str, Any], asked: _Asked) -> Any:
        return orjson.loads(await self._core.backend.admin(name, encode_object(fields), asked.identity))


class _Asked:
    """One request to a route: what of its address varies, who asks, and how it is answered."""

    __slots__ = ("identity", "last_part", "receive", "request", "send")

    def __init__(
        self, request: HttpRequest, last_part: str, identity: Identity, receive: Receive, send: Send
    ) -> None:
        self.request, self.last_part, self.identity = request, last_part, identity
        self.receive, self.send = receive, send

    def parameter(self, name: str) -> str | None:
        return parse_qs(self.request.query_string.decode("latin-1")).get(name, [None])[-1]


_Handler = Callable[[DataRoutes, _Asked], Awaitable[None]]

_CREATE, _DELETE, _IMPORT = "CreateBackups", "DeleteBackups", "ImportBackups"
_Route = tuple[_Handler, str | None]

_ROUTES: dict[tuple[str, str], _Route] = {
    ("POST", "/api/export/request/zip"): (DataRoutes._request_export, _CREATE),
    ("GET", "/api/export/zip/*"): (DataRoutes._download_export, None),
    ("POST", "/api/import/start_upload"): (DataRoutes._start_upload, _IMPORT),
    ("POST", "/api/import/upload_part"): (DataRoutes._upload_part, _IMPORT),
    ("POST", "/api/import/finish_upload"): (DataRoutes._finish_upload, _IMPORT),
    ("POST", "/api/perform_import"): (DataRoutes._perform_import, _IMPORT),
    ("POST", "/api/cancel_import"): (DataRoutes._cancel_import, _IMPORT),
    ("POST", "/api/export/cancel/*"): (DataRoutes._cancel_export, _DELETE),
    ("POST", "/api/export/set_expiration/*"): (DataRoutes._set_export_expiration, _DELETE),
}
"""By method and address; `*` is the last part of an address, any. With the operation that a read-only key is
refused."""


def _route_of(scope: Scope) -> tuple[_Route, str] | None:
    if scope["type"] != "http":
        return None
    folder, _, last_part = scope["path"].rpartition("/")
    exact = _ROUTES.get((scope["method"], scope["path"]))
    route = exact or _ROUTES.get((scope["method"], f"{folder}/*"))
    return (route, last_part) if route is not None else None


def _joined(blobs: BlobStore, keys: list[str]) -> str:
    """The key of the blob that is all of these, one after the other."""
    if len(keys) == 1:
        return keys[0]
    writer = blobs.begin()
    try:
        for key in keys:
            with contextlib.closing(blobs.open(key)) as opened:
                while piece := opened.next_piece():
                    writer.write(piece)
        return writer.finish().key
    except BlobMissing:
        raise errors.bad_upload_token() from None  # a day old: its parts were collected
    finally:
        writer.discard()
