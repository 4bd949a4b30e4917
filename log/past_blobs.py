"""The blobs of a server as a replay sees them: read where they are, written nowhere.

A mutation that stored a file does so again when it is replayed, and its record holds what came of it: a row
with the digest. That needs no disk; and a folder that is looked at stays as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from log.blob_store import BlobRange, BlobReads, BlobWriter, StoredBlob


class PastBlobs:
    """log.blob_store.BlobStore. What is put into it is only counted and digested."""

    def __init__(self, reads: BlobReads) -> None:
        self._reads = reads

    def begin(self) -> BlobWriter:
        return _DigestingWriter()

    def open(self, key: str, start: int = 0, end: int | None = None) -> BlobRange:
        return self._reads.open(key, start, end)

    def size_of(self, key: str) -> int | None:
        return self._reads.size_of(key)

    def delete(self, key: str) -> None:
        """Nothing is deleted here."""

    def keys_put_before(self, seconds: float) -> Iterator[str]:
        return iter(())

    def delete_unused(self, key: str, seconds: float) -> bool:
        return False


class _DigestingWriter:
    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def write(self, piece: bytes) -> None:
        self._hash.update(piece)
        self.size_bytes += len(piece)

    def sha256(self) -> bytes:
        return self._hash.digest()

    def finish(self) -> StoredBlob:
        return StoredBlob(self._hash.hexdigest(), self._hash.digest(), self.size_bytes)

    def discard(self) -> None:
        """Nothing is held."""
