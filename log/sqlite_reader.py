"""Reads the SQLite log of a server that may be running, or of a copied folder, and changes nothing.

Of a running server it is one more WAL reader: it sees what was committed, keeps nobody waiting, and lets go
after each step, which is bounded in records and in bytes, so that the server can go on reusing its
write-ahead log. Without a write-ahead log (the server was stopped) the file is opened as immutable, because
SQLite would otherwise make files beside it. The lock file is not opened; the witness is read, never written.

Promise: what is read is what was acknowledged, up to the end at that moment, or `LogDamaged`. Whether each
record is unchanged and in its place is proven by `log/proven_log.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from log import limits
from log.committer import LogEnd
from log.record import Record, RecordKind
from log.sqlite_store import FORMAT_VERSION, LOG_FILE, read_base, refuse_missing_tail
from log.store import LogDamaged

_Rows = list[tuple]
_ReadRows = Callable[[sqlite3.Cursor], _Rows]

_FIRST_PAGE_ROWS = 2
_PAGE_ROWS = 256
_WITNESS_READS_MAX = 3
_READ = "SELECT seq, ts, epoch, kind, crc, body FROM log WHERE seq >= ? ORDER BY seq LIMIT ?"
_END = "SELECT seq, ts, crc FROM log ORDER BY seq DESC LIMIT 1"


class LogMissing(Exception):
    """There is no log where one was looked for. The text says what to do."""


def check_log_exists(folder: Path) -> None:
    if not (folder / LOG_FILE).is_file():
        raise LogMissing(
            f"There is no log in {folder}. Name the server's data folder with --data (or TIDELOG_DATA)."
        )


class SqliteReader:
    """log.proven_log.RecordSource over one folder."""

    def __init__(self, folder: Path) -> None:
        check_log_exists(folder)
        self._path = folder / LOG_FILE
        self._wal = folder / "log.sqlite3-wal"
        self._open()
        try:
            self._check_format()
            self._refuse_missing_tail(folder / "tail")
        except BaseException:
            self.close()
            raise

    def base(self) -> LogEnd:
        """The last record that was archived until now."""
        return read_base(self._query)

    def end(self) -> LogEnd:
        """Where the log ends now."""
        rows = self._query(_END)
        return LogEnd(*rows[0]) if rows else self.base()

    def read_from(self, seq: int) -> Iterator[Record]:
        """Records with at least this seq, in order; those committed meanwhile included."""
        count = _FIRST_PAGE_ROWS  # whoever searches wants one or two
        while rows := self._query(_READ, seq, count, read=_read_step):
            for row_seq, ts, epoch, kind, crc, body in rows:
                yield Record(row_seq, ts, epoch, RecordKind(kind), crc, body)
            seq = rows[-1][0] + 1
            count = min(count * 4, _PAGE_ROWS)

    def close(self) -> None:
        self._connection.close()

    def _open(self) -> None:
        """With a write-ahead log as its reader; without one nothing but the file counts."""
        self._is_immutable = not self._wal.exists()
        mode = "immutable=1" if self._is_immutable else "mode=ro"
        uri = f"file:{quote(str(self._path.resolve()))}?{mode}"
        try:
            self._connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        except sqlite3.Error as failure:
            raise LogDamaged(f"The log {self._path} cannot be opened: {failure}.") from failure

    def _query(self, statement: str, *arguments: int, read: _ReadRows = sqlite3.Cursor.fetchall) -> _Rows:
        """What `read` takes of the rows: no read transaction outlives a call."""
        if self._is_immutable and self._wal.exists():  # a server was started meanwhile
            self.close()
            self._open()
        try:
            with closing(self._connection.execute(statement, arguments)) as cursor:
                return read(cursor)
        except sqlite3.Error as failure:
            raise LogDamaged(
                f"The log {self._path} cannot be read: {failure}. If its folder may not be written by you, "
                "copy it (with its -wal file) to one that may; otherwise stop the server and run "
                "`tidelog verify`."
            ) from failure

    def _check_format(self) -> None:
        ((version,),) = self._query("PRAGMA user_version")
        if version > FORMAT_VERSION:
            raise LogDamaged(
                f"The log {self._path} has format {version}; this Tidelog reads formats up to "
                f"{FORMAT_VERSION}. Read it with the newer Tidelog that wrote it."
            )

    def _refuse_missing_tail(self, witness: Path) -> None:
        """The witness is read BEFORE the end: a running server moves the end first, then the witness.
        Read in the middle of a move it looks damaged, so it is only believed when it stays so."""
        for attempt in range(_WITNESS_READS_MAX):
            known = witness.read_bytes() if witness.exists() else b""
            try:
                return refuse_missing_tail(self._path, known, self.end().seq)
            except LogDamaged:
                if attempt + 1 == _WITNESS_READS_MAX:
                    raise


def _read_step(cursor: sqlite3.Cursor) -> _Rows:
    """The next records, until their bodies reach the bound: a record may be as large as a transaction."""
    rows, bytes_left = [], limits.LOG_FILE_READ_BYTES_PER_STEP
    for row in cursor:
        rows.append(row)
        bytes_left -= len(row[-1])
        if bytes_left <= 0:
            break
    return rows
