"""Packages for Node modules, installed by the real npm: a folder for each list of them (spec 02 6).

npm gets a package.json with exactly these versions, runs none of their scripts, and keeps its cache within
the folder it works in. It ends when it takes too long or too much room, and with its executor.

Promises: a folder appears complete and goes whole, by renaming, and is not changed in between; what cannot be
installed leaves nothing behind. Several processes may share the folders.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path

import orjson

from actors.node_process import end_group, find_node
from functions.node_errors import node_packages_not_installed
from functions.node_packages import NodePackage, packages_key
from log.limits import (
    MIB,
    NODE_OUTPUT_TAIL_BYTES,
    NODE_PACKAGES_BYTES_MAX,
    NODE_PACKAGES_HELD_MAX,
    NODE_PACKAGES_INSTALL_SECONDS_MAX,
)

MODULES = "node_modules"
FOLDER_VARIABLE = "TIDELOG_PACKAGES"
"""Of each npm and what it starts: where the lists are. By it a start finds those of a killed executor."""
_UNFINISHED = "unfinished-"
_LOOK_SECONDS = 0.5
_STOPPING = "The server is stopping."
_OPTIONS = (
    *("--ignore-scripts", "--omit=dev", "--workspaces=false", "--no-audit", "--no-fund"),
    *("--no-package-lock", "--no-update-notifier", "--no-progress", "--loglevel=error"),
)
_KEPT_VARIABLES = (
    *("PATH", "HOME", "LANG", "TMPDIR", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)


class NodePackageFolders:
    """Below one path; None: this process installs nothing. Used on any thread."""

    def __init__(self, path: Path | None) -> None:
        self._path = path.resolve() if path is not None else None
        self._installing = threading.Lock()  # whoever asks for the same list waits, and finds it
        self._is_closed = threading.Event()

    def provide(self, packages: tuple[NodePackage, ...]) -> Path | None:
        """The folder whose `node_modules` has them, installed if need be; None when there are none to have.
        Takes as long as npm does. 400 InvalidExternalModules says why it could not."""
        folder = self.folder_of(packages)
        if folder is not None and not _mark_used(folder):  # what is there waits for no other installation
            with self._installing:
                self._install_missing(packages, folder)
        return folder

    def folder_of(self, packages: tuple[NodePackage, ...]) -> Path | None:
        """Where they are once they are installed; None when there are none to have. 400
        InvalidExternalModules: never here."""
        if not packages:
            return None
        if self._path is None:
            raise node_packages_not_installed(packages, "This process installs no packages.")
        return self._path / packages_key(packages)

    def use(self, packages: tuple[NodePackage, ...]) -> bool:
        """Mark them as used now. Whether they are there, also when there are none to have."""
        folder = self.folder_of(packages)
        return folder is None or _mark_used(folder)

    def close(self) -> None:
        """Whoever installs is refused soon."""
        self._is_closed.set()

    def check_open(self, packages: tuple[NodePackage, ...]) -> None:
        """400 InvalidExternalModules after `close`."""
        if self._is_closed.is_set():
            raise node_packages_not_installed(packages, _STOPPING)

    def _install_missing(self, packages: tuple[NodePackage, ...], target: Path) -> None:
        try:
            if not _mark_used(target):
                self._install(packages, target)
        except OSError as failure:  # of the disk, or where npm cannot be started
            raise node_packages_not_installed(packages, str(failure)) from failure

    def _install(self, packages: tuple[NodePackage, ...], target: Path) -> None:
        self.check_open(packages)  # whoever waited for another list does not begin now
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_old(target.parent)
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=target.parent))
        try:
            self._run_npm(packages, unfinished)
            os.utime(unfinished / "tree")  # BEFORE it has its name: npm began long ago, and it is no old list
            with contextlib.suppress(FileExistsError):
                _rename(unfinished / "tree", target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _run_npm(self, packages: tuple[NodePackage, ...], folder: Path) -> None:
        find_node()
        npm = shutil.which("npm")
        if npm is None:
            raise node_packages_not_installed(packages, "There is no `npm` on the PATH of the server.")
        tree = folder / "tree"
        (tree / MODULES).mkdir(parents=True)
        wanted = {package.name: package.version for package in packages}
        (tree / "package.json").write_bytes(orjson.dumps({"private": True, "dependencies": wanted}))
        environment = {**_environment(), FOLDER_VARIABLE: str(folder.parent)}
        command = [npm, "install", *_OPTIONS, "--cache", str(folder / "cache")]
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=tree,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            fault = self._fault_of(process, folder)
        finally:
            end_group(process)
            process.wait()
        if fault is None and _size_bytes(tree) > NODE_PACKAGES_BYTES_MAX:
            fault = _too_large()
        if fault is not None:
            raise node_packages_not_installed(packages, fault)

    def _fault_of(self, process: subprocess.Popen[bytes], folder: Path) -> str | None:
        """Wait for npm, within its bounds: why it did not succeed, None when it did."""
        deadline = time.monotonic() + NODE_PACKAGES_INSTALL_SECONDS_MAX
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(_LOOK_SECONDS)
                return _npm_text((folder / "output").read_bytes()) if status != 0 else None
            if time.monotonic() > deadline:
                return f"npm has not finished after {NODE_PACKAGES_INSTALL_SECONDS_MAX} s."
            if self._is_closed.is_set():
                return _STOPPING
            if _size_bytes(folder) > 2 * NODE_PACKAGES_BYTES_MAX:  # with the cache that it unpacks from
                return _too_large()


def _environment() -> dict[str, str]:
    """What npm needs to reach the registry as its user has set it up, and no secret of the server."""
    kept = {name: value for name, value in os.environ.items() if name.lower().startswith("npm_config_")}
    return {**kept, **{name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}}


def _npm_text(output: bytes) -> str:
    """What npm says went wrong, without where its own log is."""
    lines = output[-NODE_OUTPUT_TAIL_BYTES:].decode(errors="replace").splitlines()
    told = [line for line in lines if line.strip() and "A complete log of this run" not in line]
    return "\n".join(told) or "npm failed and did not say why."


def _too_large() -> str:
    return f"They have more than {NODE_PACKAGES_BYTES_MAX // MIB} MiB."


def _rename(source: Path, target: Path) -> None:
    """FileExistsError: another process was faster, and its folder has the same."""
    try:
        os.rename(source, target)
    except OSError as failure:
        if not target.is_dir():
            raise
        raise FileExistsError from failure


def _size_bytes(folder: Path) -> int:
    """Files that go meanwhile count as nothing."""
    found = 0
    for parent, _folders, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                found += os.lstat(os.path.join(parent, name)).st_size
    return found


def _mark_used(folder: Path) -> bool:
    """Which are used is seen by their times. False: it is not there; asked AFTER it was marked, so that who
    removes old ones has seen the mark, or has taken the folder away before."""
    with contextlib.suppress(OSError):
        os.utime(folder)
    return folder.is_dir()


def _remove_old(folder: Path) -> None:
    """Leave room for one: of the lists those used last stay, and of the unfinished what may be under way.

    They are renamed BEFORE the first is deleted: that takes long, meanwhile one might be used again, and who
    is killed in the middle must not leave half a list under the name of a whole one.
    """
    used_at = {path: at for path in folder.iterdir() if (at := _used_at(path)) is not None}
    unfinished = [path for path in used_at if path.name.startswith(_UNFINISHED)]
    lost_since = time.time() - 2 * NODE_PACKAGES_INSTALL_SECONDS_MAX
    doomed = [path for path in unfinished if used_at[path] < lost_since]
    newest_first = sorted(used_at.keys() - set(unfinished), key=used_at.__getitem__, reverse=True)
    for path in newest_first[NODE_PACKAGES_HELD_MAX - 1 :]:
        gone = path.with_name(f"{_UNFINISHED}{uuid.uuid4().hex}")
        with contextlib.suppress(OSError):  # another process was faster
            os.rename(path, gone)
            doomed.append(gone)
    for path in doomed:
        shutil.rmtree(path, ignore_errors=True)


def _used_at(path: Path) -> float | None:
    """In seconds of the clock; None: another process has removed it meanwhile."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None
