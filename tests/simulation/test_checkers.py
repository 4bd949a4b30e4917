"""Every checker notices what it is there for: broken systems are found out within a few seeds."""

from __future__ import annotations

import pytest

from .__main__ import parse_seeds
from .checkers import CHECKERS, violations
from .mutants import MUTANTS, Mutant
from .test_histories import SEEDS as HELD_SEEDS
from .world import run_history

SEEDS_MAX = 120
"""The rarest of the mistakes needs about half of them; most are caught by the first."""


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.what for mutant in MUTANTS])
def test_a_broken_system_is_caught_by_the_checker_named_for_it(mutant: Mutant) -> None:
    found: set[str] = set()
    for seed in range(1, SEEDS_MAX + 1):
        with mutant.alive():
            history = run_history(seed)
        found.update(violations(history))
        if mutant.caught_by in found:
            return
    pytest.fail(f"a system that {mutant.what} passed {mutant.caught_by} in seeds 1-{SEEDS_MAX}: {found}")


def test_the_same_seeds_are_among_those_that_hold_when_nothing_is_broken() -> None:
    held = parse_seeds(HELD_SEEDS)
    assert held[0] == 1 and held[1] >= SEEDS_MAX


def test_every_checker_has_a_broken_system_that_it_catches() -> None:
    proven = {mutant.caught_by for mutant in MUTANTS}
    assert {checker.__name__ for checker in CHECKERS} == proven
