"""One server for the tests of the CLI, which push their own versions of the app to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.server import CONFORMANCE_APP, RunningServer, copy_app, needs_npm


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    needs_npm()
    running = RunningServer(tmp_path_factory.mktemp("server"))
    running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="package")
def app(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pushed app's folder; tests that push something else copy it."""
    folder = copy_app(CONFORMANCE_APP, tmp_path_factory.mktemp("projects") / "app")
    pushed = server.cli(folder, "dev", "--once")
    assert pushed.returncode == 0, pushed.stdout
    return folder
