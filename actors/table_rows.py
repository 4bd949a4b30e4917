"""Rows per table and minute of the last hours, for a chart of the dashboard (spec 02 21). Pure.

Each executor counts what functions read on it, the core what was written. A bounded ring of minutes, as that
of functions (gateway/recent_usage.py): a minute without rows is not there, a clock that steps back goes on
in the newest one. It is on the way of every call: therefore a call brings sums, and not each row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from functions.catalog import Catalog
from log.limits import USAGE_MINUTE_ROWS_MAX, USAGE_MINUTES_MAX

_MINUTE_NS = 60_000_000_000
MinuteRows = tuple[int, int]
"""The number of a minute since 1970, and the rows in it."""


@dataclass(slots=True)
class _Minute:
    number: int
    rows: dict[bytes, int] = field(default_factory=dict)  # by tablet


class TableRows:
    """The ring. It holds at most `entries_max` pairs of minute and table: the oldest minutes go first, and of
    the newest whatever comes when it is full."""

    def __init__(
        self, minutes_max: int = USAGE_MINUTES_MAX, entries_max: int = USAGE_MINUTE_ROWS_MAX
    ) -> None:
        self._minutes_max, self._entries_max = minutes_max, entries_max
        self._minutes: deque[_Minute] = deque()
        self._newest = _Minute(-1)
        self._entries = 0

    def count(self, rows: Mapping[bytes, int], now_ns: int) -> None:
        """So many more rows, by tablet."""
        if not rows:
            return
        number = now_ns // _MINUTE_NS
        if number > self._newest.number:
            self._begin(number)
        newest = self._newest.rows
        for tablet_id, count in rows.items():
            known = newest.get(tablet_id)
            if known is not None:
                newest[tablet_id] = known + count
            elif self._has_room():
                newest[tablet_id] = count
                self._entries += 1

    def of_table(self, catalog: Catalog, component: str, name: str) -> list[MinuteRows]:
        """Oldest first; empty when there is no such table, or nothing happened to it."""
        within = catalog.of_component(component)
        table = within.tables.get(name) if within is not None else None
        if table is None or table.is_system:
            return []
        tablet_id = table.tablet_id
        return [
            (minute.number, minute.rows[tablet_id]) for minute in self._minutes if tablet_id in minute.rows
        ]

    def _begin(self, number: int) -> None:
        self._newest = _Minute(number)
        self._minutes.append(self._newest)
        while self._minutes[0].number <= number - self._minutes_max:
            self._forget_oldest()

    def _has_room(self) -> bool:
        while self._entries >= self._entries_max and len(self._minutes) > 1:
            self._forget_oldest()
        return self._entries < self._entries_max

    def _forget_oldest(self) -> None:
        self._entries -= len(self._minutes.popleft().rows)
