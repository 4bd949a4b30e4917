"""Proposals that were run one upon the other, before any of them had its place in the log (design D4).

The holder of a turn runs several calls in a row, each on what those before it wrote, and proposes them
together. The ts of a predecessor is not known then: a *pending* ts stands for it, its position in the
chain, and the writer puts the true one in its place when it admits the proposal.

Promises:
  - no pending ts enters the log, and none is shown to user code (who asks for one gets `Unsettled`);
  - a pending ts takes as many bytes as a true one, so that a body's blanks stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from log.invariant import invariant
from log.record import CommitBody, DocumentWrite

_FIRST_PENDING_TS: Final = 1 << 62
"""Above every ts of a clock in nanoseconds until the year 2116."""

_WIDE_TS_MIN: Final = 1 << 32
"""From here on msgpack spends nine bytes on a ts, as on a pending one: 4.3 seconds after 1970."""


class Unsettled(Exception):
    """A run asked for a ts that nobody knows yet; it has to run at the head of a chain."""


def pending_ts(position: int) -> int:
    """The ts of the proposal at this position of a chain, until it has one."""
    return _FIRST_PENDING_TS + position


def is_pending(ts: int) -> bool:
    return ts >= _FIRST_PENDING_TS


def settled(ts: int) -> int:
    """The ts itself; raises Unsettled when it is pending."""
    if is_pending(ts):
        raise Unsettled
    return ts


def settle(body: CommitBody, places: Sequence[int]) -> CommitBody:
    """The body with true timestamps: `places` are those of its predecessors in the chain."""
    if not is_pending(body.begin_ts):
        return body  # it was first: what it read has its place
    invariant(
        not body.blanks or places[0] >= _WIDE_TS_MIN, "a true ts is as wide as a pending one", ts=places[0]
    )
    writes = tuple(_settle_write(write, places) for write in body.writes)
    return body._replace(begin_ts=_true_ts(body.begin_ts, places), writes=writes)


def _settle_write(write: DocumentWrite, places: Sequence[int]) -> DocumentWrite:
    if not is_pending(write.previous_ts):
        return write
    return write._replace(previous_ts=_true_ts(write.previous_ts, places))


def _true_ts(ts: int, places: Sequence[int]) -> int:
    position = ts - _FIRST_PENDING_TS
    invariant(position < len(places), "a chain is admitted in its order", position=position)
    return places[position]
