"""The recent window of writes: does anything a transaction read lie in what was written since?

Kept per index, so that a test looks only at commits that touched an index of the read set. The window
forgets from the old end; a transaction older than what is remembered cannot be judged and is told so.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass

from log.invariant import invariant
from log.read_set import Place, ReadSet
from log.record import DocumentWrite


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something the transaction read was written by the commit at `ts`: `key` of an index, None when it was
    the catalog.

    `places` are the parts of the *loser's* read set that were hit (none: the catalog); a re-run must begin
    at `ts` or later, for it would lose again before.
    """

    ts: int
    places: tuple[Place, ...]
    source: str
    key: tuple[bytes, bytes] | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    ts: int
    source: str
    keys_by_index: dict[bytes, tuple[bytes, ...]]
    writes_catalog: bool
    bytes_held: int


class WriteLog:
    """Writes of the commits in (forgotten_ts, newest], oldest first."""

    def __init__(self, forgotten_ts: int) -> None:
        self.forgotten_ts = forgotten_ts  # commits at or below it are not remembered
        self.bytes_held = 0
        self._entries: deque[_Entry] = deque()
        self._by_index: dict[bytes, deque[_Entry]] = {}
        self._catalog_ts: list[int] = []

    def append(
        self, ts: int, source: str, writes: tuple[DocumentWrite, ...], catalog_tablets: frozenset[bytes]
    ) -> None:
        """Remember one commit; `ts` is above every remembered one."""
        invariant(not self._entries or ts > self._entries[-1].ts, "writes are remembered in order", ts=ts)
        entry = _entry(ts, source, writes, catalog_tablets)
        self._entries.append(entry)
        self.bytes_held += entry.bytes_held
        for index_id in entry.keys_by_index:
            self._by_index.setdefault(index_id, deque()).append(entry)
        if entry.writes_catalog:
            self._catalog_ts.append(ts)

    def first_conflict(self, reads: ReadSet, begin_ts: int) -> Conflict | None:
        """A write after begin_ts to something in `reads`, or None. The caller checked forgotten_ts."""
        if reads.reads_catalog and self._catalog_ts and self._catalog_ts[-1] > begin_ts:
            ts = self._catalog_ts[bisect_right(self._catalog_ts, begin_ts)]
            return Conflict(ts, (), self._source_at(ts))
        for index_id, held in reads.by_index.items():
            for entry in reversed(self._by_index.get(index_id, ())):
                if entry.ts <= begin_ts:
                    break
                hit = next((key for key in entry.keys_by_index[index_id] if held.contains(key)), None)
                if hit is not None:
                    return Conflict(entry.ts, _places_hit(reads, entry), entry.source, (index_id, hit))
        return None

    def forget_through(self, ts: int) -> None:
        """Drop the commits at or before `ts`."""
        while self._entries and self._entries[0].ts <= ts:
            entry = self._entries.popleft()
            self.bytes_held -= entry.bytes_held
            for index_id in entry.keys_by_index:
                of_index = self._by_index[index_id]
                of_index.popleft()
                if not of_index:
                    del self._by_index[index_id]
        del self._catalog_ts[: bisect_right(self._catalog_ts, ts)]
        self.forgotten_ts = max(self.forgotten_ts, ts)

    def trim(self, now_ts: int, *, age_ns_min: int, age_ns_max: int, bytes_max: int) -> None:
        """Forget what is older than age_ns_max; over bytes_max also what is older than age_ns_min."""
        if self._entries and self._entries[0].ts <= now_ts - age_ns_max:
            self.forget_through(now_ts - age_ns_max)
        while self.bytes_held > bytes_max and self._entries[0].ts <= now_ts - age_ns_min:
            self.forget_through(self._entries[0].ts)

    def _source_at(self, ts: int) -> str:
        return next((entry.source for entry in self._entries if entry.ts == ts), "")


def _places_hit(reads: ReadSet, entry: _Entry) -> tuple[Place, ...]:
    """Every interval of `reads` that the commit wrote into, each once."""
    hit: dict[Place, None] = {}
    for index_id, keys in entry.keys_by_index.items():
        for key in keys:
            interval = reads.find(index_id, key)
            if interval is not None:
                hit[(index_id, *interval)] = None
    return tuple(hit)


def _entry(
    ts: int, source: str, writes: tuple[DocumentWrite, ...], catalog_tablets: frozenset[bytes]
) -> _Entry:
    keys_by_index: dict[bytes, list[bytes]] = {}
    for write in writes:
        for index_id, keys in write.touched():
            keys_by_index.setdefault(index_id, []).extend(keys)
    frozen = {index_id: tuple(keys) for index_id, keys in keys_by_index.items()}
    bytes_held = 200 + sum(len(key) + 60 for keys in frozen.values() for key in keys)
    writes_catalog = any(write.tablet_id in catalog_tablets for write in writes)
    return _Entry(ts, source, frozen, writes_catalog, bytes_held)
