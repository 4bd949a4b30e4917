"""Downloads through the gateway's whole ASGI application, from a real store; and large files both ways
(spec 01 2.8)."""

from __future__ import annotations

import asyncio
import hashlib
import random
import tracemalloc
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import build_app
from gateway.core import GatewayCore
from gateway.file_headers import ByteRange, parse_range
from log.blob_store import put_bytes
from log.limits import BLOB_CHUNK_BYTES

from ..support.fake_backend import SETTINGS, FakeBackend
from ..support.file_site import DIGEST, HELLO, TOKEN, Site, run_site, scope

MIB = 1 << 20


def test_a_download_has_the_bytes_and_the_specified_headers(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        address = await site.stored(content_type="text/x-thing;v=1")
        for method, body in (("GET", HELLO), ("HEAD", b"")):
            answer = await site.http.request(method, address)
            assert answer.status_code == 200 and answer.content == body
            assert dict(answer.headers) == {
                "content-length": str(len(HELLO)),
                "content-type": "text/x-thing;v=1",
                "digest": DIGEST,
                "cache-control": "private, max-age=2592000",
                "accept-ranges": "bytes",
            }

    run_site(tmp_path, scenario)


def test_a_file_without_type_is_sent_without_and_an_empty_one_is_empty(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        address = await site.stored(b"")
        for headers in ({}, {"Range": "bytes=0-"}):
            answer = await site.http.get(address, headers=headers)
            assert answer.status_code == 200 and answer.content == b""
            assert answer.headers["content-length"] == "0"
            assert "content-type" not in answer.headers and "content-range" not in answer.headers

    run_site(tmp_path, scenario)


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=7-", slice(7, None)),
        ("bytes=3-100", slice(3, None)),
        ("bytes=-5", slice(-5, None)),
        ("bytes=-100", slice(0, None)),
    ],
)
def test_a_range_is_answered_with_that_part(tmp_path: Path, asked: str, part: slice) -> None:
    async def scenario(site: Site) -> None:
        answer = await site.http.get(await site.stored(), headers={"Range": asked})
        start, end, _ = part.indices(len(HELLO))
        assert answer.status_code == 206 and answer.content == HELLO[part]
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(HELLO)}"
        assert answer.headers["content-length"] == str(end - start) and "digest" not in answer.headers

    run_site(tmp_path, scenario)


@pytest.mark.parametrize(
    "asked", ["bytes=0-1,3-4", "bytes=", "bytes=-", "bytes=5-3", "bytes=12-", "bytes=-0"]
)
def test_a_range_that_cannot_be_answered_is_a_416_without_a_body(tmp_path: Path, asked: str) -> None:
    async def scenario(site: Site) -> None:
        answer = await site.http.get(await site.stored(), headers={"Range": asked})
        assert answer.status_code == 416 and answer.content == b""
        assert answer.headers["content-range"] == f"bytes */{len(HELLO)}"

    run_site(tmp_path, scenario)


def test_a_range_of_another_unit_is_ignored(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        answer = await site.http.get(await site.stored(), headers={"Range": "lines=1-2"})
        assert answer.status_code == 200 and answer.content == HELLO

    run_site(tmp_path, scenario)


def test_random_ranges_agree_with_a_search_through_every_byte() -> None:
    seed = 3
    rng = random.Random(seed)
    for _ in range(2_000):
        size = rng.randrange(1, 6)
        first, last = (rng.choice(["", *map(str, range(8))]) for _ in range(2))
        wanted = [n for n in range(size) if _is_asked_for(n, size, first, last)]
        expected = ByteRange(wanted[0], wanted[-1] + 1) if wanted else ByteRange.UNSATISFIABLE
        assert parse_range(f"bytes={first}-{last}", size) == expected, f"seed {seed}: {size} {first}-{last}"


def _is_asked_for(n: int, size: int, first: str, last: str) -> bool:
    if not first:
        return bool(last) and n >= size - int(last)
    return n >= int(first) and (not last or n <= int(last))


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/storage/nonsense", 400, "InvalidStoragePath"),
        ("/api/storage/", 400, "InvalidStoragePath"),
        ("/api/storage/upload", 400, "InvalidStoragePath"),
        (f"/api/storage/{uuid.UUID(int=5)}", 404, "FileNotFound"),
    ],
)
def test_an_address_without_a_file_says_what_is_wrong(
    tmp_path: Path, path: str, status: int, code: str
) -> None:
    async def scenario(site: Site) -> None:
        answer = await site.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (status, code)

    run_site(tmp_path, scenario)


