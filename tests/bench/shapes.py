"""The shapes every system is measured with. Each round of each shape yields one `Figure`.

c1 is one client that waits for each answer; c16 and c50 are that many. The same seed gives every system the
same transfers. Figures of several rounds are merged by their medians, so one disturbed round does not count.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .proc import cpu_seconds, load_average, memory_mib, tree
from .systems import System

WARM_UP_SECONDS = 0.7
FAN_OUT_ROUNDS = 12
FAN_OUT_PAUSE_MS = 120


@dataclass(frozen=True, slots=True)
class Shape:
    """One operation under one load. `seconds` is the length of a round."""

    name: str
    operation: str
    clients: int
    kind: str | None = None  # of clients; None: the system's first
    seconds: float = 2.5


@dataclass(frozen=True, slots=True)
class Figure:
    """What one round of a shape came to."""

    system: str
    shape: str
    values: dict[str, Any]


def shapes_of(system: System) -> list[Shape]:
    """The load shapes, and again those where the kind of client matters."""
    shapes = [
        Shape("increment c1", "increment", 1),
        Shape("insert c1", "insert", 1),
        Shape("query10 c1", "query10", 1),
        Shape("increment hot c16", "increment", 16),
        Shape("increment own c16", "increment_own", 16),
        Shape("insert c16", "insert", 16),
        Shape("query10 c16", "query10", 16),
    ]
    for kind in system.kinds[1:]:
        shapes += [
            Shape(f"insert c1 ({kind})", "insert", 1, kind),
            Shape(f"insert c16 ({kind})", "insert", 16, kind),
            Shape(f"increment hot c16 ({kind})", "increment", 16, kind),
            Shape(f"increment own c16 ({kind})", "increment_own", 16, kind),
        ]
    return shapes


def transfers_of(system: System) -> list[Shape]:
    """Between accounts: any two, and with four of five among ten hot ones."""
    kind = system.kinds[-1]
    return [
        Shape("transfer uniform c50", "transfer_uniform", 50, kind, seconds=4),
        Shape("transfer hot c50", "transfer_hot", 50, kind, seconds=4),
    ]


def run_shape(system: System, shape: Shape) -> Figure:
    """One round: open the clients, warm up, measure, close."""
    driver = system.driver
    driver.ask("open", count=shape.clients, kind=shape.kind or system.kinds[0])
    try:
        driver.ask("run", operation=shape.operation, seconds=WARM_UP_SECONDS)
        with _cpu_of(system) as cpu:
            values = driver.ask("run", operation=shape.operation, seconds=shape.seconds)
    finally:
        driver.ask("close")
    values["server_cpu_us_op"] = round(cpu[0] * 1e6 / max(1, values["operations"]))
    values["load"] = load_average()
    return Figure(system.name, shape.name, values)


def run_fan_out(system: System, count: int, shape_name: str) -> Figure:
    """`count` subscribers to one query: how long, how much CPU and memory until all have a change."""
    driver, roots = system.driver, system.roots()
    idle_mib = memory_mib(tree(roots))
    subscribed = driver.ask("subscribe", count=count)
    try:
        time.sleep(1.5)
        held_mib = memory_mib(tree(roots))
        driver.ask("notify", rounds=2, pause_ms=FAN_OUT_PAUSE_MS)
        with _cpu_of(system) as cpu:
            values = driver.ask("notify", rounds=FAN_OUT_ROUNDS, pause_ms=FAN_OUT_PAUSE_MS)
    finally:
        driver.ask("unsubscribe")
    values["server_cpu_us_notification"] = round(cpu[0] * 1e6 / (FAN_OUT_ROUNDS * count), 1)
    values["kib_per_subscriber"] = round((held_mib - idle_mib) * 1024 / count, 1)
    values["subscribe_all_s"] = subscribed["seconds"]
    values["load"] = load_average()
    return Figure(system.name, shape_name, values)


def medians(figures: Iterable[Figure]) -> dict[tuple[str, str], dict[str, Any]]:
    """By system and shape: the median of every number, the first of everything else."""
    rounds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for figure in figures:
        rounds.setdefault((figure.system, figure.shape), []).append(figure.values)
    return {key: _merge(values) for key, values in rounds.items()}


def _merge(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name in rounds[0]:
        values = [each[name] for each in rounds if name in each]
        numbers = [value for value in values if isinstance(value, int | float)]
        merged[name] = statistics.median(numbers) if len(numbers) == len(values) else values[0]
    return merged


@contextmanager
def _cpu_of(system: System) -> Iterator[list[float]]:
    """The CPU seconds the system's processes used inside the block, in the one item of the list."""
    used: list[float] = []
    pids = tree(system.roots())
    before = cpu_seconds(pids)
    yield used
    after = tree(system.roots())
    used.append(cpu_seconds(set(pids) | set(after)) - before)
