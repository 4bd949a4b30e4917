"""A log in two parts reads like one; a part that is missing, damaged or a stranger is refused by name."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from log.archive_folder import ArchiveFolder
from log.archived_log import ArchivedLog, ArchivedStore
from log.committer import LogEnd
from log.proven_log import ProvenLog
from log.record import Record
from log.sqlite_reader import SqliteReader
from log.sqlite_store import SqliteStore
from log.store import LogDamaged, end_of

from ..contracts.log_store_contract import make_records

SEED = 20261127
RECORDS = 40


class Archive:
    """A SQLite log and its archive in a folder, and all their records as a list."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.archive = ArchiveFolder(folder / "archive")
        self.open()
        self.epoch = self.store.claim_epoch()
        self.records: list[Record] = []
        self.append(RECORDS)

    def open(self) -> None:
        self.store = ArchivedStore(SqliteStore(self.folder / "log"), self.archive)

    def append(self, count: int) -> None:
        appended = make_records(self.store.end(), count, self.epoch)
        self.store.append_and_sync(self.epoch, appended)
        self.records += appended

    def move(self, last_seq: int, *, truncate: bool = True) -> Path:
        """Archive up to `last_seq`; without the truncation it is what a killed run leaves."""
        base = self.store.base()
        segment = self.archive.write(base, self.records[base.seq : last_seq])
        if truncate:
            self.store.truncate(self.epoch, end_of(self.records[last_seq - 1]))
        return segment.path

    def reopen(self) -> None:
        self.store.close()
        self.open()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Archive]:
    archive = Archive(tmp_path)
    yield archive
    archive.store.close()


def check_whole(archive: Archive, facts: object) -> None:
    """From everywhere it reads like the list."""
    records = archive.records
    for seq in range(len(records) + 2):
        assert list(archive.store.read_from(seq)) == records[max(0, seq - 1) :], (facts, seq)
    proven = ProvenLog(archive.store)
    assert list(proven.read_from(1)) == records, facts
    for record in records:
        assert proven.seq_at(record.ts) == record.seq and proven.record(record.seq) == record, facts


def test_a_log_archived_in_random_pieces_reads_like_one_that_was_not(kept: Archive) -> None:
    rng = random.Random(SEED)
    for step in range(12):
        end, base = kept.store.end(), kept.store.base()
        kept.move(rng.randrange(base.seq + 1, end.seq))
        kept.append(rng.randrange(1, 6))
        if rng.random() < 0.5:
            kept.reopen()
        check_whole(kept, (SEED, step))
    assert kept.store.prove_archive() == 12
    assert kept.store.held.base() == kept.store.base() != LogEnd()


def test_reading_behind_the_base_needs_no_archive(kept: Archive) -> None:
    kept.move(10).unlink()
    assert list(kept.store.read_from(11)) == kept.records[10:]
    kept.reopen()
    kept.append(2)


def test_a_reader_of_the_folder_sees_both_parts(kept: Archive) -> None:
    reader = ArchivedLog(SqliteReader(kept.folder / "log"), kept.archive)
    assert list(reader.read_from(1)) == kept.records and reader.base() == LogEnd()
    kept.move(25)
    assert list(reader.read_from(1)) == kept.records, "opened before, and not told"
    assert reader.base() == end_of(kept.records[24])
    assert reader.end() == kept.store.end()
    reader.close()


