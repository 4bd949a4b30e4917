"""Port: where the log is kept. One contract suite (tests/contracts/log_store_contract.py) for all stores.

Promises of a store:
  - what `append_and_sync` returned from is durable, whole and in order;
  - an append of an epoch that was taken over changes nothing and raises `EpochLost`;
  - reading gives exactly what was acknowledged (and possibly the batch in flight when the writer died),
    or opening refuses with `LogDamaged` naming what is missing. Never silence.
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

    def end(self) -> LogEnd:
        """Where the durable log ends."""

    def read_from(self, seq: int) -> Iterator[Record]:
        """Records with at least this seq, in order, as stored (the reader checks the chain)."""

    def close(self) -> None: ...


class MemoryStore:
    """A log store for tests: a list. `close` keeps nothing."""

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._epoch = 0

    def claim_epoch(self) -> int:
        self._epoch += 1
        return self._epoch

    def append_and_sync(self, epoch: int, records: Sequence[Record]) -> None:
        if epoch != self._epoch:
            raise EpochLost(f"epoch {epoch} was taken over by epoch {self._epoch}")
        end = self.end()
        invariant(records[0].seq == end.seq + 1, "an append continues the log", end=end.seq)
        self._records.extend(records)

    def end(self) -> LogEnd:
        if not self._records:
            return LogEnd()
        last = self._records[-1]
        return LogEnd(last.seq, last.ts, last.crc)

    def read_from(self, seq: int) -> Iterator[Record]:
        return iter(self._records[max(0, seq - 1) :])

    def close(self) -> None:
        return None
