"""The one command of the tests: `python -m tests [quick|all|chaos]`.

quick: what needs no server, no Node.js and ends within a minute; all: everything; chaos: real processes
killed many times.
"""

from __future__ import annotations

import sys

import pytest

QUICK = ["tests/log", "tests/actors", "tests/functions", "tests/properties"]
QUICK += ["--ignore-glob=*/test_postgres_*.py"]  # they need a server, and maybe a download
SUITES = {"quick": QUICK, "all": ["tests"], "chaos": ["tests/chaos", "--kills=20"]}


def main() -> int:
    suite = sys.argv[1] if len(sys.argv) > 1 else "quick"
    if suite not in SUITES:
        print(f"unknown suite {suite!r}: one of {', '.join(SUITES)}", file=sys.stderr)
        return 2
    return int(pytest.main([*SUITES[suite], *sys.argv[2:]]))


if __name__ == "__main__":
    raise SystemExit(main())
