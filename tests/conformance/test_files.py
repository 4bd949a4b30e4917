"""Files on a real server: their whole life through the npm client, large ones, and a killed executor."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..support.app_calls import PeakMemory, call, upload
from ..support.server import RunningServer
from .test_clients import values_of
from .test_replay import tidelog

SCRIPT = Path(__file__).with_name("files.mjs")
MIB = 1 << 20
LARGE_BYTES = 1_024 * MIB
GROWTH_BYTES_MAX = 48 * MIB

pytestmark = pytest.mark.usefixtures("app")


def test_a_file_is_uploaded_looked_at_downloaded_and_deleted(server: RunningServer) -> None:
    seen = server.node(SCRIPT)
    facts = {what: values_of(seen, what)[0] for what, _ in seen}
    size = len("Der Zauberlehrling, Ä".encode()) * 1000
    content_type = "text/plain; charset=utf-8"
    assert facts == {
        "upload url": True,
        "address": True,
        "same by uuid": True,
        "whole": {"status": 200, "type": content_type, "digest": True, "same": True},
        "part": [206, f"bytes 4-15/{size}", "Zauberlehrli"],
        "row": {
            "_id": True,
            "_creationTime": "number",
            "sha256": True,
            "size": size,
            "contentType": content_type,
        },
        "newest": True,
        "metadata": {"storageId": True, "sha256": True, "size": size, "contentType": content_type},
        "mismatch": [400, "Sha256Mismatch"],
        "forged": [401, "InvalidStorageToken"],
        "copy": [content_type, True],
        "in queries": ["undefined"] * 4,
        "kept": True,
        "live query heard": True,
        "url after": None,
        "download after": [404, "FileNotFound"],
        "again": True,
        "wrong id": True,
    }


def test_mutations_that_stored_files_are_replayed_without_touching_the_folder(
    server: RunningServer,
) -> None:
    storage_id = upload(server, b"to be copied")
    call(server, "mutation", "files:copy", {"id": storage_id, "suffix": "."})
    call(server, "mutation", "files:remove", {"id": storage_id})
    before = {path: path.stat().st_mtime_ns for path in server.data.files.iterdir()}
    assert "2 of 2 calls identical" in tidelog(server, "replay", "--all", "--last", "2")
    assert {path: path.stat().st_mtime_ns for path in server.data.files.iterdir()} == before


def large_content() -> Iterator[bytes]:
    for number in range(LARGE_BYTES // MIB):
        yield number.to_bytes(4, "big") * (MIB // 4)


def test_a_large_file_passes_both_ways_while_the_gateway_stays_small(server: RunningServer) -> None:
    upload(server, b"whatever the first one loads")
    expected = hashlib.sha256()
    for piece in large_content():
        expected.update(piece)
    with PeakMemory(server.pid_of("gateway")) as memory:
        storage_id = upload(server, large_content())
        address: Any = call(server, "query", "files:url", {"id": storage_id})
        found = hashlib.sha256()
        with httpx.stream("GET", address, timeout=120) as download:
            assert download.headers["content-length"] == str(LARGE_BYTES)
            for piece in download.iter_bytes():
                found.update(piece)
    assert found.digest() == expected.digest()
    assert memory.growth_bytes < GROWTH_BYTES_MAX, f"{memory.growth_bytes // MIB} MiB more"
    call(server, "mutation", "files:remove", {"id": storage_id})


def test_an_upload_outlives_the_executors_that_would_have_written_its_row(server: RunningServer) -> None:
    address: Any = call(server, "mutation", "files:uploadUrl", {})
    killed: list[tuple[str, int]] = []

    def slow_content() -> Iterator[bytes]:
        yield b"first, "
        killed.extend((role, server.kill(role)) for role in ("executor-1", "executor-2"))
        time.sleep(0.2)
        yield b"last"

    answer = httpx.post(address, content=slow_content(), timeout=120)
    for role, pid in killed:
        server.wait_replaced(role, pid)
    assert answer.status_code == 200 and len(killed) == 2, answer.text
    url: Any = call(server, "query", "files:url", {"id": answer.json()["storageId"]})
    assert httpx.get(url).content == b"first, last"
