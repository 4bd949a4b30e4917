"""What an operator tells a running server: `tidelog pause` and `tidelog resume`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import typer

from cluster.config import DATA_FOLDER_DEFAULT, Settings
from cluster.data_folder import DataFolder, StartRefused
from cluster.options import DataOption
from cluster.running_server import ask
from log.errors import BackendError


def register(app: typer.Typer) -> None:
    app.command()(pause)
    app.command()(resume)


def pause(data: DataOption = DATA_FOLDER_DEFAULT) -> None:
    """Run no functions until `tidelog resume`. Clients stay connected and are told why."""
    with _refusals():
        _operate(DataFolder(data), "pause_deployment")
        typer.echo("Paused. Functions run again after `tidelog resume`.")


def resume(data: DataOption = DATA_FOLDER_DEFAULT) -> None:
    """Run functions again."""
    with _refusals():
        _operate(DataFolder(data), "unpause_deployment")
        typer.echo("Resumed.")


def _operate(folder: DataFolder, operation: str, **fields: Any) -> Any:
    secret = folder.credentials(Settings()).instance_secret
    return orjson.loads(ask(folder, secret, "executor-1", "operate", operation, orjson.dumps(fields)))


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (StartRefused, BackendError) as refusal:
        typer.echo(str(refusal), err=True)
        raise typer.Exit(1) from None
