"""How records, documents and differences are printed by `tidelog log` and `tidelog replay`.

Values of environment variables are secrets of the deployment: they are printed as "<redacted>", wherever
they stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import orjson

from actors.archiver import Archived
from actors.history import DocumentChange, History, Names, body_of
from actors.replay import differing_fields, key_change_text, key_text
from functions.path import parse_function_path
from functions.system.tables import SYSTEM_TABLE_BY_NAME, tablet_id_of
from log.errors import BackendError
from log.record import CallTrace, CommitBody, DocumentWrite, Record, RecordKind

_ENVIRONMENT_TABLET = tablet_id_of(SYSTEM_TABLE_BY_NAME["_environment_variables"])
_REDACTED = "<redacted>"
_LABEL_WIDTH = 10
_WORDS_SHOWN = 12


def utc_text(ts: int) -> str:
    """`2026-11-26T02:18:26.123456789Z`"""
    seconds, nanoseconds = divmod(ts, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def path_text(path: str) -> str:
    """`messages:send`, as the app's developer writes it; what is no function path stays as it is."""
    try:
        return parse_function_path(path).display
    except BackendError:
        return path


# --- one line per record ----------------------------------------------------------------------------


def tail_line(record: Record, names: Names) -> str:
    """`42  1795...  2026-...Z  commit  messages:send  messages +1, counters ~1  user`"""
    head = f"{record.seq:>7}  {record.ts}  {utc_text(record.ts)}  {record.kind.name.lower():<6}"
    if record.kind is not RecordKind.COMMIT:
        return f"{head}  writer {record.epoch} takes over"
    body = body_of(record)
    return f"{head}  {path_text(body.trace.path)}  {_counts(body, names)}  {body.trace.identity}"


def _counts(body: CommitBody, names: Names) -> str:
    """How many documents of which table were added (+), changed (~) and removed (-); how many audit lines."""
    parts = []
    for tablet_id, writes in groupby(body.writes, key=lambda write: write.tablet_id):
        signs = [_sign(write.previous_ts != 0, write.document is not None) for write in writes]
        counts = [f"{sign}{signs.count(sign)}" for sign in "+~-" if sign in signs]
        parts.append(f"{names.table(tablet_id)} {' '.join(counts)}")
    if body.trace.audit_lines:
        parts.append(f"audited {len(body.trace.audit_lines)}")
    return ", ".join(parts) or "nothing written"


def _sign(was_there: bool, is_there: bool) -> str:
    if not was_there:
        return "+"
    return "~" if is_there else "-"


# --- archiving ---------------------------------------------------------------------------------------


def archived_lines(archived: Archived, age: str) -> Iterator[str]:
    """What went, what is left, and what keeps it from going."""
    count = archived.last_seq - archived.first_seq + 1
    if count > 0:
        yield (
            f"Archived records {archived.first_seq} to {archived.last_seq} ({count}) in "
            f"{archived.segments} segment(s); the log begins with record {archived.last_seq + 1} now."
        )
    elif archived.old_seq < archived.first_seq:
        yield f"Nothing to archive: no record is older than {age} and far enough from the log's end."
    if archived.last_seq < archived.old_seq:
        yield (
            f"Records up to {archived.old_seq} are old enough, but no checkpoint covers those after "
            f"{archived.last_seq}: an index is being filled, or the disk is full. They stay in the log."
        )


# --- one record in full -----------------------------------------------------------------------------


def show_lines(record: Record, history: History, names: Names) -> Iterator[str]:
    kind = record.kind.name.lower()
    yield f"record {record.seq}  {kind}  epoch {record.epoch}  crc {record.crc:08x}"
    yield _labelled("ts", f"{record.ts}  {utc_text(record.ts)}")
    if record.kind is not RecordKind.COMMIT:
        return
    body = body_of(record)
    yield _labelled("begin_ts", f"{body.begin_ts}  (read the database as of then)")
    yield from _call_lines(body.call_id, body.trace)
    for write in body.writes:
        yield from _write_lines(write, history, names)


