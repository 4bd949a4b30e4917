"""The one command of the tests: `python -m tests [quick|all|chaos|sim|soak]`.

quick: what needs no server, no Node.js and ends within a minute; all: everything; chaos: real processes
killed many times; sim [first-last]: simulated histories by seed (docs/simulation.md); soak [--minutes 60]
[--kills 1000] [--cases 100000]: what only time shows (docs/soak.md).

`all` is three runs at the same time: tests of real servers wait for much of their time, so two of them and
one that computes keep two cores busy.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

CLIENTS = ["tests/conformance", "tests/cluster/test_postgres_deployment.py", "tests/simulation"]
OPERATORS = ["tests/cli", "tests/chaos"]
QUICK = ["tests/log", "tests/actors", "tests/functions", "tests/properties"]
QUICK += ["--ignore-glob=*/test_postgres_*.py"]  # they need a server, and maybe a download
SUITES = {"quick": QUICK, "chaos": ["tests/chaos", "--kills=20"]}
NOTHING_SELECTED = pytest.ExitCode.NO_TESTS_COLLECTED


def main() -> int:
    suite = sys.argv[1] if len(sys.argv) > 1 else "quick"
    if suite == "all":
        return run_all(sys.argv[2:])
    if suite == "sim":
        from .simulation import __main__ as simulation  # it imports the whole product

        return simulation.main(sys.argv[2:])
    if suite == "soak":
        from .soak import __main__ as soak

        return soak.main(sys.argv[2:])
    if suite not in SUITES:
        print(f"unknown suite {suite!r}: one of all, sim, soak, {', '.join(SUITES)}", file=sys.stderr)
        return 2
    return int(pytest.main([*SUITES[suite], *sys.argv[2:]]))


def run_all(options: Sequence[str]) -> int:
    """The first part is shown as it goes; the output of the others follows it."""
    others = ["tests", *(f"--ignore={path}" for path in (*CLIENTS, *OPERATORS))]
    parts = {"Clients, and histories": CLIENTS, "The CLI, and faults": OPERATORS, "Everything else": others}
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            _Part(title, paths, options, Path(folder) / f"{number}.txt" if number else None)
            for number, (title, paths) in enumerate(parts.items())
        ]
        try:
            statuses = [run.wait() for run in runs]
        finally:
            for run in runs:
                run.end()
    return max((status for status in statuses if status != NOTHING_SELECTED), default=int(NOTHING_SELECTED))


class _Part:
    """One pytest. `said` is where its output goes until it has ended; None: it is shown at once."""

    def __init__(self, title: str, paths: Sequence[str], options: Sequence[str], said: Path | None) -> None:
        self._title, self._said = title, said
        command = [sys.executable, "-m", "pytest", *paths, *options]
        if said is None:
            print(f"{title}:", flush=True)
            self._process = subprocess.Popen(command)
        else:
            with said.open("w") as output:
                self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    def wait(self) -> int:
        status = self._process.wait()
        if self._said is not None:
            print(f"\n{self._title}:\n{self._said.read_text()}", flush=True)
        return status

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


if __name__ == "__main__":
    raise SystemExit(main())
