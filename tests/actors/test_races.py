"""Eight clients that race on few keys, and what their histories must be (spec 04 11, T2; 9, I6 and I7).

The checker knows nothing of the committer: it replays what was committed, one call after another in the
order of ts, on a dictionary.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from actors.chain import Attempt, Done
from actors.transactor import Transactor
from cluster.local_runtime import DirectPeer
from functions.transaction import Transaction
from log.errors import BackendError
from log.limits import MUTATION_ATTEMPTS_MAX
from log.record import CallTrace, CommitBody

from .test_transactor import World, _admit, _settle, play

CLIENTS = 8
CALLS_PER_CLIENT = 15
NAMES = ("a", "b", "c", "d")


@dataclass(frozen=True, slots=True)
class Call:
    """What one call read and then wrote; `begin_ts` and `ts` are known once it is committed."""

    read: dict[str, float]
    wrote: dict[str, float]
    begin_ts: int = 0
    ts: int = 0


def read_modify_write(world: World, chance: random.Random) -> Callable[[Attempt], Done[Call]]:
    """Reads one or two counters or all of them, and writes some of these; sometimes none."""
    read = chance.sample(NAMES, chance.choice((1, 2, 2, len(NAMES))))
    written = read[: chance.randrange(len(read) + 1)]
    amount, by = float(chance.randrange(1, 1_000)), float(chance.getrandbits(50))

    def work(attempt: Attempt) -> Done[Call]:
        transaction = attempt.transaction
        seen = {name: world.read(transaction, name) for name in read}
        wrote = {name: (sum(seen.values()) * 3 + amount) % 1_000_003 for name in written}
        for name, count in wrote.items():  # `by` makes each of them a change
            table = transaction.catalog.tables["counters"]
            transaction.patch(table, world.ids[name], {"count": count, "by": by})
        return Done(Call(seen, wrote), CallTrace(path="m.js:f") if transaction.has_writes else None)

    return work


async def raced(world: World, seed: int) -> list[Call]:
    """All that was committed, and read-only calls with the ts they read at, in the order of ts."""
    done: list[Call] = []

    async def client(number: int) -> None:
        chance = random.Random(f"{seed}/{number}")
        for _ in range(CALLS_PER_CLIENT):
            call_id, work = os.urandom(16), read_modify_write(world, chance)
            transactor = world.transactor(number)
            call, ts = await transactor.transact("m.js:f", call_id, MUTATION_ATTEMPTS_MAX, work)
            done.append(replace(call, ts=ts))

    await asyncio.gather(*map(client, range(CLIENTS)))
    begun = {record.ts: CommitBody.decode(record.body).begin_ts for record in world.store.read_from(2)}
    commits = [replace(call, begin_ts=begun[call.ts]) if call.wrote else call for call in done]
    return sorted(commits, key=lambda call: (call.ts, not call.wrote))


@pytest.mark.parametrize("seed", range(12))
def test_what_racing_clients_committed_is_what_a_serial_replay_gives_and_the_first_committer_won(
    tmp_path: Path, seed: int
) -> None:
    async def scene(world: World) -> None:
        await world.make_counters(*NAMES)
        calls = await raced(world, seed)
        assert len(calls) == CLIENTS * CALLS_PER_CLIENT
        model = dict.fromkeys(NAMES, 0.0)
        for call in calls:
            assert call.read == {name: model[name] for name in call.read}, (seed, call)
            model |= call.wrote
        left = {name: await world.run(lambda tx, name=name: world.read(tx, name)) for name in NAMES}  # type: ignore[misc]
        assert left == model, seed
        for call in (call for call in calls if call.wrote):
            since = [other for other in calls if call.begin_ts < other.ts < call.ts]
            assert not [other for other in since if other.wrote.keys() & call.read.keys()], (seed, call)
        assert sum(world.transactor(number).conflicts_met for number in range(CLIENTS)) > 0, "they raced"

    play(tmp_path, scene, transactors=CLIENTS)


def test_clients_that_touch_nothing_in_common_never_lose(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        names = [f"own-{number}" for number in range(CLIENTS)]
        await world.make_counters(*names)

        async def client(number: int) -> list[float]:
            return [await world.run(world.add(names[number], 1), number) for _ in range(CALLS_PER_CLIENT)]

        counts = await asyncio.gather(*map(client, range(CLIENTS)))
        assert counts == [[float(n) for n in range(1, CALLS_PER_CLIENT + 1)]] * CLIENTS
        assert [world.transactor(number).conflicts_met for number in range(CLIENTS)] == [0] * CLIENTS

    play(tmp_path, scene, transactors=CLIENTS)


# --- losing -------------------------------------------------------------------------------------------


class AlwaysLost:
    """A core that finds everything in conflict with a write that is published already."""

    def __init__(self, inner: DirectPeer) -> None:
        self._inner = inner

    async def call(self, method: str, *arguments: Any) -> Any:
        if method != "commit":
            return await self._inner.call(method, *arguments)
        return [("conflict", 1, (), "m.js:f", (), None)]

    def send(self, method: str, *arguments: Any) -> None:
        self._inner.send(method, *arguments)


def test_a_mutation_that_always_loses_is_executed_five_times_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = 0

    async def scene(world: World) -> None:
        await world.make_counters("hot")
        transactor: Transactor = world.transactor()
        monkeypatch.setattr(transactor._random, "random", lambda: 0.0)  # no time passes between the runs
        transactor.connect(AlwaysLost(DirectPeer(world.core, lambda *_: None)))

        def work(transaction: Transaction) -> None:
            nonlocal runs
            runs += 1
            world.add("hot", 1)(transaction)

        with pytest.raises(BackendError) as refused:
            await world.run(work)
        assert refused.value.code == "OptimisticConcurrencyControlFailure"

    play(tmp_path, scene)
    assert runs == 5


Work = Callable[[Transaction], Any]


async def refusal_of_loser(world: World, work: Work, winning: Work, winner: str = "m.js:f") -> BackendError:
    """What a call is told that loses its only attempt to another commit."""

    def lose(transaction: Transaction) -> None:
        work(transaction)
        _admit(world, winning, winner)

    with pytest.raises(BackendError) as refused:
        await world.run(lose, attempts_max=1)
    assert refused.value.code == "OptimisticConcurrencyControlFailure"
    return refused.value


@pytest.mark.parametrize("reads", ["a document", "an index", "the whole table"])
@pytest.mark.parametrize(
    ("winner", "who"),
    [("m.js:f", "Another call to this mutation"), ("dir/n.js:g", 'A call to "dir/n:g"')],
)
def test_the_loser_is_told_the_table_the_document_and_who_changed_it(
    tmp_path: Path, winner: str, who: str, reads: str
) -> None:
    def work(world: World, transaction: Transaction) -> None:
        table = transaction.catalog.tables["counters"]
        match reads:
            case "a document":
                world.read(transaction, "hot")
            case "an index":
                transaction.first(table, "by_creation_time", b"")
            case _:
                transaction.all_documents(table)
        transaction.insert("others", {})

    async def scene(world: World) -> None:
        await world.make_counters("hot", "cold")
        await world.run(lambda transaction: transaction.create_table("others"))
        refused = await refusal_of_loser(
            world, lambda transaction: work(world, transaction), world.add("hot", 1), winner
        )
        assert refused.message == (
            'Documents read from or written to the "counters" table changed while this mutation was being '
            f"run and on every subsequent retry. {who} changed the document with ID "
            f'"{world.ids["hot"]}". See https://docs.convex.dev/error#1'
        )

    play(tmp_path, scene)


SYSTEM_WRITES: dict[str, Work] = {
    "catalog": lambda transaction: transaction.create_table("new"),
    "rows of ours": lambda transaction: transaction.insert("_session_requests", {"sessionId": "s"}),
}


@pytest.mark.parametrize("written", SYSTEM_WRITES)
def test_who_lost_to_a_change_of_the_system_tables_is_told_so(tmp_path: Path, written: str) -> None:
    def work(world: World, transaction: Transaction) -> None:
        transaction.all_documents(transaction.catalog.tables["_session_requests"])
        world.add("hot", 1)(transaction)

    async def scene(world: World) -> None:
        await world.make_counters("hot")
        refused = await refusal_of_loser(world, lambda tx: work(world, tx), SYSTEM_WRITES[written])
        assert refused.message == (
            "Data read or written in this mutation changed while it was being run. Consider reducing the "
            "amount of data read by using indexed queries with selective index range expressions "
            "(https://docs.convex.dev/database/indexes/)."
        )

    play(tmp_path, scene)


def test_who_lost_to_a_commit_that_is_not_durable_yet_waits_for_it_before_it_runs_again(
    tmp_path: Path,
) -> None:
    """Where there is a place to queue at, a turn brings what is not durable; the catalog has none."""
    begun: list[int] = []

    async def scene(world: World) -> None:
        await world.make_counters("one")

        def work(transaction: Transaction) -> None:
            begun.append(transaction.begin_ts)
            world.add("one", 1)(transaction)
            if len(begun) == 1:
                world.store.gate.clear()
                _admit(world, lambda other: other.create_table("new"), "m.js:winner")

        losing = asyncio.create_task(world.run(work))
        await _settle()
        winner_ts = world.core._log.unpublished()[0].ts
        assert len(begun) == 1, "it waits"
        world.store.gate.set()
        await losing
        assert len(begun) == 2 and begun[1] >= winner_ts > begun[0]

    play(tmp_path, scene)
