"""A live query is invalidated exactly when what it reads is no longer what it saw (spec 04 T7).

The twin knows no keys that were written: it looks at a query's documents and catalog before and after each
commit. 125 worlds of 20 commits and 40 queries are 100,000 pairs of a read set and a commit.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from actors.projections.subscriptions import Hit, Subscriptions, ValidThrough
from functions.system.tables import CATALOG_TABLETS, INDEX_TABLET, SYSTEM_TABLE_BY_NAME, tablet_id_of
from log.read_set import ReadSet
from log.record import DocumentWrite

WORLDS, COMMITS, QUERIES = 125, 20, 40
TABLET, BY_ID, BY_CHANNEL = b"messages--------", b"messages.by_id--", b"messages.by_chan"
IDS, CHANNELS = range(30), range(8)
CATALOG_CHANGES = {
    "index enabled": INDEX_TABLET,
    "environment": tablet_id_of(SYSTEM_TABLE_BY_NAME["_environment_variables"]),
    "module": tablet_id_of(SYSTEM_TABLE_BY_NAME["_modules"]),
}
KINDS = ("insert", "patch", "move", "delete", "clear", *CATALOG_CHANGES, "several")


def id_key(document: int) -> bytes:
    return b"%02d" % document


def channel_key(channel: int, document: int) -> bytes:
    return b"%d/" % channel + id_key(document)


class Database:
    """Documents in a channel each; every write gives one a new revision."""

    def __init__(self, rng: random.Random) -> None:
        self._rng, self._revision, self._catalog = rng, 0, 0
        self._documents: dict[int, tuple[int, int]] = {}  # id -> channel, revision
        for document in rng.sample(IDS, 15):
            self._write(document, rng.choice(CHANNELS))

    def change(self, kind: str) -> tuple[DocumentWrite, ...]:
        rng, present = self._rng, self._rng.sample(sorted(self._documents), len(self._documents))
        absent = [document for document in IDS if document not in self._documents]
        match kind:
            case "insert":
                return tuple(self._write(document, rng.choice(CHANNELS)) for document in absent[:1])
            case "patch":
                return tuple(self._write(document, self._documents[document][0]) for document in present[:1])
            case "move":
                return tuple(self._write(document, rng.choice(CHANNELS)) for document in present[:1])
            case "delete":
                return tuple(self._write(document, None) for document in present[:1])
            case "clear":
                return tuple(self._write(document, None) for document in present)
            case "several":  # of a document only the last write of a commit counts, so each has one
                return tuple(
                    self._write(document, rng.choice((None, *CHANNELS)))
                    for document in (*absent[:2], *present[:3])
                )
        self._catalog += 1
        row = DocumentWrite(CATALOG_CHANGES[kind], "row", 0, 2, b"{}", ((b"system.by_id----", None, b"row"),))
        return (row,)

    def seen_by(self, reads: ReadSet) -> tuple[int | None, frozenset[tuple[int, int]]]:
        """What a query with these reads depends on: the catalog, and revisions of documents."""
        intervals = [(index_id == BY_ID, start, end) for index_id, start, end in reads.intervals()]
        found = set()
        for document, (channel, revision) in self._documents.items():
            by_id, by_channel = id_key(document), channel_key(channel, document)
            for is_by_id, start, end in intervals:
                key = by_id if is_by_id else by_channel
                if start <= key and (end is None or key < end):
                    found.add((document, revision))
        return self._catalog if reads.reads_catalog else None, frozenset(found)

    def _write(self, document: int, channel: int | None) -> DocumentWrite:
        """Give the document a new revision in `channel`; None deletes it."""
        self._revision += 1
        old = self._documents.pop(document, None)
        if channel is not None:
            self._documents[document] = (channel, self._revision)
        old_id, old_place = (id_key(document), channel_key(old[0], document)) if old else (None, None)
        is_kept = channel is not None
        new_id, new_place = (id_key(document), channel_key(channel, document)) if is_kept else (None, None)
        keys = ((BY_ID, old_id, new_id), (BY_CHANNEL, old_place, new_place))
        return DocumentWrite(TABLET, str(document), 0, 2, b"{}" if is_kept else None, keys)


def random_query(rng: random.Random) -> ReadSet:
    """A document, a channel, the rest of a channel, some ids, a whole table; or two of these."""
    reads = ReadSet()
    reads.reads_catalog = rng.random() < 0.5
    for _ in range(rng.choice((1, 1, 2))):
        channel, document = rng.choice(CHANNELS), rng.choice(IDS)
        match rng.randrange(12):
            case 0 | 1 | 2 | 3:
                reads.add_key(BY_ID, id_key(document))
            case 4 | 5 | 6:
                reads.add(BY_CHANNEL, b"%d/" % channel, b"%d0" % channel)
            case 7 | 8:
                reads.add(BY_CHANNEL, channel_key(channel, document), b"%d0" % channel)
            case 9:
                reads.add(BY_ID, id_key(document), id_key(document + 5))
            case 10:
                reads.add(BY_CHANNEL, channel_key(channel, document), None)
            case _:
                reads.add(BY_ID, b"", None)
    return reads


def play(seed: int) -> Counter[tuple[str, bool]]:
    """(kind of commit, was the query hit) -> pairs."""
    rng = random.Random(seed)
    database, ours, pairs = Database(rng), Subscriptions(0, CATALOG_TABLETS), Counter[tuple[str, bool]]()
    live: dict[int, ReadSet] = {}
    for ts in range(1, COMMITS + 1):
        for number in range(len(live), QUERIES):
            subscriber, reads = ts * 1_000 + number, random_query(rng)
            assert ours.register(subscriber, reads, ts - 1) == ValidThrough(ts - 1)
            live[subscriber] = reads
        seen = {subscriber: database.seen_by(reads) for subscriber, reads in live.items()}
        kind = KINDS[rng.randrange(len(KINDS))]
        writes = database.change(kind)
        hits = ours.advance(ts, f"commit {ts}", writes)
        expected = {
            subscriber for subscriber, reads in live.items() if database.seen_by(reads) != seen[subscriber]
        }
        assert {hit.subscriber for hit in hits} == expected, (seed, ts, kind)
        assert all(is_explained(hit, ts, live[hit.subscriber], writes) for hit in hits), (seed, ts, kind)
        for subscriber in list(live):
            pairs[kind, subscriber in expected] += 1
            if subscriber in expected:
                del live[subscriber]
        assert len(ours) == len(live), (seed, ts)
    return pairs


def is_explained(hit: Hit, ts: int, reads: ReadSet, writes: tuple[DocumentWrite, ...]) -> bool:
    """Whether the hit names its commit, and something that was read and written."""
    if (hit.ts, hit.source) != (ts, f"commit {ts}"):
        return False
    if hit.index_id is None or hit.key is None:
        return reads.reads_catalog and any(write.tablet_id in CATALOG_TABLETS for write in writes)
    written = {(index_id, key) for write in writes for index_id, *keys in write.keys for key in keys}
    return (hit.index_id, hit.key) in written and reads.find(hit.index_id, hit.key) is not None


@pytest.mark.parametrize("seed", range(WORLDS))
def test_a_query_is_invalidated_exactly_when_what_it_reads_is_no_longer_what_it_saw(seed: int) -> None:
    assert sum(play(seed).values()) == COMMITS * QUERIES


def test_every_kind_of_commit_invalidates_some_queries_and_spares_others() -> None:
    pairs = sum((play(seed) for seed in range(5)), Counter[tuple[str, bool]]())
    assert {kind for kind, is_hit in pairs if is_hit} == set(KINDS)
    assert {kind for kind, is_hit in pairs if not is_hit} == set(KINDS)
