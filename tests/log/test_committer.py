"""The order of commits: plain calls, no clock, no disk."""

from __future__ import annotations

import random

import pytest

from log import limits
from log.committer import Admitted, AlreadyCommitted, CommitRequest, Committer, LogEnd, TooOld
from log.errors import BackendError
from log.invariant import InvariantViolation
from log.read_set import ReadSet
from log.record import CallTrace, CommitBody, LogRun, RecordKind
from log.write_log import Conflict

from ..support.worlds import CATALOG_TABLET, INDEXES, naive_hit, random_reads, random_writes

CATALOG = frozenset({CATALOG_TABLET})


def make_committer(end: LogEnd | None = None, epoch: int = 1, now_ns: int = 100) -> Committer:
    committer = Committer(end or LogEnd(), epoch, CATALOG, now_ns)
    committer.advance(committer.ready())
    return committer


def make_request(
    committer: Committer, reads: ReadSet, writes: tuple, begin_ts: int | None = None, call_id: bytes = b""
) -> CommitRequest:
    begin_ts = committer.published_ts if begin_ts is None else begin_ts
    call_id = call_id or random.randbytes(16)
    body = CommitBody(begin_ts, call_id, CallTrace(path="m.js:f"), writes)
    return CommitRequest(reads, body, body.encode())


def reads_of(*keys: bytes) -> ReadSet:
    reads = ReadSet()
    reads.reads_catalog = True
    for key in keys:
        reads.add_key(INDEXES[0], key)
    return reads


def write_to(key: bytes) -> tuple:
    writes = random_writes(random.Random(0))[:1]
    return (type(writes[0])(b"t" * 16, "d", 0, 1, b"{}", ((INDEXES[0], None, key),)),)


def test_the_first_record_of_a_writer_is_its_epoch() -> None:
    committer = Committer(LogEnd(seq=7, ts=50, crc=9), 3, CATALOG, now_ns=10)
    (record,) = committer.ready().records
    assert (record.kind, record.seq, record.epoch) == (RecordKind.EPOCH, 8, 3)
    assert record.ts == 51, "time in the log only grows, whatever the clock says"


def test_batches_never_overlap() -> None:
    committer = make_committer()
    committer.propose(make_request(committer, reads_of(), write_to(b"a")), 200)
    batch = committer.ready()
    committer.propose(make_request(committer, reads_of(), write_to(b"b")), 201)
    assert committer.ready() is None
    committer.advance(batch)
    assert committer.ready() is not None


def test_nothing_is_published_before_advance() -> None:
    committer = make_committer()
    before = committer.published_ts
    committer.propose(make_request(committer, reads_of(), write_to(b"a")), 200)
    batch = committer.ready()
    assert committer.published_ts == before
    committer.advance(batch)
    assert committer.published_ts == batch.commits[-1].ts


def test_a_write_not_yet_durable_already_conflicts() -> None:
    committer = make_committer()
    first = committer.propose(make_request(committer, reads_of(b"a"), write_to(b"a")), 200)
    second = committer.propose(make_request(committer, reads_of(b"a"), write_to(b"a")), 201)
    assert isinstance(first, Admitted) and isinstance(second, Conflict)
    assert second.ts == first.ts and second.places == ((INDEXES[0], b"a", b"a\x00"),)


def test_blind_writes_do_not_conflict() -> None:
    committer = make_committer()
    for now in (200, 201):
        outcome = committer.propose(make_request(committer, reads_of(), write_to(b"a")), now)
        assert isinstance(outcome, Admitted)


def test_a_repeated_call_id_is_told_the_first_ts_and_admits_nothing() -> None:
    committer = make_committer()
    request = make_request(committer, reads_of(b"a"), write_to(b"a"), call_id=b"same-call")
    first = committer.propose(request, 200)
    assert committer.propose(request, 300) == AlreadyCommitted(first.ts)
    assert len(committer.ready().commits) == 1


