"""The default store: the contract, reopening, and damage that is never served in silence."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from log.committer import LogEnd
from log.proven_log import ProvenLog
from log.record import Record, RecordKind, make_record
from log.sqlite_reader import SqliteReader
from log.sqlite_store import FolderInUse, SqliteStore
from log.sqlite_wal import inspect_wal
from log.store import LogDamaged, LogStore, end_of

from ..contracts.log_store_contract import LogStoreContract, make_records

_WRITER = """
import sys
from pathlib import Path
from log.sqlite_store import SqliteStore
from tests.contracts.log_store_contract import make_records
store = SqliteStore(Path(sys.argv[1]))
epoch = store.claim_epoch()
while True:
    store.append_and_sync(epoch, make_records(store.end(), 3, epoch))
    print(store.end().seq, flush=True)
"""


class TestSqliteStore(LogStoreContract):
    def open_store(self, folder: Path) -> LogStore:
        return SqliteStore(folder / "log")


def killed_writer(folder: Path, appends: int) -> int:
    """Run a writer in a process of its own, SIGKILL it after some appends; the last acknowledged seq."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = 0
    for _ in range(appends):
        acknowledged = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return acknowledged


def served(folder: Path) -> list[Record]:
    store = SqliteStore(folder)
    try:
        return list(store.read_from(1))
    finally:
        store.close()


