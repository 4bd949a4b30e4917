"""The single writer: makes commits durable in the order `log/committer.py` decides, and tells about them.

Group commit without a timer: while one batch syncs, the next one fills. The order of events of a batch is
fixed: synced, THEN advanced (published), THEN folded by the followers, THEN told to the callers.
A failure while the fate of a batch is unknown stops the process; recovery reads the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from actors.runtime import Pauses
from log.committer import (
    Admitted,
    AlreadyCommitted,
    Batch,
    Commit,
    CommitRequest,
    Committer,
    Decision,
)
from log.record import CommitBody
from log.store import LogStore


class Follower(Protocol):
    """Folds published commits, in order, before anyone is told of them."""

    def follow(self, commits: Sequence[Commit]) -> None: ...


class CommitLog:
    """Owns the log's only pen. Everything it decides is in Committer; this class waits and writes."""

    def __init__(
        self,
        store: LogStore,
        committer: Committer,
        followers: Sequence[Follower],
        now_ns: Callable[[], int],
        stop_process: Callable[[BaseException], None],
        pauses: Pauses,
    ) -> None:
        self._store, self._committer, self._followers = store, committer, followers
        self._now_ns, self._stop_process, self._pauses = now_ns, stop_process, pauses
        self._waiting: dict[int, list[asyncio.Future[int]]] = {}  # by ts, told in _publish
        self._flushing: asyncio.Task[None] | None = None
        self.batches_synced = 0
        self.records_synced = 0

    @property
    def published_ts(self) -> int:
        return self._committer.published_ts

    @property
    def epoch(self) -> int:
        return self._committer.epoch

    @property
    def admitted_ts(self) -> int:
        return self._committer.admitted_ts

    def next_ts(self) -> int:
        """The ts of the next admission while no time passes; later it is a later one."""
        return self._committer.next_ts(self._now_ns())

    def unpublished(self) -> tuple[Commit, ...]:
        return self._committer.unpublished()

    async def commit(self, request: CommitRequest) -> int | Decision:
        """The commit's ts once it is durable and visible; or why it was not admitted."""
        match self.propose_chain((request,))[0]:
            case Admitted(ts) | AlreadyCommitted(ts):
                return await self.durable(ts)
            case refused:
                return refused

    def propose_chain(
        self, requests: Sequence[CommitRequest], barred: Collection[int] = ()
    ) -> list[Decision]:
        """What became of each proposal; what is admitted is durable only after `durable(ts)`."""
        decisions = self._committer.propose_chain(requests, self._now_ns(), barred)
        self._begin_flushing()
        return decisions

    def recognise(self, body: CommitBody) -> AlreadyCommitted | None:
        """Whether a call was admitted before, while it is remembered."""
        return self._committer.recognise(body)

    def is_forgotten(self, begin_ts: int) -> bool:
        """Whether what began at this ts can never be judged."""
        return self._committer.is_forgotten(begin_ts)

    async def flush(self) -> None:
        """Make everything admitted durable (the epoch record at start)."""
        self._begin_flushing()
        if self._flushing is not None:
            await asyncio.shield(self._flushing)

    async def durable(self, ts: int) -> int:
        """Wait until an admitted ts is durable and visible; returns it."""
        if ts <= self._committer.published_ts:
            return ts
        told = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(ts, []).append(told)
        return await told

    def _begin_flushing(self) -> None:
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush_until_idle())

    async def _flush_until_idle(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while (batch := self._committer.ready()) is not None:
                self._pauses.reach(Pauses.BEFORE_SYNC)
                await loop.run_in_executor(
                    None, self._store.append_and_sync, self._committer.epoch, batch.records
                )
                self._pauses.reach(Pauses.AFTER_SYNC)
                self._publish(batch)
        except BaseException as failure:
            self._stop_process(failure)  # the fate of the batch is unknown: recovery reads the log
            raise
        finally:
            self._flushing = None

    def _publish(self, batch: Batch) -> None:
        commits = self._committer.advance(batch)
        for follower in self._followers:
            follower.follow(commits)  # folded BEFORE anyone is told
        self.batches_synced += 1
        self.records_synced += len(commits)
        self._pauses.reach(Pauses.AFTER_PUBLISH)
        for commit in commits:
            for told in self._waiting.pop(commit.ts, ()):
                if not told.done():
                    told.set_result(commit.ts)
