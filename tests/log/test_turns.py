"""Turns against a plain list of requests: plain calls, no clock, no waiting."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

import pytest

from log.invariant import InvariantViolation
from log.read_set import ReadSet
from log.record import DocumentWrite
from log.turns import EVERYTHING, Footprint, Place, Turns

from ..support.worlds import (
    INDEXES,
    KEYS,
    TABLET,
    WORD_INDEX,
    random_bounds,
    random_reads,
    random_writes,
    touched,
)

HISTORIES_PER_BLOCK = 50
UNKNOWN_TICKET = 10_000

A: Place = (INDEXES[0], b"a", b"b")
B: Place = (INDEXES[0], b"b", b"c")
C: Place = (INDEXES[0], b"c", b"d")


def on(*places: Place) -> Footprint:
    return Footprint(frozenset(places))


def asked(*footprints: Footprint) -> Turns:
    """Turns with one request each, under the tickets 1, 2, 3, ..."""
    turns = Turns()
    for ticket, footprint in enumerate(footprints, 1):
        turns.ask(ticket, footprint)
    return turns


def holders(turns: Turns) -> list[int]:
    return [ticket for ticket in range(1, 100) if turns.holds(ticket)]


def reads_of(*places: Place) -> ReadSet:
    reads = ReadSet()
    for place in places:
        reads.add(*place)
    return reads


def write_at(old_key: bytes | None, new_key: bytes | None) -> tuple[DocumentWrite, ...]:
    return (DocumentWrite(TABLET, "document", 0, 2, b"{}", ((INDEXES[0], old_key, new_key),)),)


ELSEWHERE = write_at(None, b"z")

# --- asking and ending ------------------------------------------------------------------------------


def test_turns_on_one_place_go_to_those_who_asked_first() -> None:
    turns = Turns()
    assert [turns.ask(ticket, on(A)) for ticket in (1, 2, 3)] == [True, False, False]
    assert turns.end(1) == [2] and holders(turns) == [2]
    assert turns.end(2) == [3] and holders(turns) == [3]
    assert turns.end(3) == [] and not turns


def test_requests_that_share_no_key_of_an_index_hold_together() -> None:
    other_index = (INDEXES[1], *A[1:])
    turns = asked(on(A), on(B), on(other_index), on())
    assert holders(turns) == [1, 2, 3, 4], "intervals that touch share no key"


def test_an_unbounded_place_shares_every_key_above_its_start() -> None:
    turns = asked(on((INDEXES[0], b"b", None)), on(A), on((INDEXES[0], b"zzz", None)))
    assert holders(turns) == [1, 2]


def test_a_request_for_several_places_waits_for_every_earlier_one_it_overlaps() -> None:
    turns = asked(on(A), on(B), on(C), on(A, B))
    assert turns.end(3) == [], "it never waited for that one"
    assert turns.end(1) == [] and not turns.holds(4)
    assert turns.end(2) == [4]


def test_a_turn_behind_two_holders_starts_when_both_have_ended_in_any_order() -> None:
    whole = (INDEXES[0], b"a", b"d")
    for first, second in ((1, 2), (2, 1)):
        turns = asked(on(A), on(C), on(whole))
        assert turns.end(first) == []
        assert turns.end(second) == [3]


def test_nobody_overtakes_an_earlier_request_that_still_waits() -> None:
    turns = asked(on(A), on(A, B), on(B))
    assert holders(turns) == [1], "the third overlaps no holder, but one who asked before it"
    assert turns.end(1) == [2]
    assert turns.end(2) == [3]


def test_a_waiting_request_that_ends_frees_those_behind_it_alone() -> None:
    turns = asked(on(A), on(A, B, C), on(B), on(C), on(A))
    assert turns.end(2) == [3, 4], "in the order of asking; the last one waits for the holder"
    assert holders(turns) == [1, 3, 4]
    assert turns.end(1) == [5]


def test_the_exclusive_lane_waits_for_all_and_makes_all_wait() -> None:
    turns = asked(on(A), on(B), EVERYTHING, on(C), EVERYTHING)
    assert holders(turns) == [1, 2]
    assert turns.end(1) == [] and turns.end(2) == [3]
    assert turns.end(3) == [4]
    assert turns.end(4) == [5]


def test_the_end_of_an_unknown_ticket_changes_nothing() -> None:
    turns = asked(on(A), on(A))
    assert turns.end(UNKNOWN_TICKET) == []
    assert holders(turns) == [1] and len(turns) == 2
    turns.end(1)
    assert turns.end(1) == [], "nor does a second end of the same"
    assert holders(turns) == [2] and len(turns) == 1


def test_a_ticket_asked_for_twice_is_a_broken_invariant() -> None:
    turns = asked(on(A))
    with pytest.raises(InvariantViolation):
        turns.ask(1, on(B))


def test_a_turn_is_wanted_exactly_while_somebody_waits_for_it() -> None:
    turns = asked(on(A), on(B), on(A))
    assert turns.is_wanted(1) and not turns.is_wanted(2) and not turns.is_wanted(UNKNOWN_TICKET)
    turns.end(3)
    assert not turns.is_wanted(1)


# --- proposals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("old_key, new_key", [(None, b"aa"), (b"aa", None), (b"aa", b"z"), (b"z", b"aa")])
def test_a_write_into_a_held_place_is_blocked_where_it_comes_from_and_goes_to(
    old_key: bytes | None, new_key: bytes | None
) -> None:
    turns = asked(on(A))
    writes = write_at(old_key, new_key)
    assert turns.blocks(ReadSet(), writes, None)
    assert turns.contended(ReadSet(), writes, None) == {(INDEXES[0], b"aa", b"aa\x00")}


def test_only_what_is_held_blocks_but_what_is_waited_for_is_contended_too() -> None:
    turns = asked(on(A), on(A, B))
    reads = reads_of((INDEXES[0], b"bb", b"bc"))
    assert not turns.blocks(reads, ELSEWHERE, None), "the second request has no turn yet"
    assert turns.contended(reads, ELSEWHERE, None) == {(INDEXES[0], b"bb", b"bc")}
    turns.end(1)
    assert turns.blocks(reads, ELSEWHERE, None)


def test_what_is_contended_is_named_by_the_places_of_the_proposal_itself() -> None:
    turns = asked(on((INDEXES[0], b"b", b"bb")))
    range_read, missed = (INDEXES[0], b"a", b"c"), (INDEXES[0], b"x", b"y")
    assert turns.contended(reads_of(range_read, missed), ELSEWHERE, None) == {range_read}


def test_a_holder_is_not_blocked_by_its_own_turn_but_by_those_of_others() -> None:
    turns = asked(on(A), on(B))
    inside = write_at(None, b"aa")
    assert not turns.blocks(reads_of(A), inside, 1)
    assert turns.contended(reads_of(A), inside, 1) == frozenset()
    assert turns.blocks(reads_of(A), inside, 2) and turns.blocks(reads_of(A), inside, None)
    assert turns.blocks(reads_of(A, B), inside, 1)


def test_the_exclusive_lane_blocks_every_proposal_but_its_own() -> None:
    turns = asked(EVERYTHING)
    assert turns.blocks(ReadSet(), ELSEWHERE, None)
    assert turns.contended(ReadSet(), ELSEWHERE, None) == {(INDEXES[0], b"z", b"z\x00")}
    assert not turns.blocks(ReadSet(), ELSEWHERE, 1)


# --- against the twin -------------------------------------------------------------------------------

Points = frozenset[tuple[bytes, bytes]]  # (index, key); every interval of these worlds starts at a key


def points_of(places: Iterable[Place]) -> Points:
    return frozenset(
        (index_id, key)
        for index_id, start, end in places
        for key in KEYS
        if start <= key and (end is None or key < end)
    )


def share_a_point(ours: Footprint, theirs: Footprint) -> bool:
    if ours.is_everything or theirs.is_everything:
        return True
    return bool(points_of(ours.places) & points_of(theirs.places))


class ListOfRequests:
    """The twin: who has a turn is found by looking at everybody who asked before, each time."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, Footprint]] = []

    def holders(self) -> list[int]:
        return [
            ticket
            for position, (ticket, footprint) in enumerate(self.requests)
            if not any(share_a_point(footprint, earlier) for _, earlier in self.requests[:position])
        ]

    def wanted(self) -> list[int]:
        return [
            ticket
            for position, (ticket, footprint) in enumerate(self.requests)
            if any(share_a_point(footprint, later) for _, later in self.requests[position + 1 :])
        ]

    def others(self, ticket: int | None) -> list[tuple[int, Footprint]]:
        return [request for request in self.requests if request[0] != ticket]

    def end(self, ticket: int) -> list[int]:
        """Whoever has a turn now and had none before."""
        before = self.holders()
        self.requests = self.others(ticket)
        return [holder for holder in self.holders() if holder not in before]


