"""Bodies of records as bytes: today's, and those of versions that kept less."""

from __future__ import annotations

import msgpack
import pytest

from log.record import CallTrace, CommitBody, DocumentWrite, decode_writes

AUDITED = CallTrace(
    path="m.js:f",
    args=b"[{}]",
    seed=b"s" * 32,
    session_id="s",
    session_request=7,
    audit_lines=(b'{"a":1}', b'{"b":"\xc3\xbc"}'),
)
WRITES = (DocumentWrite(b"tablet", "id", 0, 2, b"{}", ((b"index", None, b"key"),)),)
WORDY = DocumentWrite(b"tablet", "id", 0, 2, b"{}", ((b"index", None, b"key"),), ((b"search", (b"a", b"b")),))
FIRST_FIELDS = 11
"""What the first records kept of a call; later fields have defaults."""


@pytest.mark.parametrize("writes", [WRITES, (), (*WRITES, WORDY)])
def test_a_body_is_read_as_it_was_written(writes: tuple[DocumentWrite, ...]) -> None:
    body = CommitBody(5, b"call", AUDITED, writes)
    assert CommitBody.decode(body.encode()) == body
    assert decode_writes(body.encode()) == writes


@pytest.mark.parametrize("kept", range(FIRST_FIELDS, len(CallTrace._fields) + 1))
def test_a_body_that_kept_less_of_its_call_is_read_with_defaults(kept: int) -> None:
    begin_ts, call_id, trace, writes = msgpack.unpackb(CommitBody(5, b"call", AUDITED, WRITES).encode())
    old = CommitBody.decode(msgpack.packb((begin_ts, call_id, trace[:kept], writes)))
    names = list(CallTrace._fields)
    assert all(getattr(old.trace, name) == getattr(AUDITED, name) for name in names[:kept])
    assert all(getattr(old.trace, name) == getattr(CallTrace(), name) for name in names[kept:])
    assert old.writes == WRITES


def test_a_call_that_does_not_audit_pays_one_byte_for_it() -> None:
    without = CommitBody(5, b"call", CallTrace(), WRITES).encode()
    begin_ts, call_id, trace, writes = msgpack.unpackb(without)
    assert len(without) - len(msgpack.packb((begin_ts, call_id, trace[:-1], writes))) <= 3
    assert trace[-1] == []


def test_a_write_of_a_version_without_words_is_read_as_one_that_names_none() -> None:
    begin_ts, call_id, trace, writes = msgpack.unpackb(CommitBody(5, b"call", AUDITED, (WORDY,)).encode())
    old = msgpack.packb((begin_ts, call_id, trace, [write[:6] for write in writes]))
    assert decode_writes(old) == CommitBody.decode(old).writes == WRITES
    assert CommitBody.decode(old).writes[0].words == ()


def test_a_write_that_names_no_words_pays_one_byte_for_it() -> None:
    without = CommitBody(5, b"call", AUDITED, WRITES).encode()
    begin_ts, call_id, trace, writes = msgpack.unpackb(without)
    assert len(without) - len(msgpack.packb((begin_ts, call_id, trace, [writes[0][:6]]))) == 1


@pytest.mark.parametrize(
    ("old_key", "new_key", "keys"),
    [(None, b"n", (b"n",)), (b"o", None, (b"o",)), (b"o", b"n", (b"o", b"n")), (b"k", b"k", (b"k",))],
)
def test_a_write_touches_both_its_keys_once_and_all_its_words(
    old_key: bytes | None, new_key: bytes | None, keys: tuple[bytes, ...]
) -> None:
    write = WORDY._replace(keys=((b"index", old_key, new_key), (b"none", None, None)))
    assert list(write.touched()) == [(b"index", keys), (b"none", ()), (b"search", (b"a", b"b"))]