def test_a_successor_recognises_the_calls_of_its_predecessor() -> None:
    old = make_committer()
    for number in range(3):
        old.propose(make_request(old, reads_of(), write_to(b"a"), call_id=b"call-%d" % number), 200 + number)
    commits = old.advance(old.ready())
    last = commits[-1].record
    successor = Committer(LogEnd(last.seq, last.ts, last.crc), 2, CATALOG, 300, recent=commits)
    successor.advance(successor.ready())
    again = make_request(successor, reads_of(), write_to(b"a"), begin_ts=commits[0].ts, call_id=b"call-2")
    assert successor.propose(again, 400) == AlreadyCommitted(commits[2].ts)
    stale = make_request(successor, reads_of(b"a"), write_to(b"a"), begin_ts=commits[0].ts)
    assert isinstance(successor.propose(stale, 401), Conflict)


def test_a_snapshot_older_than_the_window_cannot_be_judged() -> None:
    committer = make_committer(LogEnd(seq=5, ts=1_000, crc=1), epoch=2, now_ns=2_000)
    old = make_request(committer, reads_of(b"a"), write_to(b"a"), begin_ts=999)
    assert isinstance(committer.propose(old, 3_000), TooOld)


def test_a_write_that_did_not_read_the_catalog_is_refused() -> None:
    committer = make_committer()
    blind = ReadSet()
    with pytest.raises(BackendError):
        committer.propose(make_request(committer, blind, write_to(b"a")), 200)
    assert committer.ready() is None


def test_a_snapshot_from_the_future_is_a_defect() -> None:
    committer = make_committer()
    request = make_request(committer, reads_of(), write_to(b"a"), begin_ts=committer.published_ts + 1)
    with pytest.raises(InvariantViolation):
        committer.propose(request, 200)


def test_a_snapshot_at_an_admitted_commit_is_judged_like_any_other_before_it_is_published() -> None:
    committer = make_committer()
    first = committer.propose(make_request(committer, reads_of(b"a"), write_to(b"a")), 200)
    assert isinstance(first, Admitted) and first.ts == committer.admitted_ts > committer.published_ts
    saw_first = make_request(committer, reads_of(b"a"), write_to(b"a"), begin_ts=first.ts)
    second = committer.propose(saw_first, 201)
    assert isinstance(second, Admitted), "what it read includes the first"
    missed_second = make_request(committer, reads_of(b"a"), write_to(b"a"), begin_ts=first.ts)
    lost = committer.propose(missed_second, 202)
    assert isinstance(lost, Conflict) and lost.ts == second.ts


def test_a_snapshot_beyond_the_last_admitted_commit_is_a_broken_invariant() -> None:
    committer = make_committer()
    committer.propose(make_request(committer, reads_of(), write_to(b"a")), 200)
    beyond = make_request(committer, reads_of(), write_to(b"b"), begin_ts=committer.admitted_ts + 1)
    with pytest.raises(InvariantViolation):
        committer.propose(beyond, 300)
    assert len(committer.unpublished()) == 1


def test_unpublished_is_what_is_in_flight_and_then_what_waits_until_it_is_advanced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "BATCH_RECORDS_MAX", 2)
    committer = make_committer()
    assert committer.unpublished() == ()
    places = [
        committer.propose(make_request(committer, reads_of(), write_to(b"a")), 200 + number).ts
        for number in range(3)
    ]
    assert [commit.ts for commit in committer.unpublished()] == places, "all wait"
    batch = committer.ready()
    assert [commit.ts for commit in batch.commits] == places[:2]
    assert [commit.ts for commit in committer.unpublished()] == places, "two in flight, one waits"
    committer.advance(batch)
    assert [commit.ts for commit in committer.unpublished()] == places[2:]
    committer.advance(committer.ready())
    assert committer.unpublished() == () and committer.published_ts == committer.admitted_ts


def test_a_successor_recognises_a_call_also_when_it_is_the_only_one_recalled() -> None:
    committer = make_committer()
    request = make_request(committer, reads_of(b"a"), write_to(b"a"))
    committer.propose(request, 200)
    (commit,) = committer.advance(committer.ready())
    end = LogEnd(commit.record.seq, commit.ts, commit.record.crc)
    successor = Committer(end, 2, CATALOG, 300, (commit,))
    assert successor.propose(request, 300) == AlreadyCommitted(commit.ts)
    late = CommitBody(commit.ts - 1, b"o" * 16, CallTrace(), request.body.writes)
    judged = successor.propose(CommitRequest(request.reads, late, late.encode()), 301)
    assert isinstance(judged, Conflict) and judged.ts == commit.ts