def test_records_archived_while_they_are_read_are_not_missed(
    kept: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("log.sqlite_reader._PAGE_ROWS", 3)
    rng = random.Random(SEED)
    reader = ArchivedLog(SqliteReader(kept.folder / "log"), kept.archive)
    found: list[Record] = []
    for record in ProvenLog(reader).read_from(1):
        found.append(record)
        if rng.random() < 0.3 and kept.store.base().seq < RECORDS - 4:
            kept.move(rng.randrange(kept.store.base().seq + 1, RECORDS - 2))
    assert found == kept.records, SEED
    assert kept.store.base().seq > RECORDS // 2, "and much was archived meanwhile"
    reader.close()


# --- what is missing or damaged ---------------------------------------------------------------------


def test_a_missing_segment_is_named_with_what_to_do(kept: Archive) -> None:
    kept.move(10)
    middle = kept.move(20)
    kept.move(30)
    middle.unlink()
    for read in (lambda: list(kept.store.read_from(1)), lambda: list(kept.store.read_from(15))):
        with pytest.raises(
            LogDamaged, match=r"lacks the segment that begins with record 1[15] .*backup.*views/"
        ):
            read()
    with pytest.raises(LogDamaged, match="begins with record 11"):
        kept.store.prove_archive()
    assert list(kept.store.read_from(21)) == kept.records[20:]
    kept.archive.files()[-1].path.unlink()
    with pytest.raises(LogDamaged, match="begins with record 21"):
        list(kept.store.read_from(21))


@pytest.mark.parametrize("harm", ["cut", "flip", "empty"])
def test_a_damaged_segment_is_named_with_the_byte(kept: Archive, harm: str) -> None:
    rng = random.Random(f"{SEED}/{harm}")
    path = kept.move(30)
    pristine = path.read_bytes()
    for case in range(40):
        data, offset = bytearray(pristine), rng.randrange(len(pristine))
        if harm == "flip":
            data[offset] ^= 1 << rng.randrange(8)
        else:
            del data[offset if harm == "cut" else 0 :]
        path.write_bytes(data)
        with pytest.raises(LogDamaged, match=rf"{path} is damaged at byte \d+: ") as refusal:
            kept.store.prove_archive()
        assert "backup" in str(refusal.value), (SEED, case)
        try:
            assert list(kept.store.read_from(1)) == kept.records, (SEED, case, offset)
        except LogDamaged as refused:
            assert str(path) in str(refused), (SEED, case)


def test_a_segment_under_a_wrong_name_or_of_another_log_is_refused(kept: Archive, tmp_path: Path) -> None:
    path = kept.move(10)
    ours = path.read_bytes()
    other = make_records(LogEnd(), 10, epoch=7)  # as long, and of another history
    path.write_bytes(ArchiveFolder(tmp_path / "other").write(LogEnd(), other).path.read_bytes())
    with pytest.raises(LogDamaged, match="of another log"):
        list(kept.store.read_from(1))
    path.write_bytes(ArchiveFolder(tmp_path / "shorter").write(LogEnd(), kept.records[:9]).path.read_bytes())
    with pytest.raises(LogDamaged, match="holds records 1 to 9, not what its name says"):
        list(kept.store.read_from(1))
    path.write_bytes(ours)
    check_whole(kept, "put back")


# --- what a killed run, or a log put back to an earlier state, leaves --------------------------------


def test_a_surplus_segment_is_not_read_and_the_next_run_replaces_it(kept: Archive) -> None:
    kept.move(10)
    surplus = kept.move(20, truncate=False)
    surplus.write_bytes(b"whatever: nobody reads it")
    kept.reopen()
    check_whole(kept, "surplus")
    assert kept.store.prove_archive() == 1
    kept.archive.remove_surplus(kept.store.base())
    assert not surplus.exists()
    kept.move(25)
    check_whole(kept, "replaced")


def test_a_log_that_ends_before_its_archive_is_refused_until_the_loss_is_accepted(kept: Archive) -> None:
    kept.move(10)
    segment = kept.move(30, truncate=False)
    kept.store.close()
    connection = sqlite3.connect(kept.folder / "log" / "log.sqlite3")
    connection.execute("DELETE FROM log WHERE seq > 25")
    connection.commit()
    connection.close()
    (kept.folder / "log" / "tail").unlink()  # whoever put the database back put no witness back
    lost = SqliteStore(kept.folder / "log")
    with pytest.raises(LogDamaged, match=r"ends at record 25, but the archive holds record 30 .*5 record"):
        ArchivedStore(lost, kept.archive)
    accepting = ArchivedStore(lost, kept.archive, accept_loss=True)
    accepting.accept_end()
    accepting.close()
    assert not segment.exists() and segment.with_suffix(".lost").exists(), "nothing is thrown away"
    kept.open()
    del kept.records[25:]
    check_whole(kept, "accepted")


def test_a_segment_that_the_disk_does_not_keep_never_costs_the_log_its_records(
    kept: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = "log.archive_folder._write_synced"

    def forget(path: Path, data: bytes) -> None:
        path.write_bytes(data[:-1] + b"x")

    def refuse(path: Path, data: bytes) -> None:
        path.write_bytes(data[:7])
        raise OSError("No space left on device")

    harms: list[tuple[Callable[[Path, bytes], None], type[Exception]]] = [
        (forget, LogDamaged),
        (refuse, OSError),
    ]
    for harm, expected in harms:
        monkeypatch.setattr(written, harm)
        with pytest.raises(expected):
            kept.move(10)
        assert kept.store.held.base() == LogEnd()
    monkeypatch.undo()
    assert [path.name for path in (kept.folder / "archive").iterdir()] == [
        "0000000000000001-0000000000000010.log"
    ]
    kept.archive.remove_surplus(kept.store.base())
    kept.move(12)
    check_whole(kept, "after both")
