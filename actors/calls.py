"""How a call and its outcome travel between gateway and executor. The order of fields is the wire form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

import orjson

from functions.invocation import RunOutcome
from functions.syscalls import Observed
from log.commit_ts import holds_placeholder, resolve
from log.identity import NO_REQUESTER, Identity, Requester


@dataclass(frozen=True, slots=True)
class RunCall:
    """One call as it travels; the order of fields is the wire form."""

    udf_type: str | None  # "Query" | "Mutation" | "Action" | None = whatever it is
    path: str
    component: str
    args: bytes
    identity_kind: str
    identity_attributes: bytes | None
    request_id: str
    journal: str | None
    call_id: bytes
    session_id: str | None
    session_request: int | None
    may_call_internal: bool = False  # an action calls: visibility is for those outside
    parent_job_id: str | None = None  # the scheduled job at the root of the call tree
    requester_fields: tuple[str | None, ...] = NO_REQUESTER

    @property
    def requester(self) -> Requester:
        return Requester(*self.requester_fields)

    @property
    def identity(self) -> Identity:
        return Identity(self.identity_kind, self.identity_attributes)


ToldCall = tuple[str, str, str, list[Any]]
"""(component, path, kind of identity, outcome fields): a call as it is told to whoever shows the log of
functions. It is part of the request of whoever called it."""

UNPLACED_TS = 0
"""Of a mutation that just ran: nobody knows yet where it belongs."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A run and the ts it belongs to: the snapshot of a query, the commit of a mutation."""

    outcome: RunOutcome
    ts: int
    reads: bytes = b""
    calls: Sequence[ToldCall] = ()
    """What an action called."""

    def at(self, ts: int) -> Ended:
        """The mutation as it is told once it is committed at `ts`: its result names that ts (spec 03 1.2).
        One that was answered before keeps its own."""
        if self.ts != UNPLACED_TS:
            return self
        outcome = self.outcome
        if outcome.value is not None and holds_placeholder(outcome.value):
            outcome = replace(outcome, value=resolve(outcome.value, ts))
        return replace(self, outcome=outcome, ts=ts)


_CALL_FIELDS = attrgetter(*RunCall.__slots__)


def wire_call(call: RunCall) -> tuple[Any, ...]:
    return _CALL_FIELDS(call)


def outcome_fields(ended: Ended, seconds: float) -> list[Any]:
    """The wire form of an outcome (read by cluster/backend.py)."""
    outcome, error = ended.outcome, ended.outcome.error
    observed = outcome.observed or Observed()
    return [
        outcome.value,
        error.message if error is not None else None,
        error.data if error is not None else None,
        orjson.dumps(list(outcome.log_lines)),
        ended.ts,
        outcome.journal_end,
        ended.reads,
        observed.identity,
        observed.time,
        seconds,
        outcome.udf_type,
        outcome.usage,
        outcome.audit_lines,
        ended.calls,
    ]


def without_results(fields: Sequence[Any]) -> list[Any]:
    """The wire form of an outcome for a log of calls: no value, no cursor, no reads, no further calls. What
    it used stays: whoever called it used nothing for it."""
    _value, *rest = fields
    rest[4], rest[5], rest[-1] = None, b"", ()
    return [None, *rest]


def told_bytes(fields: Sequence[Any]) -> int:
    """Of an outcome without its results: the failure, the console and the audit lines."""
    _value, message, data, log_lines, *rest = fields
    return len(message or "") + len(data or b"") + len(log_lines) + sum(map(len, rest[-2]))
