"""Blobs in a real S3 API server: whole, by their digest, in constant memory; what somebody puts stays."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from log import object_blob_store
from log.blob_store import put_bytes, read_bytes
from log.errors import BackendError
from log.object_blob_store import BadObjectStoreUrl, ObjectBlobStore, open_object_store

from ..contracts.blob_store_contract import BlobStoreContract, key_of
from ..support.s3 import BUCKET, s3_server

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with s3_server() as found:
        yield found


@pytest.fixture
def store(address: str, tmp_path: Path, request: pytest.FixtureRequest) -> ObjectBlobStore:
    return open_object_store(f"s3://{BUCKET}/{request.node.name.split('[')[0][-20:]}", tmp_path / "spool")


class TestObjectBlobStore(BlobStoreContract):
    """`store` is the fixture above."""


def test_bytes_wait_in_files_without_a_name(store: ObjectBlobStore, tmp_path: Path) -> None:
    writer = store.begin()
    writer.write(b"on its way")
    assert list((tmp_path / "spool").iterdir()) == []
    writer.discard()


def test_no_mark_is_left_behind(store: ObjectBlobStore) -> None:
    key = put_bytes(store, b"unused").key
    assert store.delete_unused(key, time.time() + 60)
    assert not store.is_condemned(key)


class Paused:
    """Stops a deletion at a step, so that something is put meanwhile."""

    def __init__(self, store: ObjectBlobStore, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        original = getattr(store, step)

        def paused(path: str, *rest: Any) -> Any:
            if threading.current_thread() is self._thread and "blobs/" in path and not self.reached.is_set():
                self.reached.set()
                assert self.go_on.wait(20)
            return original(path, *rest)

        monkeypatch.setattr(store, step, paused)

    def start(self, run: Any) -> None:
        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert self.reached.wait(20)

    def end(self) -> None:
        self.go_on.set()
        assert self._thread is not None
        self._thread.join(20)


@pytest.mark.parametrize("step", ["_look", "_remove"])
def test_what_is_put_while_it_is_being_deleted_stays(
    store: ObjectBlobStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    content = f"raced at {step}".encode()
    key = put_bytes(store, content).key
    deletion = Paused(store, monkeypatch, step)
    deletion.start(lambda: store.delete_unused(key, time.time() + 60))
    putting = threading.Thread(target=lambda: put_bytes(store, content))
    putting.start()
    putting.join(0.5)
    assert putting.is_alive(), "whoever puts waits while there is a mark"
    deletion.end()
    putting.join(20)
    assert not putting.is_alive()
    assert read_bytes(store, key) == content


def test_a_mark_that_was_left_behind_holds_nobody_up_for_ever(
    store: ObjectBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_blob_store, "OBJECT_MARK_SECONDS_MAX", 0.5)
    content = b"marked"
    store.put(f"condemned/{key_of(content)}", b"")
    assert read_bytes(store, put_bytes(store, content).key) == content


def test_a_large_blob_takes_constant_memory(store: ObjectBlobStore) -> None:
    """The server is in this process and keeps all of it; so only what is read here is measured."""
    writer = store.begin()
    for number in range(96):
        writer.write(bytes([number]) * MIB)
    blob = writer.finish()
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    opened, size_bytes = store.open(blob.key, 1, 3 * MIB), 0
    while piece := opened.next_piece():
        size_bytes += len(piece)
    assert size_bytes == 3 * MIB - 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 64 * 1024


@pytest.mark.parametrize("url", ["", "files", "http://x/y", "s3://", "s3://UPPER", "s3:///prefix"])
def test_what_is_no_address_of_a_bucket_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(BadObjectStoreUrl):
        open_object_store(url, tmp_path)


def test_a_store_that_does_not_answer_fails_with_its_reason(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(object_blob_store, "OBJECT_RETRY_SECONDS_MAX", 1)
    with pytest.raises(BackendError) as failed:
        open_object_store(f"s3://{BUCKET}", tmp_path).check()
    assert failed.value.code == "FileStoreFailed"


def test_a_bucket_that_is_not_there_fails_when_bytes_are_put(address: str, tmp_path: Path) -> None:
    with pytest.raises(BackendError) as failed:
        put_bytes(open_object_store("s3://another", tmp_path / "spool"), b"x")
    assert failed.value.code == "FileStoreFailed"
