"""What is measured: a server in a scratch folder, the pids of its processes, and a load generator for it.

Every system acknowledges a write only when it is on disk, listens on the loopback alone, and ends by pid.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ..support.server import NPM, RunningServer, copy_app, free_port
from .driver import Driver

_HERE = Path(__file__).parent
_READY_SECONDS_MAX = 30
_STOP_SECONDS_MAX = 20
HTTP, SOCKET = "http", "socket"


class Unavailable(Exception):
    """A peer that cannot run here; the text says what is missing."""


class System(Protocol):
    """One server and its load generator."""

    name: str
    driver: Driver
    kinds: tuple[str, ...]  # of clients; the first is the one that goals are about
    has_fan_out: bool

    def start(self) -> None: ...

    def roots(self) -> list[int]: ...

    def stop(self) -> None: ...


class Tidelog:
    """Our server as a user starts it, with the app pushed by the real CLI."""

    name = "tidelog"
    kinds: tuple[str, ...] = (HTTP, SOCKET)
    has_fan_out = True

    def __init__(self, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self.server = RunningServer(scratch)
        self._app = scratch / "app"

    def start(self) -> None:
        self.server.start()
        self._push()
        self.driver = self.new_driver()

    def new_driver(self, **environment: str) -> Driver:
        return Driver("tidelog.mjs", self.server.url, environment={"NODE_MODULES": str(NPM), **environment})

    def roots(self) -> list[int]:
        process = self.server._process
        assert process is not None, "the server runs"
        return [process.pid]

    def stop(self) -> None:
        if hasattr(self, "driver"):
            self.driver.stop()
        if self.server._process is not None:  # not between a stop and the next start
            self.server.stop()

    def _push(self) -> None:
        copy_app(_HERE / "app", self._app)
        pushed = self.server.cli(self._app, "dev", "--once", "--typecheck=disable")
        if pushed.returncode != 0:
            raise RuntimeError(f"the push failed:\n{pushed.stdout}")


class Postgres:
    """A throw-away cluster of the Debian package, fully durable, with node-postgres."""

    name = "postgres"
    kinds: tuple[str, ...] = ("connection",)
    has_fan_out = False

    _SETTINGS = (
        "listen_addresses='127.0.0.1'",
        "unix_socket_directories=''",
        "max_connections=200",
        "shared_buffers=128MB",
        "fsync=on",
        "synchronous_commit=on",
        "full_page_writes=on",
    )

    def __init__(self, scratch: Path) -> None:
        self._data = scratch / "postgres"
        self._port = free_port()
        self._programs = _newest_postgres()
        _needs_package("pg")

    def start(self) -> None:
        self._data.mkdir(parents=True)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(self._data, "postgres", "postgres")
            self._data.parent.chmod(0o755)
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", "postgres")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write("\n".join((f"port={self._port}", *self._SETTINGS, "")))
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self._data / "server.log"), "-w", "start")
        self.driver = Driver("postgres.mjs", str(self._port))

    def roots(self) -> list[int]:
        return [int((self._data / "postmaster.pid").read_text().split()[0])]

    def stop(self) -> None:
        if hasattr(self, "driver"):
            self.driver.stop()
        if (self._data / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", str(self._data), "-m", "fast", "-w", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        user = "postgres" if os.geteuid() == 0 else None
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
            stdout=subprocess.DEVNULL,  # the server inherits it: a pipe would never end
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        if done.returncode != 0:
            raise Unavailable(f"PostgreSQL: {program} failed with status {done.returncode}")


class Workerd:
    """A SQLite-backed Durable Object in workerd, hosted by miniflare."""

    name = "workerd"
    kinds: tuple[str, ...] = (SOCKET,)
    has_fan_out = True

    def __init__(self, scratch: Path) -> None:
        self._folder = scratch / "workerd"
        self._port = free_port()
        _needs_package("miniflare")

    def start(self) -> None:
        self._folder.mkdir(parents=True)
        script = _HERE / "drivers" / "workerd_host.mjs"
        self._process = subprocess.Popen(
            ["node", str(script), str(self._port), str(self._folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _wait_for_port(self._port, self._process)
        self.driver = Driver("workerd.mjs", str(self._port))

    def roots(self) -> list[int]:
        return [self._process.pid]

    def stop(self) -> None:
        if hasattr(self, "driver"):
            self.driver.stop()
        if hasattr(self, "_process"):
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _newest_postgres() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if not found:
        raise Unavailable("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    if os.geteuid() == 0:
        with suppress(KeyError):
            pwd.getpwnam("postgres")
            return found[-1].parent
        raise Unavailable("PostgreSQL does not run as root, and there is no user postgres")
    return found[-1].parent


def _needs_package(name: str) -> None:
    if not (_HERE / "node_modules" / name).is_dir():
        raise Unavailable(f"the npm package {name} is not installed (`make bench-peers` does it)")


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_SECONDS_MAX
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None:
            raise Unavailable(f"workerd did not start (status {process.returncode})")
        time.sleep(0.05)
    raise Unavailable(f"workerd did not listen within {_READY_SECONDS_MAX} s")
