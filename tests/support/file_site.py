"""A gateway with a real store of blobs, in this process: what its tests of files send and see."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from gateway.app import build_app
from gateway.core import GatewayCore
from log.blob_store import LocalBlobStore
from log.identity import SYSTEM, Identity
from log.secrets import issue_upload_token

from .fake_backend import SETTINGS, FakeBackend

HELLO = b"hello, world"
DIGEST = "sha-256=" + base64.b64encode(hashlib.sha256(HELLO).digest()).decode()
TOKEN = issue_upload_token(SETTINGS.instance_secret, int(time.time()) + 1_000)


class FileBackend(FakeBackend):
    """With the two operations on files, over a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, dict[str, Any]] = {}

    async def admin(self, operation: str, body: bytes, identity: Identity) -> bytes:
        assert identity == SYSTEM
        asked = orjson.loads(body)
        if operation == "locate_file":
            return orjson.dumps(self.rows.get(asked["storageId"]))
        assert operation == "store_file"
        self.rows[asked["storageId"]] = asked
        return orjson.dumps({"storageId": f"row of {asked['storageId']}"})


@dataclass
class Site:
    backend: FileBackend
    blobs: LocalBlobStore
    http: httpx.AsyncClient
    app: Any

    async def upload(self, content: Any = HELLO, token: str | None = TOKEN, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        parameters = {"token": token} if token is not None else {}
        return await self.http.post("/api/storage/upload", content=content, params=parameters, headers=named)

    async def stored(self, content: bytes = HELLO, content_type: str | None = None) -> str:
        """The address of a new file."""
        headers = {"content_type": content_type} if content_type is not None else {}
        answer = await self.upload(content, **headers)
        assert answer.status_code == 200, answer.text
        return "/api/storage/" + answer.json()["storageId"].removeprefix("row of ")

    def leftovers(self) -> list[str]:
        return [path.name for path in self.blobs.folder.glob("unfinished-*")]


def run_site(folder: Path, scenario: Callable[[Site], Awaitable[None]]) -> None:
    async def body() -> None:
        backend, blobs = FileBackend(), LocalBlobStore(folder)
        defects: list[BaseException] = []
        app: Any = build_app(GatewayCore(backend, SETTINGS, defects.append), blobs)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            await scenario(Site(backend, blobs, client, app))
        assert defects == []

    asyncio.run(body())


def scope(method: str, path: str, query: bytes = b"") -> dict[str, Any]:
    """An ASGI request, for tests that play the server themselves."""
    return {"type": "http", "method": method, "path": path, "query_string": query, "headers": []}
