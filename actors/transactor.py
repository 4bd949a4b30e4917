"""Runs a transaction until it is committed: snapshot, proposal, turn, again (spec 04 1.9, design D4).

An optimistic run comes first. Who loses asks for a turn on what was raced for and runs again when it has
it; with each loss it asks for more, at last for everything. Calls that lost remember what they asked for,
so that the next call of the same function with the same arguments queues at once.

Promise: nothing that `work` returned is handed on before everything it read is durable.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar
from zlib import crc32

from actors.ahead_snapshot import AheadSnapshot
from actors.node_reader import NodeReader
from actors.runtime import ConnectionLost, Peer
from functions.catalog import Catalog
from functions.determinism import SEED_BYTES, CallClock, SeededBytes
from functions.path import parse_function_path
from functions.snapshot import SnapshotReader
from functions.transaction import Transaction
from log.errors import BackendError, mutation_conflict, unknown_outcome
from log.limits import HOT_CALLS_REMEMBERED_MAX, HOT_USES_UNWANTED_MAX, TURN_LOSSES_MAX, TURN_PLACES_MAX
from log.record import CallTrace, CommitBody
from log.turns import EVERYTHING, Footprint, Place

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run: what it sees, and what its record must name (design D1)."""

    transaction: Transaction
    clock: CallClock
    seed: bytes


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What a run came to. Without a trace nothing is committed."""

    result: T
    trace: CallTrace | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn held: what its run must see. `epoch` is that of the writer who granted it."""

    ticket: int
    epoch: int
    published_ts: int
    commits: tuple[tuple[int, CommitBody], ...]


@dataclass(frozen=True, slots=True)
class Accepted(Generic[T]):
    """A run that counts: committed at `ts`, or with nothing to commit. `is_wanted`: others wait for the
    turn it had."""

    result: T
    ts: int | None = None
    is_wanted: bool = True


@dataclass(frozen=True, slots=True)
class Loss:
    """A run that does not count. What it read was written at `ts` by `source`, as far as known;
    `places` are those of its own that others want too."""

    ts: int = 0
    index_id: bytes | None = None
    source: str = ""
    places: frozenset[Place] = frozenset()


class Transactor:
    """One per executor. `core` is set by `connect`, again after the core was replaced."""

    def __init__(self, reader: NodeReader, now_ns: Callable[[], int]) -> None:
        self._reader, self._now_ns = reader, now_ns
        self._core: Peer | None = None
        self._core_changed = asyncio.Event()
        self._random = random.Random()
        self._hot = HotCalls()
        self.conflicts_met = 0
        self.turns_taken = 0

    def connect(self, core: Peer) -> None:
        """Propose to this core from now on; calls that lost the previous one ask it about their commits."""
        self._core = core
        self._core_changed.set()
        self._core_changed = asyncio.Event()

    def begin(self, snapshot: SnapshotReader, *, is_read_only: bool) -> Attempt:
        clock, seed = CallClock.at(self._now_ns(), snapshot.ts), os.urandom(SEED_BYTES)
        return attempt_at(snapshot, self._reader.catalog(snapshot), clock, seed, is_read_only=is_read_only)

    async def transact(
        self,
        source: str,
        args: bytes,
        call_id: bytes,
        attempts_max: int,
        work: Callable[[Attempt], Done[T]],
    ) -> tuple[T, int | None]:
        """Run `work` on newer and newer snapshots until it commits; returns its result and the commit's
        ts, None if it had nothing to commit. `source` is who writes, as later losers are told."""
        call = (source, hash(args))
        footprint = self._hot.expected(call)
        loss, catalog = Loss(), None
        for attempt_number in range(attempts_max):
            turn = await self._take_turn(footprint) if footprint is not None else None
            if turn is None:
                await self._wait_before_retry(attempt_number, loss)
            attempt = await self._begin(turn)
            catalog = attempt.transaction.catalog
            ended = await self._run(attempt, turn, call_id, work)
            if not isinstance(ended, Loss):
                if turn is not None:
                    self._hot.used(call, is_wanted=ended.is_wanted)
                return ended.result, ended.ts
            self.conflicts_met += 1
            loss = ended
            footprint = _wider(footprint, loss) if attempt_number + 1 < TURN_LOSSES_MAX else EVERYTHING
            self._hot.learn(call, Footprint(loss.places))
        assert catalog is not None
        raise mutation_conflict(_table_of(catalog, loss), _who(loss, source))

    # --- one attempt --------------------------------------------------------------------------------

    async def _run(
        self, attempt: Attempt, turn: Turn | None, call_id: bytes, work: Callable[[Attempt], Done[T]]
    ) -> Accepted[T] | Loss:
        """Run and propose. What is told, a refusal too, was read from durable commits only."""
        try:
            done = work(attempt)
        except BaseException as failure:
            self._give_back(turn)
            if isinstance(failure, BackendError) and not await self._is_settled(turn):
                return Loss()
            raise
        if done.trace is None:
            self._give_back(turn)
            return Accepted(done.result, is_wanted=False) if await self._is_settled(turn) else Loss()
        match await self._propose(attempt.transaction, call_id, done.trace, turn):
            case ("committed", ts, is_wanted):
                return Accepted(done.result, ts, is_wanted)
            case ("conflict", ts, index_id, source, places):
                return Loss(ts, index_id, source, frozenset(places))
            case ("queue", places):
                return Loss(places=frozenset(places))
            case ("repeated", ts):  # by another run of the same call: the next one finds what it recorded
                return Loss(ts)
            case _:  # stale: what it read is out of date, or never came to be
                return Loss(self._reader.published_ts)

    async def _take_turn(self, footprint: Footprint) -> Turn | None:
        """None when the core was lost meanwhile: run without a turn, its successor knows of no race."""
        core, changed = self._core, self._core_changed
        assert core is not None
        self.turns_taken += 1
        try:
            places = None if footprint.is_everything else list(footprint.places)
            ticket, epoch, published_ts, bodies = await core.call("turn", places)
        except ConnectionLost:
            await changed.wait()
            return None
        # On the way here some of them became durable, and need not be decoded.
        published_ts = max(published_ts, self._reader.published_ts)
        commits = tuple((ts, CommitBody.decode(body)) for ts, body in bodies if ts > published_ts)
        return Turn(ticket, epoch, published_ts, commits)

    def _give_back(self, turn: Turn | None) -> None:
        """Nothing will be proposed under it (a proposal ends it by itself)."""
        if turn is not None and self._core is not None:
            self._core.send("end_turn", turn.ticket)

    async def _begin(self, turn: Turn | None) -> Attempt:
        try:
            return self.begin(await self._snapshot(turn), is_read_only=False)
        except BaseException:
            self._give_back(turn)
            raise

    async def _snapshot(self, turn: Turn | None) -> SnapshotReader:
        if turn is None:
            return self._reader.snapshot(self._reader.published_ts)
        await self._reader.wait_published(turn.published_ts)
        base = self._reader.snapshot(turn.published_ts)
        return AheadSnapshot(base, turn.commits) if turn.commits else base

    async def _is_settled(self, turn: Turn | None) -> bool:
        """Whether everything an attempt read is durable; waits until that is known."""
        if turn is None or not turn.commits:
            return True
        assert self._core is not None
        try:
            return bool(await self._core.call("settled", turn.epoch, turn.commits[-1][0]))
        except ConnectionLost:
            return False

    async def _propose(
        self, transaction: Transaction, call_id: bytes, trace: CallTrace, turn: Turn | None
    ) -> tuple:
        """The core's answer; when it is lost on the way, its successor's to the same call id (D3)."""
        reads = transaction.reads.encode()
        body = transaction.commit_body(call_id, replace(trace, reads_crc=crc32(reads))).encode()
        ticket = turn.ticket if turn is not None else None
        epoch = turn.epoch if turn is not None and turn.commits else None
        is_resent = False
        while True:
            core, changed = self._core, self._core_changed
            assert core is not None
            try:
                answer = await core.call("commit", reads, body, ticket, epoch)
            except ConnectionLost:
                is_resent = True
                await changed.wait()
                continue
            if is_resent and answer[0] == "too_old":
                raise unknown_outcome()  # it may have been admitted before all that is remembered
            return answer

    async def _wait_before_retry(self, attempt: int, loss: Loss) -> None:
        """Without a turn: the first retry starts as soon as the winner is visible; later ones back off."""
        if attempt > 1:
            seconds_max = min(0.1 * 2 ** (attempt - 2), 2.0)
            await asyncio.sleep(self._random.random() * seconds_max)
        if attempt > 0:
            await self._reader.wait_published(loss.ts)


