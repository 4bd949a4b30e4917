"""What the benchmark says of its figures: medians, verdicts, tables, stopwatches. No server is started."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import time

import pytest

from . import report
from .goals import FIRST, OURS, POSTGRES, WORKERD, judge
from .proc import cpu_seconds, memory_mib, tree
from .shapes import Figure, medians
from .steps import STEPS, Stopwatches


def figure(system: str, shape: str, **values: object) -> Figure:
    return Figure(system, shape, dict(values))


def test_a_merged_figure_is_the_median_of_every_number() -> None:
    seed = 11
    chance = random.Random(seed)
    rounds = [chance.randrange(1000) for _ in range(7)]
    merged = medians(figure(OURS, "insert c1", p50_ms=value, first_error=None) for value in rounds)
    assert merged[OURS, "insert c1"]["p50_ms"] == statistics.median(rounds), f"seed {seed}"
    assert merged[OURS, "insert c1"]["first_error"] is None


def test_figures_of_two_systems_are_not_merged() -> None:
    merged = medians([figure(OURS, "insert c1", p50_ms=4), figure(POSTGRES, "insert c1", p50_ms=1)])
    assert [merged[name, "insert c1"]["p50_ms"] for name in (OURS, POSTGRES)] == [4, 1]


@pytest.mark.parametrize(("ours_ms", "word"), [(1.9, "PASS"), (2.0, "PASS"), (2.1, "MISS")])
def test_a_goal_is_met_up_to_its_bound(ours_ms: float, word: str) -> None:
    found = medians([figure(OURS, "insert c1", p50_ms=ours_ms), figure(POSTGRES, "insert c1", p50_ms=1.0)])
    verdict = next(each for each in judge(found) if each.goal.name == "insert c1, p50")
    assert (verdict.word, verdict.found) == (word, ours_ms)


def test_a_share_is_of_our_own_undisturbed_rate() -> None:
    rates = [figure(OURS, "increment hot c16", ops_s=60), figure(OURS, "increment own c16", ops_s=100)]
    verdict = next(each for each in judge(medians(rates)) if each.goal.name == "hot counter c16")
    assert (verdict.word, verdict.found) == ("PASS", 0.6)


def test_a_goal_without_its_peer_is_not_judged() -> None:
    verdicts = judge(medians([figure(OURS, "insert c16", ops_s=100)]))
    assert {verdict.word for verdict in verdicts} == {"not measured"}
    assert len(verdicts) == len(FIRST)


def test_a_table_has_a_row_for_every_system_of_a_shape() -> None:
    found = medians(figure(system, "insert c1", p50_ms=1.5, ops_s=1234.5) for system in (OURS, WORKERD))
    heading, rule, *rows = report.load_table(found).splitlines()
    assert [row.split("|")[2].strip() for row in rows] == [OURS, WORKERD]
    assert len({len(line) for line in (heading, rule, *rows)}) == 1


def test_every_figure_is_one_line_of_json() -> None:
    lines = report.json_lines([figure(OURS, "a", p50_ms=1), figure(WORKERD, "b", ops_s=2)]).splitlines()
    assert [json.loads(line)["shape"] for line in lines] == ["a", "b"]


def test_the_tree_of_a_process_holds_its_children() -> None:
    child = subprocess.Popen(["sleep", "30"])
    try:
        assert child.pid in tree([os.getpid()])
        assert memory_mib([child.pid]) > 0
    finally:
        child.kill()
        child.wait()
    assert cpu_seconds([child.pid]) == 0, "a process that is gone has used nothing"


def test_a_stopwatch_does_not_count_the_steps_inside_it() -> None:
    watches = Stopwatches()

    def burn(seconds: float) -> None:
        ends = time.thread_time() + seconds
        while time.thread_time() < ends:
            pass

    inner = watches.around("inner", lambda: burn(0.04))

    def outer_work() -> None:
        burn(0.01)
        inner()

    watches.around("outer", outer_work)()
    assert watches.seconds["inner"] >= 0.04
    assert 0.01 <= watches.seconds["outer"] < 0.03


@pytest.mark.parametrize(("step", "owner", "name"), STEPS, ids=[f"{row[2]}: {row[0]}" for row in STEPS])
def test_every_step_that_is_timed_still_exists(step: str, owner: object, name: str) -> None:
    assert name in vars(owner), f"{step}: rename it in STEPS"
