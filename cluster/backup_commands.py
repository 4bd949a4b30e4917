"""`tidelog backup` and `tidelog restore`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cluster.backups import Copied, back_up, restore
from cluster.config import DATA_FOLDER_DEFAULT, Settings
from cluster.data_folder import StartRefused
from cluster.options import DataOption
from log.errors import BackendError
from log.sqlite_reader import LogMissing
from log.sqlite_store import FolderInUse
from log.store import LogDamaged


def register(app: typer.Typer) -> None:
    app.command(name="backup")(backup_command)
    app.command(name="restore")(restore_command)


def backup_command(
    target: Annotated[Path, typer.Argument(help="A new folder.")], data: DataOption = DATA_FOLDER_DEFAULT
) -> None:
    """Copy a deployment, running or not, into a new folder. Everything in it is proven on the way."""
    with _refusals():
        typer.echo(f"Backed up {_text(back_up(data, target, Settings()))}, into {target}.")


def restore_command(
    backup: Annotated[Path, typer.Argument(help="A folder that `tidelog backup` made.")],
    data: DataOption = DATA_FOLDER_DEFAULT,
) -> None:
    """Put a backup into a data folder that holds nothing yet."""
    with _refusals():
        typer.echo(f"Restored {_text(restore(backup, data, Settings()))}, into {data}.")


def _text(copied: Copied) -> str:
    files = "files stay in their object store" if copied.blobs is None else f"{copied.blobs} file(s)"
    return f"{copied.end.seq} records, the last at {copied.end.ts} ns; {files}"


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (StartRefused, LogDamaged, LogMissing, FolderInUse, BackendError, OSError) as refusal:
        typer.echo(str(refusal), err=True)
        raise typer.Exit(1) from None
