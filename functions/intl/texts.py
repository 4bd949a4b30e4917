"""Texts: collation, lists, relative times, names and segments (ECMA-402 10, 12, 13, 17, 18).

Promise: as in dates.py, no ICU object that is kept is changed after it was made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import icu

from functions.intl.locales import ICU_CALENDARS, Settings, Unknown, canonical, icu_locale
from functions.intl.numbers import FIELD_NAMES, NUMBER_CATEGORY, Fields

ATTRIBUTE, VALUE = icu.UCollAttribute, icu.UCollAttributeValue
STRENGTHS = {
    "base": VALUE.PRIMARY,
    "accent": VALUE.SECONDARY,
    "case": VALUE.PRIMARY,
    "variant": VALUE.TERTIARY,
}
CASES_FIRST = {"upper": VALUE.UPPER_FIRST, "lower": VALUE.LOWER_FIRST, "false": VALUE.OFF}
LIST_TYPES = {
    "conjunction": icu.UListFormatterType.AND,
    "disjunction": icu.UListFormatterType.OR,
    "unit": icu.UListFormatterType.UNITS,
}
LIST_WIDTHS = {
    "long": icu.UListFormatterWidth.WIDE,
    "short": icu.UListFormatterWidth.SHORT,
    "narrow": icu.UListFormatterWidth.NARROW,
}
LIST_ELEMENT = (3, 1)
"""Category and field of an element in a formatted list."""
RELATIVE_STYLES = {
    "long": icu.UDateRelativeDateTimeFormatterStyle.LONG,
    "short": icu.UDateRelativeDateTimeFormatterStyle.SHORT,
    "narrow": icu.UDateRelativeDateTimeFormatterStyle.NARROW,
}
RELATIVE_UNITS = {
    unit: getattr(icu.URelativeDateTimeUnit, unit.upper())
    for unit in ("second", "minute", "hour", "day", "week", "month", "quarter", "year")
}
AMOUNTS_WITH_WORDS = (-2, -1, 0, 1, 2)
SEGMENTERS = {
    "grapheme": icu.BreakIterator.createCharacterInstance,
    "word": icu.BreakIterator.createWordInstance,
    "sentence": icu.BreakIterator.createSentenceInstance,
}
WORD_STATUS_MIN = 100
"""Below it, a piece between word boundaries is white space or punctuation."""
FIELDS_OF_DATES = {
    **{
        name: name
        for name in ("era", "year", "quarter", "month", "weekday", "day", "hour", "minute", "second")
    },
    "weekOfYear": "week",
    "dayPeriod": "dayperiod",
    "timeZoneName": "zone",
}
"""As ICU's data call them."""


# --- collation -------------------------------------------------------------------------------------------


def collator(settings: Settings) -> icu.Collator:
    """ICU's collator for resolved options; what is null is as the locale has it."""
    collation = "search" if settings["usage"] == "search" else settings["co"]
    made = icu.Collator.createInstance(icu_locale(settings["data"], co=collation))
    if settings["kn"] is not None:
        made.setAttribute(ATTRIBUTE.NUMERIC_COLLATION, VALUE.ON if settings["kn"] == "true" else VALUE.OFF)
    if settings["kf"] is not None:
        made.setAttribute(ATTRIBUTE.CASE_FIRST, CASES_FIRST[settings["kf"]])
    if settings["sensitivity"] is not None:
        made.setAttribute(ATTRIBUTE.STRENGTH, STRENGTHS[settings["sensitivity"]])
        if settings["sensitivity"] == "case":
            made.setAttribute(ATTRIBUTE.CASE_LEVEL, VALUE.ON)
    if settings["ignorePunctuation"] is not None:
        handling = VALUE.SHIFTED if settings["ignorePunctuation"] else VALUE.NON_IGNORABLE
        made.setAttribute(ATTRIBUTE.ALTERNATE_HANDLING, handling)
    made.setAttribute(ATTRIBUTE.NORMALIZATION_MODE, VALUE.ON)  # canonically equal texts are equal
    return made


def compare(settings: Settings) -> Callable[[list[str]], int]:
    made = collator(settings)
    return lambda pair: int(made.compare(*pair))


def sort_key(settings: Settings) -> Callable[[str], str]:
    """A text whose code units compare as the collator compares the original."""
    made = collator(settings)
    return lambda text: bytes(made.getSortKey(text)).decode("latin-1")


def collation_habits(settings: Settings) -> Callable[[None], Settings]:
    """What resolvedOptions tells of what was left to the locale."""
    made = collator(settings)

    def habits(_: None) -> Settings:
        cases = {value: name for name, value in CASES_FIRST.items()}
        shifted = made.getAttribute(ATTRIBUTE.ALTERNATE_HANDLING) == VALUE.SHIFTED
        return {
            "ignorePunctuation": shifted,
            "numeric": made.getAttribute(ATTRIBUTE.NUMERIC_COLLATION) == VALUE.ON,
            "caseFirst": cases[made.getAttribute(ATTRIBUTE.CASE_FIRST)],
        }

    return habits


