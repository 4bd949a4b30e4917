"""Why live queries ran again: the newest reasons, for `tidelog why` (design D17).

Kept in memory and forgotten with the process, like the function log.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from gateway.backend import Invalidation
from gateway.results import QueryKey
from log.limits import RERUNS_KEPT_MAX


@dataclass(frozen=True, slots=True)
class Rerun:
    """One query that somebody watched, and what ended its result."""

    time_seconds: float
    query: QueryKey
    invalidation: Invalidation


class RerunLog:
    """The newest RERUNS_KEPT_MAX."""

    def __init__(self) -> None:
        self._kept: deque[Rerun] = deque(maxlen=RERUNS_KEPT_MAX)

    def add(self, query: QueryKey, invalidation: Invalidation, time_seconds: float) -> None:
        self._kept.append(Rerun(time_seconds, query, invalidation))

    def newest(self, path: str | None = None) -> list[Rerun]:
        """Oldest first; of one function, or of all."""
        return [rerun for rerun in self._kept if path is None or rerun.query.path == path]
