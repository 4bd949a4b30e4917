"""Which store keeps the log: the one place that reads `TIDELOG_LOG`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from cluster.data_folder import StartRefused
from log.store import LogStore

POSTGRES_SCHEMES = ("postgresql://", "postgres://")


class OwnedStore(LogStore, Protocol):
    """A log store as its operator has it: it can also go on behind a loss."""

    def accept_end(self) -> None:
        """What was proven at the opening is the whole log from now on."""


def open_log_store(log_url: str, folder: Path, *, accept_loss: bool = False) -> OwnedStore:
    """The store that the settings name, proven whole; SQLite in `folder` when they name none.

    A store's library is imported when it is used: the others need not be installed.
    """
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
