"""Bytes too large for the log, kept by what they are: the name of a blob is its SHA-256 (design D24).

Knows no files of users, rows or tokens; those are in `functions/system/files.py`. `BlobStore` is the port,
`LocalBlobStore` keeps one file per blob in a folder that every process of a server may use at once.

Promises:
  - what `BlobWriter.finish` has returned is durable; whoever names a blob in the log does so AFTER it;
  - under a blob's name there is all of it or nothing, whenever the machine stops;
  - equal content is one file, and a whole one is never written again;
  - writing and reading take constant memory.

Read in this order: BlobStore, LocalBlobWriter.finish, LocalBlobStore.delete_unused.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol

from log.file_errors import disk_nearly_full
from log.folders import sync_folder
from log.limits import BLOB_CHUNK_BYTES, BLOB_DISK_FREE_BYTES_MIN

_KEY = re.compile(r"[0-9a-f]{64}")
_UNFINISHED = "unfinished-"
_GUARD = "guard"


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A durable blob. `key` is what the store knows it by."""

    key: str
    sha256: bytes
    size_bytes: int


class BlobMissing(Exception):
    """No blob has this key (any more)."""


class BlobWriter(Protocol):
    """A blob on its way. Ends with `finish` or `discard`; `discard` after an end does nothing."""

    size_bytes: int

    def write(self, piece: bytes) -> None: ...

    def sha256(self) -> bytes:
        """Of what was written so far."""

    def finish(self) -> StoredBlob:
        """Make it durable, then say what it is."""

    def discard(self) -> None: ...


class BlobRange(Protocol):
    """Opened bytes of a blob, in pieces; they stay readable when the blob is deleted meanwhile."""

    def next_piece(self) -> bytes:
        """At most BLOB_CHUNK_BYTES; empty at the end."""

    def close(self) -> None: ...


class BlobReads(Protocol):
    """The part of a store that changes nothing."""

    def open(self, key: str, start: int = 0, end: int | None = None) -> BlobRange:
        """The bytes [start, end), or BlobMissing."""

    def size_of(self, key: str) -> int | None:
        """None: there is no such blob."""


class BlobStore(BlobReads, Protocol):
    """What keeps blobs. May be asked by several threads and processes at once; every call may take long."""

    def begin(self) -> BlobWriter: ...

    def delete(self, key: str) -> None:
        """Whether it is there or not."""

    def keys_put_before(self, seconds: float) -> Iterator[str]:
        """Blobs that nobody has put since then (seconds since 1970)."""

    def delete_unused(self, key: str, seconds: float) -> bool:
        """Delete the blob unless somebody has put it since then; returns whether it was deleted."""


def put_bytes(store: BlobStore, content: bytes) -> StoredBlob:
    writer = store.begin()
    try:
        writer.write(content)
        return writer.finish()
    finally:
        writer.discard()


def read_bytes(store: BlobStore, key: str) -> bytes:
    """The whole blob; for those that are known to be small."""
    opened = store.open(key)
    with contextlib.closing(opened):
        return b"".join(iter(opened.next_piece, b""))


class LocalBlobStore:
    """See the module text. What a stopped process left unfinished is removed when the next one opens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            sync_folder(folder.parent)
        self._remove_unfinished()

    def begin(self) -> LocalBlobWriter:
        self.check_room()
        return LocalBlobWriter(self)

    def open(self, key: str, start: int = 0, end: int | None = None) -> BlobRange:
        return open_local(self.folder, key, start, end)

    def size_of(self, key: str) -> int | None:
        return size_of_local(self.folder, key)

    def delete(self, key: str) -> None:
        _path_of(self.folder, key).unlink(missing_ok=True)

    def keys_put_before(self, seconds: float) -> Iterator[str]:
        with os.scandir(self.folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                    if _KEY.fullmatch(entry.name) and entry.stat().st_mtime < seconds:
                        yield entry.name

    def delete_unused(self, key: str, seconds: float) -> bool:
        path = _path_of(self.folder, key)
        with self.guarded(fcntl.LOCK_EX):  # so that nobody finishes an equal blob between look and deletion
            try:
                is_old = path.stat().st_mtime < seconds
            except FileNotFoundError:
                return False
            if is_old:
                path.unlink()
            return is_old

    # --- for the writers ----------------------------------------------------------------------------

    def check_room(self) -> None:
        """The log is on the same disk as a rule, and must never be what finds it full."""
        found = os.statvfs(self.folder)
        if found.f_bavail * found.f_frsize < BLOB_DISK_FREE_BYTES_MIN:
            raise disk_nearly_full(BLOB_DISK_FREE_BYTES_MIN)

    @contextlib.contextmanager
    def guarded(self, how: int) -> Iterator[None]:
        """Hold the folder's lock, shared or exclusive, against other threads and processes."""
        with (self.folder / _GUARD).open("a") as lock_file:
            fcntl.flock(lock_file, how)
            yield

    def _remove_unfinished(self) -> None:
        for path in self.folder.glob(f"{_UNFINISHED}*"):
            with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held by whoever still writes it
                path.unlink()


