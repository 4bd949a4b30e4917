"""Proposals run one upon the other, against the plainest rule there is: look at every write before."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from log.chains import Unsettled, is_pending, pending_ts, settle, settled
from log.committer import (
    Admitted,
    AlreadyCommitted,
    Commit,
    CommitRequest,
    Committer,
    Decision,
    LogEnd,
    Stale,
    TooOld,
)
from log.invariant import InvariantViolation
from log.read_set import ReadSet
from log.record import CallTrace, CommitBody, DocumentWrite
from log.write_log import Conflict

from ..support.worlds import CATALOG_TABLET, INDEXES, random_reads, random_writes, touched

HISTORIES_PER_BLOCK = 60
CHAINS_PER_HISTORY = 12
SECOND_NS = 1_000_000_000


def make_committer() -> Committer:
    committer = Committer(LogEnd(), 1, frozenset({CATALOG_TABLET}), now_ns=10 * SECOND_NS)
    publish(committer)
    return committer


def publish(committer: Committer) -> list[Commit]:
    batch = committer.ready()
    return list(committer.advance(batch)) if batch is not None else []


def request_of(begin_ts: int, reads: ReadSet, *writes: DocumentWrite, call_id: bytes) -> CommitRequest:
    reads.reads_catalog = True
    body = CommitBody(begin_ts, call_id, CallTrace(path="m.js:f"), writes)
    return CommitRequest(reads, body, body.encode())


def reads_of(*keys: bytes) -> ReadSet:
    reads = ReadSet()
    for key in keys:
        reads.add_key(INDEXES[0], key)
    return reads


def write_to(key: bytes, previous_ts: int = 0) -> DocumentWrite:
    return DocumentWrite(b"t" * 16, "d", previous_ts, 1, b"{}", ((INDEXES[0], None, key),))


def chain_on(committer: Committer, *links: tuple[ReadSet, DocumentWrite]) -> list[CommitRequest]:
    """Proposals, each run upon what those before it wrote."""
    return [
        request_of(
            pending_ts(position - 1) if position else committer.published_ts,
            reads,
            write,
            call_id=b"call %d" % position,
        )
        for position, (reads, write) in enumerate(links)
    ]


# --- timestamps that are not known yet --------------------------------------------------------------


def test_a_pending_ts_is_no_ts_of_a_clock_and_is_shown_to_nobody() -> None:
    assert is_pending(pending_ts(0)) and not is_pending(1_800_000_000 * SECOND_NS)
    assert settled(5) == 5
    with pytest.raises(Unsettled):
        settled(pending_ts(3))


def test_a_settled_body_names_the_places_of_its_predecessors_and_keeps_its_width() -> None:
    writes = (write_to(b"a", pending_ts(0)), write_to(b"b", pending_ts(1)), write_to(b"c", 7))
    body = CommitBody(pending_ts(1), b"call", CallTrace(), writes)
    places = [1_800_000_000 * SECOND_NS, 1_800_000_001 * SECOND_NS]
    found = settle(body, places)
    assert found.begin_ts == places[1]
    assert [write.previous_ts for write in found.writes] == [*places, 7]
    assert len(found.encode()) == len(body.encode())
    first = body._replace(begin_ts=5, writes=())
    assert settle(first, []) is first


def test_a_body_that_follows_nobody_in_the_chain_stops_the_process() -> None:
    with pytest.raises(InvariantViolation, match="admitted in its order"):
        settle(CommitBody(pending_ts(1), b"call", CallTrace(), ()), [5])


# --- chains in the committer ------------------------------------------------------------------------


def test_each_of_a_chain_begins_where_the_one_before_it_ended() -> None:
    committer = make_committer()
    link = (reads_of(b"a"), write_to(b"a", pending_ts(0)))
    chain = chain_on(committer, (reads_of(b"a"), write_to(b"a", 3)), link, link)
    decisions = committer.propose_chain(chain, 20 * SECOND_NS)
    places = [decision.ts for decision in decisions if isinstance(decision, Admitted)]
    assert len(places) == 3 and places == sorted(set(places))
    bodies = [CommitBody.decode(commit.record.body) for commit in publish(committer)]
    assert [body.begin_ts for body in bodies[1:]] == places[:2]
    assert [write.previous_ts for body in bodies for write in body.writes] == [3, places[0], places[0]]


def test_who_read_what_a_refused_one_wrote_is_stale_and_who_did_not_is_admitted() -> None:
    committer = make_committer()
    chain = chain_on(
        committer,
        (reads_of(b"a"), write_to(b"a")),
        (reads_of(b"b"), write_to(b"c")),
        (reads_of(b"c"), write_to(b"d")),
        (reads_of(b"a"), write_to(b"e")),
    )
    meanwhile = request_of(committer.published_ts, reads_of(), write_to(b"b"), call_id=b"another")
    assert isinstance(committer.propose(meanwhile, 20 * SECOND_NS), Admitted)
    decisions = committer.propose_chain(chain, 20 * SECOND_NS)
    assert [type(decision) for decision in decisions] == [Admitted, Conflict, Stale, Admitted]
    first, last = publish(committer)[-2:]
    assert last.body.begin_ts == first.ts


def test_a_call_that_another_run_had_made_before_is_told_so_and_has_written_nothing_to_be_read() -> None:
    committer = make_committer()
    first = chain_on(committer, (reads_of(), write_to(b"a")))[0]
    before = committer.propose(first, 20 * SECOND_NS)
    assert isinstance(before, Admitted)
    again, *others = chain_on(
        committer,
        (reads_of(), write_to(b"b")),
        (reads_of(b"b"), write_to(b"c")),
        (reads_of(b"d"), write_to(b"d")),
    )
    other_run = again.body._replace(trace=CallTrace(path="m.js:f", seed=b"another"))
    repeated = CommitRequest(again.reads, other_run, other_run.encode())
    decisions = committer.propose_chain([repeated, *others], 20 * SECOND_NS)
    assert decisions[0] == AlreadyCommitted(before.ts, is_same_run=False)
    assert [type(decision) for decision in decisions[1:]] == [Stale, Admitted]


def test_what_is_barred_is_refused_with_all_that_follows_from_it() -> None:
    committer = make_committer()
    link = (reads_of(b"a"), write_to(b"a"))
    decisions = committer.propose_chain(chain_on(committer, link, link, link), 20 * SECOND_NS, barred={1})
    assert [type(decision) for decision in decisions] == [Admitted, Stale, Stale]


def test_after_a_change_of_the_catalog_a_chain_ends() -> None:
    committer = make_committer()
    table = write_to(b"t")._replace(tablet_id=CATALOG_TABLET)
    chain = chain_on(committer, (reads_of(), table), (reads_of(b"z"), write_to(b"z")))
    decisions = committer.propose_chain(chain, 20 * SECOND_NS)
    assert [type(decision) for decision in decisions] == [Admitted, Stale]


def test_a_chain_that_is_sent_again_is_recognised_call_by_call() -> None:
    committer = make_committer()
    link = (reads_of(b"a"), write_to(b"a"))
    chain = chain_on(committer, link, link)
    first = committer.propose_chain(chain, 20 * SECOND_NS)
    again = committer.propose_chain(chain, 21 * SECOND_NS)
    assert again == [AlreadyCommitted(decision.ts) for decision in first]  # type: ignore[union-attr]
    assert len(publish(committer)) == 2


@dataclass
class Twin:
    """Every write that was ever admitted, and the rule."""

    admitted: list[tuple[int, DocumentWrite]]

    def judge(self, chain: list[CommitRequest], begin_ts: int) -> list[bool]:
        verdicts: list[bool] = []
        for position, request in enumerate(chain):
            before = list(zip(chain[:position], verdicts, strict=True))
            refused = [write for other, is_in in before if not is_in for write in other.body.writes]
            lost = [write for ts, write in self.admitted if ts > begin_ts]
            changed = [write for other, is_in in before if is_in for write in other.body.writes]
            is_blind = any(write.tablet_id == CATALOG_TABLET for write in [*lost, *changed])
            verdicts.append(not is_blind and not any(_touches(request, write) for write in [*lost, *refused]))
        return verdicts


def _touches(request: CommitRequest, write: DocumentWrite) -> bool:
    return any(request.reads.find(index_id, key) is not None for index_id, key in touched((write,)))


@pytest.mark.parametrize("block", range(5))
def test_chains_are_judged_as_the_plain_rule_judges_them(block: int) -> None:
    for seed in range(block * HISTORIES_PER_BLOCK, (block + 1) * HISTORIES_PER_BLOCK):
        rng = random.Random(seed)
        committer, twin, now_ns = make_committer(), Twin([]), 20 * SECOND_NS
        begins = [committer.published_ts]
        for number in range(CHAINS_PER_HISTORY):
            begin_ts = rng.choice(begins[-3:])
            chain = [
                request_of(
                    pending_ts(place - 1) if place else begin_ts,
                    random_reads(rng),
                    *random_writes(rng),
                    call_id=b"%d-%d" % (number, place),
                )
                for place in range(rng.randrange(1, 5))
            ]
            expected = twin.judge(chain, begin_ts)
            decisions = committer.propose_chain(chain, now_ns)
            assert [isinstance(decision, Admitted) for decision in decisions] == expected, f"seed {seed}"
            _check_places(chain, decisions, begin_ts, seed)
            twin.admitted += _written(chain, decisions)
            if rng.random() < 0.7:
                publish(committer)
                begins.append(committer.published_ts)


def _check_places(chain: list[CommitRequest], decisions: list[Decision], begin_ts: int, seed: int) -> None:
    places = [decision.ts for decision in decisions if isinstance(decision, Admitted)]
    assert places == sorted(set(places)) and all(place > begin_ts for place in places), f"seed {seed}"
    assert len(decisions) == len(chain), f"seed {seed}"


def _written(chain: list[CommitRequest], decisions: list[Decision]) -> list[tuple[int, DocumentWrite]]:
    return [
        (decision.ts, write)
        for request, decision in zip(chain, decisions, strict=True)
        if isinstance(decision, Admitted)
        for write in request.body.writes
    ]


def test_a_chain_that_was_refused_in_part_is_not_judged_again_when_it_is_resent() -> None:
    """Its answer was lost. What is admitted now would lie behind what followed from it."""
    committer = make_committer()
    chain = chain_on(
        committer,
        (reads_of(b"a"), write_to(b"a")),
        (reads_of(b"b"), write_to(b"b")),
        (reads_of(b"a"), write_to(b"c")),
    )
    first = committer.propose_chain(chain, 20 * SECOND_NS, barred={0})
    assert [type(decision) for decision in first] == [Stale, Admitted, Stale]
    again = committer.propose_chain(chain, 21 * SECOND_NS)
    assert [type(decision) for decision in again] == [Stale, AlreadyCommitted, Stale]
    assert len(publish(committer)) == 1


def test_a_snapshot_older_than_the_oldest_remembered_call_cannot_be_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The call may have been admitted, and forgotten since."""
    monkeypatch.setattr("log.limits.CALL_ID_WINDOW_LENGTH_MAX", 2)
    committer = make_committer()
    begin_ts = committer.published_ts
    first = request_of(begin_ts, reads_of(), write_to(b"a"), call_id=b"first")
    committer.propose(first, 20 * SECOND_NS)
    for number in range(3):
        other = request_of(begin_ts, reads_of(), write_to(b"z"), call_id=b"%d" % number)
        committer.propose(other, 21 * SECOND_NS)
    assert isinstance(committer.propose(first, 22 * SECOND_NS), TooOld)
