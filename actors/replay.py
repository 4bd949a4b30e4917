"""A recorded mutation, executed once more, and the first thing that is not as recorded (spec 04 10.8).

The record names everything a run depends on beside the database at its begin_ts: path, arguments, identity,
seed, both clocks, session and request id. So a run gives the same result, console, reads and writes, byte
for byte, unless the code, the engine, the settings or the log are not what they were. Which of them, the
first difference tells.

Not recorded, hence taken from where the replay runs: the engine's build, the deployment's name, secret
(cursors) and addresses (CONVEX_CLOUD_URL, CONVEX_SITE_URL), and the limits. A run that fails now for want of
time or memory therefore differs by its outcome; it was not judged by the clock it was first judged by.

Read in this order: Replayer.replay, _differences.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import orjson

from actors.calls import Ended, RunCall
from actors.chain import Attempt, Done, attempt_at
from actors.function_runs import run_mutation
from actors.job_runs import run_job
from actors.past_view import PastView
from functions.catalog import Catalog
from functions.determinism import CallClock
from functions.invocation import Runner
from functions.path import parse_function_path
from functions.system.bootstrap import BOOTSTRAP_CALL_ID
from log.commit_ts import filled_ts, resolve_body
from log.errors import BackendError, internal_server_error
from log.keys import decode_items
from log.record import CallTrace, CommitBody, DocumentWrite

ABSENT = "absent"


class NotReplayable(Exception):
    """The record is no user's mutation, or holds too little. The text says which."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as recorded. `what` names it: "outcome", "reads", "document t/id field f"."""

    what: str
    recorded: str
    replayed: str

    def __str__(self) -> str:
        return f"{self.what}: recorded {self.recorded}, now {self.replayed}"


@dataclass(frozen=True, slots=True)
class _Rerun:
    """What a second run came to. `failure` set: nothing else counts."""

    body: CommitBody | None
    value: bytes | None = None
    failure: str | None = None


class Replayer:
    """Executes records of one log again. Ask in the order of their begin_ts; one thread."""

    def __init__(self, view: PastView, runner: Runner) -> None:
        self._view, self._runner = view, runner

    def replay(self, body: CommitBody) -> tuple[Difference, ...]:
        """Everything that differs, in the order a run meets it; () when the run was identical."""
        check_replayable(body)
        snapshot = self._view.snapshot(body.begin_ts)
        catalog = self._view.catalog(snapshot)
        trace = body.trace
        clock = CallClock(trace.now_ms, trace.creation_ms)
        attempt = attempt_at(snapshot, catalog, clock, trace.seed, is_read_only=False)
        try:
            done = self._run(body, attempt)
        except BackendError as failure:
            return tuple(_differences(body, _Rerun(None, failure=failure.message), catalog))
        outcome = done.result.outcome
        if outcome.error is not None and not trace.job_id:  # a job that failed has written that it did
            rerun = _Rerun(None, failure=outcome.error.message.strip())
        else:
            reads_crc = zlib.crc32(attempt.transaction.reads.encode())
            again = (done.trace or CallTrace())._replace(reads_crc=reads_crc)
            proposed = attempt.transaction.commit_body(body.call_id, again)
            if body.blanks and (ts := filled_ts(body)) is not None:
                proposed = resolve_body(proposed, ts)  # for what was recorded holds its own ts
            rerun = _Rerun(proposed, outcome.value)
        return tuple(_differences(body, rerun, attempt.transaction.catalog))

    def _run(self, body: CommitBody, attempt: Attempt) -> Done[Ended]:
        trace = body.trace
        if not trace.job_id:
            return run_mutation(self._runner, _call_of(body), parse_function_path(trace.path), attempt)
        done = run_job(self._runner, trace.job_id, trace.request_id, attempt)
        if done.result is None:
            raise internal_server_error()  # the record says that it was to be run
        return Done(done.result, done.trace)


def is_user_mutation(body: CommitBody) -> bool:
    """Whether the commit is a mutation of the app; operations of ours (`_system/...`) are not."""
    return bool(body.trace.path) and not body.trace.path.startswith("_system/")


def check_replayable(body: CommitBody) -> None:
    """Raise NotReplayable unless the record can be executed again."""
    path = body.trace.path
    if not path or body.call_id == BOOTSTRAP_CALL_ID:
        raise NotReplayable("The record is no call: it marks the start of the log or of a writer's reign.")
    if not is_user_mutation(body):
        raise NotReplayable(
            f"The record is an operation of the server ({path}); only mutations of the app are replayed. "
            "`tidelog log show` says what it wrote."
        )
    if not body.trace.creation_ms:
        raise NotReplayable(
            "The record was written by a Tidelog that did not keep the clock of creation times, so the "
            "documents it made cannot be made again."
        )


