"""Port: where the log is kept. One contract suite (tests/contracts/log_store_contract.py) for all stores.

Promises of a store:
  - what `append_and_sync` returned from is durable, whole and in order;
  - an append of an epoch that was taken over changes nothing and raises `EpochLost`;
  - reading gives exactly what was acknowledged (and possibly the batch in flight when the writer died),
    or opening refuses with `LogDamaged` naming what is missing. Never silence;
  - a truncation takes records from the front, all or none, and the store knows ever after where it now
    begins: its *base*, the last record that is gone. Nobody else removes anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from log.committer import LogEnd
from log.invariant import invariant
from log.record import Record


class EpochLost(Exception):
    """A later writer took the log over; this one must stop."""


class LogDamaged(Exception):
    """The log cannot be served whole. The text names what is missing and what to do."""


class LogStore(Protocol):
    """An append-only sequence of records with a fenced writer. Calls block; one thread at a time."""

    def claim_epoch(self) -> int:
        """Become the writer: the returned epoch is above every earlier one, whose holders are fenced."""

    def append_and_sync(self, epoch: int, records: Sequence[Record]) -> None:
        """Make the records durable, all or none. Any failure but EpochLost leaves the outcome unknown."""

    def truncate(self, epoch: int, end: LogEnd) -> None:
        """Give up the records up to `end`, which is one of them and becomes the base; all or none. They must
        be safe elsewhere. The newest record stays: by it a writer knows the log for its own. OSError when
        the disk refuses; then nothing has changed."""

    def base(self) -> LogEnd:
        """The last record that was given up; seq 0 when none was."""

    def end(self) -> LogEnd:
        """Where the durable log ends."""

    def read_from(self, seq: int) -> Iterator[Record]:
        """Records behind the base with at least this seq, in order, as stored (the reader checks the
        chain)."""

    def close(self) -> None: ...


class OwnedStore(LogStore, Protocol):
    """A log store as its operator has it."""

    def accept_end(self) -> None:
        """Go on behind a loss: what was proven at the opening is the whole log from now on."""

    def give_back_space(self) -> None:
        """Return to the disk what truncations have freed; without it the log's own growth uses it up. OSError
        when the disk refuses."""


class MemoryStore:
    """A log store for tests: a list. `close` keeps nothing."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._base = LogEnd()
        self._epoch = 0

    def claim_epoch(self) -> int:
        self._epoch += 1
        return self._epoch

    def append_and_sync(self, epoch: int, records: Sequence[Record]) -> None:
        self._check_epoch(epoch)
        end = self.end()
        invariant(records[0].seq == end.seq + 1, "an append continues the log", end=end.seq)
        self._records.extend(records)

    def truncate(self, epoch: int, end: LogEnd) -> None:
        self._check_epoch(epoch)
        found = next(self.read_from(end.seq), None)
        check_truncation(self._base, end, self.end(), end_of(found) if found is not None else None)
        self._records = list(self.read_from(end.seq + 1))
        self._base = end

    def base(self) -> LogEnd:
        return self._base

    def end(self) -> LogEnd:
        return end_of(self._records[-1]) if self._records else self._base

    def read_from(self, seq: int) -> Iterator[Record]:
        return iter(self._records[max(0, seq - self._base.seq - 1) :])

    def close(self) -> None:
        return None

    def _check_epoch(self, epoch: int) -> None:
        if epoch != self._epoch:
            raise EpochLost(f"epoch {epoch} was taken over by epoch {self._epoch}")


def end_of(record: Record) -> LogEnd:
    """Where a log ends whose last record this is."""
    return LogEnd(record.seq, record.ts, record.crc)


def check_truncation(base: LogEnd, end: LogEnd, log_end: LogEnd, found: LogEnd | None) -> None:
    """What every store checks before it gives up records up to `end`; `found` is what it has there."""
    invariant(base.seq < end.seq, "a truncation goes on where the last one ended", base=base.seq, end=end.seq)
    invariant(end.seq < log_end.seq, "the newest record stays in the log", end=end.seq, last=log_end.seq)
    invariant(found == end, "a truncation ends at a record of this log", end=end, found=found)
