"""Bytes of the view: how index entries and undo entries are laid out in LMDB (design D6).

Two ordered tables, `current` and `undo`:

    current:  index id (16) | stored key           -> stored row
    undo:     index id (16) | replaced_ts (8) | stored key -> 0x00 [full key] | 0x01 stored row

LMDB keys end at 511 bytes. A longer index key is *stored* as a prefix and a hash, and the row carries the
full key; entries that share the prefix are then not in key order among themselves, so a reader collects
such a group, orders it by full keys and only then bounds and limits it (`is_grouped`).

A row that needs more than a page keeps a reference in the place of its document (actors/view_pieces.py).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable

from functions.snapshot import Row
from log.invariant import invariant
from log.limits import VIEW_KEY_BYTES_MAX

INDEX_ID_BYTES = 16
_KEY_LENGTH = struct.Struct(">H")
_TS = struct.Struct(">Q")
_ROW = struct.Struct(">QIH")  # revision ts, size, length of the full key (0: the stored key is full)
_IN_PIECES = 0x8000  # in that length: the document is a reference
_REFERENCE = struct.Struct(">QI")
_KEY_LENGTH_PLACE = _ROW.size - _KEY_LENGTH.size
HASH_BYTES = 16
_STORED_KEY_BYTES_MAX = VIEW_KEY_BYTES_MAX - INDEX_ID_BYTES - _TS.size
KEY_PREFIX_BYTES = _STORED_KEY_BYTES_MAX - HASH_BYTES
_ABSENT, _PRESENT = b"\x00", b"\x01"

Reference = tuple[int, int]
"""Where the pieces of a document are, and how many bytes they are together."""
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
    invariant(len(key) < _IN_PIECES, "the length of a key leaves room for a mark", length=len(key))
    return _ROW.pack(revision_ts, size_bytes, len(key)) + key + document


def unpack_row(stored: bytes, value: bytes, read_pieces: PieceReader) -> Row:
    revision_ts, size_bytes, key_bytes = _ROW.unpack_from(value)
    if not key_bytes:
        return Row(stored, revision_ts, size_bytes, value[_ROW.size :])
    end = _ROW.size + (key_bytes & ~_IN_PIECES)
    key, document = value[_ROW.size : end] or stored, value[end:]
    if key_bytes & _IN_PIECES:
        document = read_pieces(*_REFERENCE.unpack(document))
    return Row(key, revision_ts, size_bytes, document)


def document_of(row: bytes) -> bytes:
    """Of a packed row that holds it."""
    (key_bytes,) = _KEY_LENGTH.unpack_from(row, _KEY_LENGTH_PLACE)
    return row[_ROW.size + key_bytes :]


def refer(row: bytes, reference: Reference) -> bytes:
    """The row with a reference in the place of its document."""
    revision_ts, size_bytes, key_bytes = _ROW.unpack_from(row)
    key = row[_ROW.size : _ROW.size + key_bytes]
    return _ROW.pack(revision_ts, size_bytes, key_bytes | _IN_PIECES) + key + _REFERENCE.pack(*reference)


def reference_of(row: bytes) -> Reference | None:
    """None: the row holds its document."""
    (key_bytes,) = _KEY_LENGTH.unpack_from(row, _KEY_LENGTH_PLACE)
    if not key_bytes & _IN_PIECES:
        return None
    owner, length = _REFERENCE.unpack_from(row, _ROW.size + (key_bytes & ~_IN_PIECES))
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