def test_an_unknown_file_is_named_and_so_is_one_whose_bytes_are_gone(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        address = await site.stored()
        site.blobs.delete(hashlib.sha256(HELLO).hexdigest())
        unknown = f"/api/storage/{uuid.UUID(int=5)}"
        for path in (address, unknown, f"{address}?component=c"):
            answer = await site.http.get(path)
            name = path.rpartition("/")[2].partition("?")[0]
            assert (answer.status_code, answer.json()["message"]) == (404, f"File {name} not found")

    run_site(tmp_path, scenario)


def test_other_methods_and_gateways_without_a_store_refuse(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        address = await site.stored()
        for method in ("PUT", "DELETE", "POST"):
            assert (await site.http.request(method, address)).status_code == 405
        bare: Any = build_app(GatewayCore(FakeBackend(), SETTINGS, lambda defect: None))
        transport = httpx.ASGITransport(app=bare)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            assert (await client.get(address)).status_code == 404

    run_site(tmp_path, scenario)


def test_browsers_of_other_origins_may_upload_and_read(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        origin = {"Origin": "http://app.example"}
        answers = [
            await site.http.options(
                "/api/storage/upload",
                headers={**origin, "Access-Control-Request-Method": "POST"},
            ),
            await site.upload(origin="http://app.example"),
            await site.http.get(await site.stored(), headers=origin),
            await site.http.get(f"/api/storage/{uuid.UUID(int=5)}", headers=origin),
        ]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == "http://app.example"

    run_site(tmp_path, scenario)


# --- large ones ----------------------------------------------------------------------------------------


def test_a_large_file_passes_both_ways_in_constant_memory(tmp_path: Path) -> None:
    """The same in a real process, with a larger one: tests/conformance/test_files.py."""
    size, piece = 64 * MIB, bytes(range(256)) * 256
    peaks: list[int] = []

    async def scenario(site: Site) -> None:
        sent: list[int] = []
        left = size

        async def receive() -> dict[str, Any]:
            nonlocal left
            left -= len(piece)
            return {"type": "http.request", "body": piece, "more_body": left > 0}

        async def wait_forever() -> dict[str, Any]:
            await asyncio.sleep(60)
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(len(message.get("body", b"")))

        tracemalloc.start()
        await site.app(scope("POST", "/api/storage/upload", f"token={TOKEN}".encode()), receive, send)
        peaks.append(tracemalloc.get_traced_memory()[1])
        (name,) = site.backend.rows
        sent.clear()
        await site.app(scope("GET", f"/api/storage/{name}"), wait_forever, send)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert sum(sent) == size

    run_site(tmp_path, scenario)
    assert max(peaks) < 8 * MIB, peaks


def test_a_download_ends_when_its_client_leaves(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        blob = put_bytes(site.blobs, bytes(100 * BLOB_CHUNK_BYTES))
        name = str(uuid.uuid4())
        row = {"storageKey": blob.key, "sha256": blob.key, "size": blob.size_bytes, "contentType": None}
        site.backend.rows[name] = row
        left, sent = asyncio.Event(), [0]

        async def receive() -> dict[str, Any]:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent[0] += len(message.get("body", b""))
            if sent[0] > 3 * BLOB_CHUNK_BYTES:
                left.set()

        await site.app(scope("GET", f"/api/storage/{name}"), receive, send)
        assert sent[0] < 10 * BLOB_CHUNK_BYTES

    run_site(tmp_path, scenario)
