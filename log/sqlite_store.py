"""The default log store: one SQLite file in WAL mode with synchronous=FULL.

Layout of the folder: `log.sqlite3` (+ `-wal`, `-shm`), `tail` (the witness), `lock` (flock: refuses a
second server on one folder; it does not fence, the epoch row does).

The *witness* exists because every prefix of a chained log is valid: a database that lost its end opens
without a complaint. After each sync the writer overwrites 16 bytes with the last seq and crc. They are
never synced and always written after the log, so they are never ahead of it; when they are, the log lost
acknowledged records and opening refuses.

A log whose first records were archived has the table `base` and the format that says so: an older Tidelog,
which would take the missing records for a loss, refuses to open it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from log.committer import LogEnd
from log.invariant import InvariantViolation
from log.proven_log import end_after
from log.record import RECORD_FORMAT, Record, RecordKind, chain_crc
from log.sqlite_wal import inspect_wal
from log.store import EpochLost, LogDamaged, check_truncation

LOG_FILE = "log.sqlite3"
FORMAT_VERSION = 2
_FORMAT_WHOLE, _FORMAT_WITH_BASE = 1, 2
_Row = tuple[int, int, int, int, int, bytes]  # seq, ts, epoch, kind, crc, body
_KINDS = frozenset(int(kind) for kind in RecordKind)
_WITNESS = struct.Struct(">QII")  # seq, crc, crc32 of the two before
WITNESS_BYTES = _WITNESS.size

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
  seq INTEGER PRIMARY KEY, ts INTEGER NOT NULL, epoch INTEGER NOT NULL, kind INTEGER NOT NULL,
  format INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS writer (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL);
INSERT OR IGNORE INTO writer VALUES (1, 0);
"""
_MAKE_BASE = """
CREATE TABLE IF NOT EXISTS base (
  id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, ts INTEGER NOT NULL, crc INTEGER NOT NULL)
"""


class FolderInUse(Exception):
    """Another server holds this data folder."""


