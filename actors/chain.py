"""Runs calls one upon the other, each on what those before it wrote, to be proposed together (design D4).

A chain of one is a call on its own. A run that writes nothing, or fails, is told what it read, and nobody
judges that: so it counts only at the head of a chain, where it has read one snapshot.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from zlib import crc32

from actors.ahead_snapshot import AheadSnapshot
from functions.catalog import Catalog
from functions.determinism import SEED_BYTES, CallClock, SeededBytes
from functions.snapshot import SnapshotReader
from functions.system.tables import CATALOG_TABLETS
from functions.transaction import HotPlaceMet, Transaction
from log.chains import Unsettled, pending_ts
from log.invariant import invariant
from log.limits import CHAIN_CALLS_MAX, TURN_BODIES_BYTES_MAX
from log.read_set import ReadSet
from log.record import CallTrace, CommitBody

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


def attempt_at(
    snapshot: SnapshotReader,
    catalog: Catalog,
    clock: CallClock,
    seed: bytes,
    *,
    is_read_only: bool,
    watched: ReadSet | None = None,
) -> Attempt:
    """The attempt that clock and seed make of a snapshot: the first time, and when it is replayed."""
    transaction = Transaction(
        snapshot,
        catalog,
        now_ms=clock.creation_ms,
        random_bytes=SeededBytes(seed, b"ids"),
        is_read_only=is_read_only,
        watched=watched,
    )
    return Attempt(transaction, clock, seed)


@dataclass(slots=True, eq=False)
class PendingCall:
    """A call that wants to be committed. `ended` is what its next run comes to (actors/transactor.py)."""

    call_id: bytes
    work: Callable[[Attempt], Done[Any]]
    ended: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one call. `proposal` is its position among the chain's, None = nothing to commit."""

    call: PendingCall
    reads: ReadSet
    proposal: int | None = None
    result: Any = None
    failure: Exception | None = None


class Chain:
    """Runs on `base`, a published snapshot, and the `unsynced` commits (ts, body) after it. With places
    `watched`, the run that reads one is stopped by HotPlaceMet."""

    def __init__(
        self,
        base: SnapshotReader,
        unsynced: Sequence[tuple[int, CommitBody]],
        catalog: Catalog,
        now_ns: Callable[[], int],
        watched: ReadSet | None = None,
    ) -> None:
        self.catalog = catalog
        self.begin_ts = unsynced[-1][0] if unsynced else base.ts
        self.runs: list[Run] = []
        self.proposals: list[tuple[bytes, bytes]] = []  # reads, body: as the core takes them
        self._base, self._now_ns, self._watched = base, now_ns, watched
        self._ahead = AheadSnapshot(base, unsynced) if unsynced else None
        self._bytes_held = 0
        self._can_grow = True

    @property
    def is_open(self) -> bool:
        """Whether another run may be put on top."""
        return (
            self._can_grow and len(self.runs) < CHAIN_CALLS_MAX and self._bytes_held < TURN_BODIES_BYTES_MAX
        )

    def run(self, call: PendingCall) -> bool:
        """Run a call on top of the others; False when it can only run at the head of a chain."""
        clock = CallClock.at(self._now_ns(), self.begin_ts)
        attempt = attempt_at(
            self._ahead or self._base,
            self.catalog,
            clock,
            os.urandom(SEED_BYTES),
            is_read_only=False,
            watched=self._watched,
        )
        is_head, reads = not self.proposals, attempt.transaction.reads
        try:
            done = call.work(attempt)
        except Unsettled:
            invariant(not is_head, "what the head of a chain reads has its place")
            return False
        except HotPlaceMet:
            raise
        except Exception as failure:
            if is_head:
                self.runs.append(Run(call, reads, failure=failure))
            return is_head
        if done.trace is not None:
            self.runs.append(Run(call, reads, len(self.proposals), done.result))
            self._propose(attempt.transaction, call.call_id, done.trace)
        elif is_head:
            self.runs.append(Run(call, reads, result=done.result))
        return is_head or done.trace is not None

    def _propose(self, transaction: Transaction, call_id: bytes, trace: CallTrace) -> None:
        reads = transaction.reads.encode()
        body = transaction.commit_body(call_id, trace._replace(reads_crc=crc32(reads)))
        self.proposals.append((reads, encoded := body.encode()))
        self._bytes_held += len(encoded)
        if body.blanks or any(write.tablet_id in CATALOG_TABLETS for write in body.writes):
            self._can_grow = False  # its documents are not known yet, or the catalog is another one now
        elif self.is_open:
            self._show(body)

    def _show(self, body: CommitBody) -> None:
        """Let the next run read what was proposed last."""
        self._ahead = self._ahead or AheadSnapshot(self._base)
        self._ahead.append(pending_ts(len(self.proposals) - 1), body)
