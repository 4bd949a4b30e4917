"""Query results that may be shared: under which key, at which timestamps, until when (design D20).

Law 1: a result may be shown at T only if T lies in [valid_from, invalidated_at).
Law 2: nobody without the same visibility, and the same identity if the function looked at it, meets it.
Law 3: a result is registered for invalidations as long as somebody holds it or the cache keeps it.

Promises:
  - `find` answers only results both laws allow; errors and audited results are never found, and results that
    looked at the clock are not found once they are TIME_OBSERVING_RESULT_SECONDS_MAX old (spec 01 5.1);
  - the cache keeps at most `bytes_max` of results nobody needs to hold, oldest use first to go;
  - `drain_dropped` names each registration nobody needs any more exactly once.

Pure: the clock and the stream's timestamps arrive as arguments.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple, Protocol

from gateway import frames
from gateway.backend import FunctionOutcome, Invalidation
from gateway.status import function_error_text
from log.identity import Identity
from log.invariant import invariant
from log.limits import RESULT_CACHE_BYTES_MAX, TIME_OBSERVING_RESULT_SECONDS_MAX

_ENTRY_BYTES = 600  # what a result costs beside its value: objects, keys, registration


class Holder(Protocol):
    """Who shows a result and wants to hear of its end."""

    def result_invalidated(self) -> None: ...


class QueryKey(NamedTuple):
    """One query as a client asked it, without who asked (that is `Identity`).

    A tuple and not a dataclass: it is hashed for every socket of a fan-out, and tuples hash in C.
    """

    path: str
    args: bytes
    component: str = ""
    journal: str | None = None


@dataclass(slots=True, eq=False)
class QueryResult:
    """What a query answered at `valid_from`, encoded once for every socket.

    `registration` is 0 until registered and again after its end; `invalidated_at` is set once.
    """

    outcome: FunctionOutcome
    head: bytes
    tail: bytes
    digest: bytes
    error_text: str | None
    created_seconds: float
    registration: int = 0
    invalidated_at: int | None = None
    cached_under: tuple[Hashable, ...] = ()
    holders: dict[Holder, int] = field(default_factory=dict)

    @property
    def valid_from(self) -> int:
        return self.outcome.ts

    @property
    def may_be_found(self) -> bool:
        """Whether others may be given it later: no error, and nothing audited. Whoever asks for what is
        audited is audited, too, by a run of their own."""
        return self.outcome.error is None and not self.outcome.audit_lines

    @property
    def size_bytes(self) -> int:
        return len(self.tail) + len(self.outcome.reads) + _ENTRY_BYTES

    def covers(self, ts: int) -> bool:
        return self.valid_from <= ts and (self.invalidated_at is None or ts < self.invalidated_at)

    def modification(self, query_id: int) -> bytes:
        return b"%s%d%s" % (self.head, query_id, self.tail)


def query_result(outcome: FunctionOutcome, request_id: str, redact: bool, now_seconds: float) -> QueryResult:
    """Encode an outcome for all sockets. The digest ignores the request id (spec 01 1.16)."""
    log_lines = b"[]" if redact else outcome.log_lines
    digest = blake2b(log_lines, digest_size=16)
    if outcome.error is None:
        invariant(outcome.value is not None, "a query answers a value or an error")
        digest.update(b"value")
        digest.update(outcome.value or b"")
        head, tail = frames.value_piece(outcome.value or b"null", log_lines, outcome.journal)
        error_text = None
    else:
        digest.update(b"error" + outcome.error.message.encode() + b"\0" + (outcome.error.data or b""))
        error_text = function_error_text(request_id, outcome.error.message, redact)
        head, tail = frames.failure_piece(error_text, log_lines, outcome.journal, outcome.error.data)
    return QueryResult(outcome, head, tail, digest.digest(), error_text, now_seconds)


class ResultCache:
    """All results alive in this gateway. Read in this order: find, track, keep, invalidate, hold, release."""

    def __init__(self, bytes_max: int = RESULT_CACHE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._holds = 0
        # Both keys of a result (requested and produced journal) lead to it; order is order of use.
        self._by_key: OrderedDict[Hashable, QueryResult] = OrderedDict()
        self._by_registration: dict[int, QueryResult] = {}
        self._dropped: list[int] = []

    @property
    def size_bytes(self) -> int:
        return self._bytes

    @property
    def holds(self) -> int:
        """How often results are shown, to however many."""
        return self._holds

    @property
    def registrations(self) -> int:
        return len(self._by_registration)

    def find(self, key: QueryKey, identity: Identity, ts: int, now_seconds: float) -> QueryResult | None:
        """A result this caller may be shown at `ts`, or None."""
        for cache_key in (_shared_key(key, identity), _own_key(key, identity)):
            result = self._by_key.get(cache_key)
            if result is None or not result.covers(ts):
                continue
            age = now_seconds - result.created_seconds
            if result.outcome.observed_time and age > TIME_OBSERVING_RESULT_SECONDS_MAX:
                continue
            for used_key in result.cached_under:
                self._by_key.move_to_end(used_key)
            return result
        return None

    def track(self, result: QueryResult, registration: int) -> None:
        """The result is about to be registered: hear of its end from now on."""
        invariant(result.registration == 0, "a result is registered once", found=result.registration)
        result.registration = registration
        self._by_registration[registration] = result

    def untrack(self, result: QueryResult, invalidated_at: int) -> None:
        """The registration did not come to stand: the result was overwritten at `invalidated_at`."""
        self._by_registration.pop(result.registration, None)
        result.registration, result.invalidated_at = 0, invalidated_at

    def keep(self, key: QueryKey, identity: Identity, result: QueryResult) -> None:
        """Let others find a registered result, under the journal asked and the one made.

        What was overwritten meanwhile is not found; without a holder it is dropped.
        """
        if result.registration == 0 or result.cached_under:
            return
        if not result.may_be_found:
            self.drop_if_unused(result)
            return
        make_key = _own_key if result.outcome.observed_identity else _shared_key
        journals = dict.fromkeys((key.journal, result.outcome.journal))
        keys = [
            make_key(QueryKey(key.path, key.args, key.component, journal), identity) for journal in journals
        ]
        for cache_key in keys:
            if (older := self._by_key.get(cache_key)) is not None:
                self._forget(older)
        result.cached_under = tuple(keys)
        self._by_key.update((cache_key, result) for cache_key in keys)
        self._bytes += result.size_bytes
        self._shrink()

    def invalidate(self, invalidations: Iterable[Invalidation]) -> list[Holder]:
        """Close the intervals of what was hit; returns who showed it, each once."""
        told: dict[Holder, None] = {}
        for invalidation in invalidations:
            result = self._by_registration.pop(invalidation.key, None)
            if result is None:
                continue  # dropped by us while the announcement was on its way
            result.registration, result.invalidated_at = 0, invalidation.ts
            self._forget(result)
            told.update(dict.fromkeys(result.holders))
        return list(told)

    def is_held(self, registration: int) -> bool:
        """Whether somebody shows the result registered so."""
        result = self._by_registration.get(registration)
        return result is not None and bool(result.holders)

    def hold(self, result: QueryResult, holder: Holder) -> None:
        result.holders[holder] = result.holders.get(holder, 0) + 1
        self._holds += 1

    def release(self, result: QueryResult, holder: Holder) -> None:
        """Undo one `hold`; a registration that neither a holder nor the cache needs is dropped."""
        count = result.holders.pop(holder, 0)
        invariant(count > 0, "only what is held is released")
        self._holds -= 1
        if count > 1:
            result.holders[holder] = count - 1
        self.drop_if_unused(result)

    def drain_dropped(self) -> list[int]:
        """Registrations to undo at the backend."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def _forget(self, result: QueryResult) -> None:
        """Take a result out of the cache; its holders keep it."""
        if not result.cached_under:
            return
        for cache_key in result.cached_under:
            del self._by_key[cache_key]
        result.cached_under = ()
        self._bytes -= result.size_bytes
        self.drop_if_unused(result)

    def drop_if_unused(self, result: QueryResult) -> None:
        """End the registration of a result that neither a holder nor the cache needs."""
        if result.registration and not result.holders and not result.cached_under:
            del self._by_registration[result.registration]
            self._dropped.append(result.registration)
            # Whoever still has it in hand hears of no write any more, so it may not be shown later.
            result.registration, result.invalidated_at = 0, result.valid_from + 1

    def _shrink(self) -> None:
        while self._bytes > self._bytes_max and self._by_key:
            self._forget(next(iter(self._by_key.values())))


def _shared_key(key: QueryKey, identity: Identity) -> Hashable:
    return (key, identity.is_admin)


def _own_key(key: QueryKey, identity: Identity) -> Hashable:
    return (key, identity.is_admin, identity)
