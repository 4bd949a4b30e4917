"""Client messages are checked at the door; server messages are valid JSON put together from pieces."""

from __future__ import annotations

import random

import orjson
import pytest

from gateway import frames
from gateway.frames import ZERO_VERSION, AddQuery, Connect, ModifyQuerySet, RunFunction, StateVersion
from log.errors import BackendError

SESSION = "11111111-2222-4333-8444-555555555555"


def test_a_connect_message_is_understood() -> None:
    text = orjson.dumps(
        {
            "type": "Connect",
            "sessionId": SESSION,
            "connectionCount": 3,
            "lastCloseReason": None,
            "maxObservedTimestamp": "AHKBcNF4ehg=",
            "clientTs": 5.7,
        }
    ).decode()
    assert frames.parse_client_message(text) == Connect(SESSION, 1_763_855_045_000_000_000, 5)


def test_absent_args_of_a_query_are_null_and_a_journal_is_kept() -> None:
    message = frames.parse_client_message(
        '{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,"modifications":'
        '[{"type":"Add","queryId":1,"udfPath":"a/b:c","journal":"j"}]}'
    )
    assert message == ModifyQuerySet(0, 1, (AddQuery(1, "a/b.js:c", b"null", "j", ""),))


def test_equal_calls_have_equal_argument_bytes_whatever_the_order_of_fields() -> None:
    template = '{"type":"Mutation","requestId":1,"udfPath":"a","args":[%s]}'
    one = frames.parse_client_message(template % '{"x":1,"y":2}')
    other = frames.parse_client_message(template % '{"y":2,"x":1}')
    assert one == other == RunFunction(True, 1, "a.js:default", b'[{"x":1,"y":2}]', "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"type":"AddVersion"}',
        '{"type":7}',
        '{"type":["Connect"]}',
        '{"type":"Connect","sessionId":"not-a-uuid","connectionCount":0}',
        f'{{"type":"Connect","sessionId":"{SESSION}","connectionCount":-1}}',
        f'{{"type":"Connect","sessionId":"{SESSION}","connectionCount":0,"maxObservedTimestamp":"AAA="}}',
        f'{{"type":"Connect","sessionId":"{SESSION}","connectionCount":0,"maxObservedTimestamp":"//////////8="}}',
        '{"type":"ModifyQuerySet","baseVersion":0,"newVersion":4294967296,"modifications":[]}',
        '{"type":"ModifyQuerySet","baseVersion":0,"newVersion":true,"modifications":[]}',
        '{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,"modifications":{}}',
        '{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,"modifications":[{"type":"Replace"}]}',
        '{"type":"Mutation","requestId":1.5,"udfPath":"a","args":[]}',
        '{"type":"Mutation","requestId":1,"udfPath":"a","args":{}}',
        '{"type":"Mutation","requestId":1,"udfPath":"a","args":[NaN]}',
        '{"type":"Mutation","requestId":1,"udfPath":"a","args":["\\ud800"]}',
        '{"type":"Authenticate","baseVersion":0,"tokenType":"Magic","value":"x"}',
        '{"type":"Authenticate","baseVersion":0,"tokenType":"User"}',
        '{"type":"Event"}',
    ],
)
def test_a_malformed_message_is_refused_as_invalid_json(text: str) -> None:
    with pytest.raises(BackendError) as refusal:
        frames.parse_client_message(text)
    assert refusal.value.code == "WSMessageInvalidJson"
    assert refusal.value.message.startswith("Received Invalid JSON on websocket: ")


def test_a_transition_has_the_specified_fields_and_no_null_clock() -> None:
    head, tail = frames.value_piece(b'{"a":1.0}', b'["[LOG] 1"]', None)
    piece = head + b"4" + tail
    end = StateVersion(1, 2, 1_763_855_045_000_000_000)
    sent = orjson.loads(frames.transition(ZERO_VERSION, end, [piece, frames.query_removed(9)], -12, 77))
    assert sent == {
        "type": "Transition",
        "startVersion": {"querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA="},
        "endVersion": {"querySet": 1, "identity": 2, "ts": "AHKBcNF4ehg="},
        "modifications": [
            {
                "type": "QueryUpdated",
                "queryId": 4,
                "value": {"a": 1.0},
                "logLines": ["[LOG] 1"],
                "journal": None,
            },
            {"type": "QueryRemoved", "queryId": 9},
        ],
        "clientClockSkew": -12,
        "serverTs": 77,
    }
    without = orjson.loads(frames.transition(ZERO_VERSION, end, [], None, 77))
    assert "clientClockSkew" not in without and without["serverTs"] == 77


def test_error_data_is_there_only_when_the_function_gave_some() -> None:
    bare = orjson.loads(frames.run_failure(True, 1, "no", b"[]", None))
    assert bare["ts"] is None and "errorData" not in bare
    assert orjson.loads(frames.run_failure(False, 1, "no", b"[]", b"null"))["errorData"] is None


@pytest.mark.parametrize("seed", range(20))
def test_chunks_put_together_are_the_message(seed: int) -> None:
    rng = random.Random(seed)
    text = "".join(rng.choice('a"\\é€😀\n') for _ in range(rng.randrange(1, 400)))
    message = orjson.dumps(text, option=0)
    pieces = frames.chunks(message, chunk_bytes=rng.randrange(4, 50))
    if len(pieces) == 1 and pieces[0] == message:
        return
    parsed = [orjson.loads(piece) for piece in pieces]
    assert "".join(part["chunk"] for part in parsed).encode() == message, f"seed {seed}"
    assert [part["partNumber"] for part in parsed] == list(range(len(parsed))), f"seed {seed}"
    assert {part["totalParts"] for part in parsed} == {len(parsed)}, f"seed {seed}"
    assert len({part["transitionId"] for part in parsed}) == 1, f"seed {seed}"