def attempt_at(
    snapshot: SnapshotReader, catalog: Catalog, clock: CallClock, seed: bytes, *, is_read_only: bool
) -> Attempt:
    """The attempt that clock and seed make of a snapshot: the first time, and when it is replayed."""
    transaction = Transaction(
        snapshot,
        catalog,
        now_ms=clock.creation_ms,
        random_bytes=SeededBytes(seed, b"ids"),
        is_read_only=is_read_only,
    )
    return Attempt(transaction, clock, seed)


class HotCalls:
    """What calls that lost asked for, by function and arguments. Forgotten when again and again nobody
    waited for the turn: the place is not hot any more."""

    def __init__(self) -> None:
        self._footprints: OrderedDict[Hashable, tuple[Footprint, int]] = OrderedDict()  # with unwanted uses

    def expected(self, call: Hashable) -> Footprint | None:
        found = self._footprints.get(call)
        return found[0] if found is not None else None

    def learn(self, call: Hashable, footprint: Footprint) -> None:
        """What the last loss was about, and no more: what is asked for must not grow for ever."""
        if not footprint.places:
            return
        self._footprints[call] = footprint, 0
        self._footprints.move_to_end(call)
        if len(self._footprints) > HOT_CALLS_REMEMBERED_MAX:
            self._footprints.popitem(last=False)

    def used(self, call: Hashable, *, is_wanted: bool) -> None:
        """A turn was used, and somebody waited for it or not."""
        footprint, unwanted = self._footprints.get(call, (None, 0))
        if footprint is None:
            return
        unwanted = 0 if is_wanted else unwanted + 1
        if unwanted < HOT_USES_UNWANTED_MAX:
            self._footprints[call] = footprint, unwanted
        else:
            del self._footprints[call]


def _wider(footprint: Footprint | None, loss: Loss) -> Footprint | None:
    """What to ask for after a loss; None: there is no place to queue for (the catalog changed)."""
    places = loss.places | (footprint.places if footprint is not None else frozenset())
    if len(places) > TURN_PLACES_MAX:
        return EVERYTHING
    return Footprint(places) if places else None


def _table_of(catalog: Catalog, loss: Loss) -> str | None:
    for table in catalog.tables.values():
        if any(index.index_id == loss.index_id for index in table.indexes):
            return table.name
    return None


def _who(loss: Loss, source: str) -> str | None:
    """The middle of the specified text (spec 04 1.9)."""
    if not loss.source:
        return None
    if loss.source == source:
        return "Another call to this mutation changed a document."
    return f'A call to "{parse_function_path(loss.source).display}" changed a document.'
