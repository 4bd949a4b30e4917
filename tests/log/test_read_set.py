"""Read sets survive the wire."""

from __future__ import annotations

import random

import pytest

from log.read_set import ReadSet

from ..support.worlds import random_reads


@pytest.mark.parametrize("seed", range(50))
def test_decoding_gives_what_was_encoded(seed: int) -> None:
    reads = random_reads(random.Random(seed))
    decoded = ReadSet.decode(reads.encode())
    assert list(decoded.intervals()) == sorted(reads.intervals(), key=lambda read: (read[0], read[1])), seed
    assert decoded.reads_catalog == reads.reads_catalog


def test_equal_read_sets_have_equal_bytes_whatever_the_order_of_reading() -> None:
    left, right = ReadSet(), ReadSet()
    left.add(b"1" * 16, b"a", b"c")
    left.add_key(b"0" * 16, b"k")
    right.add_key(b"0" * 16, b"k")
    right.add(b"1" * 16, b"b", b"c")
    right.add(b"1" * 16, b"a", b"b")
    assert left.encode() == right.encode()


def test_merging_keeps_both_and_the_catalog() -> None:
    left, right = ReadSet(), ReadSet()
    right.reads_catalog = True
    right.add_key(b"0" * 16, b"k")
    left.merge(right)
    assert left.reads_catalog and left.find(b"0" * 16, b"k") == (b"k", b"k\x00")
