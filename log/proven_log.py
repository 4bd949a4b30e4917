"""The log as a reader may trust it: every record handed out was proven unchanged and in its place.

A record's crc covers its content, its seq and ts, and the crc of its predecessor, so a run of records is
proven from the crc stored in front of it, wherever it begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from log.committer import LogEnd
from log.invariant import InvariantViolation, invariant
from log.record import Record
from log.store import LogDamaged, end_of


class RecordSource(Protocol):
    """Where records come from, as stored. Every log store is one; log/sqlite_reader.py is one."""

    def end(self) -> LogEnd: ...

    def read_from(self, seq: int) -> Iterator[Record]: ...


class ProvenLog:
    """Reads of one log. Raises LogDamaged where the chain is broken, naming the place."""

    def __init__(self, source: RecordSource, base: LogEnd | None = None) -> None:
        """`base` is what the source's first record follows, where that is not the first of the log: the base
        of a store that is read without its archive."""
        self._source, self._base = source, base or LogEnd()

    def end(self) -> LogEnd:
        return self._source.end()

    def read_from(self, seq: int) -> Iterator[Record]:
        """Records of the source with at least this seq, in order."""
        end = self._base
        first = max(end.seq + 1, seq)
        is_behind_base = first > end.seq + 1
        records = self._source.read_from(first - 1 if is_behind_base else first)
        before = next(records, None) if is_behind_base else None
        if before is not None:
            end = end_of(before)
        for record in records:
            try:
                end = end_after(end, record)
            except InvariantViolation as failure:
                raise LogDamaged(
                    f"The log is damaged after record {max(end.seq, first - 1)}: {failure}. What lies before "
                    "can be read; run `tidelog verify` with the server stopped to learn the rest."
                ) from failure
            yield record

    def record(self, seq: int) -> Record | None:
        """The record with this seq, None outside the source."""
        found = next(self.read_from(seq), None) if seq > 0 else None
        return found if found is not None and found.seq == seq else None

    def seq_at(self, ts: int) -> int:
        """The last record at or before `ts`; the base's (0: there is none) when the source begins later."""
        low, high = self._base.seq, self.end().seq  # the answer is in [low, high]
        while low < high:
            middle = (low + high + 1) // 2
            record = self.record(middle)
            if record is not None and record.ts <= ts:
                low = middle
            else:
                high = middle - 1
        return low


def end_after(end: LogEnd, record: Record) -> LogEnd:
    """Where the log ends with `record` behind `end`; InvariantViolation unless it follows, unchanged."""
    invariant(record.seq == end.seq + 1, "the log has no holes", after=end.seq, found=record.seq)
    invariant(record.ts > end.ts, "time in the log only grows", seq=record.seq)
    record.check_follows(end.crc)
    return end_of(record)
