"""Bytes of the view: how index entries and undo entries are laid out in LMDB (design D6).

Two ordered tables, `current` and `undo`:

    current:  index id (16) | stored key           -> stored row
    undo:     index id (16) | replaced_ts (8) | stored key -> 0x00 [full key] | 0x01 stored row

LMDB keys end at 511 bytes. A longer index key is *stored* as a prefix and a hash, and the row carries the
full key; entries that share the prefix are then not in key order among themselves, so a reader collects
such a group, orders it by full keys and only then bounds and limits it (`is_grouped`).

A row that needs more than a page keeps a reference in the place of its content, which is its full key, if
it carries one, and its document (actors/view_pieces.py).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable

from functions.snapshot import Row
from log.invariant import invariant
from log.limits import VIEW_KEY_BYTES_MAX

INDEX_ID_BYTES = 16
_TS = struct.Struct(">Q")
_ROW = struct.Struct(">QII")  # revision ts, size, length of the full key (0: the stored key is full)
_IN_PIECES = 0x8000_0000  # in that length: a reference stands for the content
_REFERENCE = struct.Struct(">QI")
HASH_BYTES = 16
_STORED_KEY_BYTES_MAX = VIEW_KEY_BYTES_MAX - INDEX_ID_BYTES - _TS.size
KEY_PREFIX_BYTES = _STORED_KEY_BYTES_MAX - HASH_BYTES
_ABSENT, _PRESENT = b"\x00", b"\x01"

Reference = tuple[int, int]
"""Where the pieces of a content are, and how many bytes they are together."""
PieceReader = Callable[[int, int], bytes]

invariant(KEY_PREFIX_BYTES > 400, "ordinary keys are stored whole", prefix=KEY_PREFIX_BYTES)


def stored_key(key: bytes) -> bytes:
    if len(key) <= _STORED_KEY_BYTES_MAX:
        return key
    return key[:KEY_PREFIX_BYTES] + hashlib.sha256(key).digest()[:HASH_BYTES]


def is_grouped(stored: bytes) -> bool:
    """Whether the entry may be out of key order among those sharing its prefix."""
    return len(stored) > KEY_PREFIX_BYTES


def pack_row(key: bytes, revision_ts: int, size_bytes: int, document: bytes) -> bytes:
    if len(key) <= _STORED_KEY_BYTES_MAX:
        return _ROW.pack(revision_ts, size_bytes, 0) + document
    return _ROW.pack(revision_ts, size_bytes, len(key)) + key + document


def unpack_row(stored: bytes, value: bytes, read_pieces: PieceReader) -> Row:
    revision_ts, size_bytes, key_bytes = _ROW.unpack_from(value)
    if not key_bytes:
        return Row(stored, revision_ts, size_bytes, value[_ROW.size :])
    content = value[_ROW.size :]
    if key_bytes & _IN_PIECES:
        content, key_bytes = read_pieces(*_REFERENCE.unpack(content)), key_bytes & ~_IN_PIECES
    return Row(content[:key_bytes] or stored, revision_ts, size_bytes, content[key_bytes:])


def size_in_row(row: bytes | None) -> int | None:
    """The size of a packed row's document; None without a row."""
    return _ROW.unpack_from(row)[1] if row is not None else None


def content_of(row: bytes) -> bytes:
    """Of a packed row that holds it."""
    invariant(reference_of(row) is None, "what is in pieces is put there once")
    return row[_ROW.size :]


def refer(row: bytes, reference: Reference) -> bytes:
    """The row with a reference in the place of its content."""
    revision_ts, size_bytes, key_bytes = _ROW.unpack_from(row)
    return _ROW.pack(revision_ts, size_bytes, key_bytes | _IN_PIECES) + _REFERENCE.pack(*reference)


def reference_of(row: bytes) -> Reference | None:
    """None: the row holds its content."""
    _revision_ts, _size_bytes, key_bytes = _ROW.unpack_from(row)
    if not key_bytes & _IN_PIECES:
        return None
    owner, length = _REFERENCE.unpack_from(row, _ROW.size)
    return owner, length


def undo_start(index_id: bytes, replaced_ts: int) -> bytes:
    """Where the undo keys of the index at replaced_ts begin: each is this and a stored key."""
    return index_id + _TS.pack(replaced_ts)


def unpack_undo_key(physical: bytes) -> tuple[bytes, int, bytes]:
    """(index id, replaced ts, stored key)."""
    start = INDEX_ID_BYTES + _TS.size
    return physical[:INDEX_ID_BYTES], _TS.unpack_from(physical, INDEX_ID_BYTES)[0], physical[start:]


def pack_undo(key: bytes, previous_row: bytes | None) -> bytes:
    if previous_row is not None:
        return _PRESENT + previous_row
    return _ABSENT + (key if len(key) > _STORED_KEY_BYTES_MAX else b"")


def row_in_undo(value: bytes) -> bytes | None:
    """The packed row before; None for absent."""
    return value[1:] if value[:1] == _PRESENT else None


def unpack_undo(stored: bytes, value: bytes, read_pieces: PieceReader) -> tuple[bytes, Row | None]:
    """(full key, the row before or None for absent)."""
    if value[:1] == _ABSENT:
        return value[1:] or stored, None
    row = unpack_row(stored, value[1:], read_pieces)
    return row.key, row
