"""Runs the random tests whose full size takes minutes (spec 04 11, T1: 10^5 cases), each to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

LONG_RANDOM_TESTS = ["tests/properties/test_scan_properties.py"]
"""Those that take `--cases`."""


@dataclass(frozen=True, slots=True)
class Played:
    """One test: how long it took, and what it said when it failed."""

    name: str
    seconds: float
    fault: str | None


@dataclass(slots=True)
class _Ear:
    """A plugin that hears how each test ended."""

    say: Callable[[str], None]
    played: list[Played] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.failed:
            lines = (line for line in report.longreprtext.splitlines() if line.startswith("E "))
            fault = next(lines, "failed") if report.failed else None  # the first one has seed and case
            self.played.append(Played(report.nodeid.split("::")[-1], report.duration, fault))
            self.say(f"{self.played[-1].name}: {fault or 'held'}, {report.duration:.0f} s")


def play_cases(count: int, say: Callable[[str], None]) -> list[Played]:
    """Play that many cases of each; a fault names its seed and case."""
    ear = _Ear(say)
    status = pytest.main([*LONG_RANDOM_TESTS, f"--cases={count}", "-q", "--no-header"], plugins=[ear])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        ear.played.append(Played("the run", 0.0, f"pytest ended with {status!r}"))
    return ear.played
