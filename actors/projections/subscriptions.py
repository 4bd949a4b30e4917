"""Which live queries does a commit touch? (design D17, spec 04 7)

Promises:
  - a registration is compared with everything written after the ts its result was read at, so that a run
    racing a commit is caught at registration;
  - every commit at or before `processed_ts` has been compared with every registration;
  - a key is invalidated once, by the earliest commit that hit it, and is then gone.

Law: no clock, no socket; commits arrive in order through `advance`.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.projections.interval_index import IntervalIndex
from log import limits
from log.committer import NANOSECONDS
from log.invariant import invariant
from log.read_set import ReadSet
from log.record import DocumentWrite
from log.write_log import WriteLog


@dataclass(frozen=True, slots=True)
class Hit:
    """The registration `subscriber` was overwritten by the commit at `ts`, written by `source`: at `key` of
    an index, None when it was the catalog."""

    subscriber: int
    ts: int
    source: str
    index_id: bytes | None = None
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class ValidThrough:
    ts: int


@dataclass(frozen=True, slots=True)
class InvalidatedAt:
    ts: int


class Subscriptions:
    """All registrations of one shard. Subscriber numbers are the caller's."""

    def __init__(self, processed_ts: int, catalog_tablets: frozenset[bytes]) -> None:
        self.processed_ts = processed_ts  # moves in advance() only
        self._catalog_tablets = catalog_tablets
        self._recent = WriteLog(forgotten_ts=processed_ts)
        self._reads: dict[int, ReadSet] = {}
        self._by_index: dict[bytes, IntervalIndex] = {}
        self._of_catalog: set[int] = set()

    def __len__(self) -> int:
        return len(self._reads)

    def register(self, subscriber: int, reads: ReadSet, ts: int) -> ValidThrough | InvalidatedAt:
        """Watch what was read at `ts`, unless it was overwritten already."""
        invariant(subscriber not in self._reads, "a subscriber number is used once", subscriber=subscriber)
        if ts < self._recent.forgotten_ts:
            return InvalidatedAt(self.processed_ts)  # too old to tell: the safe answer
        conflict = self._recent.first_conflict(reads, ts)
        if conflict is not None:
            return InvalidatedAt(conflict.ts)
        self._reads[subscriber] = reads
        if reads.reads_catalog:
            self._of_catalog.add(subscriber)
        for index_id, start, end in reads.intervals():
            self._by_index.setdefault(index_id, IntervalIndex()).add(subscriber, start, end)
        return ValidThrough(max(ts, self.processed_ts))

    def unregister(self, subscriber: int) -> None:
        """Forget a registration; an unknown one is already gone."""
        reads = self._reads.pop(subscriber, None)
        if reads is None:
            return
        self._of_catalog.discard(subscriber)
        for index_id, start, end in reads.intervals():
            intervals = self._by_index[index_id]
            intervals.remove(subscriber, start, end)
            if not intervals:
                del self._by_index[index_id]

    def advance(self, ts: int, source: str, writes: tuple[DocumentWrite, ...]) -> list[Hit]:
        """Compare one commit with every registration; the hit ones are gone afterwards."""
        invariant(ts > self.processed_ts, "commits are compared in order", ts=ts, at=self.processed_ts)
        self._recent.append(ts, source, writes, self._catalog_tablets)
        self._recent.trim(
            ts,
            age_ns_min=limits.WRITE_WINDOW_SECONDS_MIN * NANOSECONDS,
            age_ns_max=limits.WRITE_WINDOW_SECONDS_MAX * NANOSECONDS,
            bytes_max=limits.WRITE_WINDOW_BYTES_MAX,
        )
        hit = self._hit_by(writes)
        for subscriber in hit:
            self.unregister(subscriber)
        self.processed_ts = ts
        return [Hit(subscriber, ts, source, *where) for subscriber, where in hit.items()]

    def _hit_by(
        self, writes: tuple[DocumentWrite, ...]
    ) -> dict[int, tuple[bytes, bytes] | tuple[None, None]]:
        """Subscriber -> the first index and key of its own that was written."""
        hit: dict[int, tuple[bytes, bytes] | tuple[None, None]] = {}
        if any(write.tablet_id in self._catalog_tablets for write in writes):
            hit = dict.fromkeys(self._of_catalog, (None, None))
        for write in writes:
            for index_id, keys in write.touched():
                intervals = self._by_index.get(index_id)
                if intervals is not None:
                    for key in keys:
                        for subscriber in intervals.stab(key):
                            hit.setdefault(subscriber, (index_id, key))
        return hit