class SqliteStore:
    """See log/store.py for the promises. Opening proves the log whole, or raises LogDamaged."""

    def __init__(self, folder: Path, *, accept_loss: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_file = _hold_lock(folder / "lock")
        self._path = folder / LOG_FILE
        try:
            if not accept_loss:
                _refuse_stray_frames(folder / f"{LOG_FILE}-wal")
            self._connection = _open(self._path)
            self._base = read_base(self._query)  # moves in truncate
            self._witness = os.open(folder / "tail", os.O_RDWR | os.O_CREAT, 0o600)
            self._end = self._prove_whole(accept_loss=accept_loss)
            if not accept_loss:
                self._refuse_missing_tail()
        except BaseException:
            self._lock_file.close()
            raise

    def claim_epoch(self) -> int:
        with self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            (epoch,) = connection.execute(
                "UPDATE writer SET epoch = max(epoch, (SELECT coalesce(max(epoch), 0) FROM log)) + 1 "
                "WHERE id = 1 RETURNING epoch"
            ).fetchone()
        return epoch

    def append_and_sync(self, epoch: int, records: Sequence[Record]) -> None:
        last = records[-1]
        with self._fenced(epoch) as connection:
            connection.executemany(
                "INSERT INTO log VALUES (?,?,?,?,?,?,?)",
                [(r.seq, r.ts, r.epoch, int(r.kind), RECORD_FORMAT, r.crc, r.body) for r in records],
            )
        # AFTER the sync, so that the witness is never ahead of the log.
        os.pwrite(self._witness, _witness_bytes(last.seq, last.crc), 0)
        self._end = LogEnd(last.seq, last.ts, last.crc)

    def truncate(self, epoch: int, end: LogEnd) -> None:
        with _disk_refusals(), self._fenced(epoch) as connection:
            found = connection.execute("SELECT seq, ts, crc FROM log WHERE seq = ?", (end.seq,)).fetchone()
            check_truncation(self._base, end, self._end, LogEnd(*found) if found is not None else None)
            connection.execute(_MAKE_BASE)
            connection.execute("INSERT OR REPLACE INTO base VALUES (1, ?, ?, ?)", (end.seq, end.ts, end.crc))
            connection.execute(f"PRAGMA user_version={_FORMAT_WITH_BASE}")
            connection.execute("DELETE FROM log WHERE seq <= ?", (end.seq,))
        self._base = end

    def base(self) -> LogEnd:
        return self._base

    def end(self) -> LogEnd:
        return self._end

    def read_from(self, seq: int) -> Iterator[Record]:
        for row_seq, ts, epoch, kind, crc, body in self._rows_from(seq):
            yield Record(row_seq, ts, epoch, RecordKind(kind), crc, body)

    def _rows_from(self, seq: int) -> Iterator[_Row]:
        """One at a time: a record may be as large as a commit can be."""
        yield from self._connection.execute(
            "SELECT seq, ts, epoch, kind, crc, body FROM log WHERE seq >= ? ORDER BY seq", (seq,)
        )

    def accept_end(self) -> None:
        """The operator goes on without what is missing: the witness says what there is."""
        os.pwrite(self._witness, _witness_bytes(self._end.seq, self._end.crc), 0)

    def give_back_space(self) -> None:
        """Write what is left anew. Takes as much room again while it lasts."""
        with _disk_refusals():
            self._connection.execute("VACUUM")

    def close(self) -> None:
        self._connection.close()
        os.close(self._witness)
        self._lock_file.close()

    @contextmanager
    def _fenced(self, epoch: int) -> Iterator[sqlite3.Connection]:
        """One transaction of this epoch's holder: synced when it ends, and undone when it fails."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._check_epoch(epoch)
            yield connection
            self._check_epoch(epoch)  # again as the last statement (design D5)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _query(self, statement: str) -> list[tuple]:
        try:
            return self._connection.execute(statement).fetchall()
        except sqlite3.DatabaseError as failure:
            raise LogDamaged(
                f"The log {self._path} cannot be read: {failure}. Restore the data folder from a backup."
            ) from failure

    def _check_epoch(self, epoch: int) -> None:
        (held,) = self._connection.execute("SELECT epoch FROM writer WHERE id = 1").fetchone()
        if held != epoch:
            raise EpochLost(f"epoch {epoch} was taken over by epoch {held}")

    def _prove_whole(self, *, accept_loss: bool) -> LogEnd:
        """Read every record behind the base: dense, ordered, chained. The first that is not is named, or,
        when the operator accepts the loss, set aside with all behind it.

        A start waits for this, so the loop makes no objects: it costs a third of reading Records.
        """
        seq, ts, crc = self._base.seq, self._base.ts, self._base.crc
        try:
            for row_seq, row_ts, epoch, kind, row_crc, body in self._rows_from(0):
                is_in_place = row_seq == seq + 1 and row_ts > ts and kind in _KINDS
                if not is_in_place or row_crc != chain_crc(crc, row_seq, row_ts, epoch, kind, body):
                    record = Record(row_seq, row_ts, epoch, RecordKind(kind), row_crc, body)
                    end_after(LogEnd(seq, ts, crc), record)  # says what is wrong
                seq, ts, crc = row_seq, row_ts, row_crc
        except (InvariantViolation, sqlite3.DatabaseError, ValueError, TypeError, struct.error) as failure:
            if accept_loss and not isinstance(failure, sqlite3.DatabaseError):
                self._set_aside(seq)
                return LogEnd(seq, ts, crc)
            raise LogDamaged(
                f"The log {self._path} is damaged after record {seq}: {failure}. "
                "Restore the data folder from a backup, or copy it and run `tidelog verify --accept-loss` "
                f"to continue from record {seq}."
            ) from failure
        return LogEnd(seq, ts, crc)

    def _set_aside(self, last_seq: int) -> None:
        """Move what follows into the table `lost`: it proves nothing, but somebody may want to read it."""
        with self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE IF NOT EXISTS lost AS SELECT * FROM log WHERE 0")
            connection.execute("INSERT INTO lost SELECT * FROM log WHERE seq > ?", (last_seq,))
            connection.execute("DELETE FROM log WHERE seq > ?", (last_seq,))

    def _refuse_missing_tail(self) -> None:
        refuse_missing_tail(self._path, os.pread(self._witness, WITNESS_BYTES, 0), self._end.seq)


def refuse_missing_tail(path: Path, witness: bytes, last_seq: int) -> None:
    """Raise LogDamaged unless the log, which ends at `last_seq`, has all that the witness knows of."""
    if len(witness) != WITNESS_BYTES:
        return  # a new folder, or the witness was never written
    seq, crc, check = _WITNESS.unpack(witness)
    if witness != _witness_bytes(seq, crc):
        raise LogDamaged(
            f"The witness {path.parent / 'tail'} is damaged (check {check}): it cannot prove that "
            f"the log, which ends at record {last_seq}, is complete. Restore the data folder from "
            "a backup, or run `tidelog verify --accept-loss`."
        )
    if seq > last_seq:
        raise LogDamaged(
            f"The log {path} ends at record {last_seq}, but record {seq} was acknowledged: "
            f"{seq - last_seq} record(s) are missing. Restore the data folder from a backup, or "
            f"run `tidelog verify --accept-loss` to continue from record {last_seq}."
        )


def _witness_bytes(seq: int, crc: int) -> bytes:
    return _WITNESS.pack(seq, crc, zlib.crc32(struct.pack(">QI", seq, crc)))


@contextmanager
def _disk_refusals() -> Iterator[None]:
    """For operators' work, which may fail and be done again: what the disk refuses is an OSError."""
    try:
        yield
    except sqlite3.OperationalError as failure:
        raise OSError(f"SQLite says: {failure}") from failure


def read_base(query: Callable[[str], list[tuple]]) -> LogEnd:
    """The base of the log that `query` asks; that of a whole log is its beginning."""
    ((version,),) = query("PRAGMA user_version")
    if version < _FORMAT_WITH_BASE:
        return LogEnd()
    rows = query("SELECT seq, ts, crc FROM base")
    if len(rows) != 1:
        raise LogDamaged("The log does not say where it begins. Restore the data folder from a backup.")
    return LogEnd(*rows[0])


def _hold_lock(path: Path) -> IO[str]:
    lock_file = path.open("w")
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock_file.close()
        raise FolderInUse(f"Another Tidelog server uses the data folder {path.parent}.") from None
    return lock_file


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    os.chmod(path, 0o600)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > FORMAT_VERSION:
        raise LogDamaged(
            f"The log {path} has format {version}; this Tidelog reads formats up to {FORMAT_VERSION}. "
            "Start it with the newer Tidelog that wrote it."
        )
    connection.executescript(_SCHEMA)
    if version < _FORMAT_WHOLE:
        connection.execute(f"PRAGMA user_version={_FORMAT_WHOLE}")
    return connection


def _refuse_stray_frames(wal: Path) -> None:
    report = inspect_wal(wal)
    if report.stray_frames:
        raise LogDamaged(
            f"The write-ahead log {wal} is damaged after frame {report.valid_frames}: "
            f"{report.stray_frames} later frame(s) would be dropped in silence. Restore the data folder "
            "from a backup, or run `tidelog verify --accept-loss` to go on without them."
        )
