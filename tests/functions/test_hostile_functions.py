"""Hostile functions in a row leak nothing: no state, no memory, no file, no thread (spec 03 7).

A few hundred of them here, 10,000 in `python -m tests.benchmarks.hostile`.
"""

from __future__ import annotations

import random

import pytest

from log.limits import MIB

from ..support.hostile import KIND_OF, HostileRow, handles, private_bytes

WARM_CALLS = 60
CALLS = 300
GROWTH_BYTES_MAX = 32 * MIB  # about half of the one sandbox that may be held between calls


def test_hostile_functions_in_a_row_leave_nothing_to_the_next_call_and_no_memory_behind() -> None:
    seed = random.randrange(2**32)
    row = HostileRow(seed)
    for _ in range(WARM_CALLS):
        row.step()
    memory, held = private_bytes(), handles()
    for number in range(CALLS):
        try:
            row.step()
        except Exception as failure:
            raise AssertionError(f"seed {seed}, call {number}") from failure
    assert private_bytes() - memory < GROWTH_BYTES_MAX, f"seed {seed}"
    assert handles() == held, f"seed {seed}"


@pytest.mark.parametrize("name", KIND_OF)
def test_each_hostile_function_ends_the_same_way_each_time(name: str) -> None:
    row = HostileRow(1, only=name)
    for _ in range(3):
        row.step()
    assert len(row.endings) == 1 and "timeout" not in next(iter(row.endings)), row.endings
