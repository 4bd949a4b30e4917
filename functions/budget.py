"""How much one transaction has read and written, against what it may (spec 03 4, spec 04 1.2).

Counters are raised BEFORE they are checked, so that metrics may exceed a limit by the last step. System
documents are not limited; their read intervals are.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from functions import errors
from log import limits

Usage = tuple[int, int, int, int]
"""Bytes read, documents read, bytes written, documents written: what a call is told to have used."""
NO_USAGE: Usage = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The limits in force; a nested call may be given lower ones."""

    documents_read: int = limits.TRANSACTION_DOCUMENTS_READ_MAX
    bytes_read: int = limits.TRANSACTION_BYTES_READ_MAX
    intervals_read: int = limits.TRANSACTION_INTERVALS_READ_MAX
    documents_written: int = limits.TRANSACTION_DOCUMENTS_WRITTEN_MAX
    bytes_written: int = limits.TRANSACTION_BYTES_WRITTEN_MAX
    functions_scheduled: int = limits.TRANSACTION_FUNCTIONS_SCHEDULED_MAX
    scheduled_args_bytes: int = limits.TRANSACTION_SCHEDULED_ARGS_BYTES_MAX


def is_near(used: int, limit: int) -> bool:
    """Whether the user is to be told: more than 80 % of what may be used is (spec 03 3.5)."""
    return 5 * used > 4 * limit and used <= limit


@dataclass(slots=True)
class Budget:
    """Usage so far; the methods raise when a limit is passed."""

    ceilings: Ceilings = field(default_factory=Ceilings)
    documents_read: int = 0
    bytes_read: int = 0
    intervals_read: int = 0
    documents_written: int = 0
    bytes_written: int = 0
    functions_scheduled: int = 0
    scheduled_args_bytes: int = 0
    large_documents: dict[str, int] = field(default_factory=dict)  # those near the limit, with their bytes
    rows_read: dict[bytes, int] = field(default_factory=dict)  # of `documents_read`, by tablet

    def read_document(self, tablet_id: bytes, size_bytes: int, *, is_system: bool) -> None:
        if is_system:
            return
        self.documents_read += 1
        self.rows_read[tablet_id] = self.rows_read.get(tablet_id, 0) + 1
        self.bytes_read += size_bytes
        if self.documents_read > self.ceilings.documents_read:
            raise errors.too_many_documents_read(self.ceilings.documents_read)
        if self.bytes_read > self.ceilings.bytes_read:
            raise errors.too_many_bytes_read(self.ceilings.bytes_read)

    def write_document(self, document_id: str, size_bytes: int, *, is_system: bool) -> None:
        if is_system:
            return
        if is_near(size_bytes, limits.DOCUMENT_BYTES_MAX):
            self.large_documents[document_id] = size_bytes
        self.documents_written += 1
        self.bytes_written += size_bytes
        if self.documents_written > self.ceilings.documents_written:
            raise errors.too_many_writes(self.ceilings.documents_written)
        if self.bytes_written > self.ceilings.bytes_written:
            raise errors.too_many_bytes_written(self.ceilings.bytes_written)

    def schedule_function(self, args_bytes: int) -> None:
        self.functions_scheduled += 1
        self.scheduled_args_bytes += args_bytes
        if self.functions_scheduled > self.ceilings.functions_scheduled:
            raise errors.too_many_functions_scheduled(self.ceilings.functions_scheduled)
        if self.scheduled_args_bytes > self.ceilings.scheduled_args_bytes:
            raise errors.scheduled_arguments_too_large(self.ceilings.scheduled_args_bytes)

    def check_intervals(self, count: int) -> None:
        self.intervals_read = count
        if count > self.ceilings.intervals_read:
            raise errors.too_many_reads(self.ceilings.intervals_read)

    def lift_for_system(self) -> None:
        """What follows is work of ours; it reads some rows more, whatever the function has used up."""
        self.ceilings = replace(self.ceilings, intervals_read=limits.PUSH_INTERVALS_READ_MAX)

    def narrowed(self, asked: dict[str, int]) -> Ceilings:
        """Ceilings for a nested call: what it asked for on top of today's usage, never above ours."""
        names = {
            "documentsRead": "documents_read",
            "bytesRead": "bytes_read",
            "databaseQueries": "intervals_read",
            "documentsWritten": "documents_written",
            "bytesWritten": "bytes_written",
            "functionsScheduled": "functions_scheduled",
            "scheduledFunctionArgsBytes": "scheduled_args_bytes",
        }
        lowered = {
            name: min(getattr(self.ceilings, name), getattr(self, name) + int(asked[key]))
            for key, name in names.items()
            if asked.get(key) is not None
        }
        return replace(self.ceilings, **lowered)

    def usage(self, *, keeps_writes: bool) -> Usage:
        """Of the app's own documents. What a failed call wrote came to nothing, so nothing was written."""
        if keeps_writes:
            return self.bytes_read, self.documents_read, self.bytes_written, self.documents_written
        return self.bytes_read, self.documents_read, 0, 0

    def metrics(self) -> dict[str, dict[str, float]]:
        """`1.0/getTransactionMetrics` (spec 03 2.7)."""
        pairs = {
            "bytesRead": ("bytes_read", self.bytes_read),
            "bytesWritten": ("bytes_written", self.bytes_written),
            "databaseQueries": ("intervals_read", self.intervals_read),
            "documentsRead": ("documents_read", self.documents_read),
            "documentsWritten": ("documents_written", self.documents_written),
            "functionsScheduled": ("functions_scheduled", self.functions_scheduled),
            "scheduledFunctionArgsBytes": ("scheduled_args_bytes", self.scheduled_args_bytes),
        }
        return {
            key: {"used": float(used), "remaining": float(getattr(self.ceilings, name) - used)}
            for key, (name, used) in pairs.items()
        }
