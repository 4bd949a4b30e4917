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


# --- vectors (spec 04 6.1) --------------------------------------------------------------------------


def index_not_a_vector_index(name: str) -> BackendError:
    return bad_request("IndexNotAVectorIndexError", f"Index {name} is not a vector index")


def vector_limit_too_large(limit: int, requested: int) -> BackendError:
    return bad_request(
        "VectorLimitTooLargeError",
        f"Vector queries can fetch at most {limit} results, requested {requested}.",
    )


def too_many_vector_conditions(name: str, limit: int, actual: int) -> BackendError:
    return bad_request(
        "TooManyElementsInVectorQueryError",
        f"Vector query against {name} has too many conditions. Max: {limit} Actual: {actual}",
    )


def vector_dimensions_mismatch(expected: int, received: int) -> BackendError:
    return bad_request(
        "VectorDimensionsMismatch", f"Expected a vector with dimensions {expected}, received {received}."
    )


def incorrect_vector_filter_field(name: str, field: str) -> BackendError:
    return bad_request(
        "IncorrectVectorFilterField",
        f"Vector query against {name} contains a filter on {field} "
        "but that field isn't indexed for filtering in `filterFields`.",
    )


def invalid_vector_filter() -> BackendError:
    return bad_request("InvalidVectorSearchFilter", "Filters should be a combination of `q.eq` and `q.or`.")


def invalid_vector_equality() -> BackendError:
    return bad_request(
        "InvalidVectorSearchFilter",
        "`q.eq` must take a field path as its first argument and a value as its second",
    )
