"""How much of a view a read looks at: what lies inside its interval and its time, and nothing else.

No answer would be wrong for looking at more, so what is counted here is the work: entries a cursor stands
on, and undo entries among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors import view_reader
from actors.index_view import IndexView
from actors.view_layout import KEY_PREFIX_BYTES
from actors.view_reader import ViewReader, ViewSnapshot
from log.record import DocumentWrite

INDEX, OTHER_INDEX = b"index-one-------", b"index-two-------"
TABLET = b"tablet----------"
_PREFIX = b"\x12" + b"p" * (KEY_PREFIX_BYTES - 1)
SHORT = [b"\x10%03d" % number for number in range(100)]
LONG = [_PREFIX + b"%03d" % number + b"q" * 40 for number in range(20)]
BEHIND = [b"\x13%03d" % number for number in range(100)]
NEWEST_TS = 30


class CountedCursor:
    """Counts the entries it is moved to."""

    def __init__(self, cursor: Any, name: str, work: Counter[str]) -> None:
        self._cursor, self._name, self._work = cursor, name, work

    def __enter__(self) -> CountedCursor:
        return self

    def __exit__(self, *failure: object) -> None:
        self._cursor.close()

    def __getattr__(self, name: str) -> Any:
        if name in ("next", "prev", "first", "last", "set_range"):
            self._work[self._name] += 1
        return getattr(self._cursor, name)

    def next(self) -> bool:
        self._work[self._name] += 1
        return self._cursor.next()

    def prev(self) -> bool:
        self._work[self._name] += 1
        return self._cursor.prev()


class CountedTransaction:
    """A read transaction whose cursors are counted, by table."""

    def __init__(self, snapshot: ViewSnapshot, work: Counter[str]) -> None:
        opened = snapshot._opened
        self._transaction, self._work = opened.environment.begin(), work
        self._names = {id(opened.current): "current", id(opened.undo): "undo", id(opened.meta): "meta"}

    def __enter__(self) -> CountedTransaction:
        return self

    def __exit__(self, *failure: object) -> None:
        self._transaction.abort()

    def get(self, key: bytes, db: object) -> bytes | None:
        return self._transaction.get(key, db=db)

    def cursor(self, db: object) -> CountedCursor:
        return CountedCursor(self._transaction.cursor(db=db), self._names[id(db)], self._work)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Table -> how often a cursor of a snapshot was moved in it."""
    counted: Counter[str] = Counter()
    monkeypatch.setattr(ViewSnapshot, "_begin", lambda snapshot: CountedTransaction(snapshot, counted))
    return counted


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[ViewReader]:
    """Two indexes with the same keys, of which a few were replaced at 20 and a few at 30."""
    view = IndexView(tmp_path / "view", frozenset())
    view.apply(1, 10, 0, tuple(_put(key, None) for key in (*SHORT, *LONG, *BEHIND)))
    view.apply(2, 20, 0, tuple(_put(key, key) for key in SHORT[:7]))
    view.apply(3, NEWEST_TS, 0, tuple(_put(key, key) for key in SHORT[:5]))
    reader = ViewReader(tmp_path / "view")
    yield reader
    reader.close()
    view.close(clean=False)


def _put(key: bytes, old: bytes | None) -> DocumentWrite:
    return DocumentWrite(TABLET, "d", 0, 2, b"{}", ((INDEX, old, key), (OTHER_INDEX, old, key)))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    ("start", "end", "keys"),
    [
        (SHORT[40], SHORT[45], SHORT[40:45]),
        (SHORT[40], SHORT[44] + b"\x00", SHORT[40:45]),
        (SHORT[40] + b"\x00", SHORT[46], SHORT[41:46]),
        (SHORT[95], LONG[0], SHORT[95:]),
        (LONG[-1] + b"\x00", BEHIND[5], BEHIND[:5]),
        (BEHIND[95], None, BEHIND[95:]),
        (b"\x10", SHORT[5], SHORT[:5]),
    ],
)
def test_a_scan_visits_what_it_returns_one_group_of_cut_keys_and_the_first_entry_beyond(
    reader: ViewReader,
    work: Counter[str],
    start: bytes,
    end: bytes | None,
    keys: list[bytes],
    descending: bool,
) -> None:
    found = reader.snapshot(NEWEST_TS).scan(INDEX, start, end, descending=descending, limit=1_000)
    assert [row.key for row in found] == sorted(keys, reverse=descending)
    group = len(LONG) if _PREFIX in (start[:KEY_PREFIX_BYTES], (end or b"")[:KEY_PREFIX_BYTES]) else 0
    assert work["current"] <= len(keys) + group + 2


@pytest.mark.parametrize("descending", [False, True])
def test_a_scan_stops_where_its_limit_is_reached(
    reader: ViewReader, work: Counter[str], descending: bool
) -> None:
    found = reader.snapshot(NEWEST_TS).scan(INDEX, b"", None, descending=descending, limit=3)
    assert len(found) == 3
    assert work["current"] <= 4


def test_only_keys_that_may_be_cut_are_collected_before_the_first_is_returned(
    tmp_path: Path, work: Counter[str]
) -> None:
    view = IndexView(tmp_path / "view", frozenset())
    view.apply(1, 10, 0, tuple(_put(b"\x10" + b"a" * length, None) for length in range(100)))
    found = view.reader().snapshot(10).scan(INDEX, b"", None, descending=False, limit=1)
    assert [row.key for row in found] == [b"\x10"]
    assert work["current"] == 1, "the others begin with it, and are not asked for"
    view.close(clean=False)


def test_a_read_at_the_newest_timestamp_looks_at_no_undo(reader: ViewReader, work: Counter[str]) -> None:
    snapshot = reader.snapshot(NEWEST_TS)
    snapshot.get(INDEX, SHORT[0])
    snapshot.scan(INDEX, b"", None, descending=False, limit=10)
    assert work["undo"] == 0


@pytest.mark.parametrize(("ts", "replaced"), [(20, 5), (10, 12), (29, 5)])
def test_an_older_read_looks_at_what_was_replaced_in_its_index_since(
    reader: ViewReader, work: Counter[str], ts: int, replaced: int
) -> None:
    reader.snapshot(ts).get(INDEX, SHORT[50])
    assert work["undo"] == replaced + 1
    reader.snapshot(ts).scan(INDEX, b"", SHORT[2], descending=False, limit=10)
    assert work["undo"] == 2 * (replaced + 1)


def test_a_snapshot_asks_once_for_the_ts_of_its_catalog(
    reader: ViewReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    answer = view_reader._last_catalog_ts
    monkeypatch.setattr(view_reader, "_last_catalog_ts", lambda *given: asked.append(given) or answer(*given))
    snapshot = reader.snapshot(NEWEST_TS)
    assert snapshot.catalog_ts == snapshot.catalog_ts == 0
    assert len(asked) == 1
