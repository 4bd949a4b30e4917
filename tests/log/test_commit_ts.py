"""A commit's own timestamp is written into finished bytes exactly as if it had been known from the start.

The twin is dumber: it decodes every document, puts the ts in, and encodes documents and keys again.
"""

from __future__ import annotations

import pickle
import random
from itertools import pairwise
from typing import Any

import msgpack
import pytest

from log import values
from log.commit_ts import (
    TS_MIN,
    fill_blanks,
    filled_ts,
    holds_placeholder,
    leave_blanks,
    resolve,
    resolve_body,
)
from log.committer import Admitted, CommitRequest, Committer, LogEnd
from log.errors import BackendError
from log.invariant import InvariantViolation
from log.keys import commit_ts_offsets, encode_item, index_key
from log.read_set import ReadSet
from log.record import CHAIN_START_CRC, CallTrace, CommitBody, DocumentWrite, LogRun
from log.values import COMMIT_TS, INT64_MAX
from log.write_log import Conflict

from ..support.values import NAMES, random_value

NOW_NS = 1_700_000_000_123_456_789
TS = 0x0102030405060708
PLACEHOLDER = b'{"$commitTs":null}'
INDEX, TABLET, CATALOG_TABLET = b"i" * 16, b"t" * 16, b"c" * 16
BY_AT = (("at",),)


def write_of(
    document_id: str, document: dict[str, Any], *indexes: tuple[tuple[str, ...], ...]
) -> DocumentWrite:
    """An insert, as a transaction makes it before its blanks are left."""
    keys = tuple(
        (b"%016d" % number, None, index_key(fields, document, document_id))
        for number, fields in enumerate(indexes)
    )
    size_bytes = values.size_of(document)
    return DocumentWrite(TABLET, document_id, 0, size_bytes, values.dumps(document), keys)


def body_of(*writes: DocumentWrite, begin_ts: int = 1) -> CommitBody:
    return CommitBody(begin_ts, b"call", CallTrace(path="m.js:f"), writes)


def body_with(
    document: dict[str, Any], *indexes: tuple[tuple[str, ...], ...], begin_ts: int = 1
) -> CommitBody:
    """One inserted document with placeholders, its blanks left."""
    offsets = [commit_ts_offsets(fields, document) for fields in indexes]
    return leave_blanks(body_of(write_of("d", document, *indexes), begin_ts=begin_ts), {"d": offsets})


# --- the forms --------------------------------------------------------------------------------------


def test_the_three_forms_of_a_document_and_its_key_are_these_bytes() -> None:
    document = {"at": COMMIT_TS, "n": 1.0}
    assert values.dumps(document) == b'{"at":{"$commitTs":null},"n":1.0}'
    proposed = body_with(document, BY_AT)
    (write,) = proposed.writes
    assert write.document == b'{"at":{"$integer":"/////////38="},"n":1.0}'
    assert write.keys[0][2] == bytes.fromhex("0c7fffffffffffffff") + encode_item("d")
    (write,) = CommitBody.decode(fill_blanks(proposed.encode(), proposed.blanks, TS)).writes
    assert write.document == b'{"at":{"$integer":"CAcGBQQDAgE="},"n":1.0}'
    assert write.keys[0][2] == bytes.fromhex("0c0102030405060708") + encode_item("d")
    assert write.size_bytes == values.size_of({"at": TS, "n": 1.0})


def test_blanks_stand_behind_the_body_and_nowhere_in_a_body_without_placeholders() -> None:
    plain = body_of(write_of("d", {"at": 1}, BY_AT))
    assert len(msgpack.unpackb(plain.encode())) == 4, "the form of every record before there were blanks"
    proposed = body_with({"at": COMMIT_TS}, BY_AT)
    assert msgpack.unpackb(proposed.encode(), use_list=False)[4] == proposed.blanks
    assert CommitBody.decode(proposed.encode()) == proposed
    in_json, in_key = proposed.blanks
    assert proposed.encode()[in_json : in_json + 12] == b"/////////38="
    assert proposed.encode()[in_key : in_key + 8] == b"\x7f" + b"\xff" * 7


@pytest.mark.parametrize(
    "stranger",
    ['{"$commitTs":null}', '"$commitTs":null}', "{", {"commitTs": None}, [{"a": "$commitTs"}], None],
)
def test_a_text_that_only_spells_the_placeholder_holds_none(stranger: Any) -> None:
    text = values.dumps({"{": stranger, '"': [stranger, "{"]})
    assert not holds_placeholder(text) and resolve(text, TS) == text


def test_resolving_a_text_leaves_everything_but_placeholders() -> None:
    text = values.dumps([COMMIT_TS, {"a": COMMIT_TS, "b": PLACEHOLDER.decode()}, INT64_MAX])
    assert holds_placeholder(text)
    assert values.loads(resolve(text, TS)) == [TS, {"a": TS, "b": PLACEHOLDER.decode()}, INT64_MAX]


