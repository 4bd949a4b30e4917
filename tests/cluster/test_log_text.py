"""Lines of `tidelog log` that no recorded app brings about."""

from __future__ import annotations

from typing import Any

from actors.history import Names
from cluster.log_text import show_lines
from log.keys import encode_item
from log.record import CallTrace, CommitBody, DocumentWrite, RecordKind, make_record


class NoHistory:
    """In the place of actors.history.History: every document is new."""

    def before(self, *_document: Any) -> None:
        return None


def lines_of(*words: bytes) -> list[str]:
    write = DocumentWrite(b"t" * 16, "note", 0, 2, b"{}", (), ((b"s" * 16, words),))
    body = CommitBody(1, b"call", CallTrace(path="notes.js:add"), (write,))
    record = make_record(0, 2, 2, 1, RecordKind.COMMIT, body.encode())
    names = Names(indexes={b"s" * 16: "by_body"})
    return [line.strip() for line in show_lines(record, NoHistory(), names) if "by_body" in line]  # type: ignore[arg-type]


def test_a_write_says_which_words_live_searches_were_compared_with() -> None:
    assert lines_of(encode_item("fox"), encode_item("red")) == ["words     by_body: ['fox'] ['red']"]


def test_of_many_words_the_first_are_printed_and_the_rest_counted() -> None:
    (line,) = lines_of(*(encode_item(f"{number:03}") for number in range(100)))
    assert line.endswith(" ['011'] and 88 more")


def test_what_is_no_word_in_a_spoiled_record_is_printed_as_its_bytes() -> None:
    assert lines_of(b"\xff") == ["words     by_body: ff"]
