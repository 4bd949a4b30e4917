"""Commit log, index view and subscriptions of a laptop deployment in one process (design D16).

Composes the parts and speaks the messages below; each part could be a process of its own. Order at a
publish: the view has folded the batch, then subscriptions have compared it, then the stream is pushed,
then callers are answered. So whoever hears of a ts can read it.

Messages (method: arguments -> answer):
    commit: [[reads, body], ...], ticket, epoch
                                  -> for each of the chain, when what was admitted is durable:
                                     ["committed", ts, wanted] | ["queue", places]
                                     | ["conflict", ts, places hit, source, others, [index id, key] | None]
                                     | ["repeated", ts] | ["stale"] | ["too_old"]
    turn: places | None           -> [ticket, epoch, published ts, [[ts, body], ...]], when its turn has come;
                                     the bodies are admitted, not durable yet, and are to be read as well
    end_turn: ticket              -> none
    settled: epoch, ts            -> whether what was admitted at ts is durable now
    register: key, reads, ts      -> ["valid", through ts] | ["invalidated", ts]
    unregister: keys              -> none
    document_deltas: body         -> a page of what was committed, JSON bytes both ways
    locate:                       -> the folder of the view that executors read in place
    listen:                       -> published ts; then pushes
                                     stream(published ts, [[key, ts, source, index id, written key], ...])
                                     ran(path, outcome, seconds late): a scheduled job was run
    latest_ts:                    -> ts
    index_names: index ids        -> ["table.index" | None, ...]
    status: / arm: label, passes  -> for operators and tests
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from actors.blob_collector import BlobCollector
from actors.commit_log import CommitLog
from actors.delta_reader import DeltaReader, OpenLog
from actors.index_shard import IndexShard
from actors.judge import Judge
from actors.maintenance import Maintenance
from actors.projections.subscriptions import Subscriptions, ValidThrough
from actors.runtime import Client, Pauses
from actors.scheduler import Scheduler
from actors.table_writes import TableWrites
from actors.turn_keeper import TurnKeeper
from actors.view_reader import ViewReader
from functions.catalog import Catalog
from functions.snapshot import SnapshotReader
from functions.system.bootstrap import bootstrap_body
from functions.system.tables import CATALOG_TABLETS
from log import limits
from log.blob_store import BlobStore
from log.committer import NANOSECONDS, Commit, CommitRequest, Committer, Decision
from log.errors import internal_server_error
from log.read_set import ReadSet
from log.record import CommitBody, Record, RecordKind
from log.store import LogStore
from log.turns import EVERYTHING, Footprint, Place

_logger = logging.getLogger(__name__)
TICKET_BITS = 40


class Core:
    """actors.runtime.Actor. `start` brings it up to the log; `stop` leaves a trusted view behind."""

    def __init__(
        self,
        store: LogStore,
        views_folder: Path,
        now_ns: Callable[[], int],
        stop_process: Callable[[BaseException], None],
        blobs: BlobStore | None = None,
        open_log: OpenLog | None = None,
    ) -> None:
        """Without `open_log` the store itself may be read on any thread."""
        self.pauses = Pauses()
        self._store, self._now_ns, self._stop_process = store, now_ns, stop_process
        self._blobs = blobs
        self._deltas = DeltaReader(open_log or (lambda: nullcontext(store)))
        self._shard = IndexShard(views_folder, self.pauses, store)
        self._subscriber_numbers = itertools.count(1)
        self._owner_of: dict[int, tuple[Client, int]] = {}  # subscriber -> (connection, its key)
        self._numbers_of: dict[Client, dict[int, int]] = {}  # connection -> key -> subscriber
        self._listeners: dict[Client, None] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.scheduler = Scheduler(now_ns, self._tell_of_job)
        self.records_replayed = 0

    async def start(self) -> None:
        epoch = self._store.claim_epoch()  # BEFORE the view catches up: nobody else appends from here on
        self.records_replayed = self._shard.catch_up(self._store)
        end = self._store.end()
        recent = _recent_commits(self._store)
        committer = Committer(end, epoch, CATALOG_TABLETS, self._now_ns(), recent)
        self._subscriptions = Subscriptions(end.ts, CATALOG_TABLETS)
        self._table_writes = TableWrites(self._shard.catalog)
        followers = (self._shard, self.scheduler, self._table_writes, self)
        self._log = CommitLog(
            self._store, committer, followers, self._now_ns, self._stop_process, self.pauses
        )
        self._maintenance = Maintenance(self._shard, self._log, self._now_ns)
        self._turns = TurnKeeper(first_ticket=epoch << TICKET_BITS)
        self._judge = Judge(self._log, self._turns.turns)
        await self._log.flush()
        if not self._shard.catalog().tables:  # an earlier start may have died behind its epoch's record
            await self._bootstrap()
        await self._maintenance.add_missing_tables()
        self.scheduler.start(self._shard.reader().snapshot(self._log.published_ts), self._shard.catalog())
        jobs: list[Callable[[], Awaitable[None]]] = [
            self.scheduler.run,
            self._prune_forever,
            self._sweep_forever,
            self._checkpoint_forever,
            self._maintenance.run,
            self._maintenance.collect_garbage,
        ]
        if self._blobs is not None:
            jobs.append(BlobCollector(self._blobs, self._newest, self._now_ns).run)
        for job in jobs:
            self._tasks.append(asyncio.create_task(self._guarded(job)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._log.flush()
        self._shard.close(clean=True)
        self._store.close()

    def _newest(self) -> tuple[SnapshotReader, Catalog]:
        return self._shard.reader().snapshot(self._log.published_ts), self._shard.catalog()

    # --- for whoever hosts it in its own process -----------------------------------------------------

    @property
    def published_ts(self) -> int:
        return self._log.published_ts

    def view_reader(self) -> ViewReader:
        return self._shard.reader()

    async def commit(self, request: CommitRequest) -> int | Decision:
        return await self._log.commit(request)

    def read_log(self) -> Iterator[Record]:
        """Every record, from the first."""
        return self._store.read_from(1)

    # --- actors.runtime.Actor -----------------------------------------------------------------------

    async def handle(self, client: Client, method: str, arguments: tuple[Any, ...]) -> Any:
        if method == "commit":
            return await self._commit(*arguments)
        if method == "turn":
            return await self._take_turn(client, *arguments)
        if method == "end_turn":
            return self._turns.end(*arguments)
        if method == "settled":
            return await self._settled(*arguments)
        if method == "register":
            return self._register(client, *arguments)
        if method == "unregister":
            return self._unregister(client, arguments[0])
        if method == "listen":
            self._listeners[client] = None
            return self._log.published_ts
        if method == "document_deltas":
            return await self._deltas.page(arguments[0], self._shard.catalog(), self._log.published_ts)
        if method == "locate":
            return str(self._shard.view_folder)
        if method == "latest_ts":
            return self._log.published_ts
        if method == "index_names":
            return self._index_names(arguments[0])
        if method == "status":
            return self.status()
        if method == "table_rows":
            return self._table_writes.recent.of_table(self._shard.catalog(), *arguments)
        if method == "arm":
            return self.pauses.arm(*arguments)
        raise internal_server_error()

    def disconnected(self, client: Client) -> None:
        self._listeners.pop(client, None)
        self._turns.disconnected(client)
        for subscriber in self._numbers_of.pop(client, {}).values():
            del self._owner_of[subscriber]
            self._subscriptions.unregister(subscriber)

    # --- committing ---------------------------------------------------------------------------------

    async def _commit(
        self, proposals: Sequence[tuple[bytes, bytes]], ticket: int | None, epoch: int | None
    ) -> list[list[Any]]:
        """Judge a chain of proposals, made under a turn or not; `epoch` is that of the unsynced commits
        they read, if any. A turn ends with the judgement."""
        requests = [
            CommitRequest(ReadSet.decode(reads), CommitBody.decode(body), body) for reads, body in proposals
        ]
        is_wanted = ticket is not None and self._turns.turns.is_wanted(ticket)
        try:
            verdicts = self._judge.judge(requests, ticket, epoch)
        finally:
            if ticket is not None:
                self._turns.end(ticket)
        placed = [verdict for verdict in verdicts if isinstance(verdict, int)]
        if placed:
            await self._log.durable(max(placed))
        return [
            ["committed", verdict, is_wanted] if isinstance(verdict, int) else verdict for verdict in verdicts
        ]

    async def _take_turn(self, client: Client, places: Sequence[Place] | None) -> list[Any]:
        """The turn, and the newest state there is: what is admitted may be read before it is durable,
        as long as nobody is told (design D4)."""
        footprint = EVERYTHING if places is None else Footprint(frozenset(places))
        ticket = await self._turns.take(client, footprint)
        commits = self._log.unpublished()
        bodies_bytes = sum(len(commit.record.body) for commit in commits)
        if bodies_bytes > limits.TURN_BODIES_BYTES_MAX or any(_writes_catalog(commit) for commit in commits):
            await self._log.durable(self._log.admitted_ts)
            commits = ()
        bodies = [[commit.ts, commit.record.body] for commit in commits if commit.record.body]
        return [ticket, self._log.epoch, self._log.published_ts, bodies]

    async def _settled(self, epoch: int, ts: int) -> bool:
        return epoch == self._log.epoch and await self._log.durable(ts) == ts

    def follow(self, commits: Sequence[Commit]) -> None:
        """actors.commit_log.Follower: compare with the subscriptions, then push the stream."""
        hits: dict[Client, list[list[Any]]] = {client: [] for client in self._listeners}
        for commit in commits:
            source = commit.body.trace.path
            for hit in self._subscriptions.advance(commit.ts, source, commit.body.writes):
                client, key = self._owner_of.pop(hit.subscriber)
                del self._numbers_of[client][key]
                hits.setdefault(client, []).append([key, hit.ts, hit.source, hit.index_id, hit.key])
            if _writes_catalog(commit):
                self._maintenance.wake()
        for client, invalidations in hits.items():
            client.push("stream", commits[-1].ts, invalidations)

    def _tell_of_job(
        self, component: str, path: str, request_id: str, outcome: list[Any], late_seconds: float
    ) -> None:
        for client in self._listeners:
            client.push("ran", component, path, request_id, outcome, late_seconds)

    # --- subscriptions ------------------------------------------------------------------------------

    def _register(self, client: Client, key: int, reads: bytes, ts: int) -> list[Any]:
        numbers = self._numbers_of.setdefault(client, {})
        subscriber = next(self._subscriber_numbers)
        answer = self._subscriptions.register(subscriber, ReadSet.decode(reads), ts)
        if not isinstance(answer, ValidThrough):
            return ["invalidated", answer.ts]
        numbers[key] = subscriber
        self._owner_of[subscriber] = (client, key)
        return ["valid", answer.ts]

    def _unregister(self, client: Client, keys: Sequence[int]) -> None:
        numbers = self._numbers_of.get(client, {})
        for key in keys:
            subscriber = numbers.pop(key, None)
            if subscriber is not None:
                del self._owner_of[subscriber]
                self._subscriptions.unregister(subscriber)

    # --- housekeeping -------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        return {
            "role": "core",
            "epoch": self._log.epoch,
            "seq": self._shard.applied_seq,
            "published_ts": self._log.published_ts,
            "applied_ts": self._shard.applied_ts,
            "lag_ms": (self._log.published_ts - self._shard.applied_ts) / 1e6,
            "batches_synced": self._log.batches_synced,
            "records_synced": self._log.records_synced,
            "records_replayed": self.records_replayed,
            "subscriptions": len(self._subscriptions),
            "turns_taken": self._turns.turns_taken,
            "jobs_waiting": self.scheduler.jobs_waiting,
            "jobs_run": self.scheduler.jobs_run,
            "jobs_late_seconds": self.scheduler.late_seconds,
            "tables": self._table_writes.facts(),
            **self._shard.statistics(),
        }

    def _index_names(self, index_ids: Sequence[bytes]) -> list[str | None]:
        names = {
            index.index_id: f"{table.name}.{index.name}"
            for table in self._shard.catalog().tables.values()
            for index in table.all_indexes
        }
        return [names.get(index_id) for index_id in index_ids]

    async def _bootstrap(self) -> None:
        begin_ts = self._log.published_ts
        body = bootstrap_body(begin_ts, float(self._now_ns() // 1_000_000))
        reads = ReadSet()
        reads.reads_catalog = True
        await self._log.commit(CommitRequest(reads, body, body.encode()))

    async def _prune_forever(self) -> None:
        while True:
            await asyncio.sleep(limits.PRUNE_SECONDS)
            while self._shard.prune(self._now_ns()):
                await asyncio.sleep(0)

    async def _sweep_forever(self) -> None:
        """Entries of dropped indexes go when no snapshot can ask for them any more."""
        while True:
            await asyncio.sleep(limits.SWEEP_SECONDS)
            for index_id in self._shard.unreachable_indexes():
                while not self._shard.remove_index(index_id):
                    await asyncio.sleep(0)

    async def _checkpoint_forever(self) -> None:
        while True:
            await asyncio.sleep(limits.CHECKPOINT_LOOK_SECONDS)
            if not self._shard.is_checkpoint_due():
                continue
            copying = asyncio.get_running_loop().run_in_executor(None, self._shard.take_checkpoint)
            try:
                await asyncio.shield(copying)
            except asyncio.CancelledError:
                await copying  # the view may not be closed under it
                raise

    async def _guarded(self, job: Callable[[], Awaitable[None]]) -> None:
        """A background job that fails is a defect of the process that owns the state."""
        try:
            await job()
        except asyncio.CancelledError:
            raise
        except BaseException as failure:
            _logger.exception("a background job failed")
            self._stop_process(failure)


def _writes_catalog(commit: Commit) -> bool:
    return any(write.tablet_id in CATALOG_TABLETS for write in commit.body.writes)


def _recent_commits(store: LogStore) -> tuple[Commit, ...]:
    """The commits a resent call may still ask about: the last ones, counted back from the log's end. However
    long the start took, a call whose answer was lost is older than none of them."""
    end = store.end()
    oldest_ts = end.ts - limits.WRITE_WINDOW_SECONDS_MIN * NANOSECONDS
    # What was archived is older than that (actors/archiver.py): a start needs no archive to know.
    first_seq = max(store.base().seq + 1, end.seq - limits.RECALLED_RECORDS_MAX + 1)
    recent: list[Record] = [record for record in store.read_from(first_seq) if record.ts >= oldest_ts]
    return tuple(
        Commit(record, CommitBody.decode(record.body))
        for record in recent
        if record.kind is RecordKind.COMMIT
    )
