"""Ids, names and timestamps as text (spec 01 3.6, spec 03 2.2, spec 04 3.1, 4.1)."""

from __future__ import annotations

import random

import pytest

from log.errors import BackendError
from log.ids import (
    DocumentId,
    InvalidId,
    check_index_name,
    check_table_name,
    decode_id,
    encode_id,
    is_identifier,
    new_internal_id,
    ts_from_base64,
    ts_to_base64,
)
from log.invariant import InvariantViolation

POWERS_OF_251 = bytes(pow(251, exponent, 256) for exponent in range(1, 17))
TABLE_NUMBERS = [1, 127, 128, 513, 10_001, 2**14 - 1, 2**14, 2**21 - 1, 2**21, 2**28 - 1, 2**28, 2**32 - 1]

VECTORS = [
    (1, bytes(16), "0400000000000000000000000000248"),
    (10001, bytes(range(16)), "j57000820c20a1g7104gm2rc1m70ynr8"),
    (10001, b"\xff" * 16, "j57fzzzzzzzzzzzzzzzzzzzzzzzzzkyr"),
    (4294967295, b"\xff" * 16, "zzzzzzrfzzzzzzzzzzzzzzzzzzzzzzzzzzxjj"),
    (1017, POWERS_OF_251, "z43zp6c3e75gkmz1kfwj6mbbx5sw281h"),
]


@pytest.mark.parametrize(("table_number", "internal_id", "text"), VECTORS)
def test_an_id_has_its_published_text(table_number: int, internal_id: bytes, text: str) -> None:
    assert encode_id(table_number, internal_id) == text
    assert decode_id(text) == DocumentId(table_number, internal_id)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Invalid ID length 0"),
        ("abcde", "Invalid ID length 5"),
        ("j" * 38, "Invalid ID length 38"),
        ("j57000820c20a1g7104gm2rc1m70ynr", "Invalid ID length 31"),
        ("J57000820c20a1g7104gm2rc1m70ynr8", "ID wasn't valid base32"),
        ("i57000820c20a1g7104gm2rc1m70ynr8", "ID wasn't valid base32"),
        ("j57000820c20a1g7104gm2rc1m70ynr8é"[1:], "ID wasn't valid base32"),
        ("j57000820c20a1g7104gm2rc1m70ynr\n", "ID wasn't valid base32"),
        ("0400000000000000000000000000249", "ID wasn't valid base32"),
        ("j57000820c20a1g7104gm2rc1m70ynr80", "ID wasn't valid base32"),
        ("0" * 31, "Invalid table number"),
        ("g0000000000000000000000000000000", "Invalid table number"),
        ("j57000820c20a1g7104gm2rc1m70ynr9", "Invalid ID version 256"),
    ],
)
def test_a_text_that_is_no_id_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidId) as refused:
        decode_id(text)
    assert (refused.value.reason, str(refused.value)) == (reason, f"Unable to decode ID: {reason}")


def test_changing_any_one_character_never_gives_an_id_that_reads_differently() -> None:
    seed = 11
    rng = random.Random(seed)
    for _ in range(3_000):
        text = encode_id(rng.choice(TABLE_NUMBERS), rng.randbytes(16))
        position = rng.randrange(len(text))
        changed = text[:position] + rng.choice("0123456789abcdefghijklmnopqrstuvwxyzA") + text[position + 1 :]
        try:
            decoded = decode_id(changed)
        except InvalidId:
            continue
        assert encode_id(*decoded) == changed, (seed, text, changed)


def test_user_tables_have_ids_of_32_characters() -> None:
    assert {len(encode_id(number, bytes(16))) for number in (128, 10_001, 16_383)} == {32}
    assert sorted({len(encode_id(number, bytes(16))) for number in TABLE_NUMBERS}) == [31, 32, 34, 36, 37]


def test_a_table_number_outside_of_its_range_is_a_defect() -> None:
    for number in (0, -1, 2**32):
        with pytest.raises(InvariantViolation):
            encode_id(number, bytes(16))


def test_an_internal_id_ends_with_its_day() -> None:
    assert new_internal_id(b"r" * 14, 86_400 * 0x0102 + 5) == b"r" * 14 + b"\x01\x02"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        *[("a", True), ("_a1", True), ("_1", True), ("A" * 64, True), ("A" * 65, False)],
        *[(text, False) for text in ("", "_", "__", "1a", "a-b", "é", "a\n")],
    ],
)
def test_identifiers_are_recognised(text: str, is_one: bool) -> None:
    assert is_identifier(text) is is_one


def refusal(check: object, *names: str) -> str:
    with pytest.raises(BackendError) as refused:
        check(*names)  # type: ignore[operator]
    return f"{refused.value.code}: {refused.value.message}"


def test_table_names_are_refused_with_the_specified_texts() -> None:
    check_table_name("messages")
    assert refusal(check_table_name, "1a") == (
        'InvalidTableName: Invalid table name: "1a". Identifiers must start with a letter and can only '
        "contain letters, digits, and underscores."
    )
    assert refusal(check_table_name, "_a") == "TableNameReserved: _a is a reserved table name."


def test_index_names_are_refused_with_the_specified_texts() -> None:
    check_index_name("t", "by_author")
    check_index_name("t", "_fivetran_x")
    check_index_name("t", "x" * 64)
    assert refusal(check_index_name, "t", "x" * 65).startswith("InvalidIndexName: ")
    assert refusal(check_index_name, "t", "a.b") == (
        'InvalidIndexName: Invalid index name: "a.b". Identifiers must be 64 characters or less, start with '
        "a letter, and only contain letters, digits, underscores."
    )
    for name in ("by_id", "by_creation_time", "_x"):
        assert refusal(check_index_name, "t", name) == (
            f'IndexNameReserved: In table "t" cannot name an index "{name}" because the name is reserved. '
            'Indexes may not start with an underscore or be named "by_id" or "by_creation_time".'
        )


def test_timestamps_are_eight_little_endian_bytes_in_base64() -> None:
    assert ts_to_base64(0) == "AAAAAAAAAAA="
    assert ts_from_base64("AQAAAAAAAAA=") == 1
    assert ts_from_base64(ts_to_base64(2**64 - 1)) == 2**64 - 1
    for text in ("", "AAAA", "AAAAAAAAAAB=", "AAAAAAAAAAA", "x"):
        with pytest.raises(ValueError):
            ts_from_base64(text)
