"""A thousand histories hold, and each is a function of its seed."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from ..support.tree import ROOT
from .__main__ import main, parse_seeds
from .history import Fault
from .world import STEPS_MIN, run_history

SEEDS = "1-1000"


def play(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a user gives it, in a process of its own."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    variables = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)


def test_a_thousand_histories_break_no_promise() -> None:
    played = play(SEEDS)
    assert played.returncode == 0, f"seeds {SEEDS}\n{played.stdout}{played.stderr}"
    assert "1000 of 1000 histories held" in played.stdout
    shortest = re.search(r"(\d+) at least", played.stdout)
    assert shortest is not None and int(shortest[1]) >= STEPS_MIN, played.stdout


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_a_seed_gives_the_same_history_again_also_in_another_process(seed: int) -> None:
    first = run_history(seed)
    run_history(seed + 1)  # whatever ran in between
    assert run_history(seed).digest() == first.digest(), f"seed {seed}"
    shown = play(str(seed), "--show", PYTHONHASHSEED=str(seed)).stdout
    assert f"digest {first.digest()}, {first.steps} steps" in shown, f"seed {seed}"


def test_different_seeds_give_different_histories() -> None:
    digests = {run_history(seed).digest() for seed in range(1, 9)}
    assert len(digests) == 8


FAULTS = (
    "cut client-",
    "cut gateway-",
    "cut executor-",
    "killed core",
    "killed executor",
    "killed gateway",
    "froze",
    "was held for dead",
    "was killed at a pause",
    "the next sync fails",
    "of messages are slow",
)


def test_every_fault_occurs_in_some_history() -> None:
    histories = [run_history(seed) for seed in range(1, 26)]
    said = "\n".join(event.what for history in histories for event in history.of(Fault))
    assert [fault for fault in FAULTS if fault not in said] == []


def test_a_failing_seed_is_named_with_its_promise_and_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.simulation.__main__.violations", lambda history: {"prefix": "it is torn"})
    assert main(["7-8"]) == 1
    out = capsys.readouterr().out
    assert "seed 7: prefix: it is torn" in out and "0 of 2 histories held" in out


@pytest.mark.parametrize("text", ["", "x", "5-3", "1-"])
def test_what_is_no_range_of_seeds_is_refused(text: str) -> None:
    if text == "1-":
        assert parse_seeds(text) == (1, 1)
    else:
        assert main([text]) == 2
