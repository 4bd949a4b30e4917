"""What an operator tells a running server: `tidelog pause`, `resume`, `revoke-key`; a stopped one:
`rotate-secret`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import orjson
import typer

from cluster.config import Settings
from cluster.data_folder import Credentials, DataFolder, StartRefused
from cluster.options import ConfigOption, DataOption, settings_of
from cluster.running_server import ask
from log.errors import BackendError
from log.secrets import issue_admin_key, read_admin_key


def register(app: typer.Typer) -> None:
    app.command()(pause)
    app.command()(resume)
    app.command()(revoke_key)
    app.command()(rotate_secret)


def pause(data: DataOption = None, config: ConfigOption = None) -> None:
    """Run no functions until `tidelog resume`. Clients stay connected and are told why."""
    with _refusals():
        _operate(settings_of(config, data), "pause_deployment")
        typer.echo("Paused. Functions run again after `tidelog resume`.")


def resume(data: DataOption = None, config: ConfigOption = None) -> None:
    """Run functions again."""
    with _refusals():
        _operate(settings_of(config, data), "unpause_deployment")
        typer.echo("Resumed.")


def revoke_key(
    key: Annotated[str | None, typer.Argument(help="The admin key that shall count no longer.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that were issued until now.")] = False,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Take an admin key back, or all of them. Needs the server to run."""
    settings = settings_of(config, data)
    with _refusals():
        if every == (key is not None):
            raise StartRefused("Name one key, or give --all.")
        credentials = DataFolder(settings.data_folder).credentials(settings)
        if key is not None:
            _operate(settings, "revoke_admin_keys", keyId=_id_of(credentials, key))
            typer.echo("Revoked.")
            return
        now_seconds = int(time.time())
        _operate(settings, "revoke_admin_keys", issuedUntil=now_seconds)
        typer.echo("Revoked all keys that were issued until now. A new one:")
        typer.echo(_new_key(credentials, now_seconds + 1))


def rotate_secret(data: DataOption = None, config: ConfigOption = None) -> None:
    """Make a new instance secret; the server must be stopped. Nothing that the old one signed counts any
    more."""
    settings = settings_of(config, data)
    folder = DataFolder(settings.data_folder)
    with _refusals():
        if settings.instance_secret is not None:
            raise StartRefused("INSTANCE_SECRET is set: change it where it is set.")
        if not folder.has_begun:
            raise StartRefused(f"{folder.path} is no server's data folder: it has no secret.")
        lock_file = folder.try_hold()
        if lock_file is None:
            raise StartRefused(f"A server uses the data folder {folder.path}. Stop it first.")
        with lock_file:
            folder.renew_secret()
        typer.echo("The instance has a new secret. A new admin key:")
        typer.echo(_new_key(folder.credentials(settings), int(time.time())))


def _id_of(credentials: Credentials, key: str) -> str:
    found = read_admin_key(credentials.instance_secret, credentials.instance_name, key)
    if found is None:
        raise StartRefused("This is no admin key of this instance: it counts for nothing as it is.")
    return found.key_id


def _new_key(credentials: Credentials, issued_seconds: int) -> str:
    return issue_admin_key(credentials.instance_secret, credentials.instance_name, issued_seconds)


def _operate(settings: Settings, operation: str, **fields: Any) -> Any:
    folder = DataFolder(settings.data_folder)
    secret = folder.credentials(settings).instance_secret
    return orjson.loads(ask(folder, secret, "executor-1", "operate", operation, orjson.dumps(fields)))


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (StartRefused, BackendError) as refusal:
        typer.echo(str(refusal), err=True)
        raise typer.Exit(1) from None
