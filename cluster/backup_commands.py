"""`tidelog backup` and `tidelog restore`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cluster.backups import Copied, back_up, restore
from cluster.data_folder import StartRefused
from cluster.options import ConfigOption, DataOption, settings_of
from log.errors import BackendError
from log.sqlite_reader import LogMissing
from log.sqlite_store import FolderInUse
from log.store import LogDamaged


def register(app: typer.Typer) -> None:
    app.command(name="backup")(backup_command)
    app.command(name="restore")(restore_command)


def backup_command(
    target: Annotated[Path, typer.Argument(help="A new folder.")],
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Copy a deployment, running or not, into a new folder. Everything in it is proven on the way."""
    settings = settings_of(config, data)
    with _refusals():
        copied = back_up(settings.data_folder, target, settings)
        typer.echo(f"Backed up {_text(copied)}, into {target}.")


def restore_command(
    backup: Annotated[Path, typer.Argument(help="A folder that `tidelog backup` made.")],
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Put a backup into a data folder that holds nothing yet."""
    settings = settings_of(config, data)
    with _refusals():
        copied = restore(backup, settings.data_folder, settings)
        typer.echo(f"Restored {_text(copied)}, into {settings.data_folder}.")


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
