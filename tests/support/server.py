"""A real server for tests: `tidelog dev` as a user starts it, the real CLI, and ways to hurt it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from actors.runtime import ConnectionLost
from cluster.config import Settings
from cluster.data_folder import DataFolder
from cluster.transport import connect

ROOT = Path(__file__).resolve().parents[2]
CONFORMANCE_APP = ROOT / "tests" / "conformance" / "app"
NPM = ROOT / "tests" / "npm" / "node_modules"
LAST_ROLE = "slow-executor"
READY_SECONDS_MAX = 180
TIDELOG = Path(sys.executable).with_name("tidelog")


def needs_npm() -> None:
    """Skip, with the reason, where the unmodified packages are not installed."""
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    if not (NPM / "convex").is_dir():
        pytest.skip("npm packages are missing: `npm ci` in tests/npm (`make test` does it)")


def free_port() -> int:
    """None that the system hands out: who asks it for any port could be given ours while we restart."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = random.randrange(20_000, 32_000)
            probe.bind(("127.0.0.1", port))
            return port


class RunningServer:
    """One server process and its data folder. `start` may be called again after `stop` or `kill_all`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = DataFolder(folder / "data")
        self.port, self.site_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.site_url = f"http://127.0.0.1:{self.site_port}"
        self._process: subprocess.Popen[str] | None = None
        self._admin_key: str | None = None
        self.output = folder / "server.out"
        self.work_folder: Path | None = None  # where it is started; None: here
        self.sink_file: Path | None = None  # where its executions go; None: nowhere
        self.trusted_proxies = ""  # whose word about a client's address is taken
        self.options = ["--data", str(self.data.path)]
        self.options += ["--port", str(self.port), "--site-port", str(self.site_port)]

    def start(self) -> None:
        environment = {
            **os.environ,
            "TIDELOG_EXECUTORS": "2",
            "TIDELOG_TRUSTED_PROXIES": self.trusted_proxies,
        }
        if self.sink_file is not None:
            environment["TIDELOG_SINK_FILE"] = str(self.sink_file)
        with self.output.open("w") as output:
            self._process = subprocess.Popen(
                [str(TIDELOG), "dev", *self.options],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.work_folder,
                text=True,
            )
        deadline = time.monotonic() + READY_SECONDS_MAX
        # It is ready before the last process is there: tests that count processes want them all.
        while "ready" not in self.output.read_text() or LAST_ROLE not in self.actors():
            assert self._process.poll() is None, f"the server ended: {self.output.read_text()}"
            assert time.monotonic() < deadline, f"the server is not ready: {self.output.read_text()}"
            time.sleep(0.05)

    def stop(self) -> int:
        """SIGTERM, as a user's Ctrl-C or a service manager; returns the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(timeout=60)
        self._process = None
        return status

    def wait_ended(self) -> int:
        """Until the server stops by itself; returns the exit status."""
        assert self._process is not None
        status = self._process.wait(timeout=60)
        self._process = None
        return status

    def kill_supervisor(self) -> None:
        """SIGKILL the `tidelog dev` process itself: nobody cleans up after it but the next start."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    # --- looking and hurting ------------------------------------------------------------------------

    def actors(self) -> dict[str, Any]:
        running: Any = self.data.read_running()["actors"]
        return running

    def pid_of(self, role: str) -> int:
        return int(self.actors()[role]["pid"])

    def kill(self, role: str) -> int:
        """SIGKILL one actor; returns the pid that is gone."""
        pid = self.pid_of(role)
        os.kill(pid, signal.SIGKILL)
        return pid

    def ask(self, role: str, method: str, *arguments: Any) -> Any:
        """One call to an actor's socket, with the deployment's secret."""
        return self.ask_many(role, [(method, *arguments)])[0]

    def ask_many(self, role: str, questions: list[tuple[Any, ...]]) -> list[Any]:
        """Calls over one connection, one after the other."""
        return asyncio.run(self._ask(role, questions))

    async def _ask(self, role: str, questions: list[tuple[Any, ...]]) -> list[Any]:
        secret = self.data.credentials(Settings()).instance_secret
        host, port = self.actors()[role]["address"]
        peer = await connect(host, port, secret, lambda *_: None, lambda: None)
        try:
            return [await peer.call(*question) for question in questions]
        finally:
            peer.close()

    def wait_replaced(self, role: str, pid: int, seconds_max: float = 60) -> None:
        """Until another process has the role and answers."""
        deadline = time.monotonic() + seconds_max
        while True:
            try:
                if self.pid_of(role) != pid and self.ask(role, "status")["pid"] != pid:
                    return
            except (ConnectionLost, OSError, KeyError):
                pass
            assert time.monotonic() < deadline, f"{role} did not come back"
            time.sleep(0.1)

    # --- the user's side ----------------------------------------------------------------------------

    def admin_key(self) -> str:
        """Asked for once: starting the command takes as long as some of the tests."""
        if self._admin_key is None:
            command = [str(TIDELOG), "admin-key", "--data", str(self.data.path)]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            self._admin_key = printed.split("\n")[-2]
        return self._admin_key

    def environment(self, key: str | None = None) -> dict[str, str]:
        """For the CLI and node: as the self-hosting documents say, and nothing of this machine's."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        own = {"CONVEX_SELF_HOSTED_URL": self.url, "CONVEX_SELF_HOSTED_ADMIN_KEY": key or self.admin_key()}
        return {**kept, **own, "CI": "1", "NODE_MODULES": str(NPM)}

    def cli(
        self, app: Path, *arguments: str, seconds_max: float = 120, key: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`npx convex ...` in the app's folder; stdout and stderr together in `.stdout`."""
        with self._begun(app, arguments, key) as process:
            try:
                said, _ = process.communicate(timeout=seconds_max)
            finally:
                process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, said)

    @contextlib.contextmanager
    def followed(
        self, app: Path, *arguments: str, seconds_max: float = 60
    ) -> Iterator[Callable[[str], list[str]]]:
        """`npx convex ...` that goes on by itself. Gives a function that reads its lines through the first
        one that holds a text; when the time is up the process has ended, and so have its lines."""
        process = self._begun(app, arguments)
        alarm = threading.Timer(seconds_max, process.kill)
        alarm.start()

        def through(text: str) -> list[str]:
            assert process.stdout is not None
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                if text in lines[-1]:
                    return lines
            raise AssertionError(f"{text!r} did not come: {lines}")

        try:
            yield through
        finally:
            alarm.cancel()
            process.kill()
            process.communicate()

    def _begun(self, app: Path, arguments: Sequence[str], key: str | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["node", str(NPM / "convex" / "bin" / "main.js"), *arguments],
            cwd=app,
            env=self.environment(key),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def node(
        self,
        script: Path,
        *arguments: str,
        seconds_max: float = 120,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> list[Any]:
        """Run a client script, with `more` in its environment; its lines that begin with `> ` are JSON
        observations."""
        done = subprocess.run(
            ["node", str(script), self.url, *arguments],
            env={**self.environment(), **more},
            capture_output=True,
            text=True,
            timeout=seconds_max,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return [json.loads(line[2:]) for line in done.stdout.splitlines() if line.startswith("> ")]


@contextlib.contextmanager
def server_with(app: Path) -> Iterator[RunningServer]:
    """A server of its own, with the app pushed; for what is run by hand."""
    with tempfile.TemporaryDirectory() as folder:
        server = RunningServer(Path(folder))
        server.start()
        try:
            pushed = server.cli(copy_app(app, Path(folder) / "app"), "dev", "--once")
            assert pushed.returncode == 0, pushed.stdout
            yield server
        finally:
            server.stop()


def copy_app(source: Path, target: Path) -> Path:
    """A scratch project with the app's functions and the tests' npm packages."""
    shutil.copytree(source, target)
    (target / "node_modules").symlink_to(NPM)
    return target
