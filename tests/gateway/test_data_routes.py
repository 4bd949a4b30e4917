"""Addresses of exports and imports: who may ask, what is passed on, and tokens nobody can make up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from gateway.app import build_app
from gateway.core import GatewayCore
from log.blob_store import LocalBlobStore, put_bytes, read_bytes
from log.identity import Identity
from log.secrets import issue_admin_key

from ..support.fake_backend import SETTINGS, FakeBackend

ADMIN = {"Authorization": f"Convex {issue_admin_key(SETTINGS.instance_secret, SETTINGS.instance_name, 1)}"}
ROUTES = [
    ("POST", "/api/export/request/zip"),
    ("GET", "/api/export/zip/17"),
    ("POST", "/api/export/cancel/x"),
    ("POST", "/api/export/set_expiration/x"),
    ("POST", "/api/import/start_upload"),
    ("POST", "/api/import/upload_part"),
    ("POST", "/api/import/finish_upload"),
    ("POST", "/api/perform_import"),
    ("POST", "/api/cancel_import"),
]


class DataBackend(FakeBackend):
    """Remembers the operations and answers from a table."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, Any]] = []
        self.answers: dict[str, Any] = {"create_import": {"importId": "i"}}

    async def admin(self, operation: str, body: bytes, identity: Identity) -> bytes:
        assert identity.is_admin
        self.asked.append((operation, orjson.loads(body)))
        return orjson.dumps(self.answers.get(operation, {}))


Scenario = Callable[[httpx.AsyncClient, DataBackend, LocalBlobStore], Awaitable[None]]


def run(folder: Path, scenario: Scenario) -> None:
    async def body() -> None:
        backend, blobs, defects = DataBackend(), LocalBlobStore(folder), list[BaseException]()
        app: Any = build_app(GatewayCore(backend, SETTINGS, defects.append), blobs)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            await scenario(client, backend, blobs)
        assert defects == []

    asyncio.run(body())


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_only_admins_move_data(tmp_path: Path, method: str, path: str) -> None:
    async def scenario(client: httpx.AsyncClient, backend: DataBackend, _blobs: LocalBlobStore) -> None:
        answer = await client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (403, "BadDeployKey")
        assert backend.asked == []

    run(tmp_path, scenario)


async def upload(client: httpx.AsyncClient, *parts: bytes) -> tuple[str, list[str]]:
    token = (await client.post("/api/import/start_upload", headers=ADMIN)).json()["uploadToken"]
    tokens = []
    for number, part in enumerate(parts, start=1):
        parameters = {"uploadToken": token, "partNumber": str(number)}
        answer = await client.post("/api/import/upload_part", params=parameters, content=part, headers=ADMIN)
        assert answer.status_code == 200, answer.text
        tokens.append(answer.json())
    return token, tokens


async def finish(client: httpx.AsyncClient, token: Any, tokens: Any) -> httpx.Response:
    body = {"import": {"mode": "append", "format": "zip"}, "uploadToken": token, "partTokens": tokens}
    return await client.post("/api/import/finish_upload", json=body, headers=ADMIN)


@pytest.mark.parametrize("parts", [[b"one"], [b"first, ", b"second, ", b"third"], [b"same", b"same"]])
def test_parts_become_one_upload_in_the_order_of_their_numbers(tmp_path: Path, parts: list[bytes]) -> None:
    async def scenario(client: httpx.AsyncClient, backend: DataBackend, blobs: LocalBlobStore) -> None:
        token, tokens = await upload(client, *parts)
        answer = await finish(client, token, tokens[::-1])
        assert (answer.status_code, answer.json()) == (200, {"importId": "i"})
        ((operation, body),) = backend.asked
        assert operation == "create_import" and body["import"] == {"mode": "append", "format": "zip"}
        assert read_bytes(blobs, body["objectKey"]) == b"".join(parts)

    run(tmp_path, scenario)


def test_tokens_of_nobody_or_of_another_upload_are_refused(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, backend: DataBackend, _blobs: LocalBlobStore) -> None:
        token, tokens = await upload(client, b"a", b"b")
        other, others = await upload(client, b"c")
        for refused in (
            await finish(client, "made up", tokens),
            await finish(client, None, tokens),
            await finish(client, token, others),
            await finish(client, other, tokens),
            await finish(client, token, [token]),
            await finish(client, tokens[0], [tokens[0]]),
        ):
            assert (refused.status_code, refused.json()["code"]) == (400, "BadUploadToken")
        for tokens_wanted in (tokens[1:], tokens + tokens[:1]):
            refused = await finish(client, token, tokens_wanted)
            assert (refused.status_code, refused.json()["code"]) == (400, "BadJsonBody")
        assert backend.asked == []

    run(tmp_path, scenario)


@pytest.mark.parametrize("number", ["0", "10000", "-1", "x", "", "9" * 5_000])
def test_a_part_has_a_number_from_1_to_9999(tmp_path: Path, number: str) -> None:
    async def scenario(client: httpx.AsyncClient, _backend: DataBackend, _blobs: LocalBlobStore) -> None:
        token, _ = await upload(client)
        parameters = {"uploadToken": token, "partNumber": number}
        answer = await client.post("/api/import/upload_part", params=parameters, content=b"x", headers=ADMIN)
        assert answer.status_code == 400

    run(tmp_path, scenario)


def test_an_export_is_sent_with_the_specified_headers(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, backend: DataBackend, blobs: LocalBlobStore) -> None:
        key = put_bytes(blobs, b"a ZIP").key
        backend.answers["locate_export"] = {"storageKey": key, "size": 5, "startTs": 17}
        answer = await client.get("/api/export/zip/17", headers=ADMIN)
        assert answer.content == b"a ZIP"
        expected = f"attachment; filename=snapshot_{SETTINGS.instance_name}_17.zip"
        assert answer.headers["content-disposition"] == expected
        assert answer.headers["content-length"] == "5"
        assert answer.headers["cache-control"] == "private, max-age=2592000"
        assert backend.asked == [("locate_export", {"snapshot": "17"})]

    run(tmp_path, scenario)


def test_operations_are_passed_on_with_what_the_address_says(tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient, backend: DataBackend, _blobs: LocalBlobStore) -> None:
        async def post(path: str, body: Any = None) -> None:
            answer = await client.post(path, json=body, headers=ADMIN)
            assert (answer.status_code, answer.content) == (200, b"")

        await post("/api/export/request/zip?includeStorage=true")
        await post("/api/export/cancel/e")
        await post("/api/export/set_expiration/e", {"expirationTsNs": 5})
        await post("/api/perform_import", {"importId": "i"})
        await post("/api/cancel_import", {"importId": "i"})
        assert backend.asked == [
            ("request_export", {"includeStorage": True, "component": None}),
            ("cancel_export", {"id": "e"}),
            ("set_export_expiration", {"expirationTsNs": 5, "id": "e"}),
            ("perform_import", {"importId": "i"}),
            ("cancel_import", {"importId": "i"}),
        ]

    run(tmp_path, scenario)
