"""Options of the whole run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.view_environment import OpenedView


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills", type=int, default=2, help="how often the chaos tests kill each process (`make chaos`: 20)"
    )
    parser.addoption(
        "--cases",
        type=int,
        default=2_000,
        help="how many cases the long random tests play each (`make soak`: 100,000)",
    )


@pytest.fixture(scope="session")
def cases(pytestconfig: pytest.Config) -> int:
    """How many random cases a long test is to play."""
    return int(pytestconfig.getoption("--cases"))


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config) -> int:
    """How often each process is to be killed."""
    return int(pytestconfig.getoption("--kills"))


@pytest.fixture(autouse=True)
def closed_views(request: pytest.FixtureRequest) -> Iterator[None]:
    """Views that a test leaves open in its own folder are closed behind it: each takes 1 TiB of the 128 TiB
    of addresses that a process has, and a run of all tests needs more than that."""
    yield
    own: Path | None = request.node.funcargs.get("tmp_path")
    left = (
        [] if own is None else [each for each in OpenedView.registry.values() if own in each.folder.parents]
    )
    for opened in left:
        del OpenedView.registry[opened.folder]
        opened.environment.close()
