"""A server's data folder: what is in it, and the refusals before a start (design D27).

format          version of this layout
credentials/    instance name and secret (0600)
log/            the log: the only truth
archive/        what was moved out of the log: of the same truth the older part
files/          bytes of stored files, which the log names
views/          folds of the log: may be deleted while the server is stopped
packages/       npm packages of Node actions: may be deleted while the server is stopped
run/            pids and addresses of what runs now
logs/           what our processes say
"""

from __future__ import annotations

import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import orjson

from log.folders import sync_folder
from log.secrets import INSTANCE_SECRET_BYTES, new_instance_secret

if TYPE_CHECKING:  # actors' processes need no settings, whose library is large
    from cluster.config import Settings

FORMAT_VERSION = 1
FREE_BYTES_MIN = 1 << 30
INSTANCE_NAME_DEFAULT = "tidelog"
ARCHIVE_FOLDER = "archive"
_FORMAT_FILE = "format"


class StartRefused(Exception):
    """The server does not start; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What admin keys, cursors and sockets are derived from."""

    instance_name: str
    instance_secret: bytes


class DataFolder:
    """Paths of one data folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def archive(self) -> Path:
        return self.path / ARCHIVE_FOLDER

    @property
    def files(self) -> Path:
        return self.path / "files"

    @property
    def views(self) -> Path:
        return self.path / "views"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def node(self) -> Path:
        """Modules of Node actions, for the processes that run them."""
        return self.run / "node"

    @property
    def node_packages(self) -> Path:
        """npm packages that Node modules import, by the list of them; installed again when missing."""
        return self.path / "packages"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def has_begun(self) -> bool:
        """Whether it ever was a server's."""
        return (self.path / _FORMAT_FILE).exists()

    def prepare(self) -> None:
        """Create what is missing, or refuse with what to do."""
        try:
            for folder in (self.path, self.run, self.logs, self.path / "credentials"):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = self.run / "writable"
            probe.touch()
            probe.unlink()
        except OSError as failure:
            raise StartRefused(
                f"The data folder {self.path} cannot be written: {failure}. "
                "Choose another one with --data, or change its permissions."
            ) from failure
        free_bytes = shutil.disk_usage(self.path).free
        if free_bytes < FREE_BYTES_MIN:
            raise StartRefused(
                f"The disk of {self.path} has {free_bytes >> 20} MiB free; at least "
                f"{FREE_BYTES_MIN >> 20} MiB are needed. Free some, or choose another folder with --data."
            )
        self._check_format()

    def credentials(self, settings: Settings) -> Credentials:
        """From the settings, else from the folder, where they are made on the first start."""
        folder = self.path / "credentials"
        name = settings.instance_name or _kept(folder / "instance_name", lambda: INSTANCE_NAME_DEFAULT)
        secret = settings.instance_secret or _kept(
            folder / "instance_secret", lambda: new_instance_secret().hex()
        )
        return Credentials(name, as_secret(secret))

    def renew_secret(self) -> None:
        """Replace the secret in the folder: a start sees the old or the new one."""
        self._replace_credential("instance_secret", new_instance_secret().hex())

    def keep_credentials(self, credentials: Credentials) -> None:
        """Make these the folder's own: commands on it find them there, and need not be told."""
        self._replace_credential("instance_name", credentials.instance_name)
        self._replace_credential("instance_secret", credentials.instance_secret.hex())

    def _replace_credential(self, name: str, text: str) -> None:
        target = self.path / "credentials" / name
        temporary = target.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        _kept(temporary, lambda: text)
        os.replace(temporary, target)
        sync_folder(target.parent)

    # --- what runs now ------------------------------------------------------------------------------

    def try_hold(self) -> IO[str] | None:
        """Be the one server of this folder, or whatever else must be alone with it, until the file is
        closed or the process ends; None while somebody else is."""
        self.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock_file = (self.run / "server.lock").open("w")
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock_file.close()
            return None
        return lock_file

    def write_running(self, running: dict[str, object]) -> None:
        """Replace run/actors.json in one step; readers see the old or the new one."""
        target = self.run / "actors.json"
        temporary = target.with_suffix(".new")
        temporary.write_bytes(orjson.dumps(running, option=orjson.OPT_INDENT_2))
        temporary.chmod(0o600)
        os.replace(temporary, target)

    def read_running(self) -> dict[str, object]:
        target = self.run / "actors.json"
        return orjson.loads(target.read_bytes()) if target.exists() else {}

    def clear_running(self) -> None:
        (self.run / "actors.json").unlink(missing_ok=True)

    # --- another server took the log -----------------------------------------------------------------

    def mark_fenced(self, text: str) -> None:
        """Our writer was fenced: whoever would start it again must know that somebody else writes now."""
        (self.run / "fenced").write_text(text)

    def fenced(self) -> str | None:
        path = self.run / "fenced"
        return path.read_text() if path.exists() else None

    def clear_fenced(self) -> None:
        (self.run / "fenced").unlink(missing_ok=True)

    def _check_format(self) -> None:
        path = self.path / _FORMAT_FILE
        version = int(_kept(path, lambda: str(FORMAT_VERSION)))
        if version > FORMAT_VERSION:
            raise StartRefused(
                f"The data folder {self.path} has format {version}; this Tidelog knows formats up to "
                f"{FORMAT_VERSION}. Start it with the newer Tidelog that wrote it."
            )


def as_secret(text: str) -> bytes:
    """The instance secret that is written so, or a refusal."""
    try:
        decoded = bytes.fromhex(text)
    except ValueError:
        decoded = b""
    if len(decoded) != INSTANCE_SECRET_BYTES:
        raise StartRefused(
            f"The instance secret must be {INSTANCE_SECRET_BYTES * 2} hexadecimal digits "
            "(INSTANCE_SECRET, or credentials/instance_secret in the data folder)."
        )
    return decoded


def check_sink_file(path: str) -> None:
    """Refuse a start whose executions could not be written where they should be."""
    try:
        if path:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError as failure:
        raise StartRefused(f"TIDELOG_SINK_FILE cannot be written: {failure}.") from failure


def _kept(path: Path, make: object) -> str:
    """The text in the file, written with `make()` when there is none."""
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(make())  # type: ignore[operator]
    return path.read_text().strip()
