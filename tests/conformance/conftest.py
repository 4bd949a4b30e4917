"""One server and one pushed app for the whole run (starting Ray takes seconds)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.processes import identify

from ..support.server import RunningServer, copy_app, needs_npm

APP = Path(__file__).parent / "app"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    needs_npm()
    running = RunningServer(tmp_path_factory.mktemp("server"))
    running.start()
    yield running
    node_pids = running.ask("slow-executor", "status")["node_pids"]
    assert running.stop() == 0
    assert all(identify(pid) is None for pid in node_pids), "a Node.js process outlived the server"


@pytest.fixture(scope="session")
def app(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pushed app's folder; tests that push something else copy it."""
    folder = copy_app(APP, tmp_path_factory.mktemp("projects") / "app")
    pushed = server.cli(folder, "dev", "--once")
    assert pushed.returncode == 0, pushed.stdout
    return folder
