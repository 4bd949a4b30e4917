"""Dates and times: options of ECMA-402 11 as ICU patterns, and what the patterns write.

A pattern is chosen once, when the object is made (`open_format`), and comes back with every date; the other
verbs follow it. Moments are milliseconds since 1970.

Promise: no ICU object here is changed after it was made, and each is used by one call at a time, which the
interpreter's lock makes whole: threads may share them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from threading import Lock
from typing import Any

import icu

from functions.intl.locales import CALENDAR_ALIASES, Settings, Unknown, icu_locale, time_zones
from functions.intl.numbers import SPAN_NAMES, Fields

MS_PER_SECOND = 1_000
NARROW_SPACE = "\u202f"
PROLEPTIC_SECONDS = -8.64e12
"""The Gregorian calendar holds from here on: the earliest moment JavaScript knows."""
STYLES = {"full": 0, "long": 1, "medium": 2, "short": 3, None: -1}
COMPONENTS: dict[str, dict[str, str]] = {
    "weekday": {"narrow": "EEEEE", "long": "EEEE", "short": "EEE"},
    "era": {"narrow": "GGGGG", "long": "GGGG", "short": "GGG"},
    "year": {"2-digit": "yy", "numeric": "y"},
    "month": {"2-digit": "MM", "numeric": "M", "narrow": "MMMMM", "long": "MMMM", "short": "MMM"},
    "day": {"2-digit": "dd", "numeric": "d"},
    "dayPeriod": {"narrow": "BBBBB", "long": "BBBB", "short": "B"},
    "hour": {"2-digit": "jj", "numeric": "j"},
    "minute": {"2-digit": "mm", "numeric": "m"},
    "second": {"2-digit": "ss", "numeric": "s"},
    "fractionalSecondDigits": {"1": "S", "2": "SS", "3": "SSS"},
    "timeZoneName": {
        "long": "zzzz",
        "short": "z",
        "longOffset": "OOOO",
        "shortOffset": "O",
        "longGeneric": "vvvv",
        "shortGeneric": "v",
    },
}
"""Options and the skeleton each value stands for, in the standard's order."""
HOUR_LETTERS = {"h11": "K", "h12": "h", "h23": "H", "h24": "k"}
CYCLES = {letter: cycle for cycle, letter in HOUR_LETTERS.items()}
TWELVE_HOURS = ("h11", "h12")
COUNTING_FROM_ZERO = ("h11", "h23")
FIELD_OF_LETTER = {
    **dict.fromkeys("G", "era"),
    **dict.fromkeys("yY", "year"),
    **dict.fromkeys("ur", "relatedYear"),
    **dict.fromkeys("U", "yearName"),
    **dict.fromkeys("ML", "month"),
    **dict.fromkeys("d", "day"),
    **dict.fromkeys("Eec", "weekday"),
    **dict.fromkeys("abB", "dayPeriod"),
    **dict.fromkeys("hHkK", "hour"),
    **dict.fromkeys("m", "minute"),
    **dict.fromkeys("s", "second"),
    **dict.fromkeys("S", "fractionalSecond"),
    **dict.fromkeys("zZOvVXx", "timeZoneName"),
}
RUN = re.compile(r"'(?:[^']|'')*'|([A-Za-z])\1*|[^A-Za-z']+")
"""One piece of a pattern: a quoted text, a field, or other characters."""
OFFSET = re.compile(r"([+-])([01]\d|2[0-3])(?::?([0-5]\d))?")
MATCH_HOURS = icu.UDateTimePatternMatchOptions.HOUR_FIELD_LENGTH
NOON_LETTERS = ("b", "B")

DATE_CATEGORY = 1
SPAN_CATEGORY = 0x1005
RANGE_FIELDS = {
    **dict.fromkeys((0,), "era"),
    **dict.fromkeys((1, 18, 20), "year"),
    **dict.fromkeys((2, 26), "month"),
    3: "day",
    **dict.fromkeys((4, 5, 15, 16), "hour"),
    6: "minute",
    7: "second",
    8: "fractionalSecond",
    **dict.fromkeys((9, 19, 25), "weekday"),
    **dict.fromkeys((14, 35, 36), "dayPeriod"),
    **dict.fromkeys((17, 23, 24, 29, 31, 32, 33), "timeZoneName"),
    30: "yearName",
    34: "relatedYear",
}
"""By ICU's UDateFormatField."""

_process_zone = Lock()


# --- what was asked for ----------------------------------------------------------------------------------


def open_format(_: Settings) -> Callable[[Settings], Settings]:
    """Choose calendar, digits, zone, hour cycle and pattern for the options of an object."""
    return _open


