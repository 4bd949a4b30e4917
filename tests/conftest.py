"""Options of the whole run."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills", type=int, default=2, help="how often the chaos tests kill each process (`make chaos`: 20)"
    )


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config) -> int:
    """How often each process is to be killed."""
    return int(pytestconfig.getoption("--kills"))
