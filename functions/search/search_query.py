"""What a search asks for, checked against its index; refusals as spec 04 5.2 names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from functions.indexes import Index
from functions.search import errors
from functions.search.text_index import filter_term
from functions.search.tokens import tokens_of
from log import limits, values


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """`filters`: (position of the filter field, term). `is_empty`: the text was, so nothing is looked up."""

    tokens: tuple[str, ...]
    filters: tuple[tuple[int, bytes], ...]
    is_empty: bool = False

    @property
    def finds_nothing(self) -> bool:
        """Without a word nothing matches; nor where a filter is given twice: no document brings it twice."""
        return not self.tokens or len({position for position, _ in self.filters}) < len(self.filters)


def parse_search(items: list[dict[str, Any]], name: str, index: Index) -> SearchQuery:
    """Exactly one `search` of the indexed field and up to 8 `eq` of filter fields. `name` is table.index."""
    search_field, *filter_fields = index.field_names
    texts = [item for item in items if item["type"] == "Search"]
    equalities = [item for item in items if item["type"] == "Eq"]
    for item in texts:
        if item["fieldPath"] != search_field:
            raise errors.incorrect_search_field(name, item["fieldPath"], search_field)
    if len(texts) > 1:
        raise errors.duplicate_search_filters(name, search_field)
    for item in equalities:
        if item["fieldPath"] not in filter_fields:
            raise errors.incorrect_filter_field(name, item["fieldPath"])
    if not texts:
        raise errors.missing_search_filter(name, search_field)
    if len(equalities) > limits.SEARCH_FILTERS_MAX:
        raise errors.too_many_search_filters(name, limits.SEARCH_FILTERS_MAX, len(equalities))
    text = texts[0]["value"]
    filters = (
        (filter_fields.index(item["fieldPath"]), filter_term(values.decode_operand(item["value"])))
        for item in equalities
    )
    return SearchQuery(tuple(tokens_of(text)), tuple(filters), is_empty=not text)
