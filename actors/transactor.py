"""Runs a transaction until it is committed: snapshot, proposal, turn, again (spec 04 1.9, design D4).

An optimistic run comes first. Who loses asks for a turn on what was raced for and runs again when it has
it; with each loss it asks for more, at last for everything. What was lost is remembered: the next call of
the function that reads there stops and queues (actors/hot_places.py). Calls that wait for the same places
share a turn (actors/turn_groups.py) and run as a chain (actors/chain.py).

Promise: nothing that `work` returned is handed on before everything it read is durable.

Read in this order: transact, _alone, _in_turn, _run_group, _settle.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from actors.chain import Attempt, Chain, Done, PendingCall, Run, attempt_at
from actors.hot_places import HotPlaces
from actors.node_reader import NodeReader
from actors.runtime import ConnectionLost, Peer
from actors.turn_groups import Group, TurnGroups
from functions.catalog import Catalog, Table
from functions.determinism import SEED_BYTES, CallClock
from functions.indexes import SEARCH, Index
from functions.path import parse_function_path
from functions.snapshot import SnapshotReader
from functions.transaction import HotPlaceMet
from log.errors import BackendError, mutation_conflict, unknown_outcome
from log.keys import decode_items
from log.limits import (
    CHAIN_SECONDS_MAX,
    TURN_LOSSES_MAX,
    TURN_PLACES_MAX,
)
from log.read_set import Place, ReadSet
from log.record import CommitBody
from log.turns import EVERYTHING, Footprint

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn held: what its run must see. `epoch` is that of the writer who granted it."""

    ticket: int
    epoch: int
    published_ts: int
    commits: tuple[tuple[int, CommitBody], ...]


@dataclass(frozen=True, slots=True)
class Accepted(Generic[T]):
    """A run that counts: committed at `ts`, or with nothing to commit and read at `ts`. `is_wanted`: others
    wait for the turn it had."""

    result: T
    ts: int
    reads: ReadSet
    is_wanted: bool


@dataclass(frozen=True, slots=True)
class Loss:
    """A run that does not count. What it read was written at `ts` by `source`, as far as known: at `key` of
    an index, or in the catalog. `places` are those of its own that others want too."""

    reads: ReadSet
    ts: int = 0
    key: tuple[bytes, bytes] | None = None
    source: str = ""
    places: frozenset[Place] = frozenset()