# --- lists and relative times ----------------------------------------------------------------------------


def join_list(settings: Settings) -> Callable[[list[str]], tuple[str, Fields]]:
    locale = icu_locale(settings["data"])
    joiner = icu.ListFormatter.createInstance(
        locale, LIST_TYPES[settings["type"]], LIST_WIDTHS[settings["style"]]
    )

    def compute(items: list[str]) -> tuple[str, Fields]:
        value = joiner.formatStringsToValue(items)
        elements = [at for at in value if (at.getCategory(), at.getField()) == LIST_ELEMENT]
        return str(value), [("element", at.getStart(), at.getLimit()) for at in elements]

    return compute


def relative_time(settings: Settings) -> Callable[[tuple[float, str]], tuple[str, Fields]]:
    locale = icu_locale(settings["data"], nu=settings["nu"])
    style, context = RELATIVE_STYLES[settings["style"]], icu.UDisplayContext.CAPITALIZATION_NONE
    ready = icu.RelativeDateTimeFormatter(locale, icu.NumberFormat.createInstance(locale), style, context)
    data, width = icu.ResourceBundle("", locale), _width(settings["style"])

    def compute(asked: tuple[float | str, str]) -> tuple[str, Fields]:
        amount, unit = float(asked[0]), asked[1]
        if settings["numeric"] == "auto" and (word := _word_for(data, unit + width, amount)):
            return word, []
        value = ready.formatNumericToValue(amount, RELATIVE_UNITS[unit])
        numbers = [at for at in value if at.getCategory() == NUMBER_CATEGORY]
        return str(value), [(FIELD_NAMES[at.getField()], at.getStart(), at.getLimit()) for at in numbers]

    return compute


def _width(style: str) -> str:
    """How ICU's data tell apart the names of a field of dates."""
    return "" if style == "long" else f"-{style}"


def _word_for(data: icu.ResourceBundle, field: str, amount: float) -> str:
    """ "yesterday" and its like; empty if the language has no word for it."""
    if amount not in AMOUNTS_WITH_WORDS:
        return ""
    try:
        return str(data.getWithFallback(f"fields/{field}/relative/{int(amount)}").getString())
    except icu.ICUError:
        return ""


# --- names -----------------------------------------------------------------------------------------------


def display_name(settings: Settings) -> Callable[[str], str | None]:
    """The name of a code in the locale's language; None if it has none."""
    lengths = {
        "long": icu.UDisplayContext.LENGTH_FULL,
        "short": icu.UDisplayContext.LENGTH_SHORT,
        "narrow": icu.UDisplayContext.LENGTH_SHORT,
    }
    dialect = settings.get("languageDisplay") == "standard"
    context = icu.UDisplayContext
    contexts = [lengths[settings["style"]], context.STANDARD_NAMES if dialect else context.DIALECT_NAMES]
    locale = icu_locale(settings["data"])
    names = icu.LocaleDisplayNames.createInstance(locale, contexts)
    return lambda code: _name(settings, locale, names, code)


def _name(settings: Settings, locale: icu.Locale, names: icu.LocaleDisplayNames, code: str) -> str | None:
    match settings["type"]:
        case "language":
            tag = canonical(code)
            found = names.localeDisplayName(icu.Locale.forLanguageTag(tag))
        case "region":
            found = names.regionDisplayName(code)
        case "script":
            found = names.scriptDisplayName(code)
        case "currency":
            found = names.keyValueDisplayName("currency", code)
        case "calendar":
            found = names.keyValueDisplayName("calendar", ICU_CALENDARS.get(code, code))
        case _:
            field = FIELDS_OF_DATES[code] + _width(settings["style"])
            found = icu.ResourceBundle("", locale).getWithFallback(f"fields/{field}/dn").getString()
    return None if found.lower() == code.lower() else str(found)


# --- segments --------------------------------------------------------------------------------------------


def segments(settings: Settings) -> Callable[[str], list[tuple[int, bool]]]:
    """Where each segment ends, in UTF-16 units, and whether it is like a word."""
    if settings["granularity"] not in SEGMENTERS:
        raise Unknown(f"Invalid granularity: {settings['granularity']}")
    locale = icu_locale(settings["data"])

    def compute(text: str) -> list[tuple[int, bool]]:
        breaks = SEGMENTERS[settings["granularity"]](locale)  # it keeps the text: one for each
        breaks.setText(icu.UnicodeString(text))
        return [(end, breaks.getRuleStatus() >= WORD_STATUS_MIN) for end in breaks]

    return compute


VERBS: dict[str, Callable[[Settings], Callable[[Any], Any]]] = {
    "compare": compare,
    "sortKey": sort_key,
    "collationHabits": collation_habits,
    "joinList": join_list,
    "relativeTime": relative_time,
    "displayName": display_name,
    "segments": segments,
}
