"""Every blob store passes this unchanged (design D24). A subclass supplies the fixture `store` only."""

from __future__ import annotations

import contextlib
import hashlib
import random
import time

import pytest

from log.blob_store import BlobMissing, BlobStore, put_bytes, read_bytes
from log.limits import BLOB_CHUNK_BYTES


def key_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_range(store: BlobStore, key: str, start: int, end: int | None) -> bytes:
    with contextlib.closing(store.open(key, start, end)) as opened:
        pieces = list(iter(opened.next_piece, b""))
    assert all(len(piece) <= BLOB_CHUNK_BYTES for piece in pieces)
    return b"".join(pieces)


class BlobStoreContract:
    """Promises of log/blob_store.py."""

    @pytest.mark.parametrize("size", [0, 1, BLOB_CHUNK_BYTES, BLOB_CHUNK_BYTES + 1, 20 * BLOB_CHUNK_BYTES])
    def test_a_blob_is_read_as_it_was_put_under_its_own_digest(self, store: BlobStore, size: int) -> None:
        content = random.Random(size).randbytes(size)
        blob = put_bytes(store, content)
        assert (blob.key, blob.sha256.hex(), blob.size_bytes) == (key_of(content), key_of(content), size)
        assert read_bytes(store, blob.key) == content and store.size_of(blob.key) == size

    def test_a_range_is_the_slice_a_list_of_bytes_would_give(self, store: BlobStore) -> None:
        rng = random.Random(1)
        content = rng.randbytes(3 * BLOB_CHUNK_BYTES + 17)
        key, size = put_bytes(store, content).key, len(content)
        for start, end in [(0, 0), (0, 1), (size, None), (size + 5, None), (5, size + 9)]:
            assert read_range(store, key, start, end) == content[start:end]
        for _ in range(20):
            start, end = rng.randrange(size), rng.choice([None, rng.randrange(size)])
            assert read_range(store, key, start, end) == content[start:end], f"seed 1: [{start}, {end})"

    def test_what_is_not_there_is_missing_and_deleting_it_is_nothing(self, store: BlobStore) -> None:
        key = key_of(b"never put")
        assert store.size_of(key) is None
        with pytest.raises(BlobMissing):
            store.open(key)
        store.delete(key)
        for wrong in ("", "../x", "A" * 64):
            with pytest.raises(BlobMissing):
                store.open(wrong)

    def test_a_discarded_blob_is_nowhere(self, store: BlobStore) -> None:
        writer = store.begin()
        writer.write(b"half of it")
        writer.discard()
        writer.discard()
        assert store.size_of(key_of(b"half of it")) is None

    def test_blobs_are_listed_by_when_they_were_put_last(self, store: BlobStore) -> None:
        keys = {put_bytes(store, bytes([n])).key for n in range(5)}
        assert set(store.keys_put_before(time.time() + 60)) == keys
        assert set(store.keys_put_before(time.time() - 60)) == set()

    def test_an_unused_blob_is_deleted_and_one_that_was_put_since_is_not(self, store: BlobStore) -> None:
        key = put_bytes(store, b"unused").key
        assert not store.delete_unused(key, time.time() - 60)
        assert store.size_of(key) is not None
        assert store.delete_unused(key, time.time() + 60)
        assert store.size_of(key) is None
        assert not store.delete_unused(key, time.time() + 60)
