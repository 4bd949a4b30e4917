"""The unmodified CLI starts Tidelog by itself: no account, no variables, nothing asked of other machines
(spec 02 25)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.data_folder import DataFolder
from cluster.local_backend import VERSION, program_path, project_file
from cluster.processes import ProcessIdentity, processes_mentioning, processes_writing
from cluster.ray_runtime import RayRuntime

from ..support.server import CONFORMANCE_APP, NPM, TIDELOG, copy_app, free_port, needs_npm

PATIENCE_SECONDS = 60
OFFLINE = Path(__file__).with_name("offline.cjs")
INCREMENT = ("run", "messages:increment", '{"name": "local"}')
COUNT = ("run", "messages:count", '{"name": "local"}')


class Developer:
    """Somebody with a home of their own, a project, and no network."""

    def __init__(self, folder: Path) -> None:
        self.home, self.project = folder / "home", copy_app(CONFORMANCE_APP, folder / "app")
        self.asked = folder / "asked"
        self.asked.touch()
        self.data = DataFolder(project_file(self.project).parent / "tidelog")
        self.ports = ("--local-cloud-port", str(free_port()), "--local-site-port", str(free_port()))
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
        self.environment = {
            **kept,
            "HOME": str(self.home),
            "CONVEX_AGENT_MODE": "anonymous",
            "CI": "1",  # the CLI reports its own errors to nobody
            "NODE_OPTIONS": f"--require={OFFLINE}",
            "ASKED_ELSEWHERE": str(self.asked),
            "TIDELOG_EXECUTORS": "1",
        }

    def install(self) -> str:
        command = [str(TIDELOG), "install-local-backend", str(self.project)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def cli(self, *arguments: str) -> str:
        """What a command that succeeds prints."""
        process = self.begin(*arguments)
        try:
            said, _ = process.communicate(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()
        assert process.returncode == 0, said
        return said

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["node", str(NPM / "convex" / "bin" / "main.js"), *arguments],
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def processes(self) -> list[ProcessIdentity]:
        """All that runs for the project's server, itself included."""
        session = RayRuntime(self.data.path).session_folder
        named = processes_mentioning(str(project_file(self.project).parent), str(session))
        return [*named, *processes_writing(session)]

    def nothing_runs(self) -> bool:
        return not self.processes()


@pytest.fixture(scope="module")
def developer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Developer]:
    needs_npm()
    developer = Developer(tmp_path_factory.mktemp("local"))
    assert f"--local-backend-version {VERSION}" in developer.install()
    pushed = developer.cli("dev", "--once", "--local-backend-version", VERSION, *developer.ports)
    assert "Convex functions ready" in pushed
    until(developer.nothing_runs, "a server outlives its command")  # its ports are asked for again
    yield developer
    until(developer.nothing_runs, "processes are left")


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_a_push_starts_a_server_and_asks_nothing_needed_of_others(developer: Developer) -> None:
    written = (developer.project / ".env.local").read_text()
    assert f"CONVEX_URL=http://127.0.0.1:{developer.ports[1]}\n" in written
    assert f"CONVEX_SITE_URL=http://127.0.0.1:{developer.ports[3]}\n" in written
    assert set(developer.asked.read_text().split()) <= {"https://version.convex.dev/v1/version"}


def test_each_command_has_a_server_of_its_own_with_the_data_of_the_ones_before(developer: Developer) -> None:
    before = json.loads(developer.cli(*COUNT).splitlines()[-1])
    developer.cli(*INCREMENT)  # at once: the server of the command before may still be stopping
    assert json.loads(developer.cli(*COUNT).splitlines()[-1]) == before + 1
    until(developer.nothing_runs, "a server outlives its command")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_server_ends_with_the_cli_however_that_ends(developer: Developer, number: signal.Signals) -> None:
    with developer.begin("dev", "--local-backend-version", VERSION, *developer.ports) as process:
        try:
            assert process.stdout is not None
            assert any("Convex functions ready" in line for line in process.stdout)
            assert developer.processes()
            process.send_signal(number)
            process.wait(timeout=PATIENCE_SECONDS)
        finally:
            process.kill()
    until(developer.nothing_runs, f"processes are left after {number.name}")


def test_a_server_that_is_ended_while_it_starts_leaves_nothing(developer: Developer) -> None:
    """The CLI does so when it is interrupted early."""
    until(developer.nothing_runs, "a server outlives its command")
    known = json.loads(project_file(developer.project).read_text())
    state = project_file(developer.project).with_name("convex_local_backend.sqlite3")
    command = [
        *(str(program_path(developer.home)), "--port", developer.ports[1], "--site-proxy-port"),
        *(developer.ports[3], "--instance-name", known["deploymentName"], "--instance-secret"),
        *(known["instanceSecret"], str(state)),
    ]
    sockets = RayRuntime(developer.data.path).session_folder / "ray" / "session_latest" / "sockets"
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=developer.environment, stdout=quiet, stderr=quiet) as process:
        until((sockets / "raylet").exists, "Ray does not start")
        assert not developer.data.read_running(), "it has started already"
        process.terminate()
        process.wait(timeout=PATIENCE_SECONDS)
    assert developer.nothing_runs()
