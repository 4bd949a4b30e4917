"""Everything that can break between the log's writer and its PostgreSQL server, and both of them.

A batch is in the log once and acknowledged, or not in it and its writer stops. The twin is a list.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time

import pytest

from log import limits
from log.errors import BackendError
from log.postgres_store import WRITER_NAME, PostgresStore
from log.record import CHAIN_START_CRC, LogRun, Record
from log.store import EpochLost, end_of

from ..support.postgres import BEGIN, COMMIT, Cut, PostgresServer, Wire, append, in_thread, served

KILLS = 20
_WRITER = """
import sys
from log.postgres_store import PostgresStore
from log.record import RecordKind, make_record
store = PostgresStore(sys.argv[1])
epoch, end, batch = store.claim_epoch(), store.end(), []
crc, seq = end.crc, end.seq
while True:
    seq += 1
    batch.append(make_record(crc, seq, seq, epoch, RecordKind.COMMIT, b"body-%d" % seq))
    crc = batch[-1].crc
    if len(batch) == 3:
        store.append_and_sync(epoch, batch)
        batch = []
        print(seq, flush=True)
"""


# --- what was archived ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER], ids=lambda cut: cut.name)
@pytest.mark.parametrize("word", [BEGIN, COMMIT], ids=["begin", "commit"])
def test_a_truncation_whose_connection_broke_is_done_once(
    log_url: str, store: PostgresStore, wire: Wire, word: bytes, cut: Cut
) -> None:
    epoch = store.claim_epoch()
    records = append(store, epoch, 6)
    wire.arm(word, cut)
    store.truncate(epoch, end_of(records[3]))
    assert wire.reached.is_set()
    assert store.base() == end_of(records[3])
    records += append(store, epoch, 1)
    assert served(log_url) == records[4:]


def test_a_batch_behind_a_base_whose_connection_broke_is_in_the_log_once(
    postgres: PostgresServer, log_url: str, schema: str, store: PostgresStore, wire: Wire
) -> None:
    """Also where the operator gave up everything behind the base."""
    records = append(store, epoch := store.claim_epoch(), 6)
    store.truncate(epoch, end_of(records[3]))
    postgres.run(f"UPDATE {schema}.log SET body = 'other' WHERE seq = 5")
    accepting = PostgresStore(log_url, accept_loss=True)
    assert accepting.end() == end_of(records[3])
    accepting.accept_end()
    accepting.close()
    again = PostgresStore(postgres.url(schema, port=wire.port))
    epoch = again.claim_epoch()
    wire.arm(COMMIT, Cut.BEFORE)
    appended = append(again, epoch, 2)
    again.close()
    assert served(log_url) == appended


def test_a_claim_sees_what_a_predecessor_archived_after_we_opened(log_url: str, store: PostgresStore) -> None:
    epoch = store.claim_epoch()
    records = append(store, epoch, 3)
    successor = PostgresStore(log_url)
    records += append(store, epoch, 5)
    store.truncate(epoch, end_of(records[5]))
    epoch = successor.claim_epoch()
    assert successor.base() == end_of(records[5]) and successor.end() == end_of(records[7])
    appended = append(successor, epoch, 1)
    successor.close()
    assert served(log_url) == [*records[6:], *appended]


# --- a connection that breaks -------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER], ids=lambda cut: cut.name)
@pytest.mark.parametrize("word", [BEGIN, COMMIT], ids=["begin", "commit"])
def test_a_batch_whose_connection_broke_is_in_the_log_once(
    log_url: str, store: PostgresStore, wire: Wire, word: bytes, cut: Cut
) -> None:
    epoch = store.claim_epoch()
    records = append(store, epoch, 2)
    wire.arm(word, cut)
    records += append(store, epoch, 3)
    assert wire.reached.is_set()
    records += append(store, epoch, 1)
    assert served(log_url) == records


@pytest.mark.parametrize("word", [BEGIN, COMMIT], ids=["begin", "commit"])
def test_a_batch_whose_session_was_ended_is_in_the_log_once(
    postgres: PostgresServer, log_url: str, store: PostgresStore, wire: Wire, word: bytes
) -> None:
    epoch = store.claim_epoch()
    records = append(store, epoch, 2)
    wire.arm(word, lambda: postgres.end_sessions(WRITER_NAME))
    records += append(store, epoch, 3)
    assert wire.reached.is_set()
    assert postgres.end_sessions(WRITER_NAME), "between two appends, too"
    records += append(store, epoch, 1)
    assert served(log_url) == records


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.AFTER], ids=lambda cut: cut.name)
def test_a_claim_whose_connection_broke_is_made_again(store: PostgresStore, wire: Wire, cut: Cut) -> None:
    before = store.claim_epoch()
    wire.arm(COMMIT, cut)
    epoch = store.claim_epoch()
    assert wire.reached.is_set() and epoch > before
    append(store, epoch, 1)


def test_a_batch_that_arrived_before_its_writer_was_replaced_is_acknowledged(
    log_url: str, store: PostgresStore, wire: Wire
) -> None:
    epoch = store.claim_epoch()
    records = append(store, epoch, 2)
    wire.arm(COMMIT, Cut.AFTER)
    wire.lets_in.clear()
    last = in_thread(append, store, epoch, 3)
    assert wire.reached.wait(10)
    successor = PostgresStore(log_url)
    later = append(successor, successor.claim_epoch(), 2)
    wire.lets_in.set()
    records += last.result()  # type: ignore[arg-type]
    assert served(log_url) == records + later
    with pytest.raises(EpochLost):
        append(store, epoch, 1)
    successor.close()


def test_a_batch_that_did_not_arrive_before_its_writer_was_replaced_is_not_sent_again(
    log_url: str, store: PostgresStore, wire: Wire
) -> None:
    epoch = store.claim_epoch()
    records = append(store, epoch, 2)
    wire.arm(COMMIT, Cut.BEFORE)
    wire.lets_in.clear()
    last = in_thread(append, store, epoch, 3)
    assert wire.reached.wait(10)
    successor = PostgresStore(log_url)
    records += append(successor, successor.claim_epoch(), 2)
    wire.lets_in.set()
    with pytest.raises(EpochLost):
        last.result()
    assert served(log_url) == records
    successor.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_writer_whose_sessions_are_ended_at_random_writes_everything_once(
    postgres: PostgresServer, log_url: str, store: PostgresStore, seed: int
) -> None:
    rng = random.Random(seed)
    epoch, records = store.claim_epoch(), list[Record]()
    stop, ended = threading.Event(), list[int]()

    def end_sessions_at_random() -> None:
        while not stop.wait(rng.random() / 5):
            ended.extend(postgres.end_sessions(WRITER_NAME))

    ending = in_thread(end_sessions_at_random)
    try:
        while len(ended) < KILLS:
            records += append(store, epoch, rng.randrange(1, 8))
    finally:
        stop.set()
        ending.result()
    assert served(log_url) == records, seed


# --- a session that is stuck --------------------------------------------------------------------------


def test_a_stuck_session_of_a_lost_writer_does_not_keep_its_successor_out(
    postgres: PostgresServer, log_url: str, store: PostgresStore, wire: Wire
) -> None:
    """A real one: locked, inserted, and its COMMIT lost on a connection that nobody knows to be dead."""
    epoch = store.claim_epoch()
    records = append(store, epoch, 2)
    wire.arm(COMMIT, Cut.HANG)
    last = in_thread(append, store, epoch, 3)
    assert wire.reached.wait(10)
    stuck = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
    assert postgres.run(stuck) == [(1,)]
    successor, began = PostgresStore(log_url), time.monotonic()
    appended = append(successor, successor.claim_epoch(), 1)
    assert time.monotonic() - began < 2 * limits.LOG_SERVER_LOCK_SECONDS_MAX
    assert postgres.run(stuck) == [(0,)]
    try:
        late = last.result()  # back before the successor had claimed: it was still the writer
    except EpochLost:
        late = []  # as a rule: it comes after the claim, and is fenced
    assert served(log_url) == records + late + appended
    successor.close()


def test_a_writer_ends_its_own_stuck_session_and_goes_on(
    log_url: str, store: PostgresStore, wire: Wire
) -> None:
    """Its side of the connection broke, the server's did not: the row is locked by our own past."""
    epoch = store.claim_epoch()
    wire.arm(COMMIT, Cut.HANG)
    last = in_thread(append, store, epoch, 3)
    assert wire.reached.wait(10)
    wire.forget_clients()
    assert last.result() == served(log_url)


