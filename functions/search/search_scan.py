"""The results of a search as rows of a query, the best first; searched at the first row that is asked for.

A row's key is its place among the results, (-score, -creation time, id downwards), so that cursors of pages
work as they do over an index. The read set of a search is its words (functions/search/words.py), and each
document that is returned; of a search that can find nothing, as it has no word, the whole table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.catalog import Table
from functions.indexes import Index
from functions.search import errors
from functions.search.scoring import Hit, best_hits
from functions.search.search_query import SearchQuery
from functions.search.words import words_read
from functions.snapshot import Row
from log.invariant import invariant
from log.keys import decode_items, encode_items
from log.limits import SEARCH_RESULTS_MAX

if TYPE_CHECKING:
    from functions.transaction import Transaction

_ALL_ONES = bytes(range(255, -1, -1))


class SearchScan:
    """The results in [start, end) of a search; see the module text."""

    __slots__ = ("_end", "_hits", "_index", "_is_full", "_query", "_start", "_table", "_transaction")

    def __init__(
        self,
        transaction: Transaction,
        table: Table,
        index: Index,
        query: SearchQuery,
        start: bytes,
        end: bytes | None,
    ) -> None:
        self._transaction, self._table, self._index, self._query = transaction, table, index, query
        self._start, self._end = start, end
        self._hits: list[tuple[bytes, Hit]] | None = None  # what is left, the next one last
        self._is_full = False

    def next(self) -> Row | None:
        """The next result as the transaction sees it now; a document it has deleted since is passed over."""
        if self._hits is None:
            self._hits = self._search()
        while self._hits:
            place, hit = self._hits.pop()
            row = self._transaction.get(self._table, str(decode_items(hit.key)[0]))
            if row is not None:
                is_known = row.revision_ts in (hit.revision_ts, 0)  # 0: written by the transaction itself
                invariant(is_known, "a search finds what its snapshot holds", found=row.revision_ts)
                return Row(place, row.revision_ts, row.size_bytes, row.document)
        if self._is_full:
            raise errors.scanned_too_many(SEARCH_RESULTS_MAX)
        return None

    def _search(self) -> list[tuple[bytes, Hit]]:
        query, transaction, by_id = self._query, self._transaction, self._table.by_id
        if query.is_empty:
            return []
        if query.finds_nothing:
            transaction.record_read(by_id, b"", None)
            return []
        for start, end in words_read(query.tokens):
            transaction.record_read(self._index, start, end)
        overlay = transaction.overlay_of(by_id)
        own = overlay.rows if overlay is not None else {}
        snapshot = transaction.snapshot
        with snapshot.kept.showing(snapshot, by_id.index_id, self._index, own) as index:
            hits = best_hits(index, query.tokens, query.filters)
        placed = [(_place_of(hit), hit) for hit in hits]
        end = self._end
        inside = [each for each in placed if self._start <= each[0] and (end is None or each[0] < end)]
        self._is_full = len(hits) == SEARCH_RESULTS_MAX and end is None
        return inside[::-1]


def _place_of(hit: Hit) -> bytes:
    """Ascends as results do."""
    return encode_items((-hit.score, -hit.creation_time, hit.key.translate(_ALL_ONES)))
