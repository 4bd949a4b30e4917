"""Reading beside the server: in steps bounded in records and in bytes, holding nothing between them."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from log import limits
from log.record import Record, RecordKind, make_record
from log.sqlite_reader import SqliteReader
from log.sqlite_store import SqliteStore
from log.store import end_of

SEED = random.randrange(1 << 32)
BYTES_MAX = 1_000


def append(store: SqliteStore, epoch: int, sizes: list[int]) -> list[Record]:
    records, end = list[Record](), store.end()
    for size in sizes:
        body = random.Random(end.seq).randbytes(size)
        record = make_record(end.crc, end.seq + 1, end.ts + 1, epoch, RecordKind.COMMIT, body)
        records, end = [*records, record], end_of(record)
    store.append_and_sync(epoch, records)
    return records


class CountedConnection:
    """Notes the bytes of the bodies that each statement has handed out."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection, self.fetched_bytes = connection, list[int]()

    def execute(self, *statement: Any) -> CountedCursor:
        self.fetched_bytes.append(0)
        return CountedCursor(self, self._connection.execute(*statement))

    def count(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        self.fetched_bytes[-1] += sum(len(value) for value in row if isinstance(value, bytes))
        return row

    def close(self) -> None:
        self._connection.close()


class CountedCursor:
    def __init__(self, connection: CountedConnection, cursor: sqlite3.Cursor) -> None:
        self._connection, self._cursor = connection, cursor

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return map(self._connection.count, self._cursor)

    def close(self) -> None:
        self._cursor.close()


@pytest.mark.parametrize("case", range(20))
def test_a_step_reads_no_more_bytes_than_its_bound_and_one_record_and_misses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: int
) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED + case)
    monkeypatch.setattr(limits, "LOG_FILE_READ_BYTES_PER_STEP", BYTES_MAX)
    monkeypatch.setattr("log.sqlite_reader._PAGE_ROWS", rng.choice((2, 8, 256)))
    largest = rng.choice((10, BYTES_MAX // 3, BYTES_MAX, 3 * BYTES_MAX))
    store = SqliteStore(tmp_path)
    epoch = store.claim_epoch()
    records = append(store, epoch, [rng.randrange(largest) for _ in range(rng.randrange(1, 100))])
    reader = SqliteReader(tmp_path)
    counted: Any = CountedConnection(reader._connection)
    reader._connection = counted
    first = rng.randrange(1, len(records) + 2)
    expected = records[first - 1 :]
    assert list(reader.read_from(first)) == expected
    largest_read = max((len(record.body) for record in expected), default=0)
    assert max(counted.fetched_bytes) < BYTES_MAX + max(largest_read, 1)
    if largest_read < 10:
        assert len(counted.fetched_bytes) < 55, "small records are read many at once"
    reader.close()
    store.close()


def test_the_server_may_reuse_its_write_ahead_log_between_two_records_of_a_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOG_FILE_READ_BYTES_PER_STEP", 250)
    store = SqliteStore(tmp_path)
    epoch = store.claim_epoch()
    records = append(store, epoch, [100] * 20)
    reader, server = SqliteReader(tmp_path), sqlite3.connect(tmp_path / "log.sqlite3")
    found = []
    for record in reader.read_from(1):
        found.append(record)
        if len(records) < 30:
            records += append(store, epoch, [100])
        (is_busy, frames_left, _moved) = server.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert (is_busy, frames_left) == (0, 0)
    assert found == records and len(found) == 30
    for each in (reader, server, store):
        each.close()


def test_a_record_that_reaches_the_bound_comes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOG_FILE_READ_BYTES_PER_STEP", BYTES_MAX)
    store = SqliteStore(tmp_path)
    sizes = [BYTES_MAX, BYTES_MAX + 1, 5 * BYTES_MAX]
    records = append(store, store.claim_epoch(), sizes)
    reader = SqliteReader(tmp_path)
    counted: Any = CountedConnection(reader._connection)
    reader._connection = counted
    assert list(reader.read_from(1)) == records
    assert counted.fetched_bytes == [*sizes, 0]
    reader.close()
    store.close()
