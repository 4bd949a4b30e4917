"""What `tidelog why` says about one re-run."""

from __future__ import annotations

from cluster.why import reason_line
from log.keys import encode_items

SECONDS = 1_795_658_276.5


def test_a_reason_names_the_query_the_function_that_wrote_and_the_key() -> None:
    key = encode_items(["general", 12.5])
    reason = (SECONDS, "messages.js:list", b'[{"channel":"general"}]', 77, "messages.js:send", b"index", key)
    assert reason_line(reason, "messages.by_channel") == (
        '2026-11-26 01:57:56 messages:list {"channel":"general"}: '
        'messages:send wrote messages.by_channel ["general", 12.5] at 77'
    )


def test_a_push_is_named_as_what_it_changes() -> None:
    reason = (SECONDS, "messages.js:list", b"[]", 77, "_system/finish_push", None, None)
    line = reason_line(reason, None)
    assert line.endswith("{}: _system/finish_push changed functions, schema or settings at 77")


def test_an_index_that_is_gone_is_said_to_be() -> None:
    reason = (SECONDS, "m.js:list", b"[{}]", 77, "m.js:send", b"index", encode_items([None]))
    assert "m:send wrote a dropped index [null] at 77" in reason_line(reason, None)
