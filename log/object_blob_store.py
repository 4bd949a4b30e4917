"""Blobs in an object store that speaks S3. The only file that uses obstore.

An object is named by the SHA-256 of its content, as in a folder (log/blob_store.py), and put whole: the
bytes are spooled to a file first, because their name is not known before the last of them. S3 has no locks,
so deleting what nobody uses takes an agreement between who deletes and who puts:

    delete_unused   1. puts a mark; 2. looks whether the blob is old; 3. deletes it; 4. removes the mark
    finish          puts the blob; starts again while there is a mark; starts again if the blob is gone

Promise: what `finish` has returned stays. For if a deletion removes what was put, it had looked before (2),
and its mark stood when `finish` looked for one, or else the blob was gone when `finish` looked for it: either
way it is put again. S3 promises that whoever looks sees what was put before.

Read in this order: open_object_store, ObjectBlobWriter.finish, ObjectBlobStore.delete_unused.
"""

from __future__ import annotations

import hashlib
import logging
import re
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from log.blob_store import BlobMissing, BlobRange, StoredBlob
from log.file_errors import object_store_failed
from log.limits import (
    BLOB_CHUNK_BYTES,
    OBJECT_MARK_SECONDS_MAX,
    OBJECT_PART_BYTES,
    OBJECT_PARTS_AT_ONCE,
    OBJECT_RETRY_SECONDS,
    OBJECT_RETRY_SECONDS_MAX,
)

_KEY = re.compile(r"[0-9a-f]{64}")
_BLOBS, _MARKS = "blobs", "condemned"
_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")

_FAILURES = (BaseError, OSError)
"""What obstore raises; for what is not there, and not permitted, it is an OSError."""

_logger = logging.getLogger(__name__)


class BadObjectStoreUrl(Exception):
    """The text says why."""


def open_object_store(url: str, spool_folder: Path) -> ObjectBlobStore:
    """`s3://bucket/prefix`; keys, region and endpoint are in the environment, under the names AWS gave them
    (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, ...). Nothing is asked of
    the store yet."""
    match = _URL.fullmatch(url)
    if match is None:
        raise BadObjectStoreUrl(f"{url!r} is no address of a bucket: s3://bucket or s3://bucket/prefix")
    bucket, prefix = match[1], (match[2] or "").strip("/")
    try:
        store = S3Store(
            bucket,
            prefix=prefix or None,
            client_options={"allow_http": True, "connect_timeout": "5s", "timeout": "60s"},
            retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=OBJECT_RETRY_SECONDS_MAX)},
        )
    except _FAILURES as failure:
        raise BadObjectStoreUrl(f"the settings of the S3 client cannot be used: {failure}") from failure
    return ObjectBlobStore(store, spool_folder)


