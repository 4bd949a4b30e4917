"""A server's whole life in this process: refusals, start, announcement, and the stop that leaves nothing.

It ends on SIGINT, on SIGTERM, when another server takes its log, and with the process it was started for.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from typing import IO, Any

import typer

from cluster.config import Settings
from cluster.data_folder import Credentials, DataFolder, StartRefused, check_sink_file
from cluster.processes import ProcessIdentity, end_processes, is_alive, wait_ended
from cluster.stores import check_blob_store
from cluster.supervisor import LogTaken, Supervisor
from log.errors import BackendError
from log.secrets import issue_admin_key
from log.sqlite_store import FolderInUse
from log.store import LogDamaged


def run(settings: Settings, parent: ProcessIdentity | None = None) -> str | None:
    """Serve until told to stop, or until `parent` has ended. Why it did not start or go on, else None."""
    try:
        asyncio.run(_serve(settings, parent))
    except (StartRefused, FolderInUse, LogDamaged, BackendError) as refusal:
        return f"Tidelog did not start: {refusal}"
    except LogTaken as taken:
        return f"Tidelog stopped: another server took over the log ({taken})."
    return None


async def _serve(settings: Settings, parent: ProcessIdentity | None) -> None:
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
    supervisor = Supervisor(runtime, settings, folder, credentials)
    try:
        runtime.start(settings.executors)  # may be interrupted: Ray answers a signal with SystemExit
        for number in (signal.SIGINT, signal.SIGTERM):  # AFTER Ray's start, which sets handlers of its own
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        await supervisor.start()
        seconds = time.monotonic() - started
        typer.echo(announcement(settings, credentials, seconds, sys.stdout.isatty()))
        sys.stdout.flush()
        watching = asyncio.create_task(supervisor.watch())
        ends = {watching, asyncio.create_task(stopping.wait())}
        if parent is not None:
            ends.add(asyncio.create_task(wait_ended(parent)))
        await asyncio.wait(ends, return_when="FIRST_COMPLETED")
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
