"""Decides which commits enter the log, in which order. Nothing else decides that.

Law 1: everything that can change the order of commits is in this file.
Law 2: this file knows no disk, clock, network or actor. Time and durability arrive as arguments.

Promises to the callers:
  - commit timestamps strictly increase, also across restarts (the first is above every one on disk);
  - what is published is always a prefix of what was admitted;
  - a commit is admitted only if nothing it read was written after its begin_ts, including by commits
    admitted but not yet durable (they may fail: a false conflict is allowed, a missed one is not);
  - a call id is admitted once within the window, whoever asks again is told the first admission's ts;
  - no other commit comes between those of a chain (log/chains.py), and whoever read what was refused is
    refused too.

Read in this order: propose, propose_chain, ready, advance.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from log import limits
from log.chains import settle
from log.commit_ts import fill_blanks
from log.errors import commit_queue_full, internal_server_error
from log.invariant import invariant
from log.read_set import ReadSet
from log.record import CallTrace, CommitBody, DocumentWrite, Record, RecordKind, make_record
from log.write_log import Conflict, WriteLog

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """A proposal: what was read, what shall be written. `encoded` is `body.encode()`, stored verbatim but
    for the commit's own ts in its blanks (log/commit_ts.py)."""

    reads: ReadSet
    body: CommitBody
    encoded: bytes


@dataclass(frozen=True, slots=True)
class Admitted:
    """The commit has its place; it is durable and visible only after advance()."""

    ts: int


@dataclass(frozen=True, slots=True)
class AlreadyCommitted:
    """This call id was admitted before, at `ts`; nothing new was admitted. `is_same_run`: what was admitted
    is this very run's proposal, so its result stands; else another run of the call came first."""

    ts: int
    is_same_run: bool = True


@dataclass(frozen=True, slots=True)
class TooOld:
    """The snapshot is older than the remembered writes: it can never be judged (out of retention)."""


@dataclass(frozen=True, slots=True)
class Stale:
    """What it read will never be: a predecessor in its chain was refused."""


