"""One server and one pushed app for the whole run (starting Ray takes seconds). The app has components."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.processes import identify

from ..support.server import CONFORMANCE_APP, RunningServer, copy_app, needs_npm

COMPONENTS = Path(__file__).parent / "components_app"


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    needs_npm()
    running = RunningServer(tmp_path_factory.mktemp("server"))
    running.sink_file = running.folder / "executions.jsonl"
    running.trusted_proxies = "127.0.0.1"
    running.start()
    yield running
    node_pids = running.ask("slow-executor", "status")["node_pids"]
    assert running.stop() == 0
    assert all(identify(pid) is None for pid in node_pids), "a Node.js process outlived the server"


@pytest.fixture(scope="package")
def app(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pushed app's folder."""
    folder = copy_app(CONFORMANCE_APP, tmp_path_factory.mktemp("projects") / "app")
    shutil.copytree(COMPONENTS, folder, dirs_exist_ok=True)
    pushed = server.cli(folder, "dev", "--once")
    assert pushed.returncode == 0, pushed.stdout
    return folder
