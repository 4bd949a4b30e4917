"""Every log store passes this unchanged (design D2). A subclass supplies open_store only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from log.committer import LogEnd
from log.invariant import InvariantViolation
from log.proven_log import ProvenLog
from log.record import CHAIN_START_CRC, LogRun, Record, RecordKind, make_record
from log.store import EpochLost, LogStore, end_of


def make_records(end: LogEnd, count: int, epoch: int = 1) -> list[Record]:
    records: list[Record] = []
    crc = end.crc if end.seq else CHAIN_START_CRC
    for number in range(1, count + 1):
        body = b"body-%d" % (end.seq + number)
        record = make_record(crc, end.seq + number, end.ts + number, epoch, RecordKind.COMMIT, body)
        records.append(record)
        crc = record.crc
    return records


class LogStoreContract:
    """Promises of log/store.py."""

    def open_store(self, folder: Path) -> LogStore:
        raise NotImplementedError

    def test_a_new_log_ends_at_the_start(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        assert store.end() == LogEnd()
        assert list(store.read_from(1)) == []

    def test_reads_back_what_it_acknowledged(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        epoch = store.claim_epoch()
        first = make_records(store.end(), 3, epoch)
        store.append_and_sync(epoch, first)
        second = make_records(store.end(), 2, epoch)
        store.append_and_sync(epoch, second)
        assert list(store.read_from(1)) == first + second
        assert list(store.read_from(4)) == second
        LogRun(tuple(store.read_from(1))).check(CHAIN_START_CRC)
        assert store.end() == LogEnd(5, second[-1].ts, second[-1].crc)

    def test_each_claim_is_above_every_earlier_one(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        epochs = [store.claim_epoch() for _ in range(3)]
        assert epochs == sorted(set(epochs))

    def test_a_fenced_writer_can_append_nothing(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        old = store.claim_epoch()
        store.append_and_sync(old, make_records(store.end(), 1, old))
        new = store.claim_epoch()
        with pytest.raises(EpochLost):
            store.append_and_sync(old, make_records(store.end(), 1, old))
        assert store.end().seq == 1
        store.append_and_sync(new, make_records(store.end(), 1, new))
        assert store.end().seq == 2

    # --- what was archived ----------------------------------------------------------------------------

    def test_a_truncated_log_begins_behind_its_base_and_goes_on_at_its_end(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        assert store.base() == LogEnd()
        epoch = store.claim_epoch()
        records = make_records(store.end(), 6, epoch)
        store.append_and_sync(epoch, records)
        end = store.end()
        for count in (2, 5):
            store.truncate(epoch, end_of(records[count - 1]))
            assert store.base() == end_of(records[count - 1]) and store.end() == end
            for seq in range(8):
                assert list(store.read_from(seq)) == records[max(count, seq - 1) :], (count, seq)
        appended = make_records(end, 2, epoch)
        store.append_and_sync(epoch, appended)
        assert list(store.read_from(1)) == [records[5], *appended]
        LogRun(tuple(store.read_from(1))).check(store.base().crc)
        proven = ProvenLog(store, store.base())
        assert list(proven.read_from(1)) == list(store.read_from(1))
        assert proven.seq_at(records[1].ts) == 5, "earlier than all it has: the base"

    def test_a_fenced_writer_can_truncate_nothing(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        old = store.claim_epoch()
        records = make_records(store.end(), 3, old)
        store.append_and_sync(old, records)
        new = store.claim_epoch()
        with pytest.raises(EpochLost):
            store.truncate(old, end_of(records[0]))
        assert store.base() == LogEnd() and list(store.read_from(1)) == records
        store.truncate(new, end_of(records[0]))
        assert list(store.read_from(1)) == records[1:]

    def test_a_truncation_that_ends_at_no_older_record_of_the_log_is_refused(self, tmp_path: Path) -> None:
        store = self.open_store(tmp_path)
        epoch = store.claim_epoch()
        records = make_records(store.end(), 4, epoch)
        store.append_and_sync(epoch, records)
        store.truncate(epoch, end_of(records[1]))
        of_another_log = replace(end_of(records[2]), crc=records[2].crc ^ 1)
        for wrong in (LogEnd(), end_of(records[0]), of_another_log, end_of(records[3]), LogEnd(9, 9, 9)):
            with pytest.raises(InvariantViolation, match=r"truncation|newest record"):
                store.truncate(epoch, wrong)
            assert store.base() == end_of(records[1]) and list(store.read_from(1)) == records[2:], wrong
        store.append_and_sync(epoch, make_records(store.end(), 1, epoch))
