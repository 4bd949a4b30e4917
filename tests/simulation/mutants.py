"""Systems broken on purpose: each takes one care away, and a named checker must notice.

A checker that no broken system fails proves nothing. Each mutant patches one name of the product (or of the
ground it stands on) while histories run; `caught_by` is the checker that exists because of such mistakes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import actors.ahead_snapshot
import actors.chain
import actors.core
import actors.function_runs
import gateway.sync_socket
import log.committer
from actors.chain import Attempt, Done
from actors.commit_log import CommitLog
from actors.core import Core
from actors.judge import Judge
from actors.node_reader import NodeReader
from actors.projections.subscriptions import InvalidatedAt, Subscriptions, ValidThrough
from actors.runtime import ConnectionLost
from actors.transactor import Transactor
from actors.turn_keeper import TurnKeeper
from cluster.backend import ClusterBackend
from functions.catalog import Index
from functions.snapshot import SnapshotReader
from functions.transaction import Transaction
from gateway import sync_events as ev
from gateway.query_runner import QueryRunner
from gateway.results import QueryResult
from gateway.sync_session import SyncSession
from log.committer import Batch, Commit, Committer
from log.read_set import ReadSet
from log.record import CommitBody, DocumentWrite
from log.write_log import Conflict, WriteLog

from . import world
from .disk import SimulatedDisk


@dataclass(frozen=True, slots=True)
class Mutant:
    """`place.name` is replaced while it lives."""

    what: str
    place: Any
    name: str
    replacement: Any
    caught_by: str

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        with mock.patch.object(self.place, self.name, self.replacement):
            yield


# --- the order of commits ---------------------------------------------------------------------------


class BlindToUnsynced(Committer):
    """Compares proposals with published commits only."""

    def _remember(self, commit: Commit) -> None:
        if commit.ts <= self.published_ts:
            super()._remember(commit)

    def advance(self, batch: Batch) -> tuple[Commit, ...]:
        commits = super().advance(batch)
        for commit in commits:
            if commit.body.writes:
                super()._remember(commit)
        return commits


class WithoutCallIds(Committer):
    """Takes a resent proposal for a new one."""

    def _remember(self, commit: Commit) -> None:
        super()._remember(commit)
        self._runs.clear()


class OneWriteRemembered(WriteLog):
    """Forgets all writes of a commit but one."""

    def append(
        self, ts: int, source: str, writes: tuple[DocumentWrite, ...], catalog_tablets: frozenset[bytes]
    ) -> None:
        super().append(ts, source, writes[:1], catalog_tablets)


class BlindToRanges(WriteLog):
    """Finds conflicts on single keys only."""

    def first_conflict(self, reads: ReadSet, begin_ts: int) -> Conflict | None:
        points = ReadSet()
        points.reads_catalog = reads.reads_catalog
        for index_id, start, end in reads.intervals():
            if end == start + b"\x00":
                points.add(index_id, start, end)
        return super().first_conflict(points, begin_ts)


class BlindToWords(WriteLog):
    """Does not know what words a commit touches."""

    def append(
        self, ts: int, source: str, writes: tuple[DocumentWrite, ...], catalog_tablets: frozenset[bytes]
    ) -> None:
        wordless = tuple(write._replace(words=()) for write in writes)
        super().append(ts, source, wordless, catalog_tablets)


class TellsFirst(CommitLog):
    """Answers when a commit is admitted."""

    async def durable(self, ts: int) -> int:
        return ts


class WithoutFence(SimulatedDisk):
    """Takes records of any epoch, wherever they say they belong."""

    def append_and_sync(self, epoch: int, records: Any) -> None:
        self._records.extend(records)
        self._on_durable(records)


async def _always_settled(core: Core, epoch: int, ts: int) -> bool:
    return True


def _judge_any_epoch(judge: Judge, requests: Any, ticket: int | None, epoch: int | None) -> Any:
    return _JUDGE(judge, requests, ticket, None)


_JUDGE = Judge.judge


def _follow_backwards(core: Core, commits: Sequence[Commit]) -> None:
    _FOLLOW(core, commits[::-1])


_FOLLOW = Core.follow


# --- reading ----------------------------------------------------------------------------------------


class NewestRows:
    """Says it reads at `ts` and reads what is there."""

    def __init__(self, newest: SnapshotReader, ts: int) -> None:
        self._newest, self.ts = newest, ts

    def append(self, ts: int, body: Any) -> None:
        self.ts = ts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._newest, name)


def _newest_snapshot(reader: NodeReader, ts: int) -> SnapshotReader:
    assert reader._view is not None
    return NewestRows(reader._view.snapshot(reader.published_ts), ts)


def _ahead_of_nothing(base: SnapshotReader, commits: Any = ()) -> SnapshotReader:
    return NewestRows(base, commits[-1][0] if commits else base.ts)


def _ahead_of_all_but_one(base: SnapshotReader, commits: Any = ()) -> SnapshotReader:
    return actors.ahead_snapshot.AheadSnapshot(base, commits[-1:])


def _record_no_ends(transaction: Transaction, index: Index, start: bytes, end: bytes | None) -> None:
    if end is not None:
        _RECORD_READ(transaction, index, start, end)


_RECORD_READ = Transaction.record_read


# --- subscriptions ----------------------------------------------------------------------------------


class DropsARegistration(Subscriptions):
    """Loses every third registration."""

    def register(self, subscriber: int, reads: ReadSet, ts: int) -> ValidThrough | InvalidatedAt:
        answer = super().register(subscriber, reads, ts)
        if subscriber % 3 == 0:
            self.unregister(subscriber)
        return answer


class TrustsOldReads(Subscriptions):
    """Does not compare a registration with what was written while its query ran."""

    def register(self, subscriber: int, reads: ReadSet, ts: int) -> ValidThrough | InvalidatedAt:
        return super().register(subscriber, reads, max(ts, self.processed_ts))


class BlindToWhatLeft(Subscriptions):
    """Overlooks that a document moved away from a key."""

    def _hit_by(self, writes: tuple[DocumentWrite, ...]) -> Any:
        arrivals = tuple(
            write._replace(keys=tuple((index_id, new, new) for index_id, _, new in write.keys))
            for write in writes
        )
        return super()._hit_by(arrivals)


class BlindToWordsWritten(Subscriptions):
    """Overlooks that a text with a searched word was written."""

    def _hit_by(self, writes: tuple[DocumentWrite, ...]) -> Any:
        return super()._hit_by(tuple(write._replace(words=()) for write in writes))


# --- the gateway ------------------------------------------------------------------------------------


class ForgetsItsDebts(SyncSession):
    """Sends no Transition for the sake of a mutation."""

    __slots__ = ()

    def receive(self, event: ev.Event, now_seconds: float) -> list[ev.Effect]:
        owed_ts = self._owed_ts
        effects = super().receive(event, now_seconds)
        if not isinstance(event, ev.MutationFinished):
            return effects
        self._owed_ts = owed_ts
        self._target = replace(self._target, ts=self._version.ts)
        return [
            replace(effect, min_ts=self._version.ts) if isinstance(effect, ev.ComputeTransition) else effect
            for effect in effects
        ]


class TearsTheChain(SyncSession):
    """Now and then counts a Transition from where the client was two before."""

    __slots__ = ()

    def receive(self, event: ev.Event, now_seconds: float) -> list[ev.Effect]:
        before = self._version
        effects = super().receive(event, now_seconds)
        if isinstance(event, ev.TransitionComputed) and event.ts % 4 == 0:
            self._version = before
        return effects


async def _set_core_and_forget(backend: ClusterBackend, core: Any) -> None:
    backend._registered = set()
    await _SET_CORE(backend, core)


_SET_CORE = ClusterBackend.set_core


async def _run_mutation_and_cover(backend: ClusterBackend, call: Any) -> Any:
    outcome = await _RUN_MUTATION(backend, call)
    backend._covered_ts = max(backend._covered_ts, outcome.ts)
    return outcome


_RUN_MUTATION = ClusterBackend.run_mutation


async def _register_nothing(runner: QueryRunner, run: Any, result: QueryResult) -> None:
    runner.cache.track(result, next(runner._registrations))


# --- calls ------------------------------------------------------------------------------------------


async def _propose_as_new(transactor: Transactor, proposals: Any, turn: Any) -> list[Any]:
    """After a lost connection run again, as if nothing had been proposed."""
    core, changed = transactor._core, transactor._core_changed
    assert core is not None
    anew = [(reads, _with_new_id(transactor, body)) for reads, body in proposals]
    try:
        return await core.call("commit", anew, None, turn.epoch if turn is not None else None)
    except ConnectionLost:
        await changed.wait()
        return [["stale"]] * len(anew)


def _with_new_id(transactor: Transactor, body: bytes) -> bytes:
    return CommitBody.decode(body)._replace(call_id=transactor._random.randbytes(16)).encode()


async def _transact_with_first_result(
    transactor: Transactor,
    source: str,
    call_id: bytes,
    attempts_max: int,
    work: Callable[[Attempt], Done[Any]],
    arguments: bytes = b"",
) -> tuple[Any, int | None]:
    results: list[Any] = []

    def remembered(attempt: Attempt) -> Done[Any]:
        done = work(attempt)
        results.append(done.result)
        return Done(results[0], done.trace)

    return await _TRANSACT(transactor, source, call_id, attempts_max, remembered, arguments)


_TRANSACT = Transactor.transact


class NeverPassedOn(TurnKeeper):
    """Whoever waits for a turn is not told that it has come."""

    def end(self, ticket: int) -> None:
        self.turns.end(ticket)


def _nothing_recorded(transaction: Transaction, call: Any) -> None:
    return None


def _recent_commits_of_nobody(store: Any) -> tuple[Commit, ...]:
    """All that was written lately, and not for which call."""
    return tuple(
        replace(commit, body=commit.body._replace(call_id=b"%d" % commit.ts)) for commit in _RECENT(store)
    )


_RECENT = actors.core._recent_commits


MUTANTS = (
    Mutant("compares proposals with durable commits only", actors.core, "Committer", BlindToUnsynced,
           "serializability"),
    Mutant("remembers one write of each commit", log.committer, "WriteLog", OneWriteRemembered,
           "serializability"),
    Mutant("sees no conflict on a range", log.committer, "WriteLog", BlindToRanges, "serializability"),
    Mutant("sees no conflict on a word", log.committer, "WriteLog", BlindToWords, "serializability"),
    Mutant("records no read up to the end of an index", Transaction, "record_read", _record_no_ends,
           "serializability"),
    Mutant("runs ahead without what is ahead", actors.chain, "AheadSnapshot", _ahead_of_nothing,
           "serializability"),
    Mutant("admits what was read from a dead writer", Judge, "judge", _judge_any_epoch, "serializability"),
    Mutant("runs a chain on what was there before it", actors.chain.Chain, "_show", lambda chain, body: None,
           "serializability"),
    Mutant("tells a refusal that followed from what is not durable", Core, "_settled", _always_settled,
           "nobody_told_before_durable"),
    Mutant("tells of a commit before it is durable", actors.core, "CommitLog", TellsFirst,
           "nobody_told_before_durable"),
    Mutant("lets a fenced writer write", world, "SimulatedDisk", WithoutFence, "prefix"),
    Mutant("takes a resent proposal for a new one", actors.core, "Committer", WithoutCallIds, "exactly_once"),
    Mutant("succeeds a writer without knowing its calls", actors.core, "_recent_commits",
           _recent_commits_of_nobody, "exactly_once"),
    Mutant("proposes anew after a lost connection", Transactor, "_propose", _propose_as_new,
           "exactly_once"),
    Mutant("runs an answered session request again", actors.function_runs, "recorded_outcome",
           _nothing_recorded, "exactly_once"),
    Mutant("reads the newest rows whatever was asked", NodeReader, "snapshot", _newest_snapshot,
           "reads_are_right"),
    Mutant("reads the newest rows, whatever was read before", NodeReader, "snapshot", _newest_snapshot,
           "repeatable_reads"),
    Mutant("runs ahead with a part of what is ahead", actors.chain, "AheadSnapshot",
           _ahead_of_all_but_one, "refusals_are_true"),
    Mutant("answers what the first attempt came to", Transactor, "transact", _transact_with_first_result,
           "acknowledged_results"),
    Mutant("follows a batch backwards", Core, "follow", _follow_backwards, "no_defect"),
    Mutant("loses registrations", actors.core, "Subscriptions", DropsARegistration, "no_missed_invalidation"),
    Mutant("overlooks what was written while a query ran", actors.core, "Subscriptions", TrustsOldReads,
           "no_missed_invalidation"),
    Mutant("overlooks keys that were left", actors.core, "Subscriptions", BlindToWhatLeft,
           "no_missed_invalidation"),
    Mutant("overlooks words that were written", actors.core, "Subscriptions", BlindToWordsWritten,
           "no_missed_invalidation"),
    Mutant("shows results beyond their validity", QueryResult, "covers", lambda result, ts: True,
           "no_missed_invalidation"),
    Mutant("keeps results whose registration died with its core", ClusterBackend, "set_core",
           _set_core_and_forget, "no_missed_invalidation"),
    Mutant("serves at a ts its stream has not reached", ClusterBackend, "run_mutation",
           _run_mutation_and_cover, "right_at_every_ts"),
    Mutant("registers no result", QueryRunner, "_register", _register_nothing, "no_missed_invalidation"),
    Mutant("owes no Transition for a mutation", gateway.sync_socket, "SyncSession", ForgetsItsDebts,
           "unbroken_transitions"),
    Mutant("tears the chain of Transitions", gateway.sync_socket, "SyncSession", TearsTheChain,
           "unbroken_transitions"),
    Mutant("never passes a turn on", actors.core, "TurnKeeper", NeverPassedOn, "no_starvation"),
)  # fmt: skip
