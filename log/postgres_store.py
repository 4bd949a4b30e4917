"""The log in a PostgreSQL database: for deployments whose disk may be lost, but whose database may not.

The only file that uses psycopg. One schema holds one log: `log` (the records), `writer` (one row: the epoch;
its row lock is the pen), `lost` (records an operator gave up), `base` (once records were archived: the last
of them). One server per schema: the newest claim wins. Its statements are in log/postgres_statements.py.

A commit's fate is unknown when the connection breaks before the server has answered. It is never guessed:
  1. connect again, waiting longer each time, up to `limits.LOG_SERVER_AWAY_SECONDS_MAX`;
  2. lock the writer row: whatever the lost session was doing has then either happened or never will;
  3. read the log's end: the batch is there (committed), or not (sent again, if the epoch is still ours).

A session that died with its machine may hold that lock until TCP notices. Whoever needs the lock and does
not get it within `limits.LOG_SERVER_LOCK_SECONDS_MAX` ends the sessions that hold it, if they are writers of
ours. That is always right: a claim makes them obsolete, and one that is not obsolete connects again.

Promises beyond log/store.py: a server that may lose what it acknowledged (`fsync` or `synchronous_commit`
off) is refused. What PostgreSQL cannot tell is that it was restored to an earlier state while no server of
ours ran; a view that is ahead of the log does.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from log import limits
from log import postgres_statements as sql
from log.committer import LogEnd
from log.errors import log_server_away, log_server_unfit
from log.invariant import InvariantViolation, invariant
from log.proven_log import end_after
from log.record import RECORD_FORMAT, Record, RecordKind
from log.store import EpochLost, LogDamaged, check_truncation

FORMAT_VERSION = sql.FORMAT_WITH_BASE
SCHEMA_DEFAULT = "tidelog"
WRITER_NAME = "tidelog writer"
"""`application_name` of the sessions that hold the pen: how a later one knows that it may end them."""

_READER_NAME = "tidelog reader"
_SCHEMA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_CONNECTION_DEFAULTS = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""A server whose machine is gone is noticed in seconds, not in a quarter of an hour."""

_AWAY = (psycopg.OperationalError, errors.ReadOnlySqlTransaction)
"""What passes: broken connections, a server that starts, a full disk, a primary that is no longer one."""

Connection = psycopg.Connection[tuple[Any, ...]]
_T = TypeVar("_T")


