"""The log in a real PostgreSQL server: the contract, threads, refusals. (Faults: test_postgres_faults.py)"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from log import limits
from log.errors import BackendError
from log.postgres_store import PostgresStore
from log.record import Record
from log.store import EpochLost, LogDamaged, LogStore

from ..contracts.log_store_contract import LogStoreContract, make_records
from ..support.postgres import BEGIN, Cut, PostgresServer, Wire, append, in_thread, served


class TestPostgresStore(LogStoreContract):
    @pytest.fixture(autouse=True)
    def _log(self, postgres: PostgresServer, log_url: str) -> Iterator[None]:
        self.url, self.stores = log_url, list[PostgresStore]()
        yield
        for store in self.stores:
            store.close()

    def open_store(self, folder: Path) -> LogStore:
        self.stores.append(PostgresStore(self.url))
        return self.stores[-1]


# --- a server that is there ---------------------------------------------------------------------------


def test_reopening_continues_where_it_ended(log_url: str, store: PostgresStore) -> None:
    epoch = store.claim_epoch()
    records = append(store, epoch, 4)
    again = PostgresStore(log_url)
    assert again.end() == store.end() and list(again.read_from(1)) == records
    assert again.claim_epoch() > epoch
    again.close()


def test_each_schema_is_a_log_of_its_own(
    postgres: PostgresServer, log_url: str, store: PostgresStore
) -> None:
    append(store, store.claim_epoch(), 2)
    assert served(postgres.url("Another")) == []
    assert len(served(log_url)) == 2


def test_a_claim_sees_what_a_predecessor_appended_after_we_opened(log_url: str, store: PostgresStore) -> None:
    successor = PostgresStore(log_url)
    records = append(store, store.claim_epoch(), 3)
    epoch = successor.claim_epoch()
    assert successor.end().crc == records[-1].crc
    append(successor, epoch, 1)
    with pytest.raises(EpochLost):
        append(store, epoch - 1, 1)
    successor.close()


def test_readers_in_other_threads_see_a_growing_prefix_beside_the_writer(store: PostgresStore) -> None:
    epoch = store.claim_epoch()
    written = in_thread(lambda: [record for _ in range(20) for record in append(store, epoch, 5)])
    seen: list[list[Record]] = []
    while not written.done():
        seen.append(list(store.read_from(1)))
    records: list[Record] = written.result()  # type: ignore[assignment]
    assert len(seen) > 1 and list(store.read_from(1)) == records
    assert all(some == records[: len(some)] for some in seen)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_reading_in_bounded_steps_over_lost_connections_gives_every_record_once(
    monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer, store: PostgresStore, seed: int
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(limits, "LOG_SERVER_READ_RECORDS_PER_STEP", rng.randrange(1, 6))
    monkeypatch.setattr(limits, "LOG_SERVER_READ_BYTES_PER_STEP", rng.randrange(1, 60))
    epoch = store.claim_epoch()
    records = append(store, epoch, 30)
    found = []
    for record in store.read_from(first := rng.randrange(1, 10)):
        found.append(record)
        if rng.random() < 0.2:
            postgres.end_sessions("tidelog reader")
    assert found == records[first - 1 :], seed


def test_claims_at_the_same_time_give_different_epochs(log_url: str) -> None:
    stores = [PostgresStore(log_url) for _ in range(4)]
    claims = [in_thread(store.claim_epoch) for store in stores for _ in range(5)]
    epochs = [claim.result() for claim in claims]
    assert len(set(epochs)) == len(epochs) == 20
    for store in stores:
        store.close()


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("harm", "undo", "setting"),
    [
        ("ALTER SYSTEM SET fsync = off", "ALTER SYSTEM RESET fsync", "fsync"),
        (
            "ALTER DATABASE postgres SET synchronous_commit = off",
            "ALTER DATABASE postgres RESET synchronous_commit",
            "synchronous_commit",
        ),
    ],
)
def test_a_server_that_may_lose_what_it_acknowledged_is_refused(
    postgres: PostgresServer, log_url: str, harm: str, undo: str, setting: str
) -> None:
    def set_to(value: str, statement: str) -> None:
        postgres.run(statement)
        postgres.run("SELECT pg_reload_conf()")
        while postgres.run(f"SHOW {setting}") != [(value,)]:
            time.sleep(0.02)

    set_to("off", harm)
    try:
        with pytest.raises(BackendError, match=f"{setting} is off.*Set {setting} = on") as refusal:
            PostgresStore(log_url)
        assert refusal.value.code == "LogServerUnfit"
    finally:
        set_to("on", undo)
    PostgresStore(log_url).close()


def test_a_session_stays_durable_when_the_server_is_told_otherwise(
    postgres: PostgresServer, store: PostgresStore
) -> None:
    epoch = store.claim_epoch()
    postgres.run("ALTER SYSTEM SET synchronous_commit = off")
    try:
        postgres.run("SELECT pg_reload_conf()")
        while postgres.run("SHOW synchronous_commit") != [("off",)]:
            time.sleep(0.02)
        append(store, epoch, 1)
        session = store._connection
        assert session is not None
        assert session.execute("SHOW synchronous_commit").fetchone() == ("on",)
        session.rollback()
    finally:
        postgres.run("ALTER SYSTEM RESET synchronous_commit")
        postgres.run("SELECT pg_reload_conf()")


def test_a_database_that_takes_no_writes_for_now_is_waited_for(log_url: str, store: PostgresStore) -> None:
    url = f"{log_url}&options=-cdefault_transaction_read_only%3Don"
    waiting = PostgresStore(url, away_seconds_max=0.1)
    with pytest.raises(BackendError, match=r"for 0\.1 s: .*read-only transaction") as away:
        waiting.claim_epoch()
    assert away.value.code == "LogServerAway"
    waiting.close()


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        ("DELETE FROM log WHERE seq = 4", "no holes"),
        ("UPDATE log SET body = 'other' WHERE seq = 4", "crc of its content"),
        ("UPDATE log SET crc = crc # 1 WHERE seq = 4", "crc of its content"),
        ("UPDATE log SET kind = 77 WHERE seq = 4", "77"),
        ("UPDATE log SET ts = 0 WHERE seq = 4", "only grows"),
    ],
)
def test_a_damaged_record_is_named_and_what_is_whole_can_be_gone_on_with(
    postgres: PostgresServer, log_url: str, schema: str, store: PostgresStore, harm: str, why: str
) -> None:
    records = append(store, store.claim_epoch(), 6)
    postgres.run(harm.replace("log", f"{schema}.log", 1))
    with pytest.raises(LogDamaged, match=rf"damaged after record 3: .*{why}.*verify --accept-loss"):
        PostgresStore(log_url)
    accepting = PostgresStore(log_url, accept_loss=True)
    accepting.accept_end()
    accepting.close()
    assert served(log_url) == records[:3]
    assert postgres.run(f"SELECT max(seq) FROM {schema}.lost") == [(6,)], "what was given up is kept aside"
    with pytest.raises(EpochLost):
        store.append_and_sync(records[0].epoch, make_records(store.end(), 1))


def test_a_server_put_back_to_an_earlier_state_under_a_writer_is_refused(
    postgres: PostgresServer, schema: str, store: PostgresStore, wire: Wire
) -> None:
    epoch = store.claim_epoch()
    append(store, epoch, 5)
    postgres.run(f"DELETE FROM {schema}.log WHERE seq > 3")
    wire.arm(BEGIN, Cut.BEFORE)
    with pytest.raises(LogDamaged, match="has lost record 5, which was acknowledged"):
        append(store, epoch, 1)


def test_a_log_of_a_newer_format_is_refused(
    postgres: PostgresServer, log_url: str, schema: str, store: PostgresStore
) -> None:
    postgres.run(f"UPDATE {schema}.writer SET format = 9")
    with pytest.raises(LogDamaged, match="has format 9; this Tidelog reads formats up to 2"):
        PostgresStore(log_url)


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (("/postgres?", "/nowhere?"), 'database "nowhere" does not exist'),
        (("schema=", "schema=no-"), "cannot be the name of a schema"),
        (("schema=", "colour=red&schema="), 'invalid URI query parameter: "colour"'),
    ],
)
def test_a_wrong_url_is_refused_without_its_password(log_url: str, harm: tuple[str, str], why: str) -> None:
    with pytest.raises(BackendError, match=why) as refusal:
        PostgresStore(log_url.replace(*harm).replace("postgres@", "postgres:hunter2@"))
    assert "hunter2" not in str(refusal.value)
