"""Uploads through the gateway's whole ASGI application, into a real store (spec 01 2.8)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway import blob_transfer
from gateway.routes import files as file_routes
from log.limits import BLOB_CHUNK_BYTES
from log.secrets import issue_upload_token

from ..support.fake_backend import SETTINGS
from ..support.file_site import DIGEST, HELLO, TOKEN, Site, run_site, scope

OTHER_DIGEST = "sha-256=" + base64.b64encode(hashlib.sha256(b"other").digest()).decode()


def test_an_upload_becomes_a_durable_blob_and_then_a_row(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        answer = await site.upload(content_type='text/plain; charset="utf-8"', digest=DIGEST)
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
        (row,) = site.backend.rows.values()
        assert answer.json() == {"storageId": f"row of {row['storageId']}"}
        sha256 = hashlib.sha256(HELLO).hexdigest()
        assert row == {
            "storageId": row["storageId"],
            "component": "",
            "storageKey": sha256,
            "sha256": sha256,
            "size": len(HELLO),
            "contentType": 'text/plain; charset="utf-8"',
        }
        assert site.blobs.size_of(sha256) == len(HELLO) and site.leftovers() == []

    run_site(tmp_path, scenario)


def test_every_upload_is_a_file_of_its_own_also_of_equal_bytes(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        assert len({await site.stored() for _ in range(3)}) == 3

    run_site(tmp_path, scenario)


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [
        (None, 400, "BadQueryArgs"),
        ("", 400, "BadQueryArgs"),
        ("nonsense", 401, "StorageTokenInvalid"),
        (issue_upload_token(SETTINGS.instance_secret, int(time.time()) - 1), 401, "StorageTokenExpired"),
        (issue_upload_token(b"another" * 5, int(time.time()) + 1_000), 401, "InvalidStorageToken"),
    ],
)
def test_an_upload_without_a_good_token_is_refused(
    tmp_path: Path, token: str | None, status: int, code: str
) -> None:
    async def scenario(site: Site) -> None:
        answer = await site.upload(token=token)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert not site.backend.rows and site.leftovers() == []

    run_site(tmp_path, scenario)


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        (
            "digest",
            "sha-256=" + base64.b64encode(hashlib.sha256(b"other").digest()).decode(),
            "Sha256Mismatch",
        ),
        ("digest", "sha-256=", "BadHeader"),
        ("digest", "sha-256=AAAA", "BadHeader"),
        ("digest", "md5=AAAA", "BadHeader"),
        ("content_type", "text", "BadHeader"),
        ("content_type", "text/plain; charset", "BadHeader"),
        ("content_type", "te xt/plain", "BadHeader"),
    ],
)
def test_an_upload_whose_headers_are_wrong_leaves_nothing(
    tmp_path: Path, header: str, value: str, code: str
) -> None:
    async def scenario(site: Site) -> None:
        answer = await site.upload(**{header: value})
        assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert not site.backend.rows and site.leftovers() == []
        assert not list(site.blobs.keys_put_before(1e12))

    run_site(tmp_path, scenario)


def test_a_file_larger_than_allowed_is_refused_with_and_without_its_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_routes, "FILE_BYTES_MAX", len(HELLO) - 1)

    async def unannounced() -> AsyncIterator[bytes]:
        yield HELLO[:5]
        yield HELLO[5:]

    async def scenario(site: Site) -> None:
        for content in (HELLO, unannounced()):
            answer = await site.upload(content)
            assert (answer.status_code, answer.json()["code"]) == (400, "FileTooLarge")
        assert (await site.upload(HELLO[1:])).status_code == 200
        assert site.leftovers() == []

    run_site(tmp_path, scenario)


@pytest.mark.parametrize("ending", ["leaves", "falls silent"])
def test_a_client_that_does_not_finish_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(blob_transfer, "TRANSFER_SILENCE_SECONDS_MAX", 0.05)

    async def scenario(site: Site) -> None:
        messages = [{"type": "http.request", "body": bytes(2 * BLOB_CHUNK_BYTES), "more_body": True}]
        if ending == "leaves":
            messages.append({"type": "http.disconnect"})
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not messages:
                await asyncio.sleep(10)
            return messages.pop(0)

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        query = f"token={TOKEN}".encode()
        await site.app(scope("POST", "/api/storage/upload", query), receive, send)
        assert sent[0]["status"] == 408
        assert not site.backend.rows and site.leftovers() == []

    run_site(tmp_path, scenario)