def test_the_placeholder_is_an_int64_above_all_others_to_order_and_equal_only_to_itself() -> None:
    ascending: list[Any] = [None, 0, INT64_MAX - 1, COMMIT_TS, float("-inf"), "a"]
    for left, right in pairwise(ascending):
        assert values.compare(left, right) < 0 < values.compare(right, left), (left, right)
    assert values.compare([COMMIT_TS], [INT64_MAX]) == values.compare([INT64_MAX], [COMMIT_TS]) == 0
    assert not values.same({"a": [COMMIT_TS]}, {"a": [INT64_MAX]})
    assert values.same({"a": [COMMIT_TS]}, {"a": [COMMIT_TS]})
    assert encode_item(COMMIT_TS) == encode_item(INT64_MAX)
    assert values.size_of(COMMIT_TS) == values.size_of(INT64_MAX) == 9
    assert values.type_name(COMMIT_TS) == "Int64"
    assert pickle.loads(pickle.dumps(COMMIT_TS)) is COMMIT_TS


def test_a_placeholder_with_a_content_is_refused_also_where_placeholders_are_welcome() -> None:
    assert values.decode({"$commitTs": None}, may_hold_commit_ts=True) is COMMIT_TS
    with pytest.raises(BackendError, match="must hold null"):
        values.decode({"$commitTs": 5}, may_hold_commit_ts=True)


# --- against the twin -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(150))
def test_filling_blanks_equals_decoding_everything_and_encoding_it_again(seed: int) -> None:
    rng = random.Random(seed)
    ts = rng.choice((TS_MIN, NOW_NS, INT64_MAX, rng.randrange(TS_MIN, INT64_MAX)))
    indexes = [random_fields(rng) for _ in range(rng.randrange(0, 20))]
    documents = {f"document-{n}": random_document(rng) for n in range(rng.choice((1, 2, 5, 17)))}
    staged = [write_of(name, document, *indexes) for name, document in documents.items()]
    staged.insert(
        rng.randrange(len(staged) + 1), DocumentWrite(TABLET, "gone", 7, 0, None, ((INDEX, b"k", None),))
    )
    blanks = {
        name: [commit_ts_offsets(fields, document) for fields in indexes]
        for name, document in documents.items()
        if holds_placeholder(values.dumps(document))
    }
    body = body_of(*staged, begin_ts=rng.choice((1, NOW_NS)))
    proposed = leave_blanks(body, blanks) if blanks else body
    expected = body._replace(writes=tuple(twin(write, documents, indexes, ts) for write in staged))
    found = resolve_body(proposed, ts)
    assert found.writes == expected.writes, (seed, documents, indexes)
    assert found._replace(blanks=()) == expected, seed
    assert resolve_body(proposed, INT64_MAX).writes == proposed.writes, (seed, "a blank is no other bytes")
    assert not blanks or filled_ts(found) == ts, seed


def twin(write: DocumentWrite, documents: dict[str, Any], indexes: list[Any], ts: int) -> DocumentWrite:
    if write.document is None:
        return write
    return write_of(write.document_id, with_ts(documents[write.document_id], ts), *indexes)


def with_ts(value: Any, ts: int) -> Any:
    if value is COMMIT_TS:
        return ts
    if isinstance(value, list):
        return [with_ts(item, ts) for item in value]
    if isinstance(value, dict):
        return {name: with_ts(item, ts) for name, item in value.items()}
    return value


def random_document(rng: random.Random) -> dict[str, Any]:
    """Fields of every kind, some of them placeholders, at any depth; some need longer headers."""
    fields = {
        rng.choice(NAMES): with_placeholders(rng, random_value(rng)) for _ in range(rng.randrange(1, 6))
    }
    if rng.random() < 0.2:
        fields["long"] = "x" * rng.choice((200, 300, 70_000))
    return fields


def with_placeholders(rng: random.Random, value: Any) -> Any:
    if isinstance(value, list):
        return [with_placeholders(rng, item) for item in value]
    if isinstance(value, dict):
        return {name: with_placeholders(rng, item) for name, item in value.items()}
    return COMMIT_TS if rng.random() < 0.4 else value


def random_fields(rng: random.Random) -> tuple[tuple[str, ...], ...]:
    """Paths that hit, miss, lead inside and name what is long."""
    names = [*NAMES, "long"]
    return tuple(
        tuple(rng.choice(names) for _ in range(rng.choice((1, 1, 1, 2)))) for _ in range(rng.randrange(1, 4))
    )


# --- the writer -------------------------------------------------------------------------------------


def make_committer() -> Committer:
    committer = Committer(LogEnd(), 1, frozenset({CATALOG_TABLET}), NOW_NS)
    committer.advance(committer.ready())  # type: ignore[arg-type]
    return committer


def reads_of(start: bytes, end: bytes) -> ReadSet:
    reads = ReadSet()
    reads.reads_catalog = True
    if start < end:
        reads.add(b"%016d" % 0, start, end)
    return reads


def propose(committer: Committer, reads: ReadSet, body: CommitBody, now_ns: int = NOW_NS) -> Any:
    return committer.propose(CommitRequest(reads, body, body.encode()), now_ns)


