"""A real PostgreSQL for tests: a throw-away server of the Debian package, and a wire to it that can be cut.

The server is as durable as a user's (fsync and all): what is proven with it is proven. It listens on the
loopback alone and ends with its folder. Where the package is missing and cannot be installed, tests skip.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest

from log.postgres_store import PostgresStore
from log.record import Record

from ..contracts.log_store_contract import make_records
from .debian import need_program
from .server import free_port

BEGIN, COMMIT = b"BEGIN ", b"COMMIT\0"
"""Words for a wire to wait for, as they stand in messages."""

T = TypeVar("T")

_NO_MAIN_CLUSTER = Path("/etc/postgresql-common/createcluster.conf")
_SETTINGS = (
    "listen_addresses='127.0.0.1'",
    "unix_socket_directories=''",
    "shared_buffers=32MB",
    "logging_collector=off",
)


class PostgresServer:
    """`start` may be called again after `stop` or `crash`: the data is still there."""

    def __init__(self) -> None:
        self._programs = _installed_programs()
        self._user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self._folder = Path(tempfile.mkdtemp(prefix="tidelog-postgres-"))
        self._data = self._folder / "data"
        self.port = free_port()
        if self._user is not None:
            shutil.chown(self._folder, self._user, self._user)
        self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write("\n".join((f"port={self.port}", *_SETTINGS, "")))

    def start(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self._folder / "server.log"), "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-m", "fast", "-w", "stop")

    def crash(self) -> None:
        """End every process of it at once, without a checkpoint: the next start recovers."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    def remove(self) -> None:
        """End the server and delete everything."""
        if (self._data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self._folder)

    def url(self, schema: str = "tidelog", *, port: int | None = None, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}?schema={schema}"

    def run(self, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """One statement of an operator; its rows, if it has any."""
        with self.session() as session:
            cursor = session.execute(statement, arguments)
            return cursor.fetchall() if cursor.description else []

    def session(self, application_name: str = "operator") -> psycopg.Connection[tuple[Any, ...]]:
        url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        return psycopg.connect(url, autocommit=True, application_name=application_name)

    def end_sessions(self, application_name: str) -> list[int]:
        """As an operator, a failover or an idle timeout would; the pids of what was ended."""
        end = "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
        return [pid for pid, _ in self.run(end, application_name)]

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            user=self._user,
            group=pwd.getpwnam(self._user).pw_gid if self._user else None,
            extra_groups=[] if self._user else None,
            stdout=subprocess.DEVNULL,  # the server inherits it: a pipe would never end
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        assert done.returncode == 0, f"{program} failed with status {done.returncode}"


def _installed_programs() -> Path:
    found = _newest_programs()
    if found is None:
        if os.geteuid() == 0 and not _NO_MAIN_CLUSTER.exists():
            _NO_MAIN_CLUSTER.parent.mkdir(exist_ok=True)  # else the package starts a server of its own
            _NO_MAIN_CLUSTER.write_text("create_main_cluster = false\n")
        need_program("pg_ctlcluster", "postgresql")
        found = _newest_programs()
    if found is None:
        pytest.skip("PostgreSQL's server programs are missing (Debian package postgresql)")
    return found


def _newest_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


class Cut(Enum):
    """What becomes of a message that a wire was waiting for."""

    BEFORE = "the server never gets it"
    AFTER = "the server does what it says; the answer is lost"
    HANG = "the server never gets it, and nobody learns that the connection is dead"


class Wire:
    """A proxy to the server that does something, once, when the client sends a certain word."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._armed: tuple[bytes, Cut | Callable[[], object]] | None = None
        self._ends: list[socket.socket] = []
        self.reached = threading.Event()  # what was armed has happened
        self.lets_in = threading.Event()  # clear it to keep new connections waiting
        self.lets_in.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, word: bytes, deed: Cut | Callable[[], object]) -> None:
        """A cut ends the connection. Anything else is called, BEFORE the message goes on."""
        self.reached.clear()
        self._armed = (word, deed)

    def forget_clients(self) -> None:
        """The clients' side of every connection breaks; the server's side stays open, and silent."""
        for client in self._ends[::2]:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for end in (self._listener, *self._ends):
            _hang_up(end)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.lets_in.wait()
                try:
                    server = socket.create_connection(("127.0.0.1", self._server_port))
                except ConnectionRefusedError:
                    _hang_up(client)
                    continue
                self._ends += [client, server]
                threading.Thread(target=self._to_server, args=(client, server), daemon=True).start()
                threading.Thread(target=self._to_client, args=(server, client), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        cut: Cut | None = None
        with suppress(OSError):
            while cut is None and (data := client.recv(1 << 16)):
                cut = self._due_cut(data)
                if cut is Cut.AFTER:
                    client.shutdown(socket.SHUT_RDWR)  # BEFORE the server can answer
                if cut in (None, Cut.AFTER):
                    server.sendall(data)
        if cut is not Cut.HANG:
            with suppress(OSError):
                server.shutdown(socket.SHUT_WR)  # what was sent is done, then it sees the end
        if cut is not None:
            self.reached.set()

    def _due_cut(self, data: bytes) -> Cut | None:
        if self._armed is None or self._armed[0] not in data:
            return None
        (_, deed), self._armed = self._armed, None
        if isinstance(deed, Cut):
            return deed
        deed()
        self.reached.set()
        return None

    def _to_client(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                with suppress(OSError):
                    client.sendall(data)
        _hang_up(client)
        _hang_up(server)


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


# --- what tests do with a store -----------------------------------------------------------------------


def append(store: PostgresStore, epoch: int, count: int) -> list[Record]:
    records = make_records(store.end(), count, epoch)
    store.append_and_sync(epoch, records)
    return records


def served(url: str) -> list[Record]:
    """What a successor finds, proven by its opening."""
    store = PostgresStore(url)
    records = list(store.read_from(1))
    store.close()
    return records


def in_thread(work: Callable[..., T], *arguments: object) -> Future[T]:
    """As the commit log does it: an append waits in a thread of its own."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work, *arguments)
    pool.shutdown(wait=False)
    return future
