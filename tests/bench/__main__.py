"""`python -m tests.bench [peers | steps]`: our figures; beside those of others; where CPU goes.

Prints, asserts nothing.

Rounds of all systems are interleaved (A-B-A-B), so that a busy moment of the machine touches everybody.
Everything runs on the loopback in a scratch folder and is ended by pid.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import own, report
from .goals import judge
from .proc import load_average
from .shapes import Figure, Shape, medians, run_fan_out, run_shape, shapes_of, transfers_of
from .steps import measure_steps
from .systems import Postgres, System, Tidelog, Unavailable, Workerd

FAN_OUTS = (100, 1000)
SEED_BATCH = 1000


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="tidelog-bench-") as scratch:
        figures = _Figures(options.json)
        print(f"load average at the start: {load_average():.2f}", flush=True)
        if options.what == "steps":
            print(_steps(Path(scratch)))
            return 0
        with _started(_systems(options, Path(scratch))) as systems:
            _measure_shapes(systems, options, figures)
            if options.only is not None:
                figures.show()
                return 0
            _measure_others(systems, figures)
            tidelog = _ours(systems)
            figures.add(own.executor_rate(tidelog, "bench:trivial", "[{}]"))
            figures.add(own.executor_rate(tidelog, "bench:newest", '[{"channel":"c7"}]'))
            tidelog.server.stop()
            figures.add(*own.replay(tidelog, Path(scratch)))
            figures.add(own.cold_start(tidelog))
            figures.add(*own.idle(tidelog))
        figures.show()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["own", "peers", "steps"], default="own")
    parser.add_argument("--json", type=Path, help="append every round as one JSON line to this file")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each shape; medians are shown")
    parser.add_argument("--only", help="only the load shapes whose name holds this, and nothing else")
    parser.add_argument("--accounts", type=int, default=100_000, help="accounts of the transfer shape")
    return parser.parse_args()


def _steps(scratch: Path) -> str:
    tidelog = Tidelog(scratch / "tidelog")
    try:
        tidelog.start()
    finally:
        tidelog.stop()
    return measure_steps(tidelog)


class _Figures:
    """All figures of the run, written to the JSON file as they come."""

    def __init__(self, path: Path | None) -> None:
        self._figures: list[Figure] = []
        self._path = path

    def add(self, *figures: Figure) -> None:
        self._figures += figures
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(report.json_lines(figures))
        for figure in figures:
            print(".", end="", flush=True, file=sys.stderr)
            _complain(figure)

    def show(self) -> None:
        merged = medians(self._figures)
        tables = (report.load_table(merged), report.fan_out_table(merged), report.other_lines(merged))
        print("\n\n" + "\n\n".join(tables))
        print("\n" + report.verdict_table(judge(merged)))
        print(f"\nload average at the end: {load_average():.2f}")


def _complain(figure: Figure) -> None:
    if figure.values.get("errors"):
        text = f"{figure.system}, {figure.shape}: {figure.values['errors']} errors, the first: "
        print(f"\n{text}{figure.values['first_error']}", flush=True, file=sys.stderr)


def _systems(options: argparse.Namespace, scratch: Path) -> list[Callable[[], System]]:
    """Constructors, because a peer may turn out to be unavailable."""
    ours: list[Callable[[], System]] = [lambda: Tidelog(scratch / "tidelog")]
    peers: list[Callable[[], System]] = [lambda: Postgres(scratch), lambda: Workerd(scratch)]
    return ours + peers if options.what == "peers" else ours


@contextmanager
def _started(constructors: Sequence[Callable[[], System]]) -> Iterator[list[System]]:
    """The systems that can run here; whatever was started is stopped."""
    systems: list[System] = []
    try:
        for construct in constructors:
            system = None
            try:
                system = construct()
                system.start()
                systems.append(system)
            except Unavailable as reason:
                print(f"skipped: {reason}", flush=True)
                if system is not None:
                    system.stop()
            except BaseException:
                if system is not None:
                    system.stop()
                raise
        yield systems
    finally:
        for system in reversed(systems):
            system.stop()


def _measure_shapes(systems: Sequence[System], options: argparse.Namespace, figures: _Figures) -> None:
    for system in systems:
        system.driver.ask("setup", accounts=options.accounts, batch=SEED_BATCH, seconds_max=600)
    for _ in range(options.rounds):
        for name in _names(systems, options.only or ""):
            for system in systems:
                shape = _shape_named(system, name)
                if shape is not None:
                    figures.add(run_shape(system, shape))


def _measure_others(systems: Sequence[System], figures: _Figures) -> None:
    tidelog = _ours(systems)
    figures.add(own.syncs_per_commit(tidelog, Shape("insert c1", "insert", 1)))
    figures.add(own.syncs_per_commit(tidelog, Shape("insert c16 (socket)", "insert", 16, "socket")))
    for count in FAN_OUTS:
        for system in systems:
            if system.has_fan_out:
                figures.add(run_fan_out(system, count, f"fan-out {count}"))
    figures.add(own.runs_per_change(tidelog, FAN_OUTS[-1]))
    _measure_bare_fan_out(tidelog, figures)


def _measure_bare_fan_out(tidelog: Tidelog, figures: _Figures) -> None:
    """The same with sockets that do not interpret what they get: the server's share of the time."""
    usual, tidelog.driver = tidelog.driver, tidelog.new_driver(RAW_SUBSCRIBERS="1")
    try:
        figures.add(run_fan_out(tidelog, FAN_OUTS[-1], f"fan-out {FAN_OUTS[-1]}, bare sockets"))
    finally:
        tidelog.driver.stop()
        tidelog.driver = usual


def _names(systems: Sequence[System], part: str) -> list[str]:
    """The shapes whose name holds `part`, each once."""
    shapes = [shape for system in systems for shape in (*shapes_of(system), *transfers_of(system))]
    return list(dict.fromkeys(shape.name for shape in shapes if part in shape.name))


def _shape_named(system: System, name: str) -> Shape | None:
    known = (*shapes_of(system), *transfers_of(system))
    return next((shape for shape in known if shape.name == name), None)


def _ours(systems: Sequence[System]) -> Tidelog:
    return next(system for system in systems if isinstance(system, Tidelog))


if __name__ == "__main__":
    raise SystemExit(main())