def _call_lines(call_id: bytes, trace: CallTrace) -> Iterator[str]:
    component = f" in {trace.component}" if trace.component else ""
    yield _labelled("function", path_text(trace.path) + component)
    yield _labelled("args", trace.args.decode(errors="replace") or "not recorded")
    attributes = (trace.identity_attributes or b"").decode(errors="replace")
    yield _labelled("identity", f"{trace.identity} {attributes}".rstrip())
    if trace.requester:
        ip, user_agent = trace.requester
        yield _labelled("came from", f"{ip}, {user_agent}")
    yield _labelled("seed", trace.seed.hex() or "none")
    yield _labelled("clock", f"Date.now() {trace.now_ms:.0f}, creation times from {trace.creation_ms!r}")
    digests = f"outcome {trace.outcome_crc:08x}, console {trace.logs_crc:08x}, reads {trace.reads_crc:08x}"
    yield _labelled("digests", digests)
    for line in trace.audit_lines:
        yield _labelled("audit", line.decode(errors="replace"))
    if trace.session_id is not None:
        yield _labelled("session", f"{trace.session_id}:{trace.session_request}")
    yield _labelled("request", f"{trace.request_id or 'none'}, call id {call_id.hex()}")


def _write_lines(write: DocumentWrite, history: History, names: Names) -> Iterator[str]:
    before = history.before(write.tablet_id, write.document_id, write.previous_ts)
    sign = _sign(before is not None, write.document is not None)
    yield f"{sign} {names.table(write.tablet_id)}/{write.document_id}"
    for label, document in (("before", before), ("after", write.document)):
        if document is not None:
            yield "  " + _labelled(label, document_text(write.tablet_id, document))
    for index_id, old_key, new_key in write.keys:
        yield "  " + _labelled("index", f"{names.index(index_id)}: {key_change_text(old_key, new_key)}")
    for index_id, words in write.words:
        yield "  " + _labelled("words", f"{names.index(index_id)}: {_words_text(words)}")


def _words_text(words: Sequence[bytes]) -> str:
    """The first of the words, and how many more there are: a text may have thousands."""
    shown = " ".join(map(key_text, words[:_WORDS_SHOWN]))
    more = len(words) - _WORDS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _labelled(label: str, text: str) -> str:
    return f"{label:<{_LABEL_WIDTH}}{text}"


# --- differences ------------------------------------------------------------------------------------


def diff_lines(changes: Iterable[DocumentChange], names: Names) -> Iterator[str]:
    """Per table: a count, then a line per document. Tables of the app come first."""
    by_table: dict[str, list[DocumentChange]] = {}
    for change in changes:
        by_table.setdefault(names.table(change.tablet_id), []).append(change)
    for table in sorted(by_table, key=lambda name: (name.startswith("_"), name)):
        signs = [_sign(change.before is not None, change.after is not None) for change in by_table[table]]
        counted = zip("+~-", ("added", "changed", "removed"), strict=True)
        yield f"{table}: " + ", ".join(f"{signs.count(sign)} {word}" for sign, word in counted)
        for sign, change in zip(signs, by_table[table], strict=True):
            yield f"  {sign} {change.document_id}  {_change_text(change)}"


def _change_text(change: DocumentChange) -> str:
    if change.before is None or change.after is None:
        return document_text(change.tablet_id, change.after or change.before or b"")
    fields = differing_fields(change.before, change.after)
    return "; ".join(f"{name}: {_change_of_field(change.tablet_id, name, *texts)}" for name, *texts in fields)


def _change_of_field(tablet_id: bytes, name: str, before: str, after: str) -> str:
    if tablet_id == _ENVIRONMENT_TABLET and name == "value":
        before = after = _REDACTED
    return f"{before} -> {after}"


def document_text(tablet_id: bytes, document: bytes) -> str:
    """The document as stored, which is JSON."""
    if tablet_id == _ENVIRONMENT_TABLET:
        tree: dict[str, Any] = orjson.loads(document)
        document = orjson.dumps({**tree, "value": _REDACTED})
    return document.decode(errors="replace")
