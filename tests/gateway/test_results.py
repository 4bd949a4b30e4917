"""The result cache against a list that remembers everything and looks at all of it."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest

from gateway.backend import FunctionError, FunctionOutcome, Invalidation
from gateway.results import QueryKey, QueryResult, ResultCache, query_result
from log.identity import ADMIN, UNKNOWN, Identity
from log.limits import TIME_OBSERVING_RESULT_SECONDS_MAX

ALICE, BOB = Identity("user", b'{"name":"alice"}'), Identity("user", b'{"name":"bob"}')
IDENTITIES = (UNKNOWN, ALICE, BOB, ADMIN)
LIST = QueryKey("m.js:list", b"[{}]")


class Listener:
    """A holder that counts what it is told."""

    def __init__(self) -> None:
        self.told = 0

    def result_invalidated(self) -> None:
        self.told += 1


def outcome(
    value: bytes = b"1",
    ts: int = 10,
    *,
    own: bool = False,
    clock: bool = False,
    error: str | None = None,
    journal: str | None = None,
) -> FunctionOutcome:
    return FunctionOutcome(
        value=None if error else value,
        error=FunctionError(error) if error else None,
        log_lines=b"[]",
        ts=ts,
        journal=journal,
        observed_identity=own,
        observed_time=clock,
    )


def result_of(found: FunctionOutcome, now: float = 0.0) -> QueryResult:
    return query_result(found, "0" * 16, False, now)


def keep(cache: ResultCache, registration: int, result: QueryResult, identity: Identity = UNKNOWN) -> None:
    cache.track(result, registration)
    cache.keep(LIST, identity, result)


def test_a_result_is_found_only_inside_its_interval() -> None:
    cache, result = ResultCache(), result_of(outcome(ts=10))
    keep(cache, 1, result)
    assert cache.find(LIST, UNKNOWN, 9, 0) is None
    assert cache.find(LIST, UNKNOWN, 10, 0) is result
    assert cache.find(LIST, UNKNOWN, 99, 0) is result
    cache.invalidate([Invalidation(1, 20, "")])
    assert cache.find(LIST, UNKNOWN, 20, 0) is None
    assert result.covers(19) and not result.covers(20)


@pytest.mark.parametrize("own", [True, False])
def test_identities_share_a_result_only_if_the_function_did_not_look(own: bool) -> None:
    cache, result = ResultCache(), result_of(outcome(own=own))
    keep(cache, 1, result, ALICE)
    assert cache.find(LIST, ALICE, 10, 0) is result
    assert cache.find(LIST, BOB, 10, 0) is (None if own else result)
    assert cache.find(LIST, ADMIN, 10, 0) is None, "an admin sees internal functions, others do not"


def test_errors_are_not_found_by_others_but_their_holders_hear_of_writes() -> None:
    cache, holder, failed = ResultCache(), Listener(), result_of(outcome(error="no"))
    cache.track(failed, 1)
    cache.hold(failed, holder)
    cache.keep(LIST, UNKNOWN, failed)
    assert cache.find(LIST, UNKNOWN, 10, 0) is None
    assert cache.invalidate([Invalidation(1, 12, "")]) == [holder]


def test_what_was_audited_is_not_found_by_others_but_its_holders_hear_of_writes() -> None:
    cache, holder, audited = ResultCache(), Listener(), result_of(replace(outcome(), audit_lines=(b"{}",)))
    cache.track(audited, 1)
    cache.hold(audited, holder)
    cache.keep(LIST, UNKNOWN, audited)
    assert cache.find(LIST, UNKNOWN, 10, 0) is None and cache.size_bytes == 0
    assert cache.invalidate([Invalidation(1, 12, "")]) == [holder]
    nobodys = result_of(replace(outcome(), audit_lines=(b"{}",)))
    keep(cache, 2, nobodys)
    assert cache.drain_dropped() == [2] and cache.registrations == 0


def test_a_result_that_saw_the_clock_is_not_found_when_old() -> None:
    cache, result = ResultCache(), result_of(outcome(clock=True), now=100.0)
    keep(cache, 1, result)
    assert cache.find(LIST, UNKNOWN, 10, 100 + TIME_OBSERVING_RESULT_SECONDS_MAX) is result
    assert cache.find(LIST, UNKNOWN, 10, 101 + TIME_OBSERVING_RESULT_SECONDS_MAX) is None


def test_a_result_is_found_under_the_journal_asked_and_the_one_made() -> None:
    cache, result = ResultCache(), result_of(outcome(journal="end"))
    keep(cache, 1, result)
    assert cache.find(LIST, UNKNOWN, 10, 0) is result
    assert cache.find(QueryKey(LIST.path, LIST.args, "", "end"), UNKNOWN, 10, 0) is result
    assert cache.find(QueryKey(LIST.path, LIST.args, "", "other"), UNKNOWN, 10, 0) is None


def test_the_digest_ignores_the_request_id_and_sees_value_logs_and_error() -> None:
    failed = outcome(error="no")
    assert query_result(failed, "a", False, 0).digest == query_result(failed, "b", False, 0).digest
    digests = {
        result_of(found).digest for found in (outcome(b"1"), outcome(b"2"), outcome(error="1"), failed)
    }
    assert len(digests) == 4


def test_redaction_hides_messages_and_log_lines_but_not_data() -> None:
    thrown = FunctionOutcome(None, FunctionError("Uncaught secret", b'{"c":1}'), b'["[LOG] secret"]', 5)
    shown = query_result(thrown, "ab" * 8, True, 0.0).modification(3)
    assert b"secret" not in shown
    assert b'"errorData":{"c":1}' in shown and b"[Request ID: abababababababab] Server Error" in shown


def test_the_cache_stays_within_its_bytes_and_unregisters_what_it_drops() -> None:
    cache = ResultCache(bytes_max=5_000)
    for number in range(100):
        result = result_of(outcome(b"x" * 400))
        cache.track(result, number + 1)
        cache.keep(QueryKey("m.js:f", b"[%d]" % number), UNKNOWN, result)
        assert cache.size_bytes <= 5_000
    dropped = cache.drain_dropped()
    assert len(dropped) + cache.registrations == 100 and dropped == sorted(dropped)


def test_a_held_result_outlives_its_eviction_until_released() -> None:
    cache, holder, result = ResultCache(bytes_max=700), Listener(), result_of(outcome(b"x" * 400))
    cache.track(result, 1)
    cache.hold(result, holder)
    cache.keep(LIST, UNKNOWN, result)
    assert cache.find(LIST, UNKNOWN, 10, 0) is None and cache.drain_dropped() == []
    cache.release(result, holder)
    assert cache.drain_dropped() == [1]


@dataclass
class Remembered:
    """The dumb twin's entry: nothing is indexed, nothing is deleted."""

    result: QueryResult
    key: QueryKey
    identity: Identity
    registration: int
    end: int | None = None
    replaced: bool = False

    def may_be_shown(self, key: QueryKey, identity: Identity, ts: int) -> bool:
        found = self.result.outcome
        return (
            not self.replaced
            and found.error is None
            and (self.key.path, self.key.args) == (key.path, key.args)
            and key.journal in (self.key.journal, found.journal)
            and self.identity.is_admin == identity.is_admin
            and (not found.observed_identity or self.identity == identity)
            and found.ts <= ts
            and (self.end is None or ts < self.end)
        )


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_found_may_be_shown_and_whatever_is_newest_is_found(seed: int) -> None:
    rng = random.Random(seed)
    cache, remembered, ts = ResultCache(), [], 10
    keys = [QueryKey("m.js:f", b"[%d]" % n, "", journal) for n in range(2) for journal in (None, "j")]
    for step in range(200):
        where = f"seed {seed}, step {step}"
        key, identity = rng.choice(keys), rng.choice(IDENTITIES)
        match rng.randrange(3):
            case 0:  # a run at the present time
                found = outcome(
                    b"%d" % step, ts, own=rng.random() < 0.4, error=rng.choice((None, None, "no")),
                    journal=rng.choice((None, "j")),
                )  # fmt: skip
                new = Remembered(result_of(found), key, identity, step + 1)
                for older in remembered:
                    overlap = {key.journal, found.journal} & {older.key.journal, older.result.outcome.journal}
                    same_audience = found.observed_identity == older.result.outcome.observed_identity and (
                        older.identity == identity
                        if found.observed_identity
                        else older.identity.is_admin == identity.is_admin
                    )
                    same_query = older.key.args == key.args
                    if found.error is None and overlap and same_audience and same_query:
                        older.replaced = True
                remembered.append(new)
                cache.track(new.result, new.registration)
                cache.keep(key, identity, new.result)
            case 1:  # a write
                ts += 1
                hit = [r for r in remembered if r.end is None and rng.random() < 0.3]
                for entry in hit:
                    entry.end = ts
                cache.invalidate([Invalidation(entry.registration, ts, "") for entry in hit])
            case _:
                asked = rng.randrange(9, ts + 2)
                result = cache.find(key, identity, asked, 0.0)
                allowed = [r for r in remembered if r.may_be_shown(key, identity, asked)]
                if result is not None:
                    assert result in [r.result for r in allowed], f"{where}: shown what may not be shown"
                live = [r for r in allowed if r.end is None]
                assert not live or result is not None, f"{where}: a live result was not found"
