"""The one command of the tests: `python -m tests [quick|all|chaos|sim|soak]`.

quick: what needs no server, no Node.js and ends within a minute; all: everything; chaos: real processes
killed many times; sim [first-last]: simulated histories by seed (docs/simulation.md); soak [--minutes 60]
[--kills 1000]: what only time shows (docs/soak.md).

`all` is two runs at the same time: the tests of real servers mostly wait, the others mostly compute.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

SERVERS = ["tests/chaos", "tests/conformance", "tests/cluster/test_postgres_deployment.py"]
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
    """Both halves; the second one's output follows the first one's."""
    others = ["tests", *(f"--ignore={path}" for path in SERVERS)]
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "others.txt"
        with said.open("w") as output:
            command = [sys.executable, "-m", "pytest", *others, *options]
            beside = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            print("Real servers first, everything else beside it:", flush=True)
            statuses = [subprocess.call([sys.executable, "-m", "pytest", *SERVERS, *options])]
            statuses.append(beside.wait())
        finally:
            beside.kill()
            beside.wait()
        print(f"\nEverything else:\n{said.read_text()}")
    return max((status for status in statuses if status != NOTHING_SELECTED), default=int(NOTHING_SELECTED))


if __name__ == "__main__":
    raise SystemExit(main())