def test_the_log_and_its_followers_are_handed_the_final_bytes() -> None:
    committer = make_committer()
    begin_ts = committer.published_ts
    proposed = body_with({"at": COMMIT_TS, "in": [{"at": COMMIT_TS}]}, BY_AT, begin_ts=begin_ts)
    admitted = propose(committer, reads_of(b"", b""), proposed, NOW_NS + 5)
    assert admitted == Admitted(NOW_NS + 5)
    batch = committer.ready()
    assert batch is not None
    (commit,) = batch.commits
    LogRun(batch.records).check(committer_crc(begin_ts))
    assert CommitBody.decode(commit.record.body) == commit.body
    (write,) = commit.body.writes
    assert write == write_of("d", {"at": NOW_NS + 5, "in": [{"at": NOW_NS + 5}]}, BY_AT)
    assert filled_ts(commit.body) == commit.ts
    assert committer.unpublished() == (commit,), "who reads ahead of the disk reads the same"


def committer_crc(ts: int) -> int:
    """Of the epoch record that `make_committer` wrote at `ts`."""
    committer = Committer(LogEnd(), 1, frozenset(), ts)
    batch = committer.ready()
    assert batch is not None
    LogRun(batch.records).check(CHAIN_START_CRC)
    return batch.records[-1].crc


def test_two_commits_at_one_clock_reading_write_two_timestamps() -> None:
    committer = make_committer()
    begin_ts = committer.published_ts
    for number in range(2):
        staged = body_of(write_of("d", {"at": COMMIT_TS}, BY_AT))._replace(call_id=b"%d" % number)
        body = leave_blanks(staged._replace(begin_ts=begin_ts), {"d": [(1,)]})
        propose(committer, reads_of(b"", b""), body)
    written = [values.loads(commit.body.writes[0].document or b"") for commit in committer.unpublished()]
    assert written == [{"at": begin_ts + 1}, {"at": begin_ts + 2}]


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_who_read_the_place_of_the_final_key_loses_and_nobody_else(shift: int) -> None:
    committer = make_committer()
    begin_ts = committer.published_ts
    ts = begin_ts + 100
    propose(committer, reads_of(b"", b""), body_with({"at": COMMIT_TS}, BY_AT, begin_ts=begin_ts), ts)
    read = reads_of(encode_item(ts + shift), encode_item(ts + shift) + b"\xff")
    other = body_of(write_of("e", {"at": 1}, BY_AT), begin_ts=begin_ts)._replace(call_id=b"other")
    outcome = propose(committer, read, other, ts + 1)
    assert isinstance(outcome, Conflict if shift == 0 else Admitted)


def test_who_read_the_place_of_the_placeholder_only_does_not_lose() -> None:
    committer = make_committer()
    begin_ts = committer.published_ts
    propose(committer, reads_of(b"", b""), body_with({"at": COMMIT_TS}, BY_AT, begin_ts=begin_ts))
    read = reads_of(encode_item(INT64_MAX), encode_item(INT64_MAX) + b"\xff")
    other = body_of(write_of("e", {"at": 1}, BY_AT), begin_ts=begin_ts)._replace(call_id=b"other")
    assert isinstance(propose(committer, read, other), Admitted)


def test_a_body_without_blanks_is_stored_as_the_object_it_came_as() -> None:
    committer = make_committer()
    body = body_of(write_of("d", {"at": 1}, BY_AT), begin_ts=committer.published_ts)
    request = CommitRequest(reads_of(b"", b""), body, body.encode())
    committer.propose(request, NOW_NS)
    (commit,) = committer.unpublished()
    assert commit.record.body is request.encoded and commit.body is body


@pytest.mark.parametrize("shift", [-1, 1, 10_000])
def test_a_blank_that_is_none_stops_the_commit_before_it_has_a_place(shift: int) -> None:
    committer = make_committer()
    proposed = body_with({"at": COMMIT_TS}, BY_AT, begin_ts=committer.published_ts)
    wrong = proposed._replace(blanks=(proposed.blanks[0] + shift, *proposed.blanks[1:]))
    admitted_ts = committer.admitted_ts
    with pytest.raises(InvariantViolation, match="only blanks are filled"):
        propose(committer, reads_of(b"", b""), wrong)
    assert committer.admitted_ts == admitted_ts and committer.unpublished() == ()
    assert isinstance(propose(committer, reads_of(b"", b""), proposed), Admitted)


@pytest.mark.parametrize("ts", [0, TS_MIN - 1, INT64_MAX + 1])
def test_a_ts_of_another_width_than_the_blank_is_refused(ts: int) -> None:
    proposed = body_with({"at": COMMIT_TS}, BY_AT)
    with pytest.raises(InvariantViolation, match="a ts fills the width"):
        fill_blanks(proposed.encode(), proposed.blanks, ts)


def test_a_record_whose_blanks_were_moved_does_not_say_when_it_was_committed() -> None:
    committed = resolve_body(body_with({"at": COMMIT_TS}, BY_AT), TS)
    assert filled_ts(committed) == TS
    assert filled_ts(committed._replace(call_id=b"a longer call id")) is None
