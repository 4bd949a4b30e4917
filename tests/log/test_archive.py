"""Segments of the archive as bytes: read back as written, from anywhere, or refused with name and byte."""

from __future__ import annotations

import random
import re
import struct

import pytest

from log import archive
from log.archive import Segment, encode_segment
from log.committer import LogEnd
from log.invariant import InvariantViolation
from log.record import Record, RecordKind, make_record
from log.store import LogDamaged, end_of

SEED = 20261127
NAME = "archive/some-segment.log"


def random_records(rng: random.Random, before: LogEnd, count: int) -> list[Record]:
    records, end = [], before
    for _ in range(count):
        kind = rng.choice(list(RecordKind))
        body = rng.randbytes(rng.choice((0, 1, rng.randrange(300))))
        ts = end.ts + rng.randrange(1, 10**9)
        records.append(make_record(end.crc, end.seq + 1, ts, rng.randrange(1, 9), kind, body))
        end = end_of(records[-1])
    return records


def random_segment(rng: random.Random, count: int) -> tuple[LogEnd, list[Record], bytes]:
    before = rng.choice(
        (LogEnd(), LogEnd(rng.randrange(1, 10**6), rng.randrange(10**18), rng.randrange(2**32)))
    )
    records = random_records(rng, before, count)
    return before, records, encode_segment(before, records)


def opened(data: bytes) -> Segment:
    return Segment(NAME, len(data), lambda offset, length: data[offset : offset + length])


def walked(data: bytes) -> list[tuple[int, ...]]:
    """The dumber reader: from the first frame on, length by length, as many as there are."""
    first, last = (int.from_bytes(data[at : at + 8], "big") for at in (10, 38))
    offset, found = archive.HEADER_BYTES, []
    for _ in range(last - first):
        (length,) = struct.unpack_from(">I", data, offset)
        found.append(
            (*struct.unpack_from(">BBQQQI", data, offset + 4), data[offset + 34 : offset + 4 + length])
        )
        offset += 4 + length
    return found


# --- what is written is read ------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 7, 60])
def test_a_segment_gives_its_records_from_wherever_reading_begins(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    rng = random.Random(SEED + count)
    monkeypatch.setattr(archive, "_PLACES_PER_READ", rng.randrange(1, 9))
    for case in range(20):
        before, records, data = random_segment(rng, count)
        segment = opened(data)
        segment.check()
        assert (segment.before, segment.last) == (before, end_of(records[-1])), (SEED, case)
        assert (segment.count, segment.first_ts) == (count, records[0].ts)
        for seq in range(before.seq - 1, before.seq + count + 2):
            expected = [record for record in records if record.seq >= seq]
            assert list(segment.read_from(seq)) == expected, (SEED, case, seq)


def test_frames_can_be_walked_without_the_places_and_hold_the_record_as_the_log_has_it() -> None:
    rng = random.Random(SEED)
    for case in range(50):
        _, records, data = random_segment(rng, rng.randrange(1, 30))
        expected = [(1, each.kind, each.seq, each.ts, each.epoch, each.crc, each.body) for each in records]
        assert walked(data) == expected, (SEED, case)


def test_reading_from_the_middle_costs_what_is_read() -> None:
    rng = random.Random(SEED)
    _, records, data = random_segment(rng, 2_000)
    read: list[int] = []

    def read_at(offset: int, length: int) -> bytes:
        read.append(length)
        return data[offset : offset + length]

    segment = Segment(NAME, len(data), read_at)
    found = next(segment.read_from(records[1_500].seq))
    assert found == records[1_500] and sum(read) < 6_000 < len(data) // 20


def test_records_that_do_not_follow_are_never_made_a_segment() -> None:
    rng = random.Random(SEED)
    before, records, _ = random_segment(rng, 5)
    strangers = [[], records[1:], [records[0], *records[2:]], records[::-1], [*records[:2], records[1]]]
    for stranger in strangers:
        with pytest.raises(InvariantViolation):
            encode_segment(before, stranger)
    with pytest.raises(InvariantViolation):
        encode_segment(LogEnd(before.seq, before.ts, before.crc ^ 1), records)


# --- what is damaged is refused ---------------------------------------------------------------------


def check_refusal(refusal: LogDamaged, facts: object) -> None:
    text = str(refusal)
    assert re.search(rf"{NAME} is damaged at byte \d+: .*backup", text) or "newer Tidelog" in text, (
        facts,
        text,
    )


def test_a_flipped_bit_at_any_byte_is_refused_and_reading_gives_what_was_written_or_refuses() -> None:
    rng = random.Random(SEED)
    before, records, data = random_segment(rng, 6)
    for offset in range(len(data)):
        harmed = bytearray(data)
        harmed[offset] ^= 1 << rng.randrange(8)
        with pytest.raises(LogDamaged) as refusal:
            opened(bytes(harmed)).check()
        check_refusal(refusal.value, (SEED, offset))
        try:
            first = before.seq + rng.randrange(1, 7)
            assert list(opened(bytes(harmed)).read_from(first)) == records[first - before.seq - 1 :]
        except LogDamaged as refused:
            check_refusal(refused, (SEED, offset))


def test_a_cut_or_lengthened_segment_is_refused_before_anything_is_read() -> None:
    rng = random.Random(SEED)
    _, _, data = random_segment(rng, 6)
    for length in range(len(data)):
        with pytest.raises(LogDamaged) as refusal:
            opened(data[:length])
        check_refusal(refusal.value, (SEED, length))
    with pytest.raises(LogDamaged, match=f"at byte {len(data)}: it is {len(data) + 3} bytes long"):
        opened(data + b"end")


def test_noise_of_any_kind_at_a_random_place_is_refused() -> None:
    rng = random.Random(SEED)
    for case in range(400):
        _, _, data = random_segment(rng, rng.randrange(1, 12))
        start = rng.randrange(len(data))
        end = min(len(data), start + rng.randrange(1, 60))
        noise = rng.choice((bytes(end - start), rng.randbytes(end - start), data[: end - start]))
        harmed = data[:start] + noise + data[end:]
        if harmed == data:
            continue
        with pytest.raises(LogDamaged) as refusal:
            opened(harmed).check()
        check_refusal(refusal.value, (SEED, case, start, end))


def test_a_file_that_ends_while_it_is_read_is_refused() -> None:
    _, records, data = random_segment(random.Random(SEED), 6)
    segment = Segment(NAME, len(data), lambda offset, length: data[offset : min(offset + length, 200)])
    with pytest.raises(LogDamaged, match="it ends there"):
        list(segment.read_from(records[0].seq))


def test_a_segment_of_a_newer_format_is_refused_with_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "SEGMENT_FORMAT", 7)
    _, _, data = random_segment(random.Random(SEED), 2)
    monkeypatch.undo()
    with pytest.raises(LogDamaged, match=r"has format 7; this Tidelog reads formats up to 1\. Use the newer"):
        opened(data)
