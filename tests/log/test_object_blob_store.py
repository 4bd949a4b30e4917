"""Blobs in a real S3 API server: whole, by their digest, in constant memory; what somebody puts stays."""

from __future__ import annotations

import hashlib
import random
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from log import object_blob_store
from log.blob_store import BlobMissing, put_bytes, read_bytes
from log.errors import BackendError
from log.limits import BLOB_CHUNK_BYTES
from log.object_blob_store import BadObjectStoreUrl, ObjectBlobStore, open_object_store

from ..support.s3 import BUCKET, s3_server

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with s3_server() as found:
        yield found


@pytest.fixture
def store(address: str, tmp_path: Path, request: pytest.FixtureRequest) -> ObjectBlobStore:
    return open_object_store(f"s3://{BUCKET}/{request.node.name.split('[')[0][-20:]}", tmp_path / "spool")


def key_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_range(store: ObjectBlobStore, key: str, start: int, end: int | None) -> bytes:
    opened = store.open(key, start, end)
    pieces = list(iter(opened.next_piece, b""))
    assert all(len(piece) <= BLOB_CHUNK_BYTES for piece in pieces)
    return b"".join(pieces)


@pytest.mark.parametrize("size", [0, 1, BLOB_CHUNK_BYTES + 1, 8 * MIB, 20 * MIB + 3])
def test_a_blob_is_read_as_it_was_put_under_its_own_digest(store: ObjectBlobStore, size: int) -> None:
    content = random.Random(size).randbytes(size)
    blob = put_bytes(store, content)
    assert (blob.key, blob.sha256.hex(), blob.size_bytes) == (key_of(content), key_of(content), size)
    assert read_bytes(store, blob.key) == content and store.size_of(blob.key) == size


def test_a_range_is_the_slice_a_list_of_bytes_would_give(store: ObjectBlobStore) -> None:
    rng = random.Random(1)
    content = rng.randbytes(3 * BLOB_CHUNK_BYTES + 17)
    key = put_bytes(store, content).key
    for start, end in [(0, 0), (0, 1), (len(content), None), (len(content) + 5, None), (5, len(content) + 9)]:
        assert read_range(store, key, start, end) == content[start:end]
    for _ in range(20):
        start, end = rng.randrange(len(content)), rng.choice([None, rng.randrange(len(content))])
        assert read_range(store, key, start, end) == content[start:end], f"seed 1: [{start}, {end})"


def test_what_is_not_there_is_missing_and_deleting_it_is_nothing(store: ObjectBlobStore) -> None:
    key = key_of(b"never put")
    assert store.size_of(key) is None
    with pytest.raises(BlobMissing):
        store.open(key)
    store.delete(key)
    for wrong in ("", "../x", "A" * 64):
        with pytest.raises(BlobMissing):
            store.open(wrong)


def test_a_discarded_blob_is_nowhere(store: ObjectBlobStore, tmp_path: Path) -> None:
    writer = store.begin()
    writer.write(b"half of it")
    writer.discard()
    writer.discard()
    assert store.size_of(key_of(b"half of it")) is None
    assert list((tmp_path / "spool").iterdir()) == []


def test_blobs_are_listed_by_when_they_were_put_last(store: ObjectBlobStore) -> None:
    keys = {put_bytes(store, bytes([n])).key for n in range(5)}
    assert set(store.keys_put_before(time.time() + 60)) == keys
    assert set(store.keys_put_before(time.time() - 60)) == set()


def test_an_unused_blob_is_deleted_and_one_that_was_put_since_is_not(store: ObjectBlobStore) -> None:
    key = put_bytes(store, b"unused").key
    assert not store.delete_unused(key, time.time() - 60)
    assert store.size_of(key) is not None
    assert store.delete_unused(key, time.time() + 60)
    assert store.size_of(key) is None
    assert not store.delete_unused(key, time.time() + 60)
    assert not store.is_condemned(key), "no mark is left behind"


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
