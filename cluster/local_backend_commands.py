"""`tidelog install-local-backend`, and `tidelog local-backend`, which the npm CLI starts then."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import orjson
import typer

from cluster.config import BadSettings, Settings, read_settings
from cluster.data_folder import Credentials, DataFolder, StartRefused, as_secret
from cluster.local_backend import (
    NAME_PREFIX,
    VERSION,
    AskHelp,
    BadArguments,
    MakeKey,
    Serve,
    dashboard_folder,
    program_path,
    project_file,
    read_arguments,
)
from cluster.process_log import log_to_file
from cluster.processes import ProcessIdentity, identify
from cluster.serving import run
from log.secrets import issue_admin_key, new_instance_secret

_HOST = "127.0.0.1"  # the CLI asks there, and nobody else should
_PORTS = {"cloud": 3210, "site": 3211}  # the CLI takes others when these are taken
_FORMER_SECONDS_MAX = 20.0  # the CLI does not wait for the server it ends
_POLL_SECONDS = 0.05
_DASHBOARD = """<!doctype html>
<title>Tidelog</title>
<p>Tidelog has no dashboard. Look into the data with <code>npx convex data</code>, into the log with
<code>tidelog log tail --data .convex/local/default/tidelog</code>.</p>
"""
_logger = logging.getLogger(__name__)


def register(app: typer.Typer) -> None:
    app.command()(install_local_backend)
    as_they_come = {"ignore_unknown_options": True, "allow_extra_args": True}
    app.command(hidden=True, add_help_option=False, context_settings=as_they_come)(local_backend)


# --- the program --------------------------------------------------------------------------------------


def local_backend(context: typer.Context) -> None:
    """What the npm CLI starts; its arguments are the CLI's (spec 02 25)."""
    parent = identify(os.getppid())  # BEFORE anything takes time: who started us may end meanwhile
    try:
        asked = read_arguments(context.args)
        if isinstance(asked, AskHelp):
            typer.echo(asked.text)
        elif isinstance(asked, MakeKey):
            typer.echo(_key_of(_credentials(asked)))
        else:
            _serve(asked, parent)
    except (BadArguments, BadSettings, StartRefused) as refusal:
        typer.echo(str(refusal), err=True)
        raise typer.Exit(1) from None


def _serve(asked: Serve, parent: ProcessIdentity | None) -> None:
    for name in asked.unknown:
        typer.echo(f"{name} is not known and not used.", err=True)
    settings, credentials = _settings(asked), _credentials(asked)
    folder = DataFolder(settings.data_folder)
    folder.prepare()
    log_to_file(folder.logs, "supervisor", settings.log_format, settings.log_level)
    if _former_has_stopped(folder):
        folder.keep_credentials(credentials)
    refusal = run(settings, parent)
    if refusal is not None:
        _logger.error(refusal)  # the CLI shows nothing of what its backend prints
        raise StartRefused(refusal)


def _settings(asked: Serve) -> Settings:
    """What decides where data goes and where we are reached is the CLI's alone: a developer's environment
    may be set up for another server."""
    return read_settings(
        data_folder=asked.data_folder.absolute(),
        port=asked.port,
        site_port=asked.site_port,
        host=_HOST,
        instance_name=asked.instance_name,
        instance_secret=asked.instance_secret,
        cloud_origin=f"http://{_HOST}:{asked.port}",
        site_origin=f"http://{_HOST}:{asked.site_port}",
        log_url="",
        files_url="",
    )


def _former_has_stopped(folder: DataFolder) -> bool:
    """The CLI ends its server and itself at once; its next command may come before that one has stopped.
    One that does not stop refuses our start."""
    deadline = time.monotonic() + _FORMER_SECONDS_MAX
    while (held := folder.try_hold()) is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    held.close()
    return True


def _credentials(asked: MakeKey | Serve) -> Credentials:
    return Credentials(asked.instance_name, as_secret(asked.instance_secret))


def _key_of(credentials: Credentials) -> str:
    return issue_admin_key(credentials.instance_secret, credentials.instance_name, int(time.time()))


# --- its installation ---------------------------------------------------------------------------------


def install_local_backend(
    project: Annotated[Path, typer.Argument(help="The npm project, with its package.json.")] = Path("."),
) -> None:
    """Let `npx convex dev` start Tidelog by itself, in this project, without an account."""
    try:
        _prepare_project(project.resolve())
        _install_program(Path.home())
        _prepare_dashboard(Path.home())
    except (OSError, StartRefused) as refusal:
        typer.echo(str(refusal), err=True)
        raise typer.Exit(1) from None
    typer.echo("Start it, in the project, with:")
    typer.echo(f"  CONVEX_AGENT_MODE=anonymous npx convex dev --local-backend-version {VERSION}")


def _install_program(home: Path) -> None:
    """A script that becomes the command of this installation: one process, which the CLI can end."""
    path = program_path(home)
    command = shlex.quote(str(Path(sys.executable).with_name("tidelog")))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {command} local-backend "$@"\n')
    path.chmod(0o755)


def _prepare_project(project: Path) -> None:
    """Write what the CLI remembers of a deployment, as if it had made it.

    For one that it makes itself it downloads its vendor's program, whatever version it was told, and lets
    that one sign the admin key: a key that counts for nothing here.
    """
    if not (project / "package.json").exists():
        raise StartRefused(f"{project} is no npm project: it has no package.json.")
    path = project_file(project)
    if path.exists():
        _check_ours(path)
        return
    credentials = Credentials(_new_name(project), new_instance_secret())
    known = {
        "ports": _PORTS,
        "backendVersion": VERSION,
        "adminKey": _key_of(credentials),
        "instanceSecret": credentials.instance_secret.hex(),
        "deploymentName": credentials.instance_name,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    ignored = project / ".convex" / ".gitignore"
    if not ignored.exists():
        ignored.write_text("/*\n")  # BEFORE the secret is there
    with open(path, "xb", opener=_for_owner_only) as file:
        file.write(orjson.dumps(known))


def _check_ours(path: Path) -> None:
    try:
        version = orjson.loads(path.read_bytes())["backendVersion"]
    except (ValueError, LookupError, TypeError):
        version = "unknown"
    if version != VERSION:
        raise StartRefused(
            f"The project has a local deployment of another backend ({version}). Export its data, move "
            f"{path.parent} away, and try again."
        )


def _new_name(project: Path) -> str:
    """One per project: by its name the CLI tells whose server answers at a port."""
    folder = re.sub(r"[^a-z0-9]+", "-", project.name.lower()).strip("-")
    return f"{NAME_PREFIX}{folder or 'app'}-{secrets.token_hex(2)}"


def _prepare_dashboard(home: Path) -> None:
    """The CLI would download one of the backend's version, and end when it finds none. Pages that are there
    already, of whatever version, stay."""
    folder = dashboard_folder(home)
    page = folder / "out" / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    if not page.exists():
        page.write_text(_DASHBOARD)
    (folder / "config.json").write_bytes(orjson.dumps({"version": VERSION}))


def _for_owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