def _open(options: Settings) -> Settings:
    data, zone = options["data"], zone_named(options["timeZone"])
    plain = icu_locale(data)
    calendar = options["ca"] or icu.Calendar.createInstance(plain).getType()
    calendar = CALENDAR_ALIASES.get(calendar, calendar)
    numbering = options["nu"] or icu.NumberingSystem.createInstance(plain).getName()
    locale = icu_locale(data, ca=calendar, nu=numbering)
    cycle = _hour_cycle(locale, options)
    pattern = _style_pattern(locale, options, cycle) if _is_styled(options) else _best(locale, options, cycle)
    resolved = {"calendar": calendar, "numberingSystem": numbering, "timeZone": zone, "pattern": pattern}
    return {**resolved, **_described(pattern, styled=_is_styled(options))}


def zone_named(name: str) -> str:
    """An IANA name as it is written, or an offset as ±hh:mm."""
    if offset := OFFSET.fullmatch(name):
        sign, hours, minutes = offset[1], offset[2], offset[3] or "00"
        return f"{'+' if hours == minutes == '00' else sign}{hours}:{minutes}"
    found = time_zones().get(name.lower())
    if found is None:
        raise Unknown(f"Invalid time zone specified: {name}")
    return "UTC" if found in ("GMT", "Etc/UTC", "Etc/GMT", "Etc/UCT", "Etc/Zulu", "UCT", "Zulu") else found


def _is_styled(options: Settings) -> bool:
    return "dateStyle" in options or "timeStyle" in options


def _default_cycle(locale: icu.Locale) -> str:
    """What the locale's own people use."""
    return _cycle_of(icu.DateTimePatternGenerator.createInstance(locale).getBestPattern("j")) or "h23"


def _hour_cycle(locale: icu.Locale, options: Settings) -> str:
    """hour12 before hourCycle before the locale's key before the locale's habit (ECMA-402 11.1.2).

    Where the locale counts otherwise, hour12 is as in V8 and in editions of the standard up to 2022:
    `hour12: false` in English writes 24 at midnight.
    """
    default = _default_cycle(locale)
    if options.get("hour12") is not None:
        from_zero = default in COUNTING_FROM_ZERO
        return ("h11" if from_zero else "h12") if options["hour12"] else ("h23" if from_zero else "h24")
    return options.get("hc") or default


# --- patterns --------------------------------------------------------------------------------------------


def runs(pattern: str) -> Iterator[tuple[str, str]]:
    """The pieces of a pattern as (letter of the field or "", piece)."""
    for match in RUN.finditer(pattern):
        yield match[1] or "", match[0]


def _cycle_of(pattern: str) -> str | None:
    return next((CYCLES[letter] for letter, _ in runs(pattern) if letter in CYCLES), None)


def _with_cycle(pattern: str, cycle: str) -> str:
    letter = HOUR_LETTERS[cycle]
    return "".join(letter * len(piece) if found in CYCLES else piece for found, piece in runs(pattern))


def _best(locale: icu.Locale, options: Settings, cycle: str) -> str:
    """The locale's pattern for the wished components."""
    skeleton = "".join(
        values[str(options[name])] for name, values in COMPONENTS.items() if options.get(name) is not None
    )
    generator = icu.DateTimePatternGenerator.createInstance(locale)
    wanted = skeleton.replace("j", HOUR_LETTERS[cycle])
    return _with_cycle(generator.getBestPattern(wanted, MATCH_HOURS), cycle)


def _style_pattern(locale: icu.Locale, options: Settings, cycle: str) -> str:
    """The locale's pattern for dateStyle and timeStyle; another one if its hours are counted otherwise."""
    date, time = STYLES[options.get("dateStyle")], STYLES[options.get("timeStyle")]
    pattern: str = icu.DateFormat.createDateTimeInstance(date, time, locale).toPattern()
    own = _cycle_of(pattern)
    if own is None or own == cycle:
        return pattern
    if (own in TWELVE_HOURS) == (cycle in TWELVE_HOURS):
        return _with_cycle(pattern, cycle)
    generator = icu.DateTimePatternGenerator.createInstance(locale)
    skeleton = icu.DateTimePatternGenerator.staticGetSkeleton(pattern).replace("a", "")
    skeleton = re.sub("[hHkK]", HOUR_LETTERS[cycle], skeleton)
    return _with_cycle(generator.getBestPattern(skeleton, MATCH_HOURS), cycle)


def _described(pattern: str, styled: bool) -> Settings:
    """What resolvedOptions tells of a pattern: its hour cycle, and its components if they were asked for."""
    told: Settings = {}
    for letter, piece in runs(pattern):
        if letter in CYCLES:
            told["hourCycle"] = CYCLES[letter]
        name = {"fractionalSecond": "fractionalSecondDigits"}.get(
            field := FIELD_OF_LETTER.get(letter, ""), field
        )
        if not styled and name in COMPONENTS and letter != "a":
            told[name] = _component(name, letter, len(piece))
    return told


