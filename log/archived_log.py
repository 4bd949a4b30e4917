"""One log of two parts: what was archived, and what the store still holds. Readers see no seam.

The store's *base* is where the one part ends and the other begins. A start that goes on from a view or a
checkpoint reads behind it, and so needs no archive; whoever reads before it, and finds a segment missing or
damaged, is refused with the segment's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from log.archive_folder import ArchiveFolder
from log.committer import LogEnd
from log.proven_log import RecordSource
from log.record import Record
from log.store import OwnedStore


class HeldRecords(RecordSource, Protocol):
    """The part that is not archived, and where it begins."""

    def base(self) -> LogEnd: ...

    def close(self) -> None: ...


class ArchivedLog:
    """log.proven_log.RecordSource over both parts."""

    def __init__(self, held: HeldRecords, archive: ArchiveFolder, *, accept_loss: bool = False) -> None:
        self.archive = archive
        self._held_records = held
        self._base = held.base()  # moves when records are archived, by us or beside us
        if not accept_loss:
            archive.check_behind(held.end())

    def base(self) -> LogEnd:
        """The last record that only the archive has; seq 0 when there is none."""
        return self._base

    def end(self) -> LogEnd:
        return self._held_records.end()

    def read_from(self, seq: int) -> Iterator[Record]:
        """Records with at least this seq, in order, wherever they are kept."""
        seq = max(1, seq)
        while True:
            for record in self.archive.read_from(seq, self._base) if seq <= self._base.seq else ():
                yield record
                seq = record.seq + 1
            for record in self._held_records.read_from(seq):
                if record.seq > seq and self._has_moved():
                    break  # archived beside us, between two steps: the archive has what is missing
                yield record
                seq = record.seq + 1
            else:
                return

    def prove_archive(self) -> int:
        """Prove every segment that counts; returns how many those are."""
        return self.archive.prove(self._base)

    def close(self) -> None:
        self._held_records.close()

    def _has_moved(self) -> bool:
        before, self._base = self._base, self._held_records.base()
        return self._base != before


class ArchivedStore(ArchivedLog):
    """log.store.OwnedStore over both parts. `held` is the store itself, without the archive."""

    def __init__(self, held: OwnedStore, archive: ArchiveFolder, *, accept_loss: bool = False) -> None:
        super().__init__(held, archive, accept_loss=accept_loss)
        self.held = held

    def claim_epoch(self) -> int:
        epoch = self.held.claim_epoch()
        self._base = self.held.base()  # a predecessor may have archived since we opened
        return epoch

    def append_and_sync(self, epoch: int, records: Sequence[Record]) -> None:
        self.held.append_and_sync(epoch, records)

    def truncate(self, epoch: int, end: LogEnd) -> None:
        """The archive must hold the records up to `end` BEFORE."""
        self.held.truncate(epoch, end)
        self._base = end

    def accept_end(self) -> None:
        self.held.accept_end()
        self.archive.set_aside(self.held.end())

    def give_back_space(self) -> None:
        self.held.give_back_space()
