"""Names of things as text: document ids, table and index names, timestamps.

A document id is base32(vint(table number) || 16-byte internal id || checksum), spec 01 3.6. To clients it is
opaque; the server reads the table number out of it. Decoding is one-to-one: a text that is not exactly
what `encode_id` gives is no id. Randomness and time arrive as arguments.
"""

from __future__ import annotations

import re
from base64 import b32encode, b64encode
from binascii import a2b_base64
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple

from log.errors import index_name_reserved, invalid_index_name, invalid_table_name, table_name_reserved
from log.invariant import invariant
from log.limits import ID_CACHE_LENGTH_MAX, IDENTIFIER_BYTES_MAX, INTERNAL_ID_BYTES, TABLE_NUMBER_MAX

ID_LENGTH_MIN: Final = 31
ID_LENGTH_MAX: Final = 37
_ID_VERSION: Final = 0
_CHECKSUM_BYTES: Final = 2
_TABLE_NUMBER_BYTES_MAX: Final = 5
_SECONDS_PER_DAY: Final = 86_400

_RFC_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CROCKFORD_ALPHABET: Final = b"0123456789abcdefghjkmnpqrstvwxyz"
_TO_CROCKFORD: Final = bytes.maketrans(_RFC_ALPHABET, _CROCKFORD_ALPHABET)
_TO_PYTHON_DIGITS: Final = str.maketrans(_CROCKFORD_ALPHABET.decode(), "0123456789abcdefghijklmnopqrstuv")
_NOT_CROCKFORD: Final = re.compile(r"[^0-9a-hjkmnp-tv-z]")

_IDENTIFIER: Final = re.compile(r"(?=_*[A-Za-z0-9])[A-Za-z_][A-Za-z0-9_]*")
_BUILT_IN_INDEXES: Final = ("by_id", "by_creation_time")
_IMPORTER_INDEX_PREFIX: Final = "_fivetran"


class DocumentId(NamedTuple):
    """What an id says. `internal_id` alone is unique; the table number belongs to one component."""

    table_number: int
    internal_id: bytes


class InvalidId(ValueError):
    """A text that is no document id. Its own text completes "Invalid argument `id` for `db.get`: ..."."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"Unable to decode ID: {self.reason}"


def encode_id(table_number: int, internal_id: bytes) -> str:
    """The public id, 31 to 37 characters; 32 for user tables."""
    invariant(0 < table_number <= TABLE_NUMBER_MAX, "a table number has 32 bits and is not 0", n=table_number)
    invariant(len(internal_id) == INTERNAL_ID_BYTES, "an internal id has 16 bytes", length=len(internal_id))
    body = _vint(table_number) + internal_id
    footer = (_fletcher16(body) ^ _ID_VERSION).to_bytes(_CHECKSUM_BYTES, "little")
    return b32encode(body + footer).rstrip(b"=").translate(_TO_CROCKFORD).decode()


@lru_cache(maxsize=ID_CACHE_LENGTH_MAX)
def decode_id(text: str) -> DocumentId:
    """The parts of a public id; InvalidId with the reason (spec 03 2.2) if it is none."""
    if not ID_LENGTH_MIN <= len(text) <= ID_LENGTH_MAX:
        raise InvalidId(f"Invalid ID length {len(text)}")
    data = _from_base32(text)
    table_number, start = _read_vint(data)
    if len(data) != start + INTERNAL_ID_BYTES + _CHECKSUM_BYTES:
        raise InvalidId(f"Invalid ID length {len(text)}")
    body, footer = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    version = int.from_bytes(footer, "little") ^ _fletcher16(body)
    if version != _ID_VERSION:
        raise InvalidId(f"Invalid ID version {version}")
    return DocumentId(table_number, data[start:-_CHECKSUM_BYTES])


def new_internal_id(random14: bytes, now_seconds: int) -> bytes:
    """14 random bytes, then the day: ids made on one day share their end, which nobody may rely on."""
    invariant(len(random14) == INTERNAL_ID_BYTES - 2, "an internal id takes 14 random bytes", n=len(random14))
    return random14 + (now_seconds // _SECONDS_PER_DAY).to_bytes(2, "big")


# --- names ------------------------------------------------------------------------------------------


def is_identifier(text: str) -> bool:
    """Letters, digits and underscores, not starting with a digit, not only underscores, at most 64."""
    return len(text) <= IDENTIFIER_BYTES_MAX and _IDENTIFIER.fullmatch(text) is not None


def check_table_name(name: str) -> None:
    """Refuse what cannot name a user's table (spec 04 3.1)."""
    if not is_identifier(name):
        raise invalid_table_name(name)
    if name.startswith("_"):
        raise table_name_reserved(name)


def check_index_name(table: str, name: str) -> None:
    """Refuse what cannot name a user's index of `table` (spec 04 4.1)."""
    if not is_identifier(name):
        raise invalid_index_name(name)
    reserved = name.startswith("_") and not name.startswith(_IMPORTER_INDEX_PREFIX)
    if reserved or name in _BUILT_IN_INDEXES:
        raise index_name_reserved(table, name)


# --- timestamps -------------------------------------------------------------------------------------


def ts_to_base64(ts: int) -> str:
    """A timestamp on the wire: base64 of an unsigned 64-bit number, little-endian (spec 01 1.3)."""
    return b64encode(ts.to_bytes(8, "little")).decode()


def ts_from_base64(text: str) -> int:
    """The inverse of `ts_to_base64`; ValueError for anything it does not write."""
    content = a2b_base64(text, strict_mode=True)
    if len(content) != 8:
        raise ValueError(f"a timestamp has 8 bytes, received {len(content)}")
    ts = int.from_bytes(content, "little")
    if ts_to_base64(ts) != text:
        raise ValueError("the timestamp is not canonical base64")
    return ts


# --- helpers of ids ---------------------------------------------------------------------------------


def _vint(number: int) -> bytes:
    """Little-endian groups of seven bits; the high bit says that another follows."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def _read_vint(data: bytes) -> tuple[int, int]:
    """The table number at the start of `data` and where it ends, in its shortest form only."""
    number = 0
    for position, group in enumerate(data[:_TABLE_NUMBER_BYTES_MAX]):
        number |= (group & 0x7F) << (7 * position)
        if group < 0x80:
            is_shortest = group != 0 or position == 0
            if not (is_shortest and 0 < number <= TABLE_NUMBER_MAX):
                break
            return number, position + 1
    raise InvalidId("Invalid table number")


def _fletcher16(data: bytes) -> int:
    """Fletcher's checksum modulo 256 (not 255), as ids use it."""
    first, second = sum(data), sum(accumulate(data))
    return (second & 0xFF) << 8 | first & 0xFF


def _from_base32(text: str) -> bytes:
    """Crockford's alphabet in lower case, without aliases; less than a character is unused, and zero."""
    if _NOT_CROCKFORD.search(text):
        raise InvalidId("ID wasn't valid base32")
    length, unused_bits = divmod(5 * len(text), 8)
    number = int(text.translate(_TO_PYTHON_DIGITS), 32)
    if unused_bits >= 5 or number & ((1 << unused_bits) - 1):
        raise InvalidId("ID wasn't valid base32")
    return (number >> unused_bits).to_bytes(length)
