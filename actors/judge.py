"""Judges chains of proposals: turns first, then what was read (design D4, log/committer.py).

A verdict is the ts of an admission, or the answer that says why not. A chain (log/chains.py) is judged in
its order; whoever follows a refused one read what never came to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.commit_log import CommitLog
from log.commit_ts import resolve_body
from log.committer import Admitted, AlreadyCommitted, CommitRequest, Decision, Stale, TooOld
from log.read_set import Place
from log.record import DocumentWrite
from log.turns import Turns
from log.write_log import Conflict

Verdict = int | list[Any]


class Judge:
    """One per commit log. Decides at once: nothing else is admitted while a chain is judged."""

    def __init__(self, log: CommitLog, turns: Turns) -> None:
        self._log, self._turns = log, turns

    def judge(
        self, requests: Sequence[CommitRequest], ticket: int | None, epoch: int | None
    ) -> list[Verdict]:
        """One verdict for each proposal. `epoch` is that of the unsynced commits they read, if any."""
        begin_ts = requests[0].body.begin_ts
        bars = [self._bar(request, begin_ts, ticket, epoch) for request in requests]
        barred = {position for position, bar in enumerate(bars) if bar is not None}
        decisions = self._log.propose_chain(requests, barred)
        return [
            bar if bar is not None else self._verdict(request, decision, ticket)
            for request, bar, decision in zip(requests, bars, decisions, strict=True)
        ]

    def _bar(
        self, request: CommitRequest, begin_ts: int, ticket: int | None, epoch: int | None
    ) -> list[Any] | None:
        """The answer to a proposal that is not even compared with what was written, if so."""
        if self._log.recognise(request.body) is not None:
            return None  # its answer was lost, or another executor was asked to run it too
        if self._log.is_forgotten(begin_ts):
            return [
                "too_old"
            ]  # whatever else is true: it may have been admitted before everything that is remembered
        if epoch is not None and epoch != self._log.epoch:
            return ["stale"]  # what it read died with an earlier writer
        if self._turns and self._turns.blocks(request.reads, self._expected_writes(request), ticket):
            return ["queue", self._contended(request, ticket)]
        return None

    def _verdict(self, request: CommitRequest, decision: Decision, ticket: int | None) -> Verdict:
        match decision:
            case Admitted(ts):
                return ts
            case AlreadyCommitted(ts, is_same_run):
                return ts if is_same_run else ["repeated", ts]
            case Conflict(ts, hit, source, key):
                return ["conflict", ts, list(hit), source, self._contended(request, ticket), key]
            case TooOld():
                return ["too_old"]
            case Stale():
                return ["stale"]

    def _contended(self, request: CommitRequest, ticket: int | None) -> list[Place]:
        return list(self._turns.contended(request.reads, self._expected_writes(request), ticket))

    def _expected_writes(self, request: CommitRequest) -> tuple[DocumentWrite, ...]:
        """What the proposal would write now. Where it writes its own ts the clock may still move on, past
        the edge of what a turn is held on: then somebody queues in vain, or loses a race."""
        return resolve_body(request.body, self._log.next_ts()).writes
