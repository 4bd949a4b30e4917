"""The `tidelog` command."""

from __future__ import annotations

import asyncio
import shutil
import time
from contextlib import closing
from typing import Annotated, Any

import typer

from actors.runtime import ConnectionLost
from cluster import backup_commands, local_backend_commands, log_commands, operator_commands
from cluster.data_folder import DataFolder, StartRefused
from cluster.options import ConfigOption, DataOption, settings_of
from cluster.process_log import log_to_stderr
from cluster.serving import run
from cluster.stores import open_log_store
from cluster.transport import connect
from cluster.why import why
from log.errors import BackendError
from log.secrets import issue_admin_key
from log.sqlite_store import FolderInUse
from log.store import LogDamaged

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Tidelog: a reactive backend on one log.")
log_commands.register(app)
backup_commands.register(app)
operator_commands.register(app)
local_backend_commands.register(app)
app.command()(why)


def main() -> None:
    app()


@app.command()
def dev(
    data: DataOption = None,
    port: Annotated[
        int | None, typer.Option(help="API and sync port.", envvar="TIDELOG_PORT", show_default="3210")
    ] = None,
    site_port: Annotated[
        int | None, typer.Option(help="HTTP actions port.", envvar="TIDELOG_SITE_PORT", show_default="3211")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on.", envvar="TIDELOG_HOST", show_default="127.0.0.1"),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Start a server on a local Ray cluster of its own; stops cleanly on SIGINT or SIGTERM."""
    settings = settings_of(config, data, port=port, site_port=site_port, host=host)
    log_to_stderr("supervisor", settings.log_format, settings.log_level)
    refusal = run(settings)
    if refusal is not None:
        typer.echo(refusal, err=True)
        raise typer.Exit(1)


@app.command()
def admin_key(
    data: DataOption = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="One that changes nothing.")] = False,
    config: ConfigOption = None,
) -> None:
    """Print a new admin key, alone on the last line."""
    settings = settings_of(config, data)
    folder = DataFolder(settings.data_folder)
    try:
        folder.prepare()
        credentials = folder.credentials(settings)
    except StartRefused as refusal:
        typer.echo(str(refusal), err=True)
        raise typer.Exit(1) from None
    now_seconds = int(time.time())
    typer.echo(
        issue_admin_key(
            credentials.instance_secret, credentials.instance_name, now_seconds, read_only=read_only
        )
    )


@app.command()
def status(data: DataOption = None, config: ConfigOption = None) -> None:
    """Print one line per actor of the running server."""
    settings = settings_of(config, data)
    folder = DataFolder(settings.data_folder)
    actors: Any = folder.read_running().get("actors", {})
    if not actors:
        typer.echo(f"No server runs on {folder.path}.", err=True)
        raise typer.Exit(1)
    credentials = folder.credentials(settings)
    for line in asyncio.run(_status_lines(actors, credentials.instance_secret)):
        typer.echo(line)


async def _status_lines(actors: dict[str, Any], secret: bytes) -> list[str]:
    lines = []
    for role, known in actors.items():
        try:
            host, port = known["address"]
            peer = await connect(host, port, secret, lambda *_: None, lambda: None)
            facts = await asyncio.wait_for(peer.call("status"), 5)
            peer.close()
        except (ConnectionLost, TimeoutError):
            lines.append(f"{role:<12} pid {known['pid']:<8} does not answer")
            continue
        lines.append(format_status(role, {**facts, "restarts": known["restarts"]}))
    return lines


_SHOWN = (
    *("epoch", "seq", "published_ts", "lag_ms", "subscriptions"),
    *("calls_run", "conflicts_met", "sockets_open", "live_queries", "executions_dropped"),
)


def format_status(role: str, facts: dict[str, Any]) -> str:
    """`core  pid 12  memory 80 MiB  frames 3/4  restarts 0  epoch 2  seq 10 ...`"""
    parts = [
        f"{role:<12}",
        f"pid {facts['pid']:<8}",
        f"memory {facts['memory_bytes'] >> 20} MiB",
        f"frames {facts['frames_in']}/{facts['frames_out']}",
        f"restarts {facts['restarts']}",
        *(f"{name} {facts[name]}" for name in _SHOWN if name in facts),
    ]
    return "  ".join(parts)


@app.command()
def verify(
    data: DataOption = None,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Go on with what is left of a damaged log.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Prove the log whole: every record in its place, unchanged. The server must be stopped."""
    settings = settings_of(config, data)
    folder = DataFolder(settings.data_folder)
    try:
        store = open_log_store(settings.log_url, folder.log, accept_loss=accept_loss)
    except (StartRefused, LogDamaged, FolderInUse, BackendError) as refusal:
        typer.echo(str(refusal), err=True)
        raise typer.Exit(1) from None
    with closing(store):
        try:
            segments = store.prove_archive()
        except (
            LogDamaged
        ) as refusal:  # BEFORE views are removed: without the archive they cannot be made anew
            typer.echo(str(refusal), err=True)
            raise typer.Exit(1) from None
        if accept_loss:
            store.accept_end()
            shutil.rmtree(folder.views, ignore_errors=True)  # they may have folded what is lost
        end, archived = store.end(), store.base()
    typer.echo(f"The log is whole: {end.seq} records, the last at {end.ts} ns, crc {end.crc:08x}.")
    if segments:
        typer.echo(
            f"Records 1 to {archived.seq} of them are in the archive: {segments} segment(s), whole too."
        )
