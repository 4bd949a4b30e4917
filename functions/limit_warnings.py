"""What a function is told on its console when it used more than 80 % of what it may (spec 03 3.5). Pure.

Only what follows from the call itself is told: how long it took is not, because a replay would take another
time and then differ.
"""

from __future__ import annotations

from collections.abc import Iterator

from functions.budget import Budget, is_near
from functions.errors import READ_LESS
from log import limits, values

_PER_EXECUTION = "in a single function execution"


def call_warnings(arguments: bytes, budget: Budget, result: bytes | None) -> Iterator[str]:
    """One line for each limit that a call came near. `result` is None when it failed."""
    yield from size_warnings("function arguments", arguments, limits.FUNCTION_ARGS_BYTES_MAX)
    yield from usage_warnings(budget)
    if result is not None:
        yield from size_warnings("function return value", result, limits.FUNCTION_RESULT_BYTES_MAX)


def usage_warnings(budget: Budget) -> Iterator[str]:
    """One line for each limit of a transaction that is near."""
    ceilings = budget.ceilings
    counted = (
        ("Many documents read", budget.documents_read, ceilings.documents_read, "", READ_LESS),
        ("Many reads", budget.intervals_read, ceilings.intervals_read, "", READ_LESS),
        ("Many bytes read", budget.bytes_read, ceilings.bytes_read, " bytes", READ_LESS),
        ("Many writes", budget.documents_written, ceilings.documents_written, "", ""),
        ("Many bytes written", budget.bytes_written, ceilings.bytes_written, " bytes", ""),
    )
    for what, used, limit, unit, advice in counted:
        if is_near(used, limit):
            yield f"{what} {_PER_EXECUTION} {_amounts(used, limit, unit)}. {advice}".rstrip()
    if is_near(budget.functions_scheduled, ceilings.functions_scheduled):
        amounts = _amounts(budget.functions_scheduled, ceilings.functions_scheduled, "")
        yield f"Many functions scheduled by this mutation {amounts}."
    if is_near(budget.scheduled_args_bytes, ceilings.scheduled_args_bytes):
        amounts = _amounts(budget.scheduled_args_bytes, ceilings.scheduled_args_bytes, " bytes")
        what = "Large total size of the arguments of scheduled functions from this mutation"
        yield f"{what} {amounts}."
    for document_id, size_bytes in budget.large_documents.items():
        amounts = _amounts(size_bytes, limits.DOCUMENT_BYTES_MAX, " bytes")
        yield f'Large document written with ID "{document_id}" {amounts}.'


def size_warnings(what: str, canonical: bytes, limit_bytes: int) -> Iterator[str]:
    """`what` is "function arguments" or "function return value". No value has more than five bytes for one
    character of its text, so most need not be looked into."""
    if 5 * len(canonical) > limit_bytes:
        size_bytes = values.size_of(values.loads_canonical(canonical))
        if is_near(size_bytes, limit_bytes):
            yield f"Large size of the {what} {_amounts(size_bytes, limit_bytes, ' bytes')}."


def _amounts(used: int, limit: int, unit: str) -> str:
    return f"(actual: {used}{unit}, limit: {limit}{unit})"
