"""Mutations that race: several executors' transactors over one real core, work written in Python.

The store can hold a sync back, so that what is admitted and what is durable come apart.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from actors.chain import Attempt, Done
from actors.core import Core
from actors.node_reader import NodeReader
from actors.runtime import ConnectionLost
from actors.transactor import Transactor
from cluster.local_runtime import DirectPeer
from functions.transaction import Transaction
from log import values
from log.committer import Admitted, CommitRequest
from log.errors import BackendError
from log.limits import MUTATION_ATTEMPTS_MAX
from log.record import CallTrace, Record
from log.store import MemoryStore

T = TypeVar("T")
PATIENCE_SECONDS = 30


class GatedStore(MemoryStore):
    """Syncs wait while the gate is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def append_and_sync(self, epoch: int, records: Sequence[Record]) -> None:
        assert self.gate.wait(PATIENCE_SECONDS), "the test forgot to open the gate"
        super().append_and_sync(epoch, records)


class World:
    """One core, some executors' worth of transactors, a table of counters."""

    def __init__(self, folder: Path, transactors: int) -> None:
        self.store = GatedStore()
        self.failures: list[BaseException] = []
        self.core = Core(self.store, folder / "views", time.time_ns, self.failures.append)
        self._transactors = [Transactor(NodeReader(), time.time_ns) for _ in range(transactors)]
        self.ids: dict[str, str] = {}

    async def start(self) -> None:
        await self.core.start()
        for transactor in self._transactors:
            peer = DirectPeer(self.core, lambda event, arguments: None)
            transactor._reader.attach(Path(await peer.call("locate")))
            transactor.connect(peer)

    async def stop(self) -> None:
        self.store.gate.set()
        await self.core.stop()
        assert self.failures == []

    def transactor(self, number: int = 0) -> Transactor:
        return self._transactors[number % len(self._transactors)]

    async def make_counters(self, *names: str) -> None:
        def insert(transaction: Transaction) -> None:
            for name in names:
                self.ids[name] = transaction.insert("counters", {"name": name, "count": 0.0})

        await self.run(insert)

    async def run(
        self,
        work: Callable[[Transaction], T],
        number: int = 0,
        *,
        source: str = "m.js:f",
        attempts_max: int = MUTATION_ATTEMPTS_MAX,
        arguments: bytes = b"",
    ) -> T:
        """Commit what `work` writes, as a mutation would."""

        def attempt_once(attempt: Attempt) -> Done[T]:
            result = work(attempt.transaction)
            return Done(result, CallTrace(path=source) if attempt.transaction.has_writes else None)

        transactor = self.transactor(number)
        result, _ts = await transactor.transact(source, os.urandom(16), attempts_max, attempt_once, arguments)
        return result

    def add(self, name: str, amount: float) -> Callable[[Transaction], float]:
        """Work that adds to a counter and returns what it is then."""

        def work(transaction: Transaction) -> float:
            count = self.read(transaction, name) + amount
            transaction.patch(transaction.catalog.tables["counters"], self.ids[name], {"count": count})
            return count

        return work

    def read(self, transaction: Transaction, name: str) -> float:
        row = transaction.get(transaction.catalog.tables["counters"], self.ids[name])
        assert row is not None
        document: dict[str, Any] = values.loads_canonical(row.document)  # type: ignore[assignment]
        return float(document["count"])


def play(folder: Path, scene: Callable[[World], Awaitable[None]], transactors: int = 2) -> None:
    """Run one scene in a world of its own."""

    async def whole() -> None:
        world = World(folder, transactors)
        await world.start()
        try:
            await asyncio.wait_for(scene(world), PATIENCE_SECONDS)
        finally:
            await world.stop()

    asyncio.run(whole())