class LocalBlobWriter:
    """One unfinished file, locked so that whoever opens the store knows that somebody writes it."""

    def __init__(self, store: LocalBlobStore) -> None:
        self._store = store
        self._file, self._path = _unfinished_file(store.folder)
        self._hash = hashlib.sha256()
        self.size_bytes = 0
        self._checked_bytes = 0

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._hash.update(piece)
        self.size_bytes += len(piece)
        if self.size_bytes - self._checked_bytes > 16 * BLOB_CHUNK_BYTES:
            self._store.check_room()
            self._checked_bytes = self.size_bytes

    def sha256(self) -> bytes:
        return self._hash.digest()

    def finish(self) -> StoredBlob:
        self._file.flush()
        os.fsync(self._file.fileno())  # BEFORE it gets its name: what has the name is whole
        blob = StoredBlob(self._hash.hexdigest(), self._hash.digest(), self.size_bytes)
        target = _path_of(self._store.folder, blob.key)
        with self._store.guarded(fcntl.LOCK_SH):
            if self._store.size_of(blob.key) == blob.size_bytes:
                os.utime(target)  # it was put again: it must not be taken for unused
                self._path.unlink()
            else:
                os.utime(self._path)
                self._path.rename(target)
            # Also for a blob that was there: whoever put it may not have come as far as this yet.
            sync_folder(self._store.folder)
        self._file.close()
        return blob

    def discard(self) -> None:
        if not self._file.closed:
            with contextlib.suppress(OSError):  # the disk may be what failed; the next start removes it
                self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self._file.close()

    def __enter__(self) -> LocalBlobWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


class LocalBlobReads:
    """BlobReads of a folder, which is not touched."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, key: str, start: int = 0, end: int | None = None) -> BlobRange:
        return open_local(self._folder, key, start, end)

    def size_of(self, key: str) -> int | None:
        return size_of_local(self._folder, key)


class _FileRange:
    """BlobRange of an opened file that stands at its start."""

    def __init__(self, file: IO[bytes], bytes_left: int) -> None:
        self._file, self._bytes_left = file, bytes_left

    def next_piece(self) -> bytes:
        piece = self._file.read(min(self._bytes_left, BLOB_CHUNK_BYTES))
        self._bytes_left -= len(piece)
        return piece

    def close(self) -> None:
        self._file.close()


def open_local(folder: Path, key: str, start: int, end: int | None) -> BlobRange:
    """BlobStore.open of a folder, which is not touched."""
    try:
        file = _path_of(folder, key).open("rb", buffering=0)
    except FileNotFoundError:
        raise BlobMissing(key) from None
    size_bytes = os.fstat(file.fileno()).st_size
    file.seek(start)
    return _FileRange(file, max(0, (size_bytes if end is None else min(end, size_bytes)) - start))


def size_of_local(folder: Path, key: str) -> int | None:
    try:
        return _path_of(folder, key).stat().st_size
    except FileNotFoundError:
        return None


def _path_of(folder: Path, key: str) -> Path:
    """Keys come from rows, but a path is never made of what could lead elsewhere."""
    if not _KEY.fullmatch(key):
        raise BlobMissing(key)
    return folder / key


def _unfinished_file(folder: Path) -> tuple[IO[bytes], Path]:
    while True:
        descriptor, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=folder)
        file = os.fdopen(descriptor, "wb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink > 0:
            return file, Path(name)
        file.close()  # a store that was just opened took it for left behind, before it was locked
