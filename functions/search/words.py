"""Which words a search reads, and which words a write touches: keys in *word space* (spec 04 5.6).

A search index has no entries in a view, so in read sets and commits its id stands for a space of words. The
key of a word is `encode_item(word)`. A search reads the keys of its words, and of all that begin with the
last one; a write touches the words of the text that was there and of the text that is. So whoever compares
keys compares words, and need not know of them.

Filters are not looked at: a write with a searched word invalidates, whatever its filter fields hold. That is
coarser than the exact test of the specification, and misses nothing. Statistics are not tracked (specified):
a write of other words may change scores, and so an order, which is seen with the next run.

Read in this order: words_read, words_touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from functions.indexes import SEARCH, Index
from functions.search.tokens import tokens_of
from log import values
from log.intervals import Interval, point
from log.keys import encode_item, field_at, string_prefix
from log.limits import SEARCH_QUERY_TOKENS_MAX
from log.record import KeysTouched

ANY_WORD: Final = encode_item("(any word)")
"""Read by every search, and touched by a write of more words than a commit names. No word has a space."""

_CREATION_TIME: Final = ("_creationTime",)


def words_read(tokens: Sequence[str]) -> Iterator[Interval]:
    """What a search for these tokens, one or more, reads of its index: those that scoring looks up."""
    asked = tokens[:SEARCH_QUERY_TOKENS_MAX]
    yield point(ANY_WORD)
    for token in sorted(set(asked) - {asked[-1]}):
        yield point(encode_item(token))
    yield string_prefix(asked[-1])


def words_touched(
    indexes: Sequence[Index], before: dict[str, Any] | None, after: dict[str, Any] | None, count_max: int
) -> tuple[KeysTouched, ...]:
    """By search index among `indexes`, in whatever state: the words of a document as it was and as it is
    (None: it was or is not there), in order. Where they no longer fit `count_max`: ANY_WORD.

    A write that changes nothing of what an index knows touches none of its words: the same documents are
    found in the same order, and a search reads each document that it returns by its id.
    """
    touched: list[KeysTouched] = []
    for index in indexes:
        if index.kind != SEARCH or _is_same(index, before, after):
            continue
        words = _words(index, before) | _words(index, after)
        if words:
            is_named = len(words) <= count_max
            keys = tuple(sorted(map(encode_item, words))) if is_named else (ANY_WORD,)
            count_max -= len(keys)
            touched.append((index.index_id, keys))
    return tuple(touched)


def _is_same(index: Index, before: dict[str, Any] | None, after: dict[str, Any] | None) -> bool:
    """Whether the index knows the same of both; documents of equal scores stand in order of creation, so what
    is there never is the same as what is not."""
    paths = (*index.fields, _CREATION_TIME)
    return all(values.same(field_at(before, path), field_at(after, path)) for path in paths)


def _words(index: Index, document: dict[str, Any] | None) -> set[str]:
    text = field_at(document, index.fields[0])
    return set(tokens_of(text)) if isinstance(text, str) else set()
