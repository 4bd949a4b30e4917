"""An archive segment: consecutive records moved out of the log, as bytes that prove themselves.

    header   magic, format, the record before the first (seq, ts, crc), ts of the first, the last record
             (seq, ts, crc), length of the frames; a CRC of all that
    frames   for each record its length, then the record as the log had it: format, kind, seq, ts, epoch,
             crc, body
    places   for each record where its frame begins
    digest   SHA-256 of everything before

Law: this file knows no file. Bytes come and go as arguments; log/archive_folder.py has the disk.

Promises:
  - what is read is what was written, or `LogDamaged` names the segment and the byte;
  - each record is proven to follow its predecessor, and the first one to follow what the header says, so
    that segments and log are links of one chain;
  - reading from the middle costs what is read, not what lies before it.

Read in this order: encode_segment, Segment.read_from, Segment.check.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from log.committer import LogEnd
from log.invariant import InvariantViolation, invariant
from log.proven_log import end_after
from log.record import RECORD_FORMAT, Record, RecordKind
from log.store import LogDamaged

SEGMENT_FORMAT = 1
ReadAt = Callable[[int, int], bytes]
"""(offset, length) -> the bytes there; fewer only at the end."""

_MAGIC = b"TIDELOG\x01"
_HEADER = struct.Struct(">8sH QQI Q QQI Q")
_HEADER_CRC = struct.Struct(">I")
HEADER_BYTES = _HEADER.size + _HEADER_CRC.size
_LENGTH = struct.Struct(">I")
_RECORD_HEAD = struct.Struct(">BBQQQI")  # format, kind, seq, ts, epoch, crc
_PLACE = struct.Struct(">Q")
_DIGEST_BYTES = hashlib.sha256().digest_size
_PLACES_PER_READ = 512
_CHECK_BYTES_PER_READ = 1 << 20

REMEDY = (
    "Put the segment back from a backup of the data folder, and keep `views/`: a server needs the segment "
    "only to start where no view and no checkpoint has folded its records."
)


def encode_segment(before: LogEnd, records: Sequence[Record]) -> bytes:
    """The segment of these records, which follow `before`. Refuses records that do not."""
    invariant(len(records) > 0, "a segment is never empty", after=before.seq)
    end, frames, places, offset = before, [], [], HEADER_BYTES
    for record in records:
        end = end_after(end, record)
        frames.append(_frame(record))
        places.append(_PLACE.pack(offset))
        offset += len(frames[-1])
    facts = (before.seq, before.ts, before.crc, records[0].ts, end.seq, end.ts, end.crc)
    header = _HEADER.pack(_MAGIC, SEGMENT_FORMAT, *facts, offset - HEADER_BYTES)
    content = b"".join((header, _HEADER_CRC.pack(zlib.crc32(header)), *frames, *places))
    return content + hashlib.sha256(content).digest()


def _frame(record: Record) -> bytes:
    head = _RECORD_HEAD.pack(RECORD_FORMAT, record.kind, record.seq, record.ts, record.epoch, record.crc)
    return _LENGTH.pack(len(head) + len(record.body)) + head + record.body


class Segment:
    """One segment, read in place. Opening checks header and length; reading checks what is read."""

    def __init__(self, name: str, size_bytes: int, read_at: ReadAt) -> None:
        """`name` is for refusals: which file it is."""
        self._name, self._read_at = name, read_at
        facts = self._read_header()
        self.before = LogEnd(*facts[0:3])
        self.first_ts = facts[3]
        self.last = LogEnd(*facts[4:7])
        self._places_at = HEADER_BYTES + facts[7]
        self._digest_at = self._places_at + _PLACE.size * self.count
        expected_bytes = self._digest_at + _DIGEST_BYTES
        if size_bytes != expected_bytes:
            offset = min(size_bytes, expected_bytes)
            raise self._damaged(offset, f"it is {size_bytes} bytes long and was {expected_bytes}")

    @property
    def count(self) -> int:
        """How many records it holds."""
        return self.last.seq - self.before.seq

    def read_from(self, seq: int) -> Iterator[Record]:
        """Its records with at least this seq, in order, each proven to follow the one before."""
        first = max(seq, self.before.seq + 1)
        end = self.before
        for offset, record in self._frames_from(max(first - 1, self.before.seq + 1)):
            if record.seq == first - 1:  # proves the first that was asked for, and is not handed out
                end = LogEnd(record.seq, record.ts, record.crc)
                continue
            try:
                end = end_after(end, record)
            except InvariantViolation as failure:
                raise self._damaged(offset, failure) from failure
            yield record
        if first <= self.last.seq and end != self.last:
            raise self._damaged(0, f"it ends at {end}, and its header says {self.last}")

    def check(self) -> None:
        """Prove the whole segment: every record, and every byte."""
        for _ in self.read_from(self.before.seq + 1):
            pass
        digest = hashlib.sha256()
        for offset in range(0, self._digest_at, _CHECK_BYTES_PER_READ):
            digest.update(self._bytes(offset, min(_CHECK_BYTES_PER_READ, self._digest_at - offset)))
        if digest.digest() != self._bytes(self._digest_at, _DIGEST_BYTES):
            raise self._damaged(self._digest_at, "its content has another digest")

    def _read_header(self) -> tuple[int, ...]:
        header = self._bytes(0, _HEADER.size)
        (crc,) = _HEADER_CRC.unpack(self._bytes(_HEADER.size, _HEADER_CRC.size))
        magic, version, *facts = _HEADER.unpack(header)
        if magic != _MAGIC or crc != zlib.crc32(header):
            raise self._damaged(0, "its header is not what was written")
        if version > SEGMENT_FORMAT:
            raise LogDamaged(
                f"The archive segment {self._name} has format {version}; this Tidelog reads formats up to "
                f"{SEGMENT_FORMAT}. Use the newer Tidelog that wrote it."
            )
        return tuple(facts)

    def _frames_from(self, seq: int) -> Iterator[tuple[int, Record]]:
        """Each record from `seq` on, and where its frame begins."""
        position = seq - self.before.seq - 1
        while position < self.count:
            places = self._places(position, min(_PLACES_PER_READ, self.count - position))
            for start, end in pairwise(places):
                yield start, self._record(start, end)
            position += len(places) - 1

    def _places(self, position: int, count: int) -> list[int]:
        """Where `count` frames begin, and where the last of them ends."""
        is_to_the_end = position + count == self.count
        size = _PLACE.size * (count if is_to_the_end else count + 1)
        data = self._bytes(self._places_at + _PLACE.size * position, size)
        places = [place for (place,) in _PLACE.iter_unpack(data)]
        return [*places, self._places_at] if is_to_the_end else places

    def _record(self, start: int, end: int) -> Record:
        body_at = _LENGTH.size + _RECORD_HEAD.size
        if start < HEADER_BYTES or end < start + body_at or end > self._places_at:
            raise self._damaged(start, f"no frame lies between byte {start} and {end}")
        frame = self._bytes(start, end - start)
        (length,) = _LENGTH.unpack_from(frame)
        version, kind, seq, ts, epoch, crc = _RECORD_HEAD.unpack_from(frame, _LENGTH.size)
        if length != len(frame) - _LENGTH.size:
            raise self._damaged(start, f"a frame of {len(frame)} bytes says that it has {length}")
        try:
            invariant(version == RECORD_FORMAT, "a record has a format we know", found=version)
            return Record(seq, ts, epoch, RecordKind(kind), crc, frame[body_at:])
        except (InvariantViolation, ValueError) as failure:
            raise self._damaged(start, failure) from failure

    def _bytes(self, offset: int, length: int) -> bytes:
        data = self._read_at(offset, length)
        if len(data) != length:
            raise self._damaged(offset + len(data), "it ends there")
        return data

    def _damaged(self, offset: int, why: object) -> LogDamaged:
        return LogDamaged(f"The archive segment {self._name} is damaged at byte {offset}: {why}. {REMEDY}")
