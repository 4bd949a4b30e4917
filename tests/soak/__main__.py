"""`python -m tests soak [--minutes 60] [--kills 1000] [--cases 100000] [--report FILE]`: what takes time.

First the hour (load.py), then the kills (kills.py), then random cases (cases.py); each is left out when it is
given as 0. Ends with status 1 when a promise was broken or something grew.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ..support.postgres import PostgresServer
from .cases import play_cases
from .kills import PostgresLogs, SqliteLogs, Tally, kill_writers
from .load import live
from .report import cases_section, faults, hour_section, kills_section, merged

SEED = 20261126
_TERMINATED = 128 + signal.SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))  # so that servers are ended, too
    with tempfile.TemporaryDirectory(prefix="tidelog-soak-") as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        found = []
        if options.minutes:
            observed = live(options.minutes, folder, _say)
            _publish(hour_section(_facts(f"--minutes {options.minutes:g}"), observed), options.report)
            found += faults(observed)
        if options.kills:
            tallies = dict(_kill_all(options.kills, options.seed, folder))
            facts = _facts(f"--kills {options.kills} --seed {options.seed}")
            _publish(kills_section(facts, tallies), options.report)
            found += [tally.fault for tally in tallies.values() if tally.fault is not None]
        if options.cases:
            played = play_cases(options.cases, _say)
            _publish(cases_section(_facts(f"--cases {options.cases}"), options.cases, played), options.report)
            found += [each.fault for each in played if each.fault is not None]
    return 1 if found else 0


def _publish(section: str, page: Path | None) -> None:
    """At once: what comes after may fail, and this took an hour."""
    print(f"\n## {section}")
    if page is not None:
        page.write_text(merged(page.read_text() if page.exists() else "", [section]))


def _kill_all(kills: int, seed: int, folder: Path) -> Iterator[tuple[str, Tally]]:
    """Store by store; one whose server is not there is left out."""
    yield SqliteLogs.name, kill_writers(SqliteLogs(folder), kills, seed, folder, _say)
    try:
        server = PostgresServer()
    except pytest.skip.Exception as missing:
        _say(f"{PostgresLogs.name}: left out: {missing}")
        return
    try:
        server.start()
        yield PostgresLogs.name, kill_writers(PostgresLogs(server), kills, seed, folder, _say)
    finally:
        server.remove()


def _facts(options: str) -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}, `make soak` (`{options}`)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="of mixed load; 0 leaves it out")
    parser.add_argument(
        "--kills", type=int, default=1000, help="of the writer of each store; 0 leaves it out"
    )
    parser.add_argument(
        "--cases", type=int, default=100_000, help="of each long random test; 0 leaves them out"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="of the kills")
    parser.add_argument("--report", type=Path, help="write the result here, as Markdown")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave everything there")
    return parser


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
