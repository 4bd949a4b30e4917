"""How many calls of each type run at once and wait, as this gateway sees them. Pure.

Who runs a call counts it while it runs; the most there were is taken away once in a while, for the charts
(gateway/recent_usage.py). A call counts from when the gateway asks for it until it is answered: what waits
in an executor runs, as far as is known here.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from functions.path import SYSTEM_FOLDER

T = TypeVar("T")

RUNNING, QUEUED = "running", "queued"
COUNTED_STATES = (
    ("Query", RUNNING),
    ("Query", QUEUED),
    ("Mutation", RUNNING),
    ("Mutation", QUEUED),
    ("Action", RUNNING),
    ("HttpAction", RUNNING),
)
"""(type, state); actions wait for each other in their executor, which nobody asks."""


@dataclass(slots=True)
class _Count:
    now: int = 0
    most: int = 0  # since it was taken last

    def set(self, number: int) -> None:
        self.now = number
        self.most = max(self.most, number)


class Concurrency:
    """One per gateway."""

    def __init__(self) -> None:
        self._counts = {state: _Count() for state in COUNTED_STATES}

    async def counted(self, udf_type: str, path: str, call: Coroutine[Any, Any, T]) -> T:
        """The call, counted while it runs, unless the function is none of the app's."""
        if path.startswith(SYSTEM_FOLDER):
            return await call
        count = self._counts[udf_type, RUNNING]
        count.set(count.now + 1)
        try:
            return await call
        finally:
            count.set(count.now - 1)

    def note(self, udf_type: str, state: str, number: int) -> None:
        """So many there are now, by somebody who has counted them."""
        self._counts[udf_type, state].set(number)

    def take_most(self) -> dict[tuple[str, str], int]:
        """The most there were since the last time, of those there were; what still runs counts again."""
        taken = {state: count.most for state, count in self._counts.items() if count.most}
        for count in self._counts.values():
            count.most = count.now
        return taken
