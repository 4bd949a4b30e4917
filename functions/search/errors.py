"""Refusals of searches: one constructor per code (spec 04 5.2, 5.3)."""

from __future__ import annotations

from log.errors import BackendError, bad_request


def index_not_a_search_index(name: str) -> BackendError:
    return bad_request("IndexNotASearchIndexError", f"Index {name} is not a search index")


def incorrect_search_field(name: str, found: str, expected: str) -> BackendError:
    return bad_request(
        "IncorrectSearchField",
        f"Search query against {name} searches the field {found}, but that index searches {expected}.",
    )


def duplicate_search_filters(name: str, field: str) -> BackendError:
    return bad_request(
        "DuplicateSearchFiltersError",
        f"Search query against {name} searches the field {field} more than once. Only one is allowed.",
    )


def incorrect_filter_field(name: str, field: str) -> BackendError:
    return bad_request(
        "IncorrectFilterFieldError",
        f"Search query against {name} contains an equality filter on {field} "
        "but that field isn't indexed for filtering in `filterFields`.",
    )


def missing_search_filter(name: str, field: str) -> BackendError:
    return bad_request(
        "MissingSearchFilterError",
        f"Search query against {name} searches no field. It must contain `.search({field}, ...)` once.",
    )


def too_many_search_filters(name: str, limit: int, actual: int) -> BackendError:
    return bad_request(
        "TooManyFilterConditionsInSearchQueryError",
        f"Search query against {name} has too many filter conditions. Max: {limit} Actual: {actual}",
    )


def scanned_too_many(limit: int) -> BackendError:
    return bad_request(
        "SearchQueryScannedTooManyDocumentsError",
        f"Search query scanned too many documents (fetched {limit}). Consider using a smaller limit, "
        "paginating the query, or using a filter field to limit the number of documents pulled from the "
        "search index.",
    )
