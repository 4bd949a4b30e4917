"""Small worlds for random tests: few keys, so that collisions are the rule."""

from __future__ import annotations

import random

from log.read_set import ReadSet
from log.record import DocumentWrite, KeyWrite

INDEXES = (b"index-one-------", b"index-two-------")
WORD_INDEX = b"index-of-words--"
TABLET = b"tablet----------"
CATALOG_TABLET = b"catalog---------"
KEYS = tuple(bytes([letter]) * length for letter in b"abc" for length in (1, 2, 3))


def random_key(rng: random.Random) -> bytes:
    return rng.choice(KEYS)


def random_bounds(rng: random.Random) -> tuple[bytes, bytes | None]:
    start, end = random_key(rng), rng.choice([*KEYS, None])
    if end is not None and end <= start:
        start, end = min(start, end), max(start, end) + b"\x00"
    return start, end


def random_reads(rng: random.Random) -> ReadSet:
    reads = ReadSet()
    reads.reads_catalog = rng.random() < 0.7
    for _ in range(rng.randrange(4)):
        index_id = rng.choice((*INDEXES, WORD_INDEX))
        if rng.random() < 0.5:
            reads.add_key(index_id, random_key(rng))
        else:
            reads.add(index_id, *random_bounds(rng))
    return reads


def random_writes(rng: random.Random) -> tuple[DocumentWrite, ...]:
    writes = []
    for number in range(rng.randrange(1, 3)):
        tablet = CATALOG_TABLET if rng.random() < 0.05 else TABLET
        keys: list[KeyWrite] = []
        for index_id in INDEXES:
            old = random_key(rng) if rng.random() < 0.6 else None
            new = random_key(rng) if old is None or rng.random() < 0.7 else None
            keys.append((index_id, old, new))
        words = tuple(sorted({random_key(rng) for _ in range(rng.choice((0, 0, 1, 3)))}))
        named = ((WORD_INDEX, words),) if words else ()
        writes.append(DocumentWrite(tablet, f"document-{number}", 0, 10, b"{}", tuple(keys), named))
    return tuple(writes)


def touched(writes: tuple[DocumentWrite, ...]) -> list[tuple[bytes, bytes]]:
    """(index, key) of everything the writes change, words too; the dumb way."""
    found = []
    for write in writes:
        for index_id, old, new in write.keys:
            found += [(index_id, key) for key in (old, new) if key is not None]
        for index_id, words in write.words:
            found += [(index_id, word) for word in words]
    return found


def naive_hit(reads: list[tuple[bytes, bytes, bytes | None]], writes: tuple[DocumentWrite, ...]) -> bool:
    return any(
        read_index == index_id and start <= key and (end is None or key < end)
        for read_index, start, end in reads
        for index_id, key in touched(writes)
    )
