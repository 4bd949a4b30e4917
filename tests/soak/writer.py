"""The process that is killed: a core on a log, eight callers that write as fast as it answers.

Everything between the callers and the disk is the product's: transactions, the committer, group commit, the
store, the view. The n-th call of a caller has the same call id in every life, so a caller that goes on after
a kill sends again what may or may not have been committed, as a gateway would.

Told on the pipe, in this order: one `Started`, then one `Acknowledged` per call, AFTER it was answered.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from actors.core import Core
from cluster.stores import open_log_store
from functions.catalog import Catalog, load_catalog
from functions.snapshot import Row
from functions.transaction import Transaction
from log import limits, values
from log.committer import NANOSECONDS, CommitRequest
from log.record import CallTrace
from log.write_log import Conflict

CALLERS = 8
SHARED = CALLERS
"""The number of the counter that every fourth call of each caller increments."""

SHARED_EVERY = 4
PIECES_MAX = 4
PADDING_BYTES_MAX = 600
COUNTERS, PIECES = "counters", "pieces"
DEFECT_STATUS = 3
_ROWS_MAX = 1_000_000
_POLL_SECONDS = 0.0005
_RESENT_NS_MAX = limits.WRITE_WINDOW_SECONDS_MIN * NANOSECONDS // 2
"""Call ids are remembered for a time only: what is sent again after it runs again."""


@dataclass(frozen=True, slots=True)
class Orders:
    """One life. `last` is each caller's newest acknowledged call, (number, ts), (0, 0) when it has none;
    `pause` names the point to die at."""

    folder: Path
    log_url: str  # "" = SQLite in the folder
    seed: int
    last: tuple[tuple[int, int], ...]
    pause: str | None = None
    passes: int = 0


@dataclass(frozen=True, slots=True)
class Started:
    """The core is up. `counters` is what its view says the callers, and all of them together, have done."""

    counters: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    caller: int
    number: int
    ts: int


@dataclass(frozen=True, slots=True)
class CallName:
    """What the log keeps of a call beside its writes: enough to say whether all of it is there."""

    caller: int
    number: int
    pieces: int

    @property
    def call_id(self) -> bytes:
        return hashlib.blake2b(f"{self.caller}/{self.number}".encode(), digest_size=16).digest()

    @property
    def is_shared(self) -> bool:
        return (self.caller + self.number) % SHARED_EVERY == 0  # callers take turns, or all lose but one

    @property
    def writes(self) -> int:
        """Documents written by one such call: its pieces, its caller's counter, maybe the shared one."""
        return self.pieces + 1 + self.is_shared

    def encode(self) -> bytes:
        return f"{self.caller}/{self.number}/{self.pieces}".encode()

    @classmethod
    def decode(cls, encoded: bytes) -> CallName:
        return cls(*map(int, encoded.split(b"/")))


def live(pipe: Connection, orders: Orders) -> None:
    """Start, tell, write until killed."""
    asyncio.run(_live(pipe, orders))


def look(pipe: Connection, orders: Orders) -> None:
    """Start, tell what the view holds (document id -> bytes), and stop cleanly."""
    asyncio.run(_look(pipe, orders))


async def _live(pipe: Connection, orders: Orders) -> None:
    life = _Life(pipe, orders)
    await life.start()
    if orders.pause is not None:
        life.core.pauses.arm(orders.pause, orders.passes)
    await asyncio.gather(*map(life.write_forever, range(CALLERS)))


async def _look(pipe: Connection, orders: Orders) -> None:
    life = _Life(pipe, orders)
    await life.start()
    pipe.send(life.documents())
    await life.core.stop()


