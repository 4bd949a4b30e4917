"""When a cron runs: schedules as an app exports them, as they are stored, and the next run (spec 03 5.2).

Pure: the clock is an argument. Every run but an interval's is moved by a delay that follows from the job's
name, so that the jobs of a minute do not all start at its first instant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cronsim import CronSim, CronSimError

from log.errors import BackendError, bad_request
from log.limits import CRON_SPLAY_SECONDS

_NANOSECONDS: Final = 1_000_000_000
_HOUR_SECONDS: Final = 3600
_INTERVAL_SECONDS_MAX: Final = 10 * 366 * 86_400
_DAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")

Schedule = dict[str, Any]
"""The stored form: `{"type": ..., ...}` with whole numbers."""


def invalid_cron(text: str) -> BackendError:
    return bad_request("InvalidCron", text)


def stored_schedule(name: str, exported: Mapping[str, Any]) -> Schedule:
    """The stored form of what `crons.ts` exports; raises InvalidCron for what can never run."""
    kind = exported.get("type")
    store = _STORED.get(str(kind))
    if store is None:
        raise invalid_cron(f"The cron job '{name}' has an unknown type of schedule: {kind}")
    return {"type": kind, **store(name, exported)}


def next_run_ns(schedule: Schedule, name: str, after_ns: int) -> int:
    """The first run of a clock schedule after a moment."""
    expression, splay_seconds = _expression(schedule, name)
    splay_ns = splay_seconds * _NANOSECONDS
    # Without the splay, the run lies at a whole minute.
    after = datetime.fromtimestamp((after_ns - splay_ns) // _NANOSECONDS, UTC)
    return int(next(CronSim(expression, after)).timestamp()) * _NANOSECONDS + splay_ns


def run_after(schedule: Schedule, name: str, previous_ns: int, now_ns: int) -> tuple[int, int]:
    """(the run after the one at `previous_ns`, how many were missed): what is past is not made up for."""
    if schedule["type"] != "interval":
        return next_run_ns(schedule, name, max(previous_ns, now_ns)), 0
    interval_ns = schedule["seconds"] * _NANOSECONDS
    missed = max(0, (now_ns - previous_ns) // interval_ns)
    return previous_ns + (missed + 1) * interval_ns, missed


def first_run(schedule: Schedule, name: str, now_ns: int) -> int:
    """An interval starts now; everything else waits for its time."""
    return now_ns if schedule["type"] == "interval" else next_run_ns(schedule, name, now_ns)


def _expression(schedule: Schedule, name: str) -> tuple[str, int]:
    """Five fields of a cron expression, and the seconds that the job's name adds."""
    if schedule["type"] == "cron":
        return schedule["cronExpr"], _splay(name, CRON_SPLAY_SECONDS)
    minute = schedule["minuteUTC"]
    splay_seconds = _splay(name, CRON_SPLAY_SECONDS if minute is not None else _HOUR_SECONDS)
    fields = {
        "hourly": "* * * *",
        "daily": "{hourUTC} * * *",
        "weekly": "{hourUTC} * * {dayOfWeek}",
        "monthly": "{hourUTC} {day} * *",
    }[schedule["type"]]
    return f"{minute or 0} " + fields.format(**schedule), splay_seconds


def _splay(name: str, below_seconds: int) -> int:
    if below_seconds == 0:
        return 0
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") % below_seconds


# --- stored forms -----------------------------------------------------------------------------------


def _whole(name: str, exported: Mapping[str, Any], field: str, low: int, high: int) -> int:
    value = exported.get(field)
    if not isinstance(value, int | float) or value != int(value) or not low <= value <= high:
        raise invalid_cron(f"The cron job '{name}' has an invalid `{field}`: {value}")
    return int(value)


def _minute(name: str, exported: Mapping[str, Any]) -> int | None:
    return None if exported.get("minuteUTC") is None else _whole(name, exported, "minuteUTC", 0, 59)


def _interval(name: str, exported: Mapping[str, Any]) -> Schedule:
    units = (("seconds", 1), ("minutes", 60), ("hours", _HOUR_SECONDS))
    given = [(field, factor) for field, factor in units if exported.get(field) is not None]
    if len(given) != 1:
        raise invalid_cron(f"The cron job '{name}' needs one of seconds, minutes and hours")
    field, factor = given[0]
    return {"seconds": _whole(name, exported, field, 1, _INTERVAL_SECONDS_MAX // factor) * factor}


def _hourly(name: str, exported: Mapping[str, Any]) -> Schedule:
    return {"minuteUTC": _minute(name, exported)}


def _daily(name: str, exported: Mapping[str, Any]) -> Schedule:
    return {"hourUTC": _whole(name, exported, "hourUTC", 0, 23), "minuteUTC": _minute(name, exported)}


def _weekly(name: str, exported: Mapping[str, Any]) -> Schedule:
    day = str(exported.get("dayOfWeek")).lower()
    if day not in _DAYS:
        raise invalid_cron(f"The cron job '{name}' has an invalid `dayOfWeek`: {exported.get('dayOfWeek')}")
    return {"dayOfWeek": _DAYS.index(day), **_daily(name, exported)}


def _monthly(name: str, exported: Mapping[str, Any]) -> Schedule:
    return {"day": _whole(name, exported, "day", 1, 31), **_daily(name, exported)}


def _cron(name: str, exported: Mapping[str, Any]) -> Schedule:
    expression = str(exported.get("cron"))
    try:
        if len(expression.split()) != 5:
            raise CronSimError("a cron expression has five fields")
        CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as failure:
        raise invalid_cron(
            f"The cron job '{name}' has an invalid schedule: {expression} ({failure})"
        ) from None
    return {"cronExpr": expression}


_STORED: Mapping[str, Callable[[str, Mapping[str, Any]], Schedule]] = {
    "interval": _interval,
    "hourly": _hourly,
    "daily": _daily,
    "weekly": _weekly,
    "monthly": _monthly,
    "cron": _cron,
}
