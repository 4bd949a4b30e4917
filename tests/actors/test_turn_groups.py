"""Who shares a turn: random arrivals and endings, and what must hold after each."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from actors.turn_groups import Group, TurnGroups
from log.limits import CHAIN_CALLS_MAX, TURN_PLACES_MAX
from log.turns import EVERYTHING, Footprint

INDEX = b"index-one-------"


def on(*numbers: int) -> Footprint:
    return Footprint(frozenset((INDEX, b"%04d" % number, b"%04d\x00" % number) for number in numbers))


def drain(group: Group[str]) -> list[str]:
    """Run everything the group has."""
    taken = []
    while (next_call := group.take()) is not None:
        taken.append(next_call[0])
    return taken


def test_calls_that_want_nothing_in_common_never_wait_for_each_other() -> None:
    groups: TurnGroups[str] = TurnGroups()
    first, second = groups.add("a", on(1)), groups.add("b", on(2))
    assert first is not None and second is not None
    assert (drain(first), drain(second), groups.calls_waiting) == (["a"], ["b"], 0)


def test_a_call_that_wants_no_more_goes_along_with_the_turn_that_is_asked_for() -> None:
    groups: TurnGroups[str] = TurnGroups()
    first = groups.add("a", on(1, 2))
    assert first is not None
    assert groups.add("b", on(2)) is None
    assert drain(first) == ["a", "b"]


def test_those_that_waited_for_a_turn_to_end_share_the_next_and_ask_for_all_they_want() -> None:
    groups: TurnGroups[str] = TurnGroups()
    first = groups.add("a", on(1))
    assert first is not None
    assert [groups.add(*call) for call in (("b", on(1, 2)), ("c", on(2, 3)), ("d", on(1)))] == [None] * 3
    drain(first)
    (second,) = groups.end(first)
    assert second.footprint == on(1, 2, 3)
    assert drain(second) == ["b", "c", "d"], "d wanted what b before it wanted, and did not overtake it"


def test_what_did_not_run_goes_first_the_next_time() -> None:
    groups: TurnGroups[str] = TurnGroups()
    first = groups.add("a", on(1))
    assert first is not None
    groups.add("b", on(1))
    groups.add("c", on(1, 2))
    taken = first.take()
    assert taken is not None
    first.put_back(*taken)
    (second,) = groups.end(first)
    assert drain(second) == ["a", "b", "c"]


def test_the_exclusive_lane_is_for_one_call() -> None:
    groups: TurnGroups[str] = TurnGroups()
    first = groups.add("a", EVERYTHING)
    assert first is not None
    for name in ("b", "c"):
        assert groups.add(name, EVERYTHING) is None
    assert groups.add("d", on(1)) is None
    order = []
    waiting = [first]
    while waiting:
        group = waiting.pop(0)
        order.append(drain(group))
        waiting += groups.end(group)
    assert order == [["a"], ["b"], ["c"], ["d"]]


def test_a_group_takes_in_no_more_than_a_chain_may_hold() -> None:
    groups: TurnGroups[str] = TurnGroups()
    first = groups.add("0", on(1))
    assert first is not None
    for number in range(1, CHAIN_CALLS_MAX + 5):
        groups.add(str(number), on(1))
    assert len(drain(first)) == CHAIN_CALLS_MAX and groups.calls_waiting == 5


@pytest.mark.parametrize("seed", range(40))
def test_every_call_runs_once_and_groups_asked_for_at_once_want_nothing_in_common(seed: int) -> None:
    rng = random.Random(seed)
    groups: TurnGroups[int] = TurnGroups()
    wanted: dict[int, Footprint] = {}
    asked: list[Group[int]] = []
    ran: list[int] = []
    arrivals = iter(range(200))
    while len(ran) < 200:
        number = next(arrivals, None) if rng.random() < 0.7 else None
        if number is not None:
            wanted[number] = (
                EVERYTHING if rng.random() < 0.03 else on(*rng.sample(range(12), rng.randrange(1, 4)))
            )
            founded = groups.add(number, wanted[number])
            asked += [founded] if founded is not None else []
        elif asked:
            group = asked.pop(rng.randrange(len(asked)))
            for _ in range(rng.randrange(1, 6)):
                taken = group.take()
                if taken is not None:
                    ran.append(taken[0])
                    _check_covered(group, wanted[taken[0]], seed)
            asked += groups.end(group)
        for one, other in combinations(asked, 2):
            assert not one.footprint.overlaps(other.footprint), f"seed {seed}"
        for group in asked:
            assert len(group.waiting) <= CHAIN_CALLS_MAX, f"seed {seed}"
            assert len(group.footprint.places) <= TURN_PLACES_MAX, f"seed {seed}"
    assert sorted(ran) == list(range(200)) and groups.calls_waiting == 0, f"seed {seed}"


def _check_covered(group: Group[int], footprint: Footprint, seed: int) -> None:
    """The turn a call runs under is on everything it asked for."""
    if not group.footprint.is_everything:
        assert footprint.places <= group.footprint.places, f"seed {seed}"