def test_a_lock_of_somebody_else_is_named_and_not_broken(
    postgres: PostgresServer, log_url: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOG_SERVER_LOCK_SECONDS_MAX", 0.1)
    store = PostgresStore(log_url, away_seconds_max=0.3)
    with postgres.session("backup of mine") as operator, operator.transaction():
        operator.execute(f"SELECT * FROM {schema}.writer FOR UPDATE")
        with pytest.raises(BackendError, match=rf"locked by session {operator.info.backend_pid} \(backup of"):
            store.claim_epoch()
        assert operator.execute("SELECT 1").fetchone() == (1,)
    append(store, store.claim_epoch(), 1)
    store.close()


def test_a_databases_stricter_isolation_does_not_hide_what_a_lock_was_waited_for(
    postgres: PostgresServer, log_url: str, schema: str
) -> None:
    store = PostgresStore(f"{log_url}&options=-cdefault_transaction_isolation%3Dserializable")
    epoch = store.claim_epoch()
    with postgres.session() as other, other.transaction():
        other.execute(f"UPDATE {schema}.writer SET epoch = epoch + 1")
        waiting = in_thread(append, store, epoch, 1)
        time.sleep(0.3)
        assert not waiting.done()
    with pytest.raises(EpochLost):
        waiting.result()
    store.close()


# --- a server that is away ----------------------------------------------------------------------------


def test_a_crash_of_the_server_is_waited_for(
    postgres: PostgresServer, log_url: str, store: PostgresStore
) -> None:
    epoch, records = store.claim_epoch(), list[Record]()

    def crash() -> None:
        time.sleep(0.1)
        postgres.crash()
        time.sleep(0.3)
        postgres.start()

    crashed = in_thread(crash)
    while not crashed.done():
        records += append(store, epoch, 4)
    crashed.result()
    records += append(store, epoch, 4)
    assert served(log_url) == records


def test_a_server_away_for_too_long_is_an_error_that_says_so(postgres: PostgresServer, log_url: str) -> None:
    store = PostgresStore(log_url, away_seconds_max=0.5)
    records = append(store, epoch := store.claim_epoch(), 2)
    postgres.stop()
    try:
        with pytest.raises(BackendError, match=r"could not be used for 0\.5 s: .*refused") as away:
            append(store, epoch, 1)
        assert away.value.code == "LogServerAway"
        with pytest.raises(BackendError, match=r"could not be used: .*refused"):
            PostgresStore(log_url)
    finally:
        postgres.start()
    assert served(log_url) == records
    store.close()


# --- a process that is killed -------------------------------------------------------------------------


def test_a_writer_killed_again_and_again_loses_nothing_it_acknowledged(log_url: str) -> None:
    """Each life continues the log of the lives before it; `KILLS` of them take about ten seconds."""
    seed = 20261126
    rng = random.Random(seed)
    acknowledged = 0
    for life in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, log_url], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(rng.randrange(1, 30)):
            acknowledged = int(process.stdout.readline())
        time.sleep(rng.random() / 200)
        process.kill()
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
        process.wait()
        process.stdout.close()
        records = served(log_url)
        LogRun(tuple(records)).check(CHAIN_START_CRC)
        assert len(records) >= acknowledged and len(records) % 3 == 0, (seed, life)
