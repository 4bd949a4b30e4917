"""Options of the whole run."""

from __future__ import annotations

import pytest


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