def _component(name: str, letter: str, length: int) -> str | int:
    if name == "fractionalSecondDigits":
        return length
    if name == "timeZoneName":
        return next(
            value for value, run in COMPONENTS[name].items() if run[0] == letter and len(run) == length
        )
    texts = {1: "numeric", 2: "2-digit", 3: "short", 4: "long", 5: "narrow"}
    if name in ("weekday", "era", "dayPeriod") and length < 3:
        return "short"
    return texts[length]


# --- formatting ------------------------------------------------------------------------------------------


def _zone(name: str) -> icu.TimeZone:
    return icu.TimeZone.createTimeZone(f"GMT{name}" if name[0] in "+-" else name)


def _writer(settings: Settings, pattern: str) -> icu.SimpleDateFormat:
    locale = icu_locale(settings["data"], ca=settings["calendar"], nu=settings["numberingSystem"])
    zone = _zone(settings["timeZone"])
    writer = icu.SimpleDateFormat(pattern, locale)
    if settings["calendar"] == "gregory":
        calendar = icu.GregorianCalendar(zone, locale)
        calendar.setGregorianChange(PROLEPTIC_SECONDS)
        writer.setCalendar(calendar)
    writer.setTimeZone(zone)
    return writer


def _seconds(ms: float) -> float:
    """PyICU takes seconds; the product it computes must not fall below the millisecond meant."""
    seconds = ms / MS_PER_SECOND
    return seconds if seconds * MS_PER_SECOND >= ms else math.nextafter(seconds, math.inf)


def date_text(settings: Settings) -> Callable[[float], str]:
    writer = _writer(settings, settings["pattern"])
    # A common space before "PM", as V8 writes it (in whole texts only): code in the wild looks for one.
    return lambda ms: str(writer.format(_seconds(ms))).replace(NARROW_SPACE, " ")


def date_parts(settings: Settings) -> Callable[[float], list[tuple[str, str]]]:
    """Pairs of type and text. Each field is written by a pattern of its own; a day period that depends on the
    rest of the pattern ("noon") is what the others leave of the whole text."""
    whole, pieces = _writer(settings, settings["pattern"]), _pieces(settings)
    periods = [at for at, (letter, _) in enumerate(pieces) if letter in NOON_LETTERS]

    def compute(ms: float) -> list[tuple[str, str]]:
        seconds = _seconds(ms)
        texts = [piece if isinstance(piece, str) else str(piece.format(seconds)) for _, piece in pieces]
        if len(periods) == 1:
            before, after = "".join(texts[: periods[0]]), "".join(texts[periods[0] + 1 :])
            text = str(whole.format(seconds))
            texts[periods[0]] = text[len(before) : len(text) - len(after)]
        kinds = [FIELD_OF_LETTER.get(letter, "literal") for letter, _ in pieces]
        return [(kind, text) for kind, text in zip(kinds, texts, strict=True) if text]

    return compute


def _pieces(settings: Settings) -> list[tuple[str, str | icu.SimpleDateFormat]]:
    """The pattern as letters with their writers, and texts (with no letter) between them."""
    pieces: list[tuple[str, str | icu.SimpleDateFormat]] = []
    for is_text, group in groupby(runs(settings["pattern"]), key=lambda run: run[0] == ""):
        found = list(group)
        if is_text:
            literal = "".join(piece for _, piece in found)
            pieces.append(("", str(_writer(settings, literal).format(0.0))))
        else:
            pieces += [(letter, _writer(settings, piece)) for letter, piece in found]
    return pieces


def date_range(settings: Settings) -> Callable[[list[float]], tuple[str, Fields] | None]:
    """Two moments as one text, with its fields; None if they look the same in this pattern."""
    calendar, digits, cycle = (
        settings["calendar"],
        settings["numberingSystem"],
        _cycle_of(settings["pattern"]),
    )
    locale = icu_locale(settings["data"], ca=calendar, nu=digits, hc=cycle)
    skeleton = icu.DateTimePatternGenerator.staticGetSkeleton(settings["pattern"])
    with (
        _process_zone
    ):  # PyICU cannot tell an interval format its zone: it takes the process's when it is made
        icu.TimeZone.setDefault(_zone(settings["timeZone"]))
        try:
            ready = icu.DateIntervalFormat.createInstance(skeleton, locale)
        finally:
            icu.TimeZone.setDefault(_zone("UTC"))

    def compute(moments: list[float]) -> tuple[str, Fields] | None:
        value = ready.formatToValue(icu.DateInterval(*map(_seconds, moments)))
        fields = []
        for at in value:
            names = SPAN_NAMES if at.getCategory() == SPAN_CATEGORY else RANGE_FIELDS
            fields.append((names[at.getField()], at.getStart(), at.getLimit()))
        is_range = any(name in SPAN_NAMES for name, _, _ in fields)
        return (str(value), fields) if is_range else None

    return compute


VERBS: dict[str, Callable[[Settings], Callable[[Any], Any]]] = {
    "dateOpen": open_format,
    "dateText": date_text,
    "dateParts": date_parts,
    "dateRange": date_range,
}