def test_increments_of_one_counter_all_count_and_none_gives_up(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.make_counters("hot")
        counts = await asyncio.gather(*(world.run(world.add("hot", 1), number) for number in range(60)))
        assert sorted(counts) == [float(count) for count in range(1, 61)]

    play(tmp_path, scene)


def test_transfers_among_few_accounts_keep_the_sum_and_none_gives_up(tmp_path: Path) -> None:
    seed = 20261126
    chance = random.Random(seed)

    def transfer(world: World, giver: str, taker: str) -> Callable[[Transaction], None]:
        def work(transaction: Transaction) -> None:
            world.add(giver, -1)(transaction)
            world.add(taker, 1)(transaction)

        return work

    async def scene(world: World) -> None:
        names = [f"account-{number}" for number in range(4)]
        await world.make_counters(*names)
        pairs = [chance.sample(names, 2) for _ in range(80)]
        await asyncio.gather(*(world.run(transfer(world, *pair), n) for n, pair in enumerate(pairs)))
        found = [await world.run(lambda tx, name=name: world.read(tx, name)) for name in names]  # type: ignore[misc]
        given = [sum((name == taker) - (name == giver) for giver, taker in pairs) for name in names]
        assert found == given, f"seed {seed}"

    play(tmp_path, scene)


def test_who_reads_a_range_and_writes_into_it_is_not_starved_by_others_who_do(tmp_path: Path) -> None:
    """Every insert is a new key: only a turn on the range lets a reader of the whole of it win."""

    def count_and_insert(transaction: Transaction) -> int:
        table = transaction.catalog.tables["counters"]
        found = len(transaction.all_documents(table))
        transaction.insert("counters", {"name": f"number {found}", "count": 0.0})
        return found

    async def scene(world: World) -> None:
        await world.make_counters("first")
        found = await asyncio.gather(*(world.run(count_and_insert, number) for number in range(40)))
        assert sorted(found) == list(range(1, 41))

    play(tmp_path, scene)


async def _settle() -> None:
    """Let everything that can happen without the disk happen."""
    for _ in range(200):
        await asyncio.sleep(0)


async def _contended(world: World) -> list[asyncio.Task[float]]:
    """Four increments of a counter known to be hot, none of which can be made durable."""
    await world.make_counters("hot")
    await asyncio.gather(*(world.run(world.add("hot", 1)) for _ in range(4)))
    world.store.gate.clear()
    return [asyncio.create_task(world.run(world.add("hot", 1))) for _ in range(4)]


def test_a_holder_sees_what_is_admitted_before_it_is_durable_and_nobody_is_told(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        tasks = await _contended(world)
        await _settle()
        admitted = world.core._log.unpublished()
        assert len(admitted) == 4, "one after another they were admitted while the disk was busy"
        assert not any(task.done() for task in tasks), "and nobody was told"
        world.store.gate.set()
        assert sorted(await asyncio.gather(*tasks)) == [5.0, 6.0, 7.0, 8.0]

    play(tmp_path, scene, transactors=1)


def test_a_refusal_that_follows_from_what_is_not_durable_waits_for_it_too(tmp_path: Path) -> None:
    def refuse(world: World) -> Callable[[Transaction], None]:
        def work(transaction: Transaction) -> None:
            if world.read(transaction, "hot") >= 8:
                transaction.insert("counters", {"_id": "mine"})  # no document may bring its own id

        return work

    async def scene(world: World) -> None:
        tasks = await _contended(world)
        await _settle()
        refused = asyncio.create_task(world.run(refuse(world)))
        await _settle()
        assert not refused.done()
        world.store.gate.set()
        with pytest.raises(BackendError, match="_id"):
            await refused
        await asyncio.gather(*tasks)

    play(tmp_path, scene, transactors=1)


def test_without_attempts_left_the_loser_is_told_the_table_and_the_winner(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.make_counters("hot")

        def lose(transaction: Transaction) -> None:
            world.add("hot", 1)(transaction)
            _admit(world, world.add("hot", 1), "m.js:winner")

        told = r'the "counters" table changed .* A call to "m:winner" changed the document with ID'
        with pytest.raises(BackendError, match=told):
            await world.run(lose, attempts_max=1)

    play(tmp_path, scene)


def _admit(world: World, work: Callable[[Transaction], Any], source: str) -> None:
    """A commit of somebody else's, between two steps of a run."""
    transactor = world.transactor(1)
    snapshot = transactor._reader.snapshot(world.core.published_ts)
    transaction = transactor.begin(snapshot, is_read_only=False).transaction
    work(transaction)
    body = transaction.commit_body(os.urandom(16), CallTrace(path=source))
    request = CommitRequest(transaction.reads, body, body.encode())
    assert isinstance(world.core._log.propose_chain([request])[0], Admitted)


def test_what_was_read_from_a_lost_writer_is_stale_but_what_it_admitted_is_answered(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.make_counters("one")
        transactor, core = world.transactor(), world.core
        client = DirectPeer(core, lambda *_: None)
        attempt = transactor.begin(transactor._reader.snapshot(core.published_ts), is_read_only=False)
        world.add("one", 1)(attempt.transaction)
        call_id = os.urandom(16)
        body = attempt.transaction.commit_body(call_id, CallTrace(path="m.js:f")).encode()
        reads = attempt.transaction.reads.encode()
        elsewhere = core._log.epoch - 1
        chain = [(reads, body)]
        assert await core.handle(client, "commit", (chain, None, elsewhere)) == [["stale"]]
        (first,) = await core.handle(client, "commit", (chain, None, None))
        (again,) = await core.handle(client, "commit", (chain, None, elsewhere))
        assert first[0] == again[0] == "committed" and first[1] == again[1]
        assert not await core.handle(client, "settled", (elsewhere, first[1]))

    play(tmp_path, scene)


class LatePeer:
    """A connection to the core on which proposals wait until they are let through."""

    def __init__(self, inner: DirectPeer) -> None:
        self._inner = inner
        self.may_propose, self.proposing = asyncio.Event(), asyncio.Event()

    async def call(self, method: str, *arguments: Any) -> Any:
        if method == "commit":
            self.proposing.set()
            await self.may_propose.wait()
        return await self._inner.call(method, *arguments)

    def send(self, method: str, *arguments: Any) -> None:
        self._inner.send(method, *arguments)


def test_a_call_that_two_executors_run_is_answered_twice_with_what_was_committed(tmp_path: Path) -> None:
    """A gateway loses its connection to an executor, which lives on, and asks another one with the same call
    id. Both run, at different snapshots; the answer is the one that its commit recorded."""

    def once(world: World) -> Callable[[Attempt], Done[float]]:
        def work(attempt: Attempt) -> Done[float]:
            recorded = world.read(attempt.transaction, "recorded")
            if recorded:
                return Done(recorded)
            result = world.add("one", 1)(attempt.transaction)
            world.add("recorded", result)(attempt.transaction)
            return Done(result, CallTrace(path="m.js:f", seed=attempt.seed))

        return work

    async def scene(world: World) -> None:
        await world.make_counters("one", "recorded")
        late = LatePeer(DirectPeer(world.core, lambda *_: None))
        world.transactor(1).connect(late)
        call_id = os.urandom(16)

        async def run(number: int) -> float:
            transactor = world.transactor(number)
            return (await transactor.transact("m.js:f", call_id, 4, once(world)))[0]

        second = asyncio.create_task(run(1))
        await late.proposing.wait()
        await world.run(world.add("one", 10))
        assert await run(0) == 11.0
        late.may_propose.set()
        assert await second == 11.0

    play(tmp_path, scene)


class LostOnce:
    """A connection that is lost when a proposal is under way; the successor remembers nothing that old."""

    def __init__(self, inner: DirectPeer, on_lost: Callable[[], None]) -> None:
        self._inner, self._on_lost = inner, on_lost
        self.proposals = 0

    async def call(self, method: str, *arguments: Any) -> Any:
        if method != "commit":
            return await self._inner.call(method, *arguments)
        self.proposals += 1
        if self.proposals == 1:
            asyncio.get_running_loop().call_soon(self._on_lost)
            raise ConnectionLost("it is gone")
        return [("too_old",)]

    def send(self, method: str, *arguments: Any) -> None:
        self._inner.send(method, *arguments)


def test_a_proposal_that_nobody_can_judge_any_more_has_an_unknown_outcome_and_no_second_run(
    tmp_path: Path,
) -> None:
    async def scene(world: World) -> None:
        await world.make_counters("one")
        transactor = world.transactor()
        peer = LostOnce(DirectPeer(world.core, lambda *_: None), lambda: transactor.connect(peer))
        transactor.connect(peer)
        runs = 0

        def count(transaction: Transaction) -> None:
            nonlocal runs
            runs += 1
            world.add("one", 1)(transaction)

        with pytest.raises(BackendError, match="whether it took effect is unknown"):
            await world.run(count)
        assert (runs, peer.proposals) == (1, 2)

    play(tmp_path, scene)