def test_another_run_of_an_admitted_call_is_told_that_it_is_not_the_one() -> None:
    committer = make_committer()
    one, other = (
        CommitBody(committer.published_ts, b"c" * 16, CallTrace(path="m.js:f", seed=seed), write_to(b"a"))
        for seed in (b"one", b"other")
    )
    first = committer.propose(CommitRequest(reads_of(), one, one.encode()), 200)
    assert isinstance(first, Admitted)
    assert committer.recognise(one) == AlreadyCommitted(first.ts, is_same_run=True)
    assert committer.recognise(other) == AlreadyCommitted(first.ts, is_same_run=False)
    assert committer.propose(CommitRequest(reads_of(), other, other.encode()), 201) == committer.recognise(
        other
    )


def test_only_the_newest_call_ids_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CALL_ID_WINDOW_LENGTH_MAX", 2)
    committer = make_committer()
    for number in range(3):
        call_id = bytes([number]) * 16
        committer.propose(make_request(committer, reads_of(), write_to(b"a"), call_id=call_id), 200 + number)
    calls = [make_request(committer, reads_of(), (), call_id=bytes([number]) * 16) for number in range(3)]
    remembered = [committer.recognise(call.body) is not None for call in calls]
    assert remembered == [False, True, True]


def test_a_commit_that_writes_nothing_needs_no_catalog() -> None:
    committer = make_committer()
    assert isinstance(committer.propose(make_request(committer, ReadSet(), ()), 200), Admitted)


def test_a_full_queue_refuses_and_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COMMIT_QUEUE_LENGTH_MAX", 2)
    committer = make_committer()
    for now in (200, 201):
        committer.propose(make_request(committer, reads_of(), write_to(b"a")), now)
    with pytest.raises(BackendError) as refused:
        committer.propose(make_request(committer, reads_of(), write_to(b"a")), 202)
    assert refused.value.code == "CommitterFullError"
    assert len(committer.ready().commits) == 2


def test_a_large_commit_travels_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BATCH_BYTES_MAX", 10)
    committer = make_committer()
    for now in (200, 201, 202):
        committer.propose(make_request(committer, reads_of(), write_to(b"a")), now)
    assert [len(committer.advance(batch)) for batch in iter(committer.ready, None)] == [1, 1, 1]


@pytest.mark.parametrize("seed", range(200))
def test_every_admitted_history_is_serial(seed: int) -> None:
    """No admitted commit read something that a commit between its snapshot and itself wrote."""
    rng = random.Random(seed)
    committer = make_committer()
    admitted: list[tuple[int, int, list, tuple]] = []
    snapshots = [committer.published_ts]
    for step in range(40):
        if rng.random() < 0.3 and (batch := committer.ready()) is not None:
            committer.advance(batch)
            snapshots.append(committer.published_ts)
            continue
        reads, writes = random_reads(rng), random_writes(rng)
        reads.reads_catalog = True
        begin_ts = rng.choice([*snapshots[-3:], committer.admitted_ts])  # published or not
        request = make_request(committer, reads, writes, begin_ts=begin_ts)
        outcome = committer.propose(request, 200 + step)
        if isinstance(outcome, Admitted):
            admitted.append((request.body.begin_ts, outcome.ts, list(reads.intervals()), writes))
    for begin_ts, ts, reads, _ in admitted:
        for _, other_ts, _, other_writes in admitted:
            if begin_ts < other_ts < ts:
                wrote_catalog = any(write.tablet_id == CATALOG_TABLET for write in other_writes)
                assert not wrote_catalog and not naive_hit(reads, other_writes), (
                    seed,
                    begin_ts,
                    other_ts,
                    ts,
                )


def test_records_chain_from_the_end_of_the_log() -> None:
    committer = Committer(LogEnd(seq=7, ts=50, crc=9), 3, CATALOG, now_ns=60)
    epoch_batch = committer.ready()
    committer.advance(epoch_batch)
    committer.propose(make_request(committer, reads_of(), write_to(b"a")), 70)
    records = (*epoch_batch.records, *committer.ready().records)
    LogRun(records).check(previous_crc=9)
    with pytest.raises(InvariantViolation):
        LogRun(records).check(previous_crc=8)