def random_footprint(rng: random.Random) -> Footprint:
    if rng.random() < 0.1:
        return EVERYTHING
    return on(
        *(
            (rng.choice((*INDEXES, WORD_INDEX)), *random_bounds(rng))
            for _ in range(rng.choice([0, 1, 1, 1, 2, 3]))
        )
    )


def check_equal(turns: Turns, twin: ListOfRequests, seed: int) -> None:
    requests = dict(twin.requests)
    held, wanted = twin.holders(), twin.wanted()
    assert len(turns) == len(requests), f"seed {seed}"
    assert [ticket for ticket in requests if turns.holds(ticket)] == held, f"seed {seed}"
    assert [ticket for ticket in requests if turns.is_wanted(ticket)] == wanted, f"seed {seed}"
    for ticket in held:
        rivals = [other for other in held if other != ticket]
        assert not any(share_a_point(requests[ticket], requests[other]) for other in rivals), f"seed {seed}"


def random_step(turns: Turns, twin: ListOfRequests, ticket: int, rng: random.Random, seed: int) -> None:
    """Somebody new asks, or somebody ends: a holder, one who waits, or one who ended before."""
    if rng.random() < 0.6:
        footprint = random_footprint(rng)
        twin.requests.append((ticket, footprint))
        assert turns.ask(ticket, footprint) == (ticket in twin.holders()), f"seed {seed}"
    else:
        ended = rng.randrange(1, ticket + 1)
        assert turns.end(ended) == twin.end(ended), f"seed {seed}, ended {ended}"