def test_reopening_continues_where_it_ended(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    epoch = store.claim_epoch()
    records = make_records(store.end(), 4, epoch)
    store.append_and_sync(epoch, records)
    end = store.end()
    store.close()
    again = SqliteStore(tmp_path)
    assert again.end() == end and list(again.read_from(1)) == records
    assert again.claim_epoch() > epoch
    again.close()


def test_a_second_server_on_one_folder_is_refused(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    with pytest.raises(FolderInUse):
        SqliteStore(tmp_path)
    store.close()
    SqliteStore(tmp_path).close()


@pytest.mark.parametrize("appends", [1, 5, 20])
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path, appends: int) -> None:
    acknowledged = killed_writer(tmp_path, appends)
    seqs = [record.seq for record in served(tmp_path)]
    assert seqs == list(range(1, len(seqs) + 1)) and len(seqs) >= acknowledged


def test_a_log_behind_its_witness_is_refused_with_both_numbers(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    epoch = store.claim_epoch()
    store.append_and_sync(epoch, make_records(store.end(), 2, epoch))
    store.close()
    shutil.copytree(tmp_path, tmp_path.parent / "older")
    store = SqliteStore(tmp_path)
    store.append_and_sync(epoch, make_records(store.end(), 5, epoch))
    store.close()
    shutil.copy(tmp_path / "tail", tmp_path.parent / "older" / "tail")
    with pytest.raises(LogDamaged, match=r"ends at record 2, but record 7 was acknowledged: 5 record"):
        SqliteStore(tmp_path.parent / "older")
    SqliteStore(tmp_path.parent / "older", accept_loss=True).close()


def test_a_removed_record_is_named(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    epoch = store.claim_epoch()
    store.append_and_sync(epoch, make_records(store.end(), 6, epoch))
    store._connection.execute("DELETE FROM log WHERE seq = 4")
    store.close()
    with pytest.raises(LogDamaged, match="after record 3"):
        SqliteStore(tmp_path)


def test_accepting_loss_goes_on_before_the_break_and_keeps_what_follows_aside(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    epoch = store.claim_epoch()
    store.append_and_sync(epoch, make_records(store.end(), 6, epoch))
    store._connection.execute("UPDATE log SET body = x'00' WHERE seq = 4")
    store.close()
    with pytest.raises(LogDamaged, match=r"after record 3.* `tidelog verify --accept-loss`"):
        SqliteStore(tmp_path)
    accepted = SqliteStore(tmp_path, accept_loss=True)
    assert accepted.end().seq == 3
    accepted.accept_end()
    accepted.close()
    reopened = SqliteStore(tmp_path)
    epoch = reopened.claim_epoch()
    reopened.append_and_sync(epoch, make_records(reopened.end(), 2, epoch))
    assert [record.seq for record in reopened.read_from(1)] == [1, 2, 3, 4, 5]
    lost = reopened._connection.execute("SELECT seq FROM lost ORDER BY seq").fetchall()
    assert lost == [(4,), (5,), (6,)], "nothing is thrown away"
    reopened.close()


# --- what was archived ------------------------------------------------------------------------------


def with_base(folder: Path, records: int, base_seq: int) -> list[Record]:
    """A closed log whose first records were given up; all of them."""
    store = SqliteStore(folder)
    epoch = store.claim_epoch()
    made = make_records(store.end(), records, epoch)
    store.append_and_sync(epoch, made)
    store.truncate(epoch, end_of(made[base_seq - 1]))
    store.close()
    return made


def test_only_a_log_that_was_archived_has_the_format_older_versions_refuse(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "whole").close()
    with_base(tmp_path / "archived", 4, 2)
    versions = []
    for name in ("whole", "archived"):
        connection = sqlite3.connect(tmp_path / name / "log.sqlite3")
        versions += connection.execute("PRAGMA user_version").fetchone()
        connection.close()
    assert versions == [1, 2]


def test_a_truncated_log_is_reopened_and_read_beside_its_writer_from_its_base_on(tmp_path: Path) -> None:
    records = with_base(tmp_path, 6, 4)
    store = SqliteStore(tmp_path)
    reader = SqliteReader(tmp_path)
    for source in (store, reader):
        assert source.base() == end_of(records[3]) and source.end() == end_of(records[5])
        assert list(ProvenLog(source, source.base()).read_from(1)) == records[4:]
    reader.close()
    epoch = store.claim_epoch()
    store.append_and_sync(epoch, make_records(store.end(), 1, epoch))
    store.close()
    assert [record.seq for record in served(tmp_path)] == [5, 6, 7]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("UPDATE base SET crc = crc + 1", "damaged after record 4"),
        ("UPDATE base SET seq = seq - 1", "damaged after record 3"),
        ("DELETE FROM base", "does not say where it begins"),
        ("DROP TABLE base", "no such table: base.*Restore"),
        ("PRAGMA user_version = 1", "damaged after record 0"),
    ],
)
def test_a_log_with_a_wrong_base_is_refused(tmp_path: Path, harm: str, said: str) -> None:
    with_base(tmp_path, 6, 4)
    connection = sqlite3.connect(tmp_path / "log.sqlite3")
    connection.execute(harm)
    connection.commit()
    connection.close()
    with pytest.raises(LogDamaged, match=said):
        SqliteStore(tmp_path)


def test_the_loss_of_everything_behind_the_base_can_be_accepted_and_the_log_goes_on_there(
    tmp_path: Path,
) -> None:
    records = with_base(tmp_path, 6, 4)
    connection = sqlite3.connect(tmp_path / "log.sqlite3")
    connection.execute("UPDATE log SET body = x'00' WHERE seq = 5")
    connection.commit()
    connection.close()
    accepted = SqliteStore(tmp_path, accept_loss=True)
    assert accepted.end() == accepted.base() == end_of(records[3])
    accepted.accept_end()
    accepted.close()
    reader = SqliteReader(tmp_path)
    assert reader.end() == end_of(records[3])
    reader.close()
    store = SqliteStore(tmp_path)
    epoch = store.claim_epoch()
    store.append_and_sync(epoch, make_records(store.end(), 1, epoch))
    assert [record.seq for record in store.read_from(1)] == [5]
    store.close()


def test_space_given_back_makes_the_file_smaller_and_changes_no_record(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    epoch, end, records = store.claim_epoch(), LogEnd(), list[Record]()
    for seq in range(1, 101):
        record = make_record(end.crc, seq, seq, epoch, RecordKind.COMMIT, os.urandom(20_000))
        records, end = [*records, record], end_of(record)
    store.append_and_sync(epoch, records)
    store.truncate(epoch, end_of(records[89]))
    store.give_back_space()
    assert list(store.read_from(1)) == records[90:]
    store.close()
    assert (tmp_path / "log.sqlite3").stat().st_size < 20 * 20_000
    assert served(tmp_path) == records[90:]


# --- damage -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_name", ["log.sqlite3", "log.sqlite3-wal"])
@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_damage_at_a_random_offset_is_refused_or_harmless(tmp_path: Path, file_name: str, harm: str) -> None:
    """50 offsets for each file and kind of harm: the log is served whole or opening refuses."""
    seed = 20261125
    rng = random.Random(f"{seed}/{file_name}/{harm}")
    pristine = tmp_path / "pristine"
    acknowledged = killed_writer(pristine, 30)
    size = (pristine / file_name).stat().st_size
    whole = served_copy(pristine, tmp_path / "whole")
    for number in range(50):
        damaged = tmp_path / f"damaged-{number}"
        shutil.copytree(pristine, damaged)
        offset = rng.randrange(size)
        data = bytearray((damaged / file_name).read_bytes())
        if harm == "cut":
            del data[offset:]
        else:
            data[offset] ^= 1 << rng.randrange(8)
        (damaged / file_name).write_bytes(data)
        try:
            records = served(damaged)
        except LogDamaged as refusal:
            assert "Restore" in str(refusal) or "newer Tidelog" in str(refusal), (seed, offset, refusal)
        else:
            assert records[:acknowledged] == whole[:acknowledged], (seed, number, offset)
        shutil.rmtree(damaged)


def served_copy(source: Path, target: Path) -> list[Record]:
    shutil.copytree(source, target)
    return served(target)


def test_an_absent_or_whole_wal_has_no_stray_frames(tmp_path: Path) -> None:
    assert inspect_wal(tmp_path / "none").stray_frames == 0
    killed_writer(tmp_path, 5)
    report = inspect_wal(tmp_path / "log.sqlite3-wal")
    assert report.valid_frames > 0 and report.stray_frames == 0