Decision = Admitted | AlreadyCommitted | Conflict | TooOld | Stale


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit with its place in the log."""

    record: Record
    body: CommitBody

    @property
    def ts(self) -> int:
        return self.record.ts


@dataclass(frozen=True, slots=True)
class Batch:
    """Commits to be made durable together, in order."""

    commits: tuple[Commit, ...]

    @property
    def records(self) -> tuple[Record, ...]:
        return tuple(commit.record for commit in self.commits)


@dataclass(frozen=True, slots=True)
class LogEnd:
    """Where the durable log ends: the state a committer starts from."""

    seq: int = 0
    ts: int = 0
    crc: int = 0


class Committer:
    """The order of one log. `epoch` was claimed in the store before the committer was made."""

    def __init__(
        self,
        end: LogEnd,
        epoch: int,
        catalog_tablets: frozenset[bytes],
        now_ns: int,
        recent: tuple[Commit, ...] = (),
    ) -> None:
        """Continue the log at `end`. `recent` are the last commits before it, so that a call whose
        reply was lost with the previous writer is recognised, and its snapshot can still be judged."""
        self.epoch = epoch
        self.published_ts = end.ts
        self._catalog_tablets = catalog_tablets
        self._last = end  # of the last admitted record; moves in _admit_record only
        self._write_log = WriteLog(forgotten_ts=recent[0].ts - 1 if recent else end.ts)
        self._admitted: list[Commit] = []  # filled by _admit, emptied by ready
        self._in_flight: Batch | None = None  # set by ready, cleared by advance
        self._runs: OrderedDict[bytes, tuple[int, bytes]] = OrderedDict()  # call id -> ts, the run's seed
        self._forgotten_call_ts = 0  # calls admitted until then may be unknown
        for commit in recent:
            self._remember(commit)
        self._admit_record(RecordKind.EPOCH, b"", CommitBody(end.ts, b"", CallTrace(), ()), now_ns)

    @property
    def admitted_ts(self) -> int:
        """The last place given away; at or after `published_ts`."""
        return self._last.ts

    def unpublished(self) -> tuple[Commit, ...]:
        """What is admitted and not yet published, in order. May still fail, all of it from some place on."""
        in_flight = self._in_flight.commits if self._in_flight is not None else ()
        return (*in_flight, *self._admitted)

    def propose(self, request: CommitRequest, now_ns: int) -> Decision:
        """Admit the commit and give it a timestamp, or say why not. A refusal changes nothing."""
        return self.propose_chain((request,), now_ns)[0]

    def propose_chain(
        self, requests: Sequence[CommitRequest], now_ns: int, barred: Collection[int] = ()
    ) -> list[Decision]:
        """Admit proposals that saw the snapshot of the first, and what those before them write; the
        positions `barred` are refused unseen. Whoever read what a refused one wrote is stale.

        All are judged at that snapshot BEFORE one is admitted: so nobody loses to its own predecessors,
        and what nobody else has written until now, nobody can write before the last of them. A chain is
        judged once: when it is sent again, because its answer was lost, what was refused stays refused.
        """
        known = [self.recognise(request.body) for request in requests]
        if any(earlier is not None and earlier.is_same_run for earlier in known):
            return [earlier or Stale() for earlier in known]
        begin_ts = requests[0].body.begin_ts
        refusals = [
            Stale() if position in barred else self._refusal(request, begin_ts)
            for position, request in enumerate(requests)
        ]
        decisions: list[Decision] = []
        places: list[int] = []  # of each so far; of a refused one, where those who read nothing of it begin
        never_written: list[DocumentWrite] = []
        catalog_changed = False
        for request, refusal in zip(requests, refusals, strict=True):
            decision: Decision
            if refusal is not None:
                decision = refusal
            elif catalog_changed or _reads_any(request.reads, never_written):
                decision = Stale()
            else:
                decision = Admitted(self._admit(request, places, now_ns))
            decisions.append(decision)
            if isinstance(decision, Admitted):
                places.append(decision.ts)
                # Whoever follows found its tables and indexes in the catalog as it was before.
                catalog_changed |= self._writes_catalog(request.body)
            else:
                places.append(places[-1] if places else begin_ts)
                never_written += request.body.writes
        return decisions

    def _writes_catalog(self, body: CommitBody) -> bool:
        return any(write.tablet_id in self._catalog_tablets for write in body.writes)

    def is_forgotten(self, begin_ts: int) -> bool:
        """Whether a snapshot is older than what is remembered, of writes and of calls: what began there can
        never be judged."""
        return begin_ts < max(self._write_log.forgotten_ts, self._forgotten_call_ts)

    def _refusal(self, request: CommitRequest, begin_ts: int) -> AlreadyCommitted | TooOld | Conflict | None:
        """Why a run that saw the snapshot at `begin_ts` cannot be admitted, if so."""
        earlier = self.recognise(request.body)
        if earlier is not None:
            return earlier
        invariant(
            begin_ts <= self.admitted_ts,
            "snapshots are never in the future",
            begin_ts=begin_ts,
            admitted_ts=self.admitted_ts,
        )
        if len(self._admitted) >= limits.COMMIT_QUEUE_LENGTH_MAX:
            raise commit_queue_full()
        if self.is_forgotten(begin_ts):
            return TooOld()
        self._check_read_before_write(request)
        return self._write_log.first_conflict(request.reads, begin_ts)

    def _admit(self, request: CommitRequest, places: Sequence[int], now_ns: int) -> int:
        """The ts of the proposal in the log; `places` are those of its predecessors in its chain."""
        body = settle(request.body, places)
        encoded = request.encoded if body is request.body else body.encode()
        commit = self._admit_record(RecordKind.COMMIT, encoded, body, now_ns)
        self._remember(commit)
        return commit.ts

    def ready(self) -> Batch | None:
        """Commits to make durable, in order. Sync them BEFORE calling advance(batch)."""
        if self._in_flight is not None or not self._admitted:
            return None
        count, bytes_taken = 0, 0
        for commit in self._admitted[: limits.BATCH_RECORDS_MAX]:
            bytes_taken += len(commit.record.body)
            if count and bytes_taken > limits.BATCH_BYTES_MAX:
                break  # one commit may be larger than a batch; it then travels alone
            count += 1
        self._in_flight = Batch(tuple(self._admitted[:count]))
        del self._admitted[:count]
        return self._in_flight

    def advance(self, batch: Batch) -> tuple[Commit, ...]:
        """The batch is durable: publish it. AFTER this, and only then, anyone may be told."""
        invariant(batch is self._in_flight, "batches become durable in the order they were handed out")
        self._in_flight = None
        self.published_ts = batch.commits[-1].ts
        self._write_log.trim(
            self.published_ts,
            age_ns_min=limits.WRITE_WINDOW_SECONDS_MIN * NANOSECONDS,
            age_ns_max=limits.WRITE_WINDOW_SECONDS_MAX * NANOSECONDS,
            bytes_max=limits.WRITE_WINDOW_BYTES_MAX,
        )
        return batch.commits

    def recognise(self, body: CommitBody) -> AlreadyCommitted | None:
        """Whether the call was admitted before, while it is remembered. Seeds tell runs apart."""
        earlier = self._runs.get(body.call_id)
        return AlreadyCommitted(earlier[0], earlier[1] == body.trace.seed) if earlier is not None else None

    def next_ts(self, now_ns: int) -> int:
        """The ts of a commit admitted now."""
        return max(self._last.ts + 1, now_ns)

    def _admit_record(self, kind: RecordKind, encoded: bytes, body: CommitBody, now_ns: int) -> Commit:
        ts = self.next_ts(now_ns)
        if body.blanks:  # BEFORE the crc is taken and the keys are remembered: both are of the final bytes
            encoded = fill_blanks(encoded, body.blanks, ts)
            body = CommitBody.decode(encoded)
        record = make_record(self._last.crc, self._last.seq + 1, ts, self.epoch, kind, encoded)
        self._last = LogEnd(record.seq, record.ts, record.crc)
        commit = Commit(record, body)
        self._admitted.append(commit)
        return commit

    def _check_read_before_write(self, request: CommitRequest) -> None:
        """Whoever writes resolved its table and indexes through the catalog; else keys may be missing."""
        if request.body.writes and not request.reads.reads_catalog:
            raise internal_server_error()

    def _remember(self, commit: Commit) -> None:
        body = commit.body
        self._write_log.append(commit.ts, body.trace.path, body.writes, self._catalog_tablets)
        self._runs[body.call_id] = commit.ts, body.trace.seed
        if len(self._runs) > limits.CALL_ID_WINDOW_LENGTH_MAX:
            _, (self._forgotten_call_ts, _) = self._runs.popitem(last=False)


def _reads_any(reads: ReadSet, writes: Sequence[DocumentWrite]) -> bool:
    """Whether something was read that the writes would have made different."""
    return any(
        reads.find(index_id, key) is not None
        for write in writes
        for index_id, keys in write.touched()
        for key in keys
    )
