"""What one entry of the log is, its canonical bytes, and the chain that ties it to its predecessor.

The log is the only truth (design D1): everything else is folded from these records. `seq` is dense from
1, `ts` strictly increases, `epoch` never decreases, and `crc` covers the record *and* its predecessor's
crc, so that a record can neither be lost from the middle nor be moved.

These types are tuples, as they are packed: a log is decoded at each start, every record of it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise, starmap
from typing import Any, NamedTuple

import msgpack

from log.invariant import invariant

RECORD_FORMAT = 1
CHAIN_START_CRC = 0

_HEAD = struct.Struct(">BBQQQ")


class RecordKind(IntEnum):
    """COMMIT: document writes. EPOCH: a new writer took over."""

    COMMIT = 1
    EPOCH = 2


class Record(NamedTuple):
    """One durable entry. `body` is msgpack, its meaning given by `kind`; nobody rewrites it."""

    seq: int
    ts: int
    epoch: int
    kind: RecordKind
    crc: int
    body: bytes

    def check_follows(self, previous_crc: int) -> None:
        """Prove the record unchanged and in its place."""
        expected = chain_crc(previous_crc, self.seq, self.ts, self.epoch, self.kind, self.body)
        invariant(self.crc == expected, "a record carries the crc of its content and place", seq=self.seq)


def chain_crc(previous_crc: int, seq: int, ts: int, epoch: int, kind: int, body: bytes) -> int:
    head = _HEAD.pack(RECORD_FORMAT, kind, seq, ts, epoch)
    return zlib.crc32(body, zlib.crc32(head, previous_crc))


def make_record(previous_crc: int, seq: int, ts: int, epoch: int, kind: RecordKind, body: bytes) -> Record:
    return Record(seq, ts, epoch, kind, chain_crc(previous_crc, seq, ts, epoch, kind, body), body)


@dataclass(frozen=True, slots=True)
class LogRun:
    """Consecutive records of one log.

    Guarantees: seq is dense, ts strictly increases, epoch never decreases, every crc chains to its
    predecessor's. Only code that builds a run from stored bytes calls check().
    """

    records: tuple[Record, ...]

    def check(self, previous_crc: int) -> None:
        for before, after in pairwise(self.records):
            invariant(after.seq == before.seq + 1, "a run has no holes", found=after.seq)
            invariant(before.ts < after.ts, "time in the log only grows", seq=after.seq)
            invariant(before.epoch <= after.epoch, "a fenced writer cannot come back", seq=after.seq)
        for record in self.records:
            record.check_follows(previous_crc)
            previous_crc = record.crc


KeyWrite = tuple[bytes, bytes | None, bytes | None]
"""(index_id, key before or None, key after or None): what one write does to one index."""
KeysTouched = tuple[bytes, tuple[bytes, ...]]
"""(index_id, keys of it)."""


class DocumentWrite(NamedTuple):
    """One document's new revision; `document` None = deleted. Sizes as of spec 01 3.4."""

    tablet_id: bytes
    document_id: str
    previous_ts: int  # revision it replaces; 0 = it did not exist
    size_bytes: int
    document: bytes | None  # canonical bytes (design D9)
    keys: tuple[KeyWrite, ...]
    # Later additions come last and have defaults, so that older records still decode.
    words: tuple[KeysTouched, ...] = ()
    """Of search indexes, in order. No view has them; searches read them (functions/search/words.py)."""

    def touched(self) -> Iterator[KeysTouched]:
        """Every key whose reader may no longer see what it saw, by index; words are keys like others."""
        for index_id, old_key, new_key in self.keys:
            if new_key is None or new_key == old_key:
                yield index_id, (old_key,) if old_key is not None else ()
            else:
                yield index_id, (old_key, new_key) if old_key is not None else (new_key,)
        yield from self.words


class CallTrace(NamedTuple):
    """What re-executing the mutation needs beside the log itself (design D1, spec 04 10.8)."""

    path: str = ""
    component: str = ""
    args: bytes = b""
    identity: str = "unknown"
    identity_attributes: bytes | None = None
    seed: bytes = b""
    now_ms: float = 0.0
    outcome_crc: int = 0
    reads_crc: int = 0
    session_id: str | None = None
    session_request: int | None = None
    # Later additions come last and have defaults, so that older records still decode.
    creation_ms: float = 0.0  # base of creation times; 0 = recorded before it was kept
    request_id: str = ""
    logs_crc: int = 0
    job_id: str = ""  # the scheduled job that the commit ends
    may_call_internal: bool = False  # an action called
    parent_job_id: str = ""  # the scheduled action whose call this was
    audit_lines: tuple[bytes, ...] = ()  # JSON objects that `log.audit` made, as durable as the writes
    requester: tuple[str | None, ...] = ()  # (ip, user agent), if the function asked; else not kept


class CommitBody(NamedTuple):
    """The content of a COMMIT record."""

    begin_ts: int
    call_id: bytes
    trace: CallTrace
    writes: tuple[DocumentWrite, ...]
    blanks: tuple[int, ...] = ()
    """Offsets in the encoding where the commit's own ts belongs (log/commit_ts.py); nearly always none."""

    def encode(self) -> bytes:
        return msgpack.packb(self.tree)

    @property
    def tree(self) -> tuple[Any, ...]:
        """What the encoding packs. Blanks come last, so that they move nothing they point to."""
        return self if self.blanks else self[:-1]

    @classmethod
    def decode(cls, data: bytes) -> CommitBody:
        begin_ts, call_id, trace, writes, *blanks = msgpack.unpackb(data, use_list=False)
        return cls(begin_ts, call_id, CallTrace(*trace), tuple(starmap(DocumentWrite, writes)), *blanks)


def decode_writes(data: bytes) -> tuple[DocumentWrite, ...]:
    """`CommitBody.decode(data).writes` at half the price: who folds a log asks for nothing else."""
    _begin_ts, _call_id, _trace, writes, *_blanks = msgpack.unpackb(data, use_list=False)
    return tuple(starmap(DocumentWrite, writes))


def in_application_order(writes: Iterable[DocumentWrite]) -> tuple[DocumentWrite, ...]:
    """Writes of one commit in a canonical order: by tablet (system tables first), then id."""
    return tuple(sorted(writes, key=lambda write: (write.tablet_id, write.document_id)))