def _differences(recorded: CommitBody, rerun: _Rerun, catalog: Catalog) -> Iterator[Difference]:
    """What is not as recorded. A run that failed now has nothing else to compare."""
    if rerun.body is None:
        yield Difference("outcome", "success", f"failure: {rerun.failure}")
        return
    old, new = recorded.trace, rerun.body.trace
    if not new.path:  # nothing to commit: no trace was made
        left = f"{len(recorded.writes)} documents written, {len(old.audit_lines)} audit lines"
        yield Difference("outcome", left, "nothing written")
        return
    if old.outcome_crc != new.outcome_crc:
        result = (rerun.value or b"null").decode(errors="replace")
        yield Difference("outcome", _digest(old.outcome_crc), f"{_digest(new.outcome_crc)}: {result}")
    if old.logs_crc != new.logs_crc:
        yield Difference("console", _digest(old.logs_crc), _digest(new.logs_crc))
    if old.reads_crc != new.reads_crc:
        yield Difference("reads", _digest(old.reads_crc), _digest(new.reads_crc))
    yield from _differing_audit_lines(old.audit_lines, new.audit_lines)
    yield from _differing_writes(recorded.writes, rerun.body.writes, catalog)


def _differing_audit_lines(recorded: tuple[bytes, ...], replayed: tuple[bytes, ...]) -> Iterator[Difference]:
    for number, (old, new) in enumerate(zip_longest(recorded, replayed), start=1):
        if old != new:
            shown = [line.decode(errors="replace") if line is not None else ABSENT for line in (old, new)]
            yield Difference(f"audit line {number}", *shown)


def _differing_writes(
    recorded: tuple[DocumentWrite, ...], replayed: tuple[DocumentWrite, ...], catalog: Catalog
) -> Iterator[Difference]:
    """By document, in the order in which commits are applied."""
    tables = {table.tablet_id: table for table in catalog.every_table()}
    indexes = {index.index_id: index.name for table in tables.values() for index in table.indexes}
    old = {(write.tablet_id, write.document_id): write for write in recorded}
    new = {(write.tablet_id, write.document_id): write for write in replayed}
    for name in sorted(old.keys() | new.keys()):
        table = tables.get(name[0])
        what = f"document {table.name if table is not None else name[0].hex()}/{name[1]}"
        if name not in new:
            yield Difference(what, _shown(old[name].document), "not written")
        elif name not in old:
            yield Difference(what, "not written", _shown(new[name].document))
        elif old[name] != new[name]:
            yield from _differing_parts(what, old[name], new[name], indexes)


def _differing_parts(
    what: str, old: DocumentWrite, new: DocumentWrite, indexes: dict[bytes, str]
) -> Iterator[Difference]:
    if old.document is None or new.document is None:
        if old.document != new.document:
            yield Difference(what, _shown(old.document), _shown(new.document))
    else:
        for name, before, after in differing_fields(old.document, new.document):
            yield Difference(f"{what} field {name}", before, after)
    for part in ("previous_ts", "size_bytes"):
        if getattr(old, part) != getattr(new, part):
            yield Difference(f"{what} {part}", str(getattr(old, part)), str(getattr(new, part)))
    for index_id in dict.fromkeys(key[0] for key in (*old.keys, *new.keys)):
        keys = [[key[1:] for key in write.keys if key[0] == index_id] for write in (old, new)]
        if keys[0] != keys[1]:
            shown = [", ".join(key_change_text(*key) for key in found) or ABSENT for found in keys]
            yield Difference(f"{what} index {indexes.get(index_id, index_id.hex())}", *shown)


# --- how things are shown ---------------------------------------------------------------------------


def differing_fields(before: bytes, after: bytes) -> Iterator[tuple[str, str, str]]:
    """(field, JSON before, JSON after) of two documents' top level; "absent" where there is none."""
    old, new = orjson.loads(before), orjson.loads(after)
    for name in sorted(old.keys() | new.keys()):
        texts = [_json(document[name]) if name in document else ABSENT for document in (old, new)]
        if texts[0] != texts[1]:
            yield name, texts[0], texts[1]


def key_change_text(old_key: bytes | None, new_key: bytes | None) -> str:
    """`['a', 1.0] -> ['b', 1.0]`: an index key before and after."""
    if old_key == new_key:
        return f"{key_text(old_key)} unchanged"
    return f"{key_text(old_key)} -> {key_text(new_key)}"


def key_text(key: bytes | None) -> str:
    """`['a', 1.0]`; "absent"; or the bytes of what is no key."""
    if key is None:
        return ABSENT
    try:
        return repr(decode_items(key))
    except ValueError:  # no key of ours; a difference may be just that
        return key.hex()


def _shown(document: bytes | None) -> str:
    return document.decode(errors="replace") if document is not None else "deleted"


def _json(tree: Any) -> str:
    return orjson.dumps(tree).decode()


def _digest(crc: int) -> str:
    return f"digest {crc:08x}"


def _call_of(body: CommitBody) -> RunCall:
    trace = body.trace
    return RunCall(
        udf_type="Mutation",
        path=trace.path,
        component=trace.component,
        args=trace.args,
        identity_kind=trace.identity,
        identity_attributes=trace.identity_attributes,
        request_id=trace.request_id,
        journal=None,
        call_id=body.call_id,
        session_id=trace.session_id,
        session_request=trace.session_request,
        may_call_internal=trace.may_call_internal,
        parent_job_id=trace.parent_job_id or None,
        requester_fields=trace.requester,
    )
