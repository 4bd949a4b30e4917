"""The promises, each a pure function over the evidence of one history: None, or what contradicts it.

The names are what `make sim` prints and what docs/simulation.md explains. They are asked in this order, the
deeper cause before its consequences: when the log itself is torn, that is said, and not that a client was
shown nonsense because of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise

import orjson

from log.record import chain_crc

from .evidence import Evidence
from .history import (
    Answered,
    AtRest,
    Connected,
    Durable,
    Folded,
    History,
    QueryRun,
    Sent,
    Stopped,
    Told,
    Transitioned,
)
from .model import MAY_REFUSE_PATH

Checker = Callable[[Evidence], str | None]


def prefix(evidence: Evidence) -> str | None:
    """The log is dense and chained; what views fold and what cores announce is a prefix of it, in order."""
    crc = 0
    for before, record in pairwise((None, *evidence.history.records)):
        assert record is not None
        if record.seq != (before.seq if before else 0) + 1:
            return f"the log has a hole before seq {record.seq}"
        if before and (record.ts <= before.ts or record.epoch < before.epoch):
            return f"the log goes back at seq {record.seq}: a fenced writer wrote"
        crc = chain_crc(crc, record.seq, record.ts, record.epoch, record.kind, record.body)
        if record.crc != crc:
            return f"the chain of the log is torn at seq {record.seq}"
    return _views_are_prefixes(evidence) or _announcements_ascend(evidence)


def _views_are_prefixes(evidence: Evidence) -> str | None:
    records = evidence.history.records
    folded: dict[str, int] = defaultdict(int)
    for event in evidence.history.of(Folded):
        if event.seq != folded[event.view] + 1:
            return f"{event.view} folded seq {event.seq} after {folded[event.view]}"
        folded[event.view] = event.seq
        found = records[event.seq - 1] if event.seq <= len(records) else None
        if found is None or (found.ts, found.crc) != (event.ts, event.crc):
            return f"{event.view} folded a seq {event.seq} that is not the log's"
    return None


def _announcements_ascend(evidence: Evidence) -> str | None:
    newest: dict[str, int] = defaultdict(int)
    for event in evidence.history.of(Told):
        if event.ts not in evidence.all_timestamps:
            return f"{event.core} told of ts {event.ts}, which is not in the log"
        if event.what == "stream":
            if event.ts < newest[event.core]:
                return f"the stream of {event.core} went back to {event.ts}"
            newest[event.core] = event.ts
    return None


def nobody_told_before_durable(evidence: Evidence) -> str | None:
    """Whatever ts anybody is told of, its record was on disk before."""
    written = [ts for event in evidence.history.of(Durable) for ts in event.timestamps]
    durable = evidence.all_timestamps.difference(written)  # of the first records
    for _, event in evidence.history.events:
        match event:
            case Durable(timestamps):
                durable.update(timestamps)
            case Told(core, what, ts) if ts not in durable:
                return f"{core} told of {ts} ({what}) before it was durable"
            case Answered(client, operation, int(ts)) if ts not in durable:
                return f"{client} was told that {operation} is committed at {ts}, which was not durable"
            case Transitioned(client=client, end=(_, ts)) if ts not in durable:
                return f"{client} was shown {ts} before it was durable"
    return None


def serializability(evidence: Evidence) -> str | None:
    """Run one after another in the order of the log, every committed call reads what it read and writes
    what it wrote. (Every function of the app answers all it read.)"""
    for commit, model in zip(evidence.commits, evidence.models[1:], strict=True):
        if isinstance(commit.expected, Exception):
            return f"{commit.operation} committed at {commit.ts}, where it should refuse: {commit.expected}"
        if commit.recorded != commit.expected:
            return (
                f"{commit.operation} ({commit.path}) at {commit.ts} answered {commit.recorded}; "
                f"after all commits before it, it answers {commit.expected}"
            )
        for document in commit.documents:
            if "count" in document and document["count"] != model.counts[document["name"]]:
                return f"{commit.operation} wrote {document}; right is {model.counts[document['name']]}"
    return None


def exactly_once(evidence: Evidence) -> str | None:
    """An acknowledged mutation is in the log once, at the ts its client was told; any other at most once.
    Those of one session stand in the order they were sent, except calls that may refuse: a refusal leaves no
    trace, and when it is lost on the way, the call runs anew later (spec 01 1.8)."""
    by_operation = {commit.operation: commit for commit in evidence.commits}
    times = Counter(commit.operation for commit in evidence.commits)
    sent = {event.operation for event in evidence.history.of(Sent)}
    for operation, count in times.items():
        if count > 1:
            return f"{operation} was applied {count} times"
        if operation not in sent:
            return f"{operation} was applied and never sent"
    for event in evidence.history.of(Answered):
        if event.ts is None:
            continue
        commit = by_operation.get(event.operation)
        if commit is None:
            return f"{event.operation} was acknowledged and is not in the log"
        if event.ts != commit.ts:
            return f"{event.operation} was acknowledged at {event.ts}; the log has it at {commit.ts}"
    newest: dict[str, int] = {}
    for commit in evidence.commits:
        if commit.session is not None and commit.request is not None and commit.path != MAY_REFUSE_PATH:
            if commit.request < newest.get(commit.session, 0):
                return f"{commit.operation} was applied after a later one of its session"
            newest[commit.session] = commit.request
    return None


def acknowledged_results(evidence: Evidence) -> str | None:
    """The result a client is told is that of the run that was committed, not of another attempt."""
    committed = {commit.operation: commit for commit in evidence.commits}
    for event in evidence.history.of(Answered):
        commit = committed.get(event.operation)
        if event.ts is not None and commit is not None and event.value != commit.expected:
            return (
                f"{event.operation} was acknowledged as {event.value} at {event.ts}; "
                f"what was committed is {commit.expected}"
            )
    return None


def refusals_are_true(evidence: Evidence) -> str | None:
    """What a refusal says was so at some place of the log: nothing is told that never came to be."""
    held = {f"{name} holds {count}" for model in evidence.models for name, count in model.counts.items()}
    for event in evidence.history.of(Answered):
        is_refusal = event.ts is None and " holds " in event.value
        if is_refusal and not any(text in event.value for text in held):
            return f"{event.operation} was refused with {event.value!r}, which was never so"
    return None


def repeatable_reads(evidence: Evidence) -> str | None:
    """The same query at the same ts gives the same bytes, whoever runs it and whatever commits meanwhile."""
    seen: dict[tuple[str, bytes, int], bytes | None] = {}
    for run in evidence.history.of(QueryRun):
        first = seen.setdefault((run.path, run.args, run.ts), run.value)
        if first != run.value:
            return f"{run.path} {run.args!r} at {run.ts} gave {first!r}, then {run.value!r}"
    return None


def reads_are_right(evidence: Evidence) -> str | None:
    """A query at a ts answers what the log up to that ts says."""
    for run in evidence.history.of(QueryRun):
        right = evidence.answer_at(run.path, run.args, run.ts)
        if run.value != right:
            return f"{run.executor} answered {run.path} at {run.ts} with {run.value!r}; right is {right!r}"
    return None


def unbroken_transitions(evidence: Evidence) -> str | None:
    """On each connection every Transition starts where the one before ended; no client is ever shown a past
    it has left; and each acknowledged mutation is followed by a Transition at or past its ts: the first
    after the answer (which may have been under way), or the second."""
    versions: dict[tuple[str, int], tuple[int, int]] = defaultdict(lambda: (0, 0))
    observed: dict[str, int] = defaultdict(int)
    owed: dict[str, dict[int, int]] = defaultdict(dict)  # client -> ts -> Transitions since, below it
    for _, event in evidence.history.events:
        match event:
            case Connected(client):
                owed[client] = {}
            case Transitioned(client, connection, start, end):
                if start != versions[client, connection]:
                    return f"{client} is at {versions[client, connection]}, its Transition starts at {start}"
                if end[1] < observed[client]:
                    return f"{client} had seen {observed[client]} and was shown {end[1]}"
                versions[client, connection], observed[client] = end, end[1]
                owed[client] = {ts: count + 1 for ts, count in owed[client].items() if ts > end[1]}
                if any(count > 1 for count in owed[client].values()):
                    return f"{client} was told of {max(owed[client])} and twice shown less: {end[1]}"
            case Answered(client, _, int(ts)):
                if ts > observed[client]:
                    owed[client][ts] = 0
            case AtRest(client=client, connection=connection, ts=ts) if connection and owed[client]:
                return f"{client} rests at {ts} and is owed a Transition to {max(owed[client])}"
    return None


def right_at_every_ts(evidence: Evidence) -> str | None:
    """Whatever a client shows, in whatever Transition, is right at the ts it is shown at."""
    for event in evidence.history.of(Transitioned):
        if (wrong := _wrong_at(evidence, event, event.end[1])) is not None:
            return wrong
    return None


def no_missed_invalidation(evidence: Evidence) -> str | None:
    """What a client shows wrongly is set right by the next Transition, at the same ts still; at rest it
    shows what a fresh run answers."""
    last: dict[tuple[str, int], tuple[int, str | None]] = {}
    for event in evidence.history.of(Transitioned):
        before_ts, wrong_before = last.get((event.client, event.connection), (0, None))
        if wrong_before is not None and event.end[1] != before_ts:
            return wrong_before
        wrong = _wrong_at(evidence, event, event.end[1])
        if wrong is not None and wrong_before is not None:
            return wrong
        last[event.client, event.connection] = event.end[1], wrong
    for event in evidence.history.of(AtRest):
        if (wrong := _wrong_at(evidence, event, evidence.last_ts)) is not None:
            return f"at rest, {wrong}"
    return None


def _wrong_at(evidence: Evidence, event: Transitioned | AtRest, ts: int) -> str | None:
    for path, args, value in event.shown:
        right = evidence.answer_at(path, args, ts)
        if value is None or orjson.loads(value) != orjson.loads(right):
            return f"{event.client} shows {path} {args!r} as {value!r} at {ts}; right is {right!r}"
    return None


def no_starvation(evidence: Evidence) -> str | None:
    """When the storm is over every call ends, every client is connected and has the queries it wants; and
    no mutation is given up because others were faster."""
    for event in evidence.history.of(Answered):
        if event.ts is None and " holds " not in event.value:
            return f"{event.operation} was given up: {event.value!r}"
    for event in evidence.history.of(AtRest):
        if event.waiting or not event.is_connected:
            return f"{event.client} still waits for {', '.join(event.waiting) or 'a connection'}"
        if event.query_sets[0] != event.query_sets[1]:
            return f"{event.client} has query set {event.query_sets[0]} and wants {event.query_sets[1]}"
    return None


def no_defect(evidence: Evidence) -> str | None:
    """No process stopped but by a fault of the world, by a fence, or by a failing disk."""
    for event in evidence.history.of(Stopped):
        if not event.is_expected:
            return f"{event.process} stopped: {event.reason}"
    return next(iter(evidence.history.defects), None)


CHECKERS: tuple[Checker, ...] = (
    prefix,
    nobody_told_before_durable,
    serializability,
    exactly_once,
    acknowledged_results,
    refusals_are_true,
    repeatable_reads,
    reads_are_right,
    unbroken_transitions,
    no_missed_invalidation,
    right_at_every_ts,
    no_starvation,
    no_defect,
)


def violations(history: History) -> dict[str, str]:
    """Every promise a history breaks, by name, in the order above."""
    evidence = Evidence(history)
    found = {checker.__name__: checker(evidence) for checker in CHECKERS}
    return {name: contradiction for name, contradiction in found.items() if contradiction is not None}
