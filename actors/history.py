"""The past as the log tells it: records found by name, documents before and after, what differs.

Needs no view. A write names the revision it replaces, so the document before a commit is found by that
revision's ts; what lies between two moments is in the records between them. Names of tables and indexes are
folded from the few records that wrote them.

Read in this order: History.find, before, changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from functions.system.tables import INDEX_TABLET, TABLES_TABLET
from log import values
from log.ids import decode_id
from log.invariant import invariant
from log.proven_log import ProvenLog
from log.record import CallTrace, CommitBody, Record, RecordKind


class NotRecorded(Exception):
    """The log holds nothing by that name. The text says what it does hold."""


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """A document at two moments; None = absent. At least one is there, and they differ."""

    tablet_id: bytes
    document_id: str
    before: bytes | None
    after: bytes | None


@dataclass(slots=True)
class Names:
    """What tables and indexes are called, also those that were dropped; an unknown one by its id."""

    tables: dict[bytes, str] = field(default_factory=dict)
    indexes: dict[bytes, str] = field(default_factory=dict)

    def table(self, tablet_id: bytes) -> str:
        return self.tables.get(tablet_id) or f"table {tablet_id.hex()}"

    def index(self, index_id: bytes) -> str:
        return self.indexes.get(index_id) or f"index {index_id.hex()}"

    def learn_from(self, record: Record) -> None:
        """Only a record that mentions a catalog table is decoded."""
        if TABLES_TABLET not in record.body and INDEX_TABLET not in record.body:
            return
        for write in body_of(record).writes:
            if write.document is not None and write.tablet_id in (TABLES_TABLET, INDEX_TABLET):
                row: Any = values.loads_canonical(write.document)
                internal_id = decode_id(write.document_id).internal_id
                if write.tablet_id == TABLES_TABLET:
                    self.tables[internal_id] = row["name"]
                else:
                    self.indexes[internal_id] = row["descriptor"]


def body_of(record: Record) -> CommitBody:
    """What a record commits; a change of epoch commits nothing."""
    if record.kind is RecordKind.COMMIT:
        return CommitBody.decode(record.body)
    return CommitBody(0, b"", CallTrace(), ())


class History:
    """Questions to one log."""

    def __init__(self, records: ProvenLog) -> None:
        self.records = records

    # --- finding ------------------------------------------------------------------------------------

    def names(self) -> Names:
        """Reads the whole log."""
        names = Names()
        for record in self.records.read_from(1):
            names.learn_from(record)
        return names

    def find(self, name: str) -> Record:
        """A record by seq, by ts, by `session id:request`, by request id or by call id (both in hex)."""
        number = _number(name)
        if number is not None:
            found = self._by_number(number)
            if found is not None:
                return found
        needles = _needles(name)
        for record in self.records.read_from(1):
            if any(needle in record.body for needle in needles) and _is_named(body_of(record), name):
                return record
        raise NotRecorded(
            f"No record is named {name}. A name is a seq, a ts, a `session id:request`, a request id or a "
            f"call id, and {self._extent()}. Queries, and mutations that failed or wrote nothing, leave none."
        )

    def moment(self, name: str) -> int:
        """The newest ts at or before a moment given as a ts, or as the seq of a record."""
        number, end = _number(name), self.records.end()
        if number is None:
            raise NotRecorded(f"{name} is no moment: give a ts (nanoseconds) or the seq of a record.")
        record = self.records.record(number if number <= end.seq else self.records.seq_at(number))
        if record is None or number > end.ts:
            raise NotRecorded(f"The log does not cover {name}: {self._extent()}.")
        return record.ts

    def _by_number(self, number: int) -> Record | None:
        seq = number if number <= self.records.end().seq else self.records.seq_at(number)
        record = self.records.record(seq)
        return record if record is not None and number in (record.seq, record.ts) else None

    def _extent(self) -> str:
        first, end = self.records.record(1), self.records.end()
        if first is None:
            return "the log is empty"
        return f"the log holds records 1 to {end.seq}, ts {first.ts} to {end.ts}"

    # --- documents ----------------------------------------------------------------------------------

    def before(self, tablet_id: bytes, document_id: str, revision_ts: int) -> bytes | None:
        """The document as the commit at `revision_ts` left it; 0 = it did not exist."""
        if revision_ts == 0:
            return None
        record = self.records.record(self.records.seq_at(revision_ts))
        invariant(
            record is not None and record.ts == revision_ts, "a revision has its record", ts=revision_ts
        )
        assert record is not None  # for the type checker; the line above is the check
        for write in body_of(record).writes:
            if (write.tablet_id, write.document_id) == (tablet_id, document_id):
                invariant(write.document is not None, "what is replaced was there", id=document_id)
                return write.document
        invariant(False, "a revision's record wrote the document", id=document_id, seq=record.seq)
        return None

    def changes(self, first_ts: int, last_ts: int) -> Iterator[DocumentChange]:
        """What differs between the two moments, by table and id: of each document written between them the
        revision that stood before, and the last one."""
        replaced_ts: dict[tuple[bytes, str], int] = {}
        after: dict[tuple[bytes, str], bytes | None] = {}
        for record in self.records.read_from(self.records.seq_at(first_ts) + 1):
            if record.ts > last_ts:
                break
            for write in body_of(record).writes:
                name = write.tablet_id, write.document_id
                replaced_ts.setdefault(name, write.previous_ts)
                after[name] = write.document
        for name in sorted(after):
            before = self.before(*name, replaced_ts[name])
            if before != after[name]:
                yield DocumentChange(*name, before, after[name])


def _number(name: str) -> int | None:
    """A seq or ts as we print it; digits with a leading zero are a request id."""
    is_number = name.isascii() and name.isdigit() and str(int(name)) == name
    return int(name) if is_number else None


def _needles(name: str) -> list[bytes]:
    """What a record named so holds somewhere, so that the others need not be decoded."""
    session_id, _, _request = name.rpartition(":")
    needles = [(session_id or name).encode()]
    if not session_id and len(name) % 2 == 0 and all(letter in "0123456789abcdef" for letter in name):
        needles.append(bytes.fromhex(name))
    return [needle for needle in needles if needle]


def _is_named(body: CommitBody, name: str) -> bool:
    trace = body.trace
    session = f"{trace.session_id}:{trace.session_request}" if trace.session_id is not None else None
    return bool(name) and name in (session, trace.request_id, body.call_id.hex())
