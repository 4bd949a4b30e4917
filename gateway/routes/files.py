"""Stored files over HTTP: upload with a token, download by the address of a file (spec 01 2.8).

Plain ASGI between the hot routes and Quart, because Quart takes a body off the socket as fast as it comes
and keeps what is not used yet: here a piece is asked for when the one before it is on the disk, so that a
transfer takes constant memory, whatever its size and however slow the disk or the client
(gateway/blob_transfer.py).

Upload: token, headers, bytes to the store, digest; the blob is durable BEFORE its row is asked for. A
refusal, a lost client or a silent one leaves nothing behind. The row's UUID is made here and sent along, so
that the backend may be asked again when an answer was lost.

Read in this order: FileRoutes._upload, _download, blob_transfer.py, file_headers.py.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from dataclasses import dataclass
from urllib.parse import parse_qs

import orjson

from gateway import http
from gateway.blob_transfer import receive_blob, send_pieces
from gateway.core import GatewayCore
from gateway.file_headers import ByteRange, check_content_type, parse_digest, parse_range, sha256_digest
from gateway.http import Headers, HttpRequest, Receive, Scope, Send
from log import errors, file_errors
from log.blob_store import BlobMissing, BlobRange, BlobStore
from log.identity import SYSTEM
from log.limits import FILE_BYTES_MAX
from log.secrets import UploadToken, check_upload_token

logger = logging.getLogger(__name__)

_PREFIX = "/api/storage/"
_UPLOAD_PATH = "/api/storage/upload"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CACHE = (b"cache-control", b"private, max-age=2592000")
_ACCEPT_RANGES = (b"accept-ranges", b"bytes")


@dataclass(frozen=True, slots=True)
class _File:
    """What the backend says of a file."""

    storage_id: str
    key: str
    sha256: bytes
    size_bytes: int
    content_type: str | None


class FileRoutes:
    """The ASGI application of /api/storage/...; `rest` serves everything else. Refusals are raised, for
    `HotRoutes` to answer."""

    def __init__(self, core: GatewayCore, blobs: BlobStore, rest: http.App) -> None:
        self._core, self._blobs, self._rest = core, blobs, rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_PREFIX):
            await self._rest(scope, receive, send)
            return
        request = HttpRequest(scope)
        if request.path == _UPLOAD_PATH and request.method == "POST":
            await self._upload(request, receive, send)
        elif request.method in ("GET", "HEAD"):
            await self._download(request, receive, send)
        else:
            await http.answer(send, 405, b"", [(b"allow", b"GET, HEAD")])

    # --- upload -------------------------------------------------------------------------------------

    async def _upload(self, request: HttpRequest, receive: Receive, send: Send) -> None:
        component_id = self._component_of_token(_parameter(request, "token"))
        content_type = check_content_type(request.header(b"content-type"))
        digest = parse_digest(request.header(b"digest"))
        if int(request.header(b"content-length") or 0) > FILE_BYTES_MAX:
            raise file_errors.file_too_large(FILE_BYTES_MAX)
        blob = await receive_blob(self._blobs, receive, FILE_BYTES_MAX, digest)
        row = {
            "storageId": str(uuid.uuid4()),
            "component": component_id,
            "storageKey": blob.key,
            "sha256": blob.sha256.hex(),
            "size": blob.size_bytes,
            "contentType": content_type,
        }
        answer = await self._core.backend.admin("store_file", orjson.dumps(row), SYSTEM)
        await http.answer(send, 200, answer, [http.JSON])

    def _component_of_token(self, token: str | None) -> str:
        """Whose files a valid token lets upload."""
        if token is None:
            raise errors.bad_query_args("The address lacks the `token` of an upload URL.")
        verdict, component_id = check_upload_token(self._core.settings.instance_secret, token, time.time())
        match verdict:
            case UploadToken.UNREADABLE:
                raise file_errors.unreadable_upload_token()
            case UploadToken.FOREIGN:
                raise file_errors.foreign_upload_token()
            case UploadToken.EXPIRED:
                raise file_errors.upload_token_expired()
        return component_id

    # --- download -----------------------------------------------------------------------------------

    async def _download(self, request: HttpRequest, receive: Receive, send: Send) -> None:
        file = await self._locate(request)
        wanted = parse_range(request.header(b"range"), file.size_bytes)
        if wanted is ByteRange.UNSATISFIABLE:
            unsatisfied = (b"content-range", b"bytes */%d" % file.size_bytes)
            await http.answer(send, 416, b"", [unsatisfied, _ACCEPT_RANGES])
            return
        part = wanted or ByteRange(0, file.size_bytes)
        status, headers = (200 if wanted is None else 206), _headers_of(file, wanted)
        opened = await self._open(file, part)
        try:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            if request.method == "HEAD":
                await send({"type": "http.response.body", "body": b""})
            else:
                await send_pieces(opened, part.length, receive, send)
        finally:
            await asyncio.to_thread(opened.close)

    async def _locate(self, request: HttpRequest) -> _File:
        storage_id = request.path.removeprefix(_PREFIX)
        if not _UUID.fullmatch(storage_id.lower()):
            raise file_errors.invalid_storage_path(storage_id)
        component_id = _parameter(request, "component") or ""
        body = orjson.dumps({"storageId": storage_id.lower(), "component": component_id})
        found = orjson.loads(await self._core.backend.admin("locate_file", body, SYSTEM))
        if found is None:
            raise file_errors.file_not_found(storage_id)
        sha256 = bytes.fromhex(found["sha256"])
        return _File(storage_id, found["storageKey"], sha256, found["size"], found["contentType"])

    async def _open(self, file: _File, part: ByteRange) -> BlobRange:
        try:
            return await asyncio.to_thread(self._blobs.open, file.key, part.start, part.end)
        except BlobMissing:
            # Deleted a moment ago, or taken from the folder by somebody else: the log of the server tells.
            logger.warning("the blob %s of file %s is not there", file.key, file.storage_id)
            raise file_errors.file_not_found(file.storage_id) from None


def _headers_of(file: _File, part: ByteRange | None) -> Headers:
    """`part` None: the whole file. A digest is of the whole, so a part has none."""
    shown = part or ByteRange(0, file.size_bytes)
    headers = [(b"content-length", b"%d" % shown.length), _CACHE, _ACCEPT_RANGES]
    if file.content_type is not None:
        headers.append((b"content-type", file.content_type.encode("latin-1")))
    if part is None:
        headers.append((b"digest", sha256_digest(file.sha256)))
    else:
        headers.append((b"content-range", b"bytes %d-%d/%d" % (part.start, part.end - 1, file.size_bytes)))
    return headers


def _parameter(request: HttpRequest, name: str) -> str | None:
    return parse_qs(request.query_string.decode("latin-1")).get(name, [None])[-1]