class Transactor:
    """One per executor. `core` is set by `connect`, again after the core was replaced."""

    def __init__(self, reader: NodeReader, now_ns: Callable[[], int]) -> None:
        self._reader, self._now_ns = reader, now_ns
        self._core: Peer | None = None
        self._core_changed = asyncio.Event()
        self._random = random.Random()
        self._hot = HotPlaces()
        self._groups: TurnGroups[PendingCall] = TurnGroups()
        self._running_groups: set[asyncio.Task[None]] = set()
        self.conflicts_met = 0
        self.turns_taken = 0
        self.runs_stopped = 0

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
        call_id: bytes,
        attempts_max: int,
        work: Callable[[Attempt], Done[T]],
        arguments: bytes = b"",
    ) -> tuple[T, int]:
        """Run `work` on newer and newer snapshots until it commits; returns its result and the ts of the
        commit, or of what was read if it had nothing to commit. `source` is who writes, as later losers are
        told; `arguments` (JSON) may tell what it will read."""
        loss = Loss(ReadSet())
        guess = self._hot.guessed(source, arguments)
        footprint = guess.footprint if guess is not None else None
        for attempt_number in range(attempts_max):
            pending = PendingCall(call_id, work)
            if footprint is None:
                await self._wait_before_retry(attempt_number, loss)
                try:
                    await self._alone(pending, self._hot.watched(source))
                except HotPlaceMet as met:
                    footprint = self._hot.expected(source, met.place)
                    self.runs_stopped += 1
            if footprint is not None:
                self._in_turn(pending, footprint)
            ended: Accepted[T] | Loss = await pending.ended
            if not isinstance(ended, Loss):
                if footprint is not None:
                    self._hot.used(source, ended.reads, guess, is_wanted=ended.is_wanted)
                return ended.result, ended.ts
            self.conflicts_met += 1
            loss = ended
            self._hot.learn(source, loss.places, loss.reads)
            footprint = _wider(footprint, loss) if attempt_number + 1 < TURN_LOSSES_MAX else EVERYTHING
        raise _refusal(self._newest_catalog(), loss, source)

    # --- alone, or under a turn with others -----------------------------------------------------------

    async def _alone(self, call: PendingCall, watched: ReadSet | None) -> None:
        chain = self._chain_at(self._reader.published_ts, (), watched)
        chain.run(call)
        await self._settle(chain, None, is_shared=False)

    def _in_turn(self, call: PendingCall, footprint: Footprint) -> None:
        founded = self._groups.add(call, footprint)
        if founded is not None:
            self._start(founded)

    def _start(self, group: Group[PendingCall]) -> None:
        running = asyncio.create_task(self._run_group(group))
        self._running_groups.add(running)
        running.add_done_callback(self._running_groups.discard)

    async def _run_group(self, group: Group[PendingCall]) -> None:
        """Take the turn and run who wants it; whoever then is left runs under the next."""
        turn, chain = None, None
        try:
            turn = await self._take_turn(group.footprint)
            await self._reader.wait_published(turn.published_ts)
            chain = self._chain_at(turn.published_ts, turn.commits)
            await self._run_calls(group, chain)
        except BaseException as failure:
            self._give_back(turn)
            _fail([run.call for run in chain.runs] if chain is not None else [], failure)
            _fail([call for call, _ in group.waiting], failure)
            group.waiting.clear()
            chain = None
        is_shared = group.calls_taken_in > 1 or self._groups.calls_waiting > 0
        for next_group in self._groups.end(group):
            self._start(next_group)
        if chain is not None:
            await self._settle(chain, turn, is_shared=is_shared)

    async def _run_calls(self, group: Group[PendingCall], chain: Chain) -> None:
        loop = asyncio.get_running_loop()
        started, view = loop.time(), self._reader.view
        # With another core comes another view, and the one the chain began on is closed.
        while chain.is_open and loop.time() - started < CHAIN_SECONDS_MAX and self._reader.view is view:
            taken = group.take()
            if taken is None:
                return
            call, footprint = taken
            if call.ended.done():
                continue  # nobody waits for it any more
            if not chain.run(call):
                group.put_back(call, footprint)
                return
            await asyncio.sleep(0)  # others of this process go on between two calls

    def _chain_at(
        self, ts: int, unsynced: Sequence[tuple[int, CommitBody]], watched: ReadSet | None = None
    ) -> Chain:
        base = self._reader.snapshot(ts)
        return Chain(base, unsynced, self._reader.catalog(base), self._now_ns, watched)

    # --- what a chain comes to ------------------------------------------------------------------------

    async def _settle(self, chain: Chain, turn: Turn | None, *, is_shared: bool) -> None:
        """Propose, and tell each call what its run came to. What is told, a refusal too, was read from
        durable commits only."""
        try:
            answers = await self._propose(chain.proposals, turn)
            is_durable = any(answer[0] == "committed" for answer in answers) or await self._is_settled(turn)
        except BaseException as failure:
            _fail([run.call for run in chain.runs], failure)
            return
        for run in chain.runs:
            if run.call.ended.done():
                continue
            ended = self._ended(run, chain, answers, is_durable=is_durable, is_shared=is_shared)
            if isinstance(ended, Exception):
                run.call.ended.set_exception(ended)
            else:
                run.call.ended.set_result(ended)

    def _ended(
        self, run: Run, chain: Chain, answers: list[Any], *, is_durable: bool, is_shared: bool
    ) -> Accepted[Any] | Loss | Exception:
        """What one run came to, by the answers to the proposals."""
        if run.failure is not None and not isinstance(run.failure, BackendError):
            return run.failure  # a defect, whatever was read
        if run.proposal is not None:
            return self._verdict(run, answers[run.proposal], is_shared)
        if not is_durable:
            return Loss(run.reads, self._reader.published_ts)
        return run.failure or Accepted(run.result, chain.begin_ts, run.reads, is_wanted=False)

    def _verdict(self, run: Run, answer: list[Any], is_shared: bool) -> Accepted[Any] | Loss | Exception:
        match answer:
            case ("unknown",):
                return unknown_outcome()
            case ("committed", ts, is_wanted):
                return Accepted(run.result, ts, run.reads, is_wanted or is_shared)
            case ("conflict", ts, hit, source, others, key):
                return Loss(run.reads, ts, key, source, frozenset((*hit, *others)))
            case ("queue", places):
                return Loss(run.reads, places=frozenset(places))
            case ("repeated", ts):  # by another run of the same call: the next one finds what it recorded
                return Loss(run.reads, ts)
            case _:  # stale: what it read is out of date, or never came to be
                return Loss(run.reads, self._reader.published_ts)

    # --- the core -------------------------------------------------------------------------------------

    async def _take_turn(self, footprint: Footprint) -> Turn:
        """Asked again of the core's successor when the core was lost meanwhile."""
        places = None if footprint.is_everything else list(footprint.places)
        while True:
            core, changed = self._core, self._core_changed
            assert core is not None
            self.turns_taken += 1
            try:
                ticket, epoch, published_ts, bodies = await core.call("turn", places)
                break
            except ConnectionLost:
                await changed.wait()
        # On the way here some of them became durable, and need not be decoded.
        published_ts = max(published_ts, self._reader.published_ts)
        commits = tuple((ts, CommitBody.decode(body)) for ts, body in bodies if ts > published_ts)
        return Turn(ticket, epoch, published_ts, commits)

    def _give_back(self, turn: Turn | None) -> None:
        """Nothing will be proposed under it (a proposal ends it by itself)."""
        if turn is not None and self._core is not None:
            self._core.send("end_turn", turn.ticket)

    async def _is_settled(self, turn: Turn | None) -> bool:
        """Whether everything a turn was granted with is durable; waits until that is known."""
        if turn is None or not turn.commits:
            return True
        assert self._core is not None
        try:
            return bool(await self._core.call("settled", turn.epoch, turn.commits[-1][0]))
        except ConnectionLost:
            return False

    async def _propose(self, proposals: Sequence[tuple[bytes, bytes]], turn: Turn | None) -> list[Any]:
        """The core's answers; when they are lost on the way, its successor's to the same call ids (D3)."""
        if not proposals:
            self._give_back(turn)
            return []
        ticket = turn.ticket if turn is not None else None
        reads_unsynced = turn is not None and (turn.commits or len(proposals) > 1)
        epoch = turn.epoch if turn is not None and reads_unsynced else None
        is_resent = False
        while True:
            core, changed = self._core, self._core_changed
            assert core is not None
            try:
                answers: list[Any] = await core.call("commit", proposals, ticket, epoch)
            except ConnectionLost:
                is_resent = True
                await changed.wait()
                continue
            if is_resent:  # it may have been admitted before all that is remembered
                answers = [["unknown"] if answer[0] == "too_old" else answer for answer in answers]
            return answers

    def _newest_catalog(self) -> Catalog:
        return self._reader.catalog(self._reader.snapshot(self._reader.published_ts))

    async def _wait_before_retry(self, attempt: int, loss: Loss) -> None:
        """Without a turn: the first retry starts as soon as the winner is visible; later ones back off."""
        if attempt > 1:
            seconds_max = min(0.1 * 2 ** (attempt - 2), 2.0)
            await asyncio.sleep(self._random.random() * seconds_max)
        if attempt > 0:
            await self._reader.wait_published(loss.ts)