class ObjectBlobStore:
    """log.blob_store.BlobStore. `spool_folder`: where bytes wait until their name is known."""

    def __init__(self, store: Any, spool_folder: Path) -> None:
        self._store, self._spool_folder = store, spool_folder

    def check(self) -> None:
        """Ask the store for something, so that wrong settings are known at once: object_store_failed."""
        self._look(f"{_MARKS}/none")

    def begin(self) -> ObjectBlobWriter:
        self._spool_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return ObjectBlobWriter(self, self._spool_folder)

    def open(self, key: str, start: int = 0, end: int | None = None) -> BlobRange:
        size_bytes = self.size_of(key)
        if size_bytes is None:
            raise BlobMissing(key)
        end = size_bytes if end is None else min(end, size_bytes)
        return _ObjectRange(self._stream(key, start, end) if start < end else iter(()))

    def _stream(self, key: str, start: int, end: int) -> Iterator[bytes]:
        try:
            found = obstore.get(self._store, _path_of(key), options={"range": (start, end)})
            return iter(found.stream(min_chunk_size=BLOB_CHUNK_BYTES))
        except FileNotFoundError:
            raise BlobMissing(key) from None
        except _FAILURES as failure:
            raise object_store_failed(str(failure)) from failure

    def size_of(self, key: str) -> int | None:
        found = self._look(_path_of(key))
        return found["size"] if found is not None else None

    def delete(self, key: str) -> None:
        self._remove(_path_of(key))

    def keys_put_before(self, seconds: float) -> Iterator[str]:
        before = datetime.fromtimestamp(seconds, UTC)
        try:
            for page in obstore.list(self._store, prefix=_BLOBS):
                for found in page:
                    key = found["path"].rpartition("/")[2]
                    if _KEY.fullmatch(key) and found["last_modified"] < before:
                        yield key
        except _FAILURES as failure:
            raise object_store_failed(str(failure)) from failure

    def delete_unused(self, key: str, seconds: float) -> bool:
        """See the module text. A deletion that took too long is given up: who puts may have given up the
        mark."""
        before = datetime.fromtimestamp(seconds, UTC)
        started = time.monotonic()
        self.put(_mark_of(key), b"")
        try:
            found = self._look(_path_of(key))
            if found is None or found["last_modified"] >= before:
                return False
            if time.monotonic() - started > OBJECT_MARK_SECONDS_MAX / 2:
                _logger.warning("the object store is slow: the unused blob %s stays for now", key)
                return False
            self._remove(_path_of(key))
            return True
        finally:
            self._remove(_mark_of(key))

    # --- for the writers ----------------------------------------------------------------------------

    def put(self, path: str, content: Any) -> None:
        """Whole or not at all, and durable."""
        try:
            obstore.put(
                self._store,
                path,
                content,
                chunk_size=OBJECT_PART_BYTES,
                max_concurrency=OBJECT_PARTS_AT_ONCE,
            )
        except _FAILURES as failure:
            raise object_store_failed(str(failure)) from failure

    def is_condemned(self, key: str) -> bool:
        return self._look(_mark_of(key)) is not None

    def _look(self, path: str) -> Any:
        """What the store knows of an object; None: there is none."""
        try:
            return obstore.head(self._store, path)
        except FileNotFoundError:
            return None
        except _FAILURES as failure:
            raise object_store_failed(str(failure)) from failure

    def _remove(self, path: str) -> None:
        try:
            obstore.delete(self._store, path)
        except FileNotFoundError:
            return
        except _FAILURES as failure:
            raise object_store_failed(str(failure)) from failure


class ObjectBlobWriter:
    """log.blob_store.BlobWriter. One spooled file without a name: it is gone with the process."""

    def __init__(self, store: ObjectBlobStore, spool_folder: Path) -> None:
        self._store = store
        self._file = tempfile.TemporaryFile(dir=spool_folder)  # noqa: SIM115 (open until the end)
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._hash.update(piece)
        self.size_bytes += len(piece)

    def sha256(self) -> bytes:
        return self._hash.digest()

    def finish(self) -> StoredBlob:
        """Put it, also where an equal one is: that it was put again shows that somebody wants it."""
        blob = StoredBlob(self._hash.hexdigest(), self._hash.digest(), self.size_bytes)
        first_marked: float | None = None
        while True:
            self._file.seek(0)
            self._store.put(_path_of(blob.key), self._file)
            if self._store.is_condemned(blob.key):
                first_marked = first_marked or time.monotonic()
                if time.monotonic() - first_marked < OBJECT_MARK_SECONDS_MAX:
                    time.sleep(OBJECT_RETRY_SECONDS)
                    continue
                _logger.warning("a mark of %s was left behind by a process that ended", blob.key)
            if self._store.size_of(blob.key) == blob.size_bytes:
                self._file.close()
                return blob

    def discard(self) -> None:
        self._file.close()


class _ObjectRange:
    """log.blob_store.BlobRange over what the store sends."""

    def __init__(self, stream: Iterator[bytes]) -> None:
        self._stream = stream
        self._piece, self._position = b"", 0

    def next_piece(self) -> bytes:
        if self._position >= len(self._piece):
            try:
                self._piece, self._position = bytes(next(self._stream, b"")), 0
            except _FAILURES as failure:
                raise object_store_failed(str(failure)) from failure
        start, self._position = self._position, self._position + BLOB_CHUNK_BYTES
        return self._piece[start : self._position]

    def close(self) -> None:
        self._stream, self._piece = iter(()), b""


def _path_of(key: str) -> str:
    """Keys come from rows, but a path is never made of what could lead elsewhere."""
    if not _KEY.fullmatch(key):
        raise BlobMissing(key)
    return f"{_BLOBS}/{key}"


def _mark_of(key: str) -> str:
    return f"{_MARKS}/{key}"