@pytest.mark.parametrize("block", range(40))
def test_whoever_asks_gets_its_turn_if_turns_end_and_no_two_hold_an_overlapping_place(block: int) -> None:
    for seed in range(block * HISTORIES_PER_BLOCK, (block + 1) * HISTORIES_PER_BLOCK):
        rng = random.Random(seed)
        turns, twin = Turns(), ListOfRequests()
        for ticket in range(1, rng.randrange(4, 20)):
            random_step(turns, twin, ticket, rng, seed)
            check_equal(turns, twin, seed)
        while twin.requests:
            held = [ticket for ticket, _ in twin.requests if turns.holds(ticket)]
            assert held, f"seed {seed}: the rest wait in a circle"
            ended = rng.choice(held)
            assert turns.end(ended) == twin.end(ended), f"seed {seed}, ended {ended}"
            check_equal(turns, twin, seed)
        assert not turns, f"seed {seed}"


def own_places(reads: ReadSet, writes: Sequence[DocumentWrite]) -> set[Place]:
    written = {(index_id, key, key + b"\x00") for index_id, key in touched(tuple(writes))}
    return written | set(reads.intervals())


@pytest.mark.parametrize("block", range(20))
def test_a_proposal_is_blocked_and_contended_exactly_where_others_stand(block: int) -> None:
    for seed in range(block * HISTORIES_PER_BLOCK, (block + 1) * HISTORIES_PER_BLOCK):
        rng = random.Random(seed)
        turns, twin = Turns(), ListOfRequests()
        for ticket in range(1, 10):
            random_step(turns, twin, ticket, rng, seed)
            reads, writes = random_reads(rng), random_writes(rng)
            asker = rng.choice([None, *(known for known, _ in twin.requests)])
            own = own_places(reads, writes)
            in_the_way = {
                number: other for number, other in twin.others(asker) if share_a_point(on(*own), other)
            }
            blocked = any(number in twin.holders() for number in in_the_way)
            assert turns.blocks(reads, writes, asker) == blocked, f"seed {seed}, asker {asker}"
            found = turns.contended(reads, writes, asker)
            check_contended(found, own, list(in_the_way.values()), seed)


def check_contended(found: frozenset[Place], own: set[Place], in_the_way: list[Footprint], seed: int) -> None:
    """Own places, enough of them to queue behind everybody in the way, and no other than contended ones."""
    bounded = [other for other in in_the_way if not other.is_everything]
    met = {place for place in own if any(share_a_point(on(place), other) for other in bounded)}
    if len(bounded) == len(in_the_way):
        assert found == met, f"seed {seed}"
    else:
        assert found and met <= found <= own, f"seed {seed}: one place stands for all behind the lane"
        assert len(found - met) <= 1, f"seed {seed}"
    assert all(share_a_point(on(*found), other) for other in in_the_way), f"seed {seed}"
