"""The goals of the design, as sums over the figures of one run. Pure: figures in, verdicts out.

`FIRST` is what the first milestones owe. A goal whose peer was not in the run is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Medians = Mapping[tuple[str, str], Mapping[str, Any]]
OURS, POSTGRES, WORKERD = "tidelog", "postgres", "workerd"


@dataclass(frozen=True, slots=True)
class Goal:
    """`value(medians)` compared with `bound`; KeyError: a figure it needs is not there."""

    name: str
    unit: str
    value: Callable[[Medians], float]
    bound: float
    at_most: bool

    def is_met(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound


@dataclass(frozen=True, slots=True)
class Verdict:
    goal: Goal
    found: float | None

    @property
    def word(self) -> str:
        if self.found is None:
            return "not measured"
        return "PASS" if self.goal.is_met(self.found) else "MISS"


def judge(medians: Medians) -> list[Verdict]:
    """Every goal, in the design's order."""
    return [Verdict(goal, _found(goal, medians)) for goal in FIRST]


def _found(goal: Goal, medians: Medians) -> float | None:
    try:
        return goal.value(medians)
    except (KeyError, ZeroDivisionError):
        return None


def _against(shape: str, field: str, peer: str, ours: str | None = None) -> Callable[[Medians], float]:
    """Ours as a multiple of the peer's."""
    return lambda medians: medians[OURS, ours or shape][field] / medians[peer, shape][field]


def _share(part: str, whole: str) -> Callable[[Medians], float]:
    """What is left of our own undisturbed rate."""
    return lambda medians: medians[OURS, part]["ops_s"] / medians[OURS, whole]["ops_s"]


def _own(shape: str, field: str) -> Callable[[Medians], float]:
    return lambda medians: medians[OURS, shape][field]


def _mib_per_process(medians: Medians) -> float:
    ours = medians[OURS, "idle, all of ours"]
    return float(ours["mib"]) / float(ours["processes"])


_RUNS = "runs per change, 1000 subscribers"
_EXECUTOR = "executor, bench:trivial"

FIRST = (
    Goal("insert c1, p50", "x PostgreSQL", _against("insert c1", "p50_ms", POSTGRES), 2, True),
    Goal("insert c16, rate", "x workerd", _against("insert c16", "ops_s", WORKERD), 0.6, False),
    Goal(
        "insert c16, rate (socket)",
        "x workerd",
        _against("insert c16", "ops_s", WORKERD, "insert c16 (socket)"),
        0.6,
        False,
    ),
    Goal(
        "hot counter c16",
        "of own disjoint rate",
        _share("increment hot c16", "increment own c16"),
        0.5,
        False,
    ),
    Goal(
        "transfer c50, 80 % hot",
        "of own uniform rate",
        _share("transfer hot c50", "transfer uniform c50"),
        0.5,
        False,
    ),
    Goal("query10 c16, rate", "x PostgreSQL", _against("query10 c16", "ops_s", POSTGRES), 1, False),
    Goal(
        "fan-out 1000, send to all",
        "x workerd",
        _against("fan-out 1000", "send_to_all_p50_ms", WORKERD),
        1,
        True,
    ),
    Goal("runs per relevant change", "runs", _own(_RUNS, "runs_per_relevant_change"), 1, True),
    Goal("runs per irrelevant change", "runs", _own(_RUNS, "runs_per_irrelevant_change"), 0, True),
    Goal("memory per subscriber", "KiB", _own("fan-out 1000", "kib_per_subscriber"), 90, True),
    Goal("idle memory per process of ours", "MiB", _mib_per_process, 90, True),
    Goal("cold start to first ack", "s", _own("cold start to first ack", "seconds"), 12, True),
    Goal("executor, trivial query", "per CPU-second", _own(_EXECUTOR, "per_cpu_second"), 1500, False),
    Goal("verify and decode", "records/s", _own("replay, verify and decode", "records_s"), 150_000, False),
    Goal("rebuild a view", "documents/s", _own("replay, rebuild a view", "documents_s"), 40_000, False),
)
"""Parse and Restate are not started here: the bars for query10 (2x Parse) and fan-out (1x Parse) are replaced
by the design's own next goals, which are harder."""
