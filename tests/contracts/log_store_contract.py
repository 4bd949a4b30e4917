"""Every log store passes this unchanged (design D2). A subclass supplies open_store only."""

from __future__ import annotations

from pathlib import Path

import pytest

from log.committer import LogEnd
from log.record import CHAIN_START_CRC, LogRun, Record, RecordKind, make_record
from log.store import EpochLost, LogStore


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
