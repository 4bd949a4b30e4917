"""What a transaction or a live query has read: key intervals per index, and the catalog.

The catalog (tables, indexes, schemas, modules, environment, ...) is one unit (design D8): a reader that
resolved anything through it depends on every later commit that writes a metadata table. That is coarser
than a row per table and never misses.

Wire form (msgpack): `[reads_catalog, index_id, [start, end, start, end, ...], index_id, [...], ...]`.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgpack

from log.intervals import Interval, IntervalSet

Place = tuple[bytes, bytes, bytes | None]
"""Index id, start, end: an interval of one index."""


class ReadSet:
    """Grows while its owner reads; encoded once when the run is over."""

    __slots__ = ("by_index", "reads_catalog")

    def __init__(self) -> None:
        self.reads_catalog = False
        self.by_index: dict[bytes, IntervalSet] = {}

    def add(self, index_id: bytes, start: bytes, end: bytes | None) -> None:
        held = self.by_index.get(index_id)
        if held is None:
            held = self.by_index[index_id] = IntervalSet()
        held.add(start, end)

    def add_key(self, index_id: bytes, key: bytes) -> None:
        self.add(index_id, key, key + b"\x00")

    def merge(self, other: ReadSet) -> None:
        self.reads_catalog |= other.reads_catalog
        for index_id, start, end in other.intervals():
            self.add(index_id, start, end)

    def find(self, index_id: bytes, key: bytes) -> Interval | None:
        """The interval of ours that `key` falls into, or None."""
        held = self.by_index.get(index_id)
        return held.find(key) if held is not None else None

    def overlaps(self, index_id: bytes, start: bytes, end: bytes | None) -> bool:
        """Whether an interval of ours shares a key with [start, end) of the index."""
        held = self.by_index.get(index_id)
        return held is not None and any(True for _ in held.overlapping(start, end))

    def intervals(self) -> Iterator[Place]:
        for index_id, held in self.by_index.items():
            for start, end in held:
                yield index_id, start, end

    @property
    def interval_count(self) -> int:
        return sum(len(held) for held in self.by_index.values())

    def encode(self) -> bytes:
        fields: list[object] = [self.reads_catalog]
        for index_id, held in sorted(self.by_index.items()):
            fields.append(index_id)
            fields.append([bound for interval in held for bound in interval])
        return msgpack.packb(fields)

    @classmethod
    def decode(cls, data: bytes) -> ReadSet:
        fields = msgpack.unpackb(data)
        reads = cls()
        reads.reads_catalog = fields[0]
        for index_id, bounds in zip(fields[1::2], fields[2::2], strict=True):
            held = reads.by_index[index_id] = IntervalSet()
            # Encoded by encode(): already disjoint and in order.
            held._starts, held._ends = list(bounds[0::2]), list(bounds[1::2])
        return reads
