"""Which stores keep the log, its archive, and the bytes of files: the one place that reads `TIDELOG_LOG` and
`TIDELOG_FILES`.

Wherever the log is kept, its archive lies beside the folder `log/` of the data folder.
"""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from actors.delta_reader import OpenLog
from cluster.data_folder import ARCHIVE_FOLDER, DataFolder, StartRefused
from cluster.host_config import HostConfig
from log.archive_folder import ArchiveFolder
from log.archived_log import ArchivedLog, ArchivedStore
from log.blob_store import BlobReads, BlobStore, LocalBlobReads, LocalBlobStore
from log.errors import BackendError
from log.sqlite_reader import SqliteReader
from log.store import OwnedStore

if TYPE_CHECKING:
    from log.object_blob_store import ObjectBlobStore

POSTGRES_SCHEMES = ("postgresql://", "postgres://")


def open_log_store(log_url: str, folder: Path, *, accept_loss: bool = False) -> ArchivedStore:
    """The store that the settings name, proven whole; SQLite in `folder`, a data folder's `log/`, when they
    name none. Of the archive only the names are looked at: `prove_archive` proves the rest."""
    store = _open_held_part(log_url, folder, accept_loss=accept_loss)
    try:
        return ArchivedStore(store, _archive_beside(folder), accept_loss=accept_loss)
    except BaseException:
        store.close()
        raise


def open_log_reader(log_url: str, folder: Path) -> ArchivedLog:
    """The log to look into, beside its server or without one, changing nothing. (A PostgreSQL log is opened
    like any other store, which changes nothing until an epoch is claimed.)"""
    if log_url:
        return open_log_store(log_url, folder)
    reader = SqliteReader(folder)
    try:
        return ArchivedLog(reader, _archive_beside(folder))
    except BaseException:
        reader.close()
        raise


def log_opener(store: ArchivedStore, log_url: str, folder: Path) -> OpenLog:
    """Opens, for one reading on any thread, the log that `store` appends to. A PostgreSQL store reads over
    connections of its own; of SQLite a thread needs one more reader."""
    if log_url:
        return lambda: nullcontext(store)
    return lambda: closing(open_log_reader(log_url, folder))


def _archive_beside(folder: Path) -> ArchiveFolder:
    return ArchiveFolder(folder.with_name(ARCHIVE_FOLDER))


def _open_held_part(log_url: str, folder: Path, *, accept_loss: bool) -> OwnedStore:
    """A store's library is imported when it is used: the others need not be installed."""
    if not log_url:
        from log.sqlite_store import SqliteStore

        return SqliteStore(folder, accept_loss=accept_loss)
    if not log_url.startswith(POSTGRES_SCHEMES):
        scheme = log_url.partition(":")[0]
        raise StartRefused(
            f"TIDELOG_LOG names a {scheme!r} log. Give a URL that begins with postgresql://, or nothing for "
            "SQLite in the data folder."
        )
    try:
        from log.postgres_store import PostgresStore
    except ImportError as missing:
        raise StartRefused(
            f"TIDELOG_LOG names a PostgreSQL log, and its library cannot be loaded ({missing}). "
            "Install it: pip install 'tidelog[postgres]'"
        ) from missing
    return PostgresStore(log_url, accept_loss=accept_loss)


# --- files --------------------------------------------------------------------------------------------


def open_blob_store(files_url: str, folder: Path) -> BlobStore:
    """The store that the settings name; `folder`, a data folder's `files/`, when they name none. Otherwise
    that is where bytes wait for the store to take them."""
    return _object_store(files_url, folder) if files_url else LocalBlobStore(folder)


def open_blob_reads(files_url: str, folder: Path) -> BlobReads:
    """The same, for whoever must not change anything."""
    return _object_store(files_url, folder) if files_url else LocalBlobReads(folder)


def check_blob_store(files_url: str, folder: Path) -> None:
    """Refuse a start with a store that does not answer."""
    if files_url:
        try:
            _object_store(files_url, folder).check()
        except BackendError as failure:
            raise StartRefused(f"TIDELOG_FILES={files_url} cannot be used. {failure.message}") from failure


def _object_store(files_url: str, spool_folder: Path) -> ObjectBlobStore:
    try:
        from log.object_blob_store import BadObjectStoreUrl, open_object_store
    except ImportError as missing:
        raise StartRefused(
            f"TIDELOG_FILES names an object store, and its library cannot be loaded ({missing}). "
            "Install it: pip install 'tidelog[s3]'"
        ) from missing
    try:
        return open_object_store(files_url, spool_folder)
    except BadObjectStoreUrl as fault:
        raise StartRefused(f"TIDELOG_FILES cannot be used: {fault}.") from fault


def blobs_of(config: HostConfig) -> BlobStore:
    """The store of the server that a process is part of."""
    return open_blob_store(config.files_url, DataFolder(Path(config.data_folder)).files)
