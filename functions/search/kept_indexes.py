"""Search indexes that one reader of a view keeps between transactions, and lends to one search at a time.

A snapshot that shows something else than an index holds (own writes, commits that are not published, an older
ts) has its revisions put in for the time of one search, and taken out again.

Promises:
  - no revision stays in an index but the published ones at its ts;
  - whatever fails while an index is changed or in use, that index is not used again;
  - with `rows_max`, no search reads many more rows of its table than that: it raises IndexBehind, and whoever
    runs functions has the index caught up, step by step, before the function is run again.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from functions.indexes import Index
from functions.search.kept_index import KeptIndex
from functions.snapshot import Row, SnapshotReader
from log import limits
from log.errors import out_of_retention
from log.invariant import invariant


class IndexBehind(Exception):
    """A search met an index with much to be read before it can answer; the function goes no further."""

    def __init__(self, by_id: bytes, index: Index) -> None:
        super().__init__(by_id, index)
        self.by_id, self.index = by_id, index


class KeptIndexes:
    """The least recently used are dropped; a dropped index is made anew when it is needed."""

    def __init__(self, rows_max: int | None = None) -> None:
        self._rows_max = sys.maxsize if rows_max is None else rows_max
        self._kept: OrderedDict[bytes, KeptIndex] = OrderedDict()
        self._thread_id: int | None = None

    @contextmanager
    def showing(
        self, snapshot: SnapshotReader, by_id: bytes, index: Index, own: Mapping[bytes, Row | None]
    ) -> Iterator[Any]:
        """The content of the index as it is at `snapshot` with `own` revisions on top, until the block ends.

        `by_id` is the id of the table's index of that name, `own` has its keys.
        """
        kept = self._take(by_id, index)
        if not kept.step(snapshot.published, self._rows_max):
            self._give_back(index, kept)
            raise IndexBehind(by_id, index)
        differences = kept.differences(snapshot)
        if differences is None:
            self._give_back(index, kept)
            raise out_of_retention()
        replaced: list[tuple[bytes, Any]] = []
        for key, row in {**differences, **own}.items():
            replaced.append((key, kept.put(key, row)))
        yield kept.content
        for key, entry in replaced:
            kept.content.put(key, entry)
        self._give_back(index, kept)

    def catch_up(self, published: SnapshotReader, behind: IndexBehind) -> bool:
        """One step towards what a search was missing; whether it is done. Of published snapshots the newest:
        an index does not go back."""
        kept = self._take(behind.by_id, behind.index)
        is_whole = kept.step(published, self._rows_max)
        self._give_back(behind.index, kept)
        return is_whole

    def _take(self, by_id: bytes, index: Index) -> KeptIndex:
        """An index whose use fails is not given back."""
        thread_id = threading.get_ident()
        if self._thread_id is None:
            self._thread_id = thread_id
        invariant(thread_id == self._thread_id, "one thread searches what a reader keeps", thread=thread_id)
        return self._kept.pop(index.index_id, None) or KeptIndex(index, by_id)

    def _give_back(self, index: Index, kept: KeptIndex) -> None:
        self._kept[index.index_id] = kept
        if len(self._kept) > limits.SEARCH_INDEXES_HELD_MAX:
            self._kept.popitem(last=False)