class _Life:
    """One core and its callers."""

    def __init__(self, pipe: Connection, orders: Orders) -> None:
        self._pipe, self._orders = pipe, orders
        self._chance = random.Random(orders.seed)
        store = open_log_store(orders.log_url, orders.folder / "log")
        self.core = Core(store, orders.folder / "views", time.time_ns, _stop_process)
        self._catalog: Catalog = None  # type: ignore[assignment]  # set by start, the same from then on
        self._counter_ids: list[str] = []

    async def start(self) -> None:
        await self.core.start()
        self._catalog = self._load_catalog()
        if COUNTERS not in self._catalog.tables:
            await self._create_counters()
        rows = self._rows(COUNTERS)
        documents: list[Any] = [values.loads_canonical(row.document) for row in rows]
        counters = sorted(documents, key=lambda counter: counter["caller"])
        self._counter_ids = [counter["_id"] for counter in counters]
        self._pipe.send(Started(tuple(int(counter["n"]) for counter in counters)))

    async def write_forever(self, caller: int) -> None:
        """Send the last acknowledged call again, then the one whose fate is unknown, then new ones."""
        number, ts = self._orders.last[caller]
        if ts < self.core.published_ts - _RESENT_NS_MAX:
            number += 1
        while True:
            ts = await self._call(CallName(caller, number, self._chance.randint(1, PIECES_MAX)))
            self._pipe.send(Acknowledged(caller, number, ts))
            number += 1

    def documents(self) -> dict[str, bytes]:
        """By id, as the view holds them."""
        return {
            str(values.loads_canonical(row.document)["_id"]): row.document  # type: ignore[index,call-overload]
            for table in (COUNTERS, PIECES)
            for row in self._rows(table)
        }

    # --- one call -----------------------------------------------------------------------------------

    async def _call(self, name: CallName) -> int:
        """Run it until it is admitted, as an executor would; the ts it was admitted at, now or before."""
        while True:
            transaction = self._begin()
            self._run(transaction, name)
            outcome = await self._commit(transaction, name.call_id, name.encode())
            if not isinstance(outcome, Conflict):
                return outcome
            while self.core.published_ts < outcome.ts:  # what it lost to may not be durable yet
                await asyncio.sleep(_POLL_SECONDS)

    def _run(self, transaction: Transaction, name: CallName) -> None:
        for piece in range(name.pieces):
            padding = "x" * self._chance.randrange(PADDING_BYTES_MAX)
            fields = {"caller": float(name.caller), "number": float(name.number), "piece": float(piece)}
            transaction.insert(PIECES, {**fields, "padding": padding})
        self._increment(transaction, name.caller)
        if name.is_shared:
            self._increment(transaction, SHARED)

    def _increment(self, transaction: Transaction, counter: int) -> None:
        table = self._catalog.tables[COUNTERS]
        row = transaction.get(table, self._counter_ids[counter])
        assert row is not None, "counters are never deleted"
        document: Any = values.loads_canonical(row.document)
        transaction.patch(table, document["_id"], {"n": document["n"] + 1})

    async def _create_counters(self) -> None:
        transaction = self._begin()
        for caller in range(CALLERS + 1):
            transaction.insert(COUNTERS, {"caller": float(caller), "n": 0.0})
        transaction.create_table(PIECES)
        await self._commit(transaction, b"the counters    ", b"")
        self._catalog = self._load_catalog()

    def _begin(self) -> Transaction:
        ts = self.core.published_ts
        snapshot = self.core.view_reader().snapshot(ts)
        return Transaction(snapshot, self._catalog, now_ms=ts / 1e6, random_bytes=self._chance.randbytes)

    async def _commit(self, transaction: Transaction, call_id: bytes, args: bytes) -> int | Conflict:
        trace = CallTrace(path="soak", args=args, seed=self._chance.randbytes(16))
        body = transaction.commit_body(call_id, trace)
        outcome = await self.core.commit(CommitRequest(transaction.reads, body, body.encode()))
        assert isinstance(outcome, int | Conflict), f"a call is committed or lost a race: {outcome}"
        return outcome

    def _rows(self, table: str) -> list[Row]:
        by_id = self._catalog.tables[table].by_id
        snapshot = self.core.view_reader().snapshot(self.core.published_ts)
        return snapshot.scan(by_id.index_id, b"", None, descending=False, limit=_ROWS_MAX)

    def _load_catalog(self) -> Catalog:
        return load_catalog(self.core.view_reader().snapshot(self.core.published_ts))


def _stop_process(failure: BaseException) -> None:
    print(f"the core stopped itself: {failure!r}", flush=True)
    os._exit(DEFECT_STATUS)