def _fail(calls: Sequence[PendingCall], failure: BaseException) -> None:
    for call in calls:
        if not call.ended.done():
            call.ended.set_exception(failure)


def _wider(footprint: Footprint | None, loss: Loss) -> Footprint | None:
    """What to ask for after a loss; None: there is no place to queue for (the catalog changed)."""
    places = loss.places | (footprint.places if footprint is not None else frozenset())
    if len(places) > TURN_PLACES_MAX:
        return EVERYTHING
    return Footprint(places) if places else None


def _refusal(catalog: Catalog, loss: Loss, source: str) -> BackendError:
    """What a caller is told whose every run was lost, by what is known of the last loss (spec 04 1.9)."""
    if not loss.source:
        return mutation_conflict(None, None)
    if loss.key is None:
        return mutation_conflict(None, None, is_system=True)
    index_id, key = loss.key
    table, index = _written_index(catalog, index_id)
    if table is not None and table.is_system:
        return mutation_conflict(None, None, is_system=True)
    other = f'A call to "{parse_function_path(loss.source).display}"'
    who = "Another call to this mutation" if loss.source == source else other
    name = table.name if table is not None else None
    return mutation_conflict(name, f"{who} changed {_document_text(index, key)}.")


def _written_index(catalog: Catalog, index_id: bytes) -> tuple[Table, Index] | tuple[None, None]:
    for table in catalog.every_table():
        for index in table.all_indexes:
            if index.index_id == index_id:
                return table, index
    return None, None


def _document_text(index: Index | None, key: bytes) -> str:
    """Which document was written under a key of an index."""
    last = str(decode_items(key)[-1])
    if index is not None and index.kind == SEARCH:  # a word may be in many
        return f'a document with "{last}" in the search index "{index.name}"'
    return f'the document with ID "{last}"'  # every other key ends with it
