"""A server to be hurt, and the tally of how. `--kills` says how often (`make chaos`: 20)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from ..support.server import ROOT, RunningServer, copy_app, needs_npm

APP = ROOT / "tests" / "conformance" / "app"


@pytest.fixture(scope="package")
def tally() -> Iterator[Counter[str]]:
    """How many kills fell at each point; printed at the end of the run (`-s` or `make chaos` shows it)."""
    counted: Counter[str] = Counter()
    yield counted
    rows = "\n".join(f"| {point} | {count} |" for point, count in sorted(counted.items()))
    print(f"\n| killed | times |\n|---|---|\n{rows}")


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of its own: nobody else's calls are killed."""
    needs_npm()
    running = RunningServer(tmp_path_factory.mktemp("chaos"))
    running.start()
    pushed = running.cli(copy_app(APP, running.folder / "app"), "deploy", "-y")
    assert pushed.returncode == 0, pushed.stdout
    yield running
    running.stop()