class PostgresStore:
    """See log/store.py for the promises. Opening proves the log whole, or raises LogDamaged.

    The pen (claims, appends) is one connection behind a lock: it may be used from any thread. Each reading
    has a connection of its own, and so disturbs no append.
    """

    def __init__(
        self,
        url: str,
        *,
        accept_loss: bool = False,
        away_seconds_max: float = limits.LOG_SERVER_AWAY_SECONDS_MAX,
    ) -> None:
        """`url` as libpq reads it, and `schema=...` among its parameters (default: tidelog)."""
        self._parameters, self._schema = _parse_url(url)
        self._away_seconds_max = away_seconds_max
        self._pen = threading.Lock()
        self._connection: Connection | None = None
        self._base = self._end = LogEnd()
        try:
            self._base = self._create_missing(self._connected())  # moves in _claim, truncate and base
            # Of what is proven or acknowledged; moves in _claim and append_and_sync.
            self._end = self._prove_from(self._base, accept_loss=accept_loss)
        except BaseException as failure:
            self.close()
            if isinstance(failure, psycopg.OperationalError):
                raise log_server_away(self._where, 0, _text(failure)) from failure
            if isinstance(failure, psycopg.Error):
                raise log_server_unfit(self._where, _text(failure)) from failure
            raise

    def claim_epoch(self) -> int:
        with self._pen:
            return self._until_done(self._claim)

    def append_and_sync(self, epoch: int, records: Sequence[Record]) -> None:
        with self._pen:
            invariant(records[0].seq == self._end.seq + 1, "an append continues the log", end=self._end.seq)
            is_sent = False

            def append_once(connection: Connection) -> None:
                nonlocal is_sent
                if not is_sent or not self._has_arrived(connection, epoch, records):
                    is_sent = True
                    _append(connection, epoch, records)

            self._until_done(append_once)
            self._end = LogEnd(records[-1].seq, records[-1].ts, records[-1].crc)

    def truncate(self, epoch: int, end: LogEnd) -> None:
        def truncate_once(connection: Connection) -> None:
            _check_epoch(_one(connection.execute(sql.LOCK_EPOCH)), epoch)
            if _read_base(connection) != end:  # else it was done, and the answer lost
                _truncate(connection, end, self._end)
            _check_epoch(_one(connection.execute(sql.READ_EPOCH)), epoch)

        with self._pen:
            self._until_done(truncate_once)
            self._base = end

    def base(self) -> LogEnd:
        """As it is now: one who only reads may be beside one who archives."""
        with self._pen:
            self._base = self._until_done(_read_base)
            return self._base

    def end(self) -> LogEnd:
        return self._end

    def read_from(self, seq: int) -> Iterator[Record]:
        """In steps that are bounded in records and in bytes; a lost connection continues where it broke."""
        patience = _Patience(self._where, self._away_seconds_max)
        while True:
            try:
                with closing(self._connect(_READER_NAME)) as connection:
                    while rows := _read_step(connection, seq):
                        for row_seq, ts, epoch, kind, crc, body in rows:
                            yield Record(row_seq, ts, epoch, RecordKind(kind), crc, body)
                        seq = rows[-1][0] + 1
                        patience.renew()
                    return
            except psycopg.OperationalError as failure:
                patience.wait(_text(failure))

    def accept_end(self) -> None:
        """The operator goes on with what was proven: later records move to `lost`, and writers are fenced."""

        def give_up(connection: Connection) -> None:
            connection.execute(sql.LOCK_EPOCH)
            connection.execute(sql.GIVE_UP, (self._end.seq,))
            connection.execute(sql.CLAIM)

        with self._pen:
            self._until_done(give_up)

    def give_back_space(self) -> None:
        """Nothing to do: PostgreSQL's own vacuum does it in its time."""

    def close(self) -> None:
        with self._pen:
            self._disconnect()

    # --- the pen --------------------------------------------------------------------------------------

    def _claim(self, connection: Connection) -> int:
        connection.execute(sql.LOCK_EPOCH)
        self._base = _read_base(connection)
        # What a predecessor appended since we opened, if it has not archived that too.
        self._end = self._prove_from(self._base if self._base.seq > self._end.seq else self._end)
        epoch: int = _one(connection.execute(sql.CLAIM))
        return epoch

    def _has_arrived(self, connection: Connection, epoch: int, records: Sequence[Record]) -> bool:
        """After a lost connection: is the batch in the log? If not, may it be sent again?"""
        held = _one(connection.execute(sql.LOCK_EPOCH))
        rows = connection.execute(sql.READ_SEQS, (self._end.seq, len(records) + 1)).fetchall()
        has_records = self._end.seq > self._base.seq
        if has_records and rows[:1] != [(self._end.seq, self._end.crc)]:
            raise LogDamaged(
                f"The log in {self._where} has lost record {self._end.seq}, which was acknowledged: the "
                "server was restored, or replaced by one that is behind. Bring back the one that has it."
            )
        behind_end = rows[1:] if has_records else rows
        if behind_end == [(record.seq, record.crc) for record in records]:
            return True
        _check_epoch(held, epoch)
        invariant(not behind_end, "nobody else appends in our epoch", epoch=epoch, found=behind_end[:1])
        return False

    def _until_done(self, attempt: Callable[[Connection], _T]) -> _T:
        """Attempt, in one transaction each, until the server was there from beginning to end."""
        patience = _Patience(self._where, self._away_seconds_max)
        while True:
            try:
                connection = self._connected()
                done = attempt(connection)
                connection.commit()
                return done
            except BaseException as failure:
                self._disconnect()  # and with it the transaction, whatever became of it
                if not isinstance(failure, _AWAY):
                    raise
                is_locked = isinstance(failure, errors.LockNotAvailable)
                patience.wait(self._end_holders() if is_locked else _text(failure))

    def _end_holders(self) -> str:
        """End the writers of ours that hold the writer row; says who stood in the way."""
        try:
            with closing(self._connect(_READER_NAME)) as connection:
                holders = connection.execute(sql.END_HOLDERS, (WRITER_NAME,)).fetchall()
        except psycopg.OperationalError as failure:
            return _text(failure)
        named = ", ".join(f"{pid} ({name or 'of another user'})" for pid, name, _ in holders)
        return f"the writer row is locked by session {named or 'unknown'}"

    # --- connections ----------------------------------------------------------------------------------

    @property
    def _where(self) -> str:
        """For texts: everything of the URL but the credentials."""
        known = self._parameters
        host, port = known.get("host") or "the default host", known.get("port") or "5432"
        return f"PostgreSQL at {host}:{port}, database {known.get('dbname', '')}, schema {self._schema}"

    def _connected(self) -> Connection:
        """The pen's connection, made anew where it was lost. Whatever it is told is in a transaction."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect(WRITER_NAME)
            self._connection.autocommit = False
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connect(self, application_name: str) -> Connection:
        """A session that commits only what is on disk; a server that cannot is refused."""
        connection = psycopg.connect(
            **{**self._parameters, "application_name": application_name}, autocommit=True
        )
        try:
            # NOT the database's default: after waiting for a lock, a statement must see what its holder did.
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            lock_timeout = f"{limits.LOG_SERVER_LOCK_SECONDS_MAX}s"
            session = connection.execute(sql.PREPARE_SESSION, (self._schema, lock_timeout)).fetchone()
            assert session is not None
            _, _, synchronous_commit, fsync, is_standby = session
            for setting, value in (("fsync", fsync), ("synchronous_commit", synchronous_commit)):
                if value == "off":
                    raise log_server_unfit(
                        self._where,
                        f"{setting} is off, so that it may lose what it has acknowledged. Set {setting} = on",
                    )
            if is_standby:
                raise psycopg.OperationalError("it is a standby, which takes no writes; name the primary")
        except BaseException:
            connection.close()
            raise
        return connection

    def _create_missing(self, connection: Connection) -> LogEnd:
        """On the first start the tables; later only a look at their format. Returns the base."""
        if not _one(connection.execute(sql.HAS_TABLES)):
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (self._schema,))
            if not _one(connection.execute(sql.HAS_SCHEMA, (self._schema,))):
                connection.execute(f'CREATE SCHEMA "{self._schema}"')
            if not _one(connection.execute(sql.HAS_TABLES)):  # another server may have started at once
                connection.execute(sql.TABLES)
        version = _one(connection.execute(sql.READ_FORMAT))
        if version > FORMAT_VERSION:
            raise LogDamaged(
                f"The log in {self._where} has format {version}; this Tidelog reads formats up to "
                f"{FORMAT_VERSION}. Start it with the newer Tidelog that wrote it."
            )
        base = _read_base(connection)
        connection.commit()
        return base

    # --- proof ----------------------------------------------------------------------------------------

    def _prove_from(self, end: LogEnd, *, accept_loss: bool = False) -> LogEnd:
        """Read every record behind `end`: dense, ordered, chained. The first that is not is named."""
        try:
            for record in self.read_from(end.seq + 1):
                end = end_after(end, record)
        except (InvariantViolation, psycopg.InternalError, ValueError) as failure:
            if not accept_loss:
                raise LogDamaged(
                    f"The log in {self._where} is damaged after record {end.seq}: {failure}. Restore the "
                    "database from a backup, or back it up as it is and run `tidelog verify --accept-loss` "
                    f"to continue from record {end.seq}."
                ) from failure
        return end


class _Patience:
    """How long to wait for a server that is away: ever longer, and not for ever."""

    def __init__(self, where: str, seconds_max: float) -> None:
        self._where, self._seconds_max = where, seconds_max
        self.renew()

    def renew(self) -> None:
        """It is there again."""
        self._away_since: float | None = None
        self._pause_seconds = limits.LOG_SERVER_RETRY_SECONDS_FIRST

    def wait(self, why: str) -> None:
        now = time.monotonic()
        self._away_since = now if self._away_since is None else self._away_since
        if now + self._pause_seconds - self._away_since > self._seconds_max:
            raise log_server_away(self._where, self._seconds_max, why)
        time.sleep(self._pause_seconds)
        self._pause_seconds = min(2 * self._pause_seconds, limits.LOG_SERVER_RETRY_SECONDS_MAX)


def _append(connection: Connection, epoch: int, records: Sequence[Record]) -> None:
    """In one round trip; the COMMIT, which is sent only after the checks, is the other."""
    columns = (
        [record.seq for record in records],
        [record.ts for record in records],
        [record.epoch for record in records],
        [int(record.kind) for record in records],
        [RECORD_FORMAT] * len(records),
        [record.crc for record in records],
        [record.body for record in records],
    )
    with connection.pipeline():
        first = connection.execute(sql.LOCK_EPOCH)
        connection.execute(sql.INSERT, (*columns, epoch))
        last = connection.execute(sql.READ_EPOCH)  # again as the last statement (design D5)
    for answer in (first, last):
        _check_epoch(_one(answer), epoch)


def _read_base(connection: Connection) -> LogEnd:
    if _one(connection.execute(sql.READ_FORMAT)) < sql.FORMAT_WITH_BASE:
        return LogEnd()
    return _read_end(connection.execute(sql.READ_BASE)) or LogEnd()


def _truncate(connection: Connection, end: LogEnd, log_end: LogEnd) -> None:
    found = _read_end(connection.execute(sql.READ_END_AT, (end.seq,)))
    check_truncation(_read_base(connection), end, log_end, found)
    connection.execute(sql.MAKE_BASE)
    connection.execute(sql.SET_BASE, (end.seq, end.ts, end.crc))
    connection.execute(sql.SET_FORMAT)
    connection.execute(sql.TRUNCATE, (end.seq,))


def _read_end(cursor: psycopg.Cursor[tuple[Any, ...]]) -> LogEnd | None:
    row = cursor.fetchone()
    return LogEnd(*row) if row is not None else None


def _check_epoch(held: int, epoch: int) -> None:
    if held != epoch:
        raise EpochLost(f"epoch {epoch} was taken over by epoch {held}")


def _text(failure: psycopg.Error) -> str:
    """The first line of what the server or libpq says, for the middle of a sentence."""
    return (str(failure).splitlines() or [type(failure).__name__])[0].rstrip(".")


def _read_step(connection: Connection, seq: int) -> list[tuple[Any, ...]]:
    bounds = (seq, limits.LOG_SERVER_READ_RECORDS_PER_STEP, limits.LOG_SERVER_READ_BYTES_PER_STEP)
    return connection.execute(sql.READ_STEP, bounds, binary=True).fetchall()


def _one(cursor: psycopg.Cursor[tuple[Any, ...]]) -> Any:
    """The only value of the only row."""
    row = cursor.fetchone()
    invariant(row is not None, "the log's schema holds its one writer row")
    return row[0]  # type: ignore[index]


def _parse_url(url: str) -> tuple[dict[str, Any], str]:
    """Connection parameters for libpq, and the schema, which libpq does not know."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query)
    schema = dict(query).get("schema", SCHEMA_DEFAULT)
    known = "&".join(f"{name}={quote(value)}" for name, value in query if name != "schema")
    try:
        given = conninfo_to_dict(urlunsplit(parts._replace(query=known)))
    except psycopg.ProgrammingError as failure:
        raise log_server_unfit("PostgreSQL", f"the URL cannot be read: {_text(failure)}") from failure
    if not _SCHEMA_NAME.fullmatch(schema):
        raise log_server_unfit("PostgreSQL", f"{schema!r} cannot be the name of a schema")
    return {**_CONNECTION_DEFAULTS, **given}, schema
