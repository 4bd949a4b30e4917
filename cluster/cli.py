"""The `tidelog` command."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import time
from contextlib import closing
from typing import IO, Annotated, Any

import typer

from actors.runtime import ConnectionLost
from cluster import backup_commands, log_commands, operator_commands
from cluster.config import Settings
from cluster.data_folder import Credentials, DataFolder, StartRefused, check_sink_file
from cluster.options import ConfigOption, DataOption, settings_of
from cluster.process_log import log_to_stderr
from cluster.processes import ProcessIdentity, end_processes, is_alive
from cluster.stores import check_blob_store, open_log_store
from cluster.supervisor import LogTaken, Supervisor
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
    try:
        asyncio.run(_serve(settings))
    except (StartRefused, FolderInUse, LogDamaged, BackendError) as refusal:
        typer.echo(f"Tidelog did not start: {refusal}", err=True)
        raise typer.Exit(1) from None
    except LogTaken as taken:
        typer.echo(f"Tidelog stopped: another server took over the log ({taken}).", err=True)
        raise typer.Exit(1) from None


async def _serve(settings: Settings) -> None:
    from cluster.ray_runtime import RayRuntime

    started = time.monotonic()
    stopping = asyncio.Event()
    folder = DataFolder(settings.data_folder)
    folder.prepare()
    credentials = folder.credentials(settings)
    _refuse_second_server(folder)
    folder.clear_fenced()
    runtime = RayRuntime(folder.path)
    runtime.end_leftovers()
    _refuse_taken_ports(settings)
    check_blob_store(settings.files_url, folder.files)
    check_sink_file(settings.sink_file)
    runtime.start(settings.executors)
    for number in (signal.SIGINT, signal.SIGTERM):  # AFTER Ray's start, which sets handlers of its own
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    supervisor = Supervisor(runtime, settings, folder, credentials)
    try:
        await supervisor.start()
        seconds = time.monotonic() - started
        typer.echo(announcement(settings, credentials, seconds, sys.stdout.isatty()))
        sys.stdout.flush()
        watching = asyncio.create_task(supervisor.watch())
        await asyncio.wait({watching, asyncio.create_task(stopping.wait())}, return_when="FIRST_COMPLETED")
        watching.cancel()
        await supervisor.stop()
        if watching.done() and not watching.cancelled():
            watching.result()
    finally:
        runtime.stop()
        supervisor.end()


def _refuse_second_server(folder: DataFolder) -> None:
    """A supervisor that still runs owns the folder; leftovers of a dead one are ended later."""
    running: Any = folder.read_running().get("actors", {})
    held = [ProcessIdentity(facts["pid"], facts["start_ticks"]) for facts in running.values()]
    lock_file = folder.try_hold()
    if lock_file is None:
        raise FolderInUse(f"Another Tidelog server uses the data folder {folder.path}.")
    _held_locks.append(lock_file)  # until the process ends
    end_processes([process for process in held if is_alive(process)], term_seconds=2.0)


_held_locks: list[IO[str]] = []


def _refuse_taken_ports(settings: Settings) -> None:
    """Say before Ray starts what the gateway would say after."""
    from gateway.server import bind_exclusively

    for port in (settings.port, settings.site_port):
        bind_exclusively(settings.host, port).close()


def announcement(settings: Settings, credentials: Credentials, seconds: float, on_terminal: bool) -> str:
    """What a server says when it is ready after `seconds`.

    A key is shown on a terminal alone: in a journal or a file it would stay, for all who may read that.
    """
    key = "`tidelog admin-key` prints one"
    if on_terminal:
        key = issue_admin_key(credentials.instance_secret, credentials.instance_name, int(time.time()))
    return (
        f"Tidelog is ready after {seconds:.1f} s.\n"
        f"  URL:        {settings.cloud_origin_in_use}\n"
        f"  HTTP site:  {settings.site_origin_in_use}\n"
        f"  Admin key:  {key}"
    )


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
