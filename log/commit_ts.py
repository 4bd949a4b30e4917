"""A commit's own timestamp inside what it writes: first a placeholder, then a blank, at last the ts.

Nobody knows the ts of a commit before it has its place in the log, so a document holds a placeholder for
it (spec 03 2.9). Its three forms, each made from the one before without decoding anything:

    in the transaction   `{"$commitTs":null}`, and in keys the largest Int64, for so it sorts
    in a proposal        a *blank* as wide as every ts will be, still holding the largest Int64
    in the log           the ts, an Int64 like any other

Promises:
  - a body without placeholders pays one look at an empty tuple;
  - only blanks are overwritten: each must hold the largest Int64 in one of its two encodings, else the
    commit is a defect of ours and is stopped before it has a place.

Read in this order: leave_blanks, fill_blanks, resolve.
"""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgpack

from log.invariant import invariant
from log.record import CommitBody
from log.value_types import INT64_MAX

_PLACEHOLDER: Final = b'{"$commitTs":null}'
_DOLLAR: Final = ord("$")  # looked for first: many times faster, and nearly every document has none
_INT64_LE: Final = struct.Struct("<q")
_INT64_BE: Final = struct.Struct(">q")
_JSON_HEAD: Final = b'{"$integer":"'
_JSON_TAIL: Final = b'"}'

TS_MIN: Final = 1 << 31
"""Below it an Int64 takes fewer than eight bytes in a key (log/keys.py): 2.1 seconds after 1970."""

_SHORT_HEADER_BYTES: Final = 1  # of the arrays that are tuples of ours: fewer than 16 items

KeyBlanks = Sequence[Sequence[int]]
"""For each index of a write, in the order of its keys: where in the new key a ts belongs."""


def holds_placeholder(text: bytes) -> bool:
    """Whether a canonical JSON text holds the placeholder.

    These bytes mean nothing else there: inside a string the quotes would be escaped, and no quote that
    ends a string is followed by `$`.
    """
    return _DOLLAR in text and _PLACEHOLDER in text


def resolve(text: bytes, ts: int) -> bytes:
    """A canonical JSON text with the ts for every placeholder: what a caller is answered."""
    return text.replace(_PLACEHOLDER, _JSON_HEAD + _in_json(ts) + _JSON_TAIL)


def resolve_body(body: CommitBody, ts: int) -> CommitBody:
    """The body as it stands in the log when it is committed at `ts`."""
    return CommitBody.decode(fill_blanks(body.encode(), body.blanks, ts)) if body.blanks else body


def filled_ts(body: CommitBody) -> int | None:
    """The ts a body with blanks was committed at, as it says itself; None if its blanks are not where they
    were (a record that was tampered with)."""
    encoded, blank = body.encode(), body.blanks[0]  # the first stands in a document: keys come behind it
    if not encoded.endswith(_JSON_HEAD, 0, blank):
        return None
    ts: int = _INT64_LE.unpack(b64decode(encoded[blank : blank + len(_JSON_BLANK)]))[0]
    return ts


def fill_blanks(encoded: bytes, blanks: Sequence[int], ts: int) -> bytes:
    """The encoding of a commit body with the ts in its blanks."""
    invariant(TS_MIN <= ts <= INT64_MAX, "a ts fills the width that was left for it", ts=ts)
    filled = bytearray(encoded)
    in_json, in_key = _in_json(ts), _INT64_BE.pack(ts)
    for blank in blanks:
        is_json = encoded.startswith(_JSON_BLANK, blank)
        invariant(is_json or encoded.startswith(_KEY_BLANK, blank), "only blanks are filled", offset=blank)
        content = in_json if is_json else in_key
        filled[blank : blank + len(content)] = content
    return bytes(filled)


def leave_blanks(body: CommitBody, key_blanks: Mapping[str, KeyBlanks]) -> CommitBody:
    """`body` with blanks for placeholders. `key_blanks` names the documents that hold one, by id.

    The blanks are counted from the first byte of `encode()`, so the body may not change afterwards.
    """
    writes = tuple(
        write._replace(document=resolve(write.document, INT64_MAX))
        if write.document is not None and write.document_id in key_blanks
        else write
        for write in body.writes
    )
    *head, rows = body._replace(writes=writes).tree
    position = _SHORT_HEADER_BYTES + sum(map(_packed_length, head)) + _header_length(len(rows))
    blanks: list[int] = []
    for before, after, row in zip(body.writes, writes, rows, strict=True):
        if after is not before:
            offsets = _blanks_of_row(row, before.document or b"", key_blanks[after.document_id])
            blanks.extend(position + offset for offset in offsets)
        position += _packed_length(row)
    return body._replace(writes=writes, blanks=tuple(blanks))


def _blanks_of_row(row: tuple[Any, ...], with_placeholders: bytes, key_blanks: KeyBlanks) -> Iterator[int]:
    """Offsets in the packed row of a write, whose document was `with_placeholders` before."""
    *head, document, key_writes, _words = row
    position = _SHORT_HEADER_BYTES + sum(map(_packed_length, head)) + _packed_length(document)
    for offset in _blanks_of_document(with_placeholders):
        yield position - len(document) + offset
    position += _header_length(len(key_writes))
    for key_write, offsets in zip(key_writes, key_blanks, strict=True):
        position += _packed_length(key_write)
        for offset in offsets:
            yield position - len(key_write[-1]) + offset  # the new key ends where its tuple ends


def _blanks_of_document(text: bytes) -> Iterator[int]:
    """Where the digits of each ts will stand once the placeholders of `text` have become blanks."""
    wider = len(_JSON_HEAD) + len(_JSON_BLANK) + len(_JSON_TAIL) - len(_PLACEHOLDER)
    found, shift = text.find(_PLACEHOLDER), len(_JSON_HEAD)
    while found >= 0:
        yield found + shift
        shift += wider
        found = text.find(_PLACEHOLDER, found + len(_PLACEHOLDER))


def _packed_length(tree: Any) -> int:
    return len(msgpack.packb(tree))


def _header_length(items: int) -> int:
    """Bytes that msgpack spends before the items of an array."""
    return len(msgpack.Packer().pack_array_header(items))


def _in_json(ts: int) -> bytes:
    return b64encode(_INT64_LE.pack(ts))


_JSON_BLANK: Final = _in_json(INT64_MAX)
_KEY_BLANK: Final = _INT64_BE.pack(INT64_MAX)
