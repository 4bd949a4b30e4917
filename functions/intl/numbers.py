"""Numbers and plural forms: settings of ECMA-402 15 and 16 as ICU number skeletons.

Values arrive as decimal texts, so that a BigInt and a text of many digits keep all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import icu

from functions.intl.locales import Settings, Unknown, icu_locale

Fields = list[tuple[str, int, int]]
"""Name, start and end of parts of a text, in UTF-16 units as JavaScript counts them; they may nest."""

ROUNDING_MODES = {
    "ceil": "ceiling",
    "floor": "floor",
    "expand": "up",
    "trunc": "down",
    "halfCeil": "half-ceiling",
    "halfFloor": "half-floor",
    "halfExpand": "half-up",
    "halfTrunc": "half-down",
    "halfEven": "half-even",
}
GROUPINGS = {"false": "group-off", "auto": "group-auto", "always": "group-on-aligned", "min2": "group-min2"}
SIGNS = {
    "auto": "auto",
    "always": "always",
    "never": "never",
    "exceptZero": "except-zero",
    "negative": "negative",
}
CURRENCY_WIDTHS = {"symbol": "short", "narrowSymbol": "narrow", "code": "iso-code", "name": "full-name"}
UNIT_WIDTHS = {"short": "short", "narrow": "narrow", "long": "full-name"}

DIGITS_MAX = 100
"""What ECMA-402 lets anyone ask for."""
NUMBER_CATEGORY = 2
RANGE_SPAN_CATEGORY = 0x1002
FIELD_NAMES = (
    "integer",
    "fraction",
    "decimal",
    "exponentSeparator",
    "exponentMinusSign",
    "exponentInteger",
    "group",
    "currency",
    "percentSign",
    "percentSign",  # per mille: nothing of ours asks for it
    "sign",
    "unit",
    "compact",
    "approximatelySign",
)
"""By ICU's UNumberFormatFields."""
SPAN_NAMES = ("startRange", "endRange")

ORDINAL = "{0,selectordinal,zero{zero}one{one}two{two}few{few}many{many}other{other}}"
"""PyICU has no ordinal rules of their own; messages use them."""
ORDINAL_SAMPLES = 1_001


# --- skeletons -------------------------------------------------------------------------------------------


def skeleton_of(settings: Settings) -> str:
    """The ICU number skeleton of resolved options."""
    words = [*_unit(settings), *_notation(settings), *_precision(settings)]
    words.append(f"rounding-mode-{ROUNDING_MODES[settings['roundingMode']]}")
    words.append(f"integer-width/+{_run('0', settings['minimumIntegerDigits'])}")
    words.append(GROUPINGS[settings.get("useGrouping", "auto")])
    words.append(_sign(settings))
    return " ".join(words)


def _unit(settings: Settings) -> list[str]:
    match settings.get("style"):
        case "percent":
            return ["percent", "scale/100"]
        case "currency":
            width = CURRENCY_WIDTHS[settings["currencyDisplay"]]
            return [f"currency/{settings['currency']}", f"unit-width-{width}"]
        case "unit":
            return [f"unit/{settings['unit']}", f"unit-width-{UNIT_WIDTHS[settings['unitDisplay']]}"]
        case _:
            return []


def _notation(settings: Settings) -> list[str]:
    match settings.get("notation", "standard"):
        case "standard":
            return []
        case "compact":
            return [f"compact-{settings['compactDisplay']}"]
        case other:
            return [other]


def _sign(settings: Settings) -> str:
    sign = SIGNS[settings.get("signDisplay", "auto")]
    if settings.get("currencySign") != "accounting" or sign == "never":
        return f"sign-{sign}"
    return "sign-accounting" if sign == "auto" else f"sign-accounting-{sign}"


def _precision(settings: Settings) -> list[str]:
    """Digits after the point, significant digits, or both with a word on which of the two wins."""
    tail = "/w" if settings["trailingZeroDisplay"] == "stripIfInteger" else ""
    if settings["roundingIncrement"] != 1:
        places = min(settings["maximumFractionDigits"], DIGITS_MAX)
        digits = str(settings["roundingIncrement"]).rjust(places + 1, "0")
        step = f"{digits[:-places]}.{digits[-places:]}" if places else digits
        return [f"precision-increment/{step}{tail}"]
    fraction = significant = ""
    if "maximumFractionDigits" in settings:
        least, most = settings["minimumFractionDigits"], settings["maximumFractionDigits"]
        fraction = f".{_run('0', least)}{_run('#', most - least)}"
    if "maximumSignificantDigits" in settings:
        least, most = settings["minimumSignificantDigits"], settings["maximumSignificantDigits"]
        significant = f"{_run('@', least)}{_run('#', most - least)}"
    if fraction and significant:
        winner = "r" if settings["roundingPriority"] == "morePrecision" else "s"
        return [f"{fraction}/{significant}{winner}{tail}"]
    if significant or fraction != ".":
        return [(significant or fraction) + tail]
    return [f"precision-integer{tail}"]


def _run(sign: str, count: int) -> str:
    """The prelude has checked the count; a forged request must not ask for a long text either."""
    if not 0 <= count <= DIGITS_MAX:
        raise Unknown("A number of digits is out of range.")
    return sign * count


# --- formatting ------------------------------------------------------------------------------------------


def formatter(settings: Settings) -> icu.LocalizedNumberFormatter:
    locale = icu_locale(settings["data"], nu=settings.get("nu"))
    return icu.NumberFormatter.forSkeleton(skeleton_of(settings)).locale(locale)


def number_text(settings: Settings) -> Callable[[str], str]:
    ready = formatter(settings)
    return lambda decimal: str(ready.formatDecimal(decimal.encode()))


def number_fields(settings: Settings) -> Callable[[str], tuple[str, Fields]]:
    ready = formatter(settings)

    def compute(decimal: str) -> tuple[str, Fields]:
        value = ready.formatDecimalToValue(decimal.encode())
        fields = [
            (_field_name(at.getField(), decimal, settings), at.getStart(), at.getLimit()) for at in value
        ]
        return str(value), fields

    return compute


def _field_name(field: int, decimal: str, settings: Settings) -> str:
    name = FIELD_NAMES[field]
    if name == "integer" and decimal == "NaN":
        return "nan"
    if name == "integer" and decimal.endswith("Infinity"):
        return "infinity"
    if name == "sign":
        return "minusSign" if decimal.startswith("-") else "plusSign"
    if name == "percentSign" and settings.get("style") == "unit":
        return "unit"
    return name


def number_range(settings: Settings) -> Callable[[list[str]], tuple[str, Fields]]:
    """Two numbers as one text; the fields say which part belongs to which of them."""
    locale = icu_locale(settings["data"], nu=settings.get("nu"))
    unlocalized = icu.NumberFormatter.forSkeleton(skeleton_of(settings))
    ready = icu.NumberRangeFormatter.withLocale(locale).numberFormatterBoth(unlocalized)

    def compute(decimals: list[str]) -> tuple[str, Fields]:
        value = ready.formatDoubleRangeToValue(*map(float, decimals))
        fields, end_start = [], 0
        for at in value:  # a span comes before the fields in it
            if at.getCategory() == RANGE_SPAN_CATEGORY:
                name = SPAN_NAMES[at.getField()]
                end_start = at.getStart()
            else:
                name = _field_name(at.getField(), decimals[end_start > 0], settings)
            fields.append((name, at.getStart(), at.getLimit()))
        return str(value), fields

    return compute


def currency_digits(settings: Settings) -> Callable[[str], int]:
    """How many decimals amounts of the currency have."""

    def compute(currency: str) -> int:
        skeleton = f"currency/{currency} precision-currency-standard unit-width-iso-code"
        zero = str(icu.NumberFormatter.forSkeleton(skeleton).locale(icu.Locale("en")).formatDecimal(b"0"))
        return len(zero.partition(".")[2])

    return compute


# --- plural forms ----------------------------------------------------------------------------------------


def plural_category(settings: Settings) -> Callable[[str], str]:
    """Of a number as it would be written with these options: "1" is one and "1.0" is not."""
    if settings["type"] == "ordinal":
        return _ordinal(settings)
    ready = formatter(settings)
    rules = icu.PluralRules.forLocale(icu_locale(settings["data"]))
    return lambda decimal: str(rules.select(ready.formatDecimalToValue(decimal.encode())))


def _ordinal(settings: Settings) -> Callable[[str], str]:
    message = icu.MessageFormat(ORDINAL, icu_locale(settings["data"]))
    return lambda decimal: str(message.format([icu.Formattable(abs(float(decimal)))]))


def plural_categories(settings: Settings) -> Callable[[None], list[str]]:
    def compute(_: None) -> list[str]:
        if settings["type"] == "ordinal":
            select = _ordinal(settings)
            return list({select(str(number)) for number in range(ORDINAL_SAMPLES)})
        return list(icu.PluralRules.forLocale(icu_locale(settings["data"])).getKeywords())

    return compute


VERBS: dict[str, Callable[[Settings], Callable[[Any], Any]]] = {
    "numberText": number_text,
    "numberFields": number_fields,
    "numberRange": number_range,
    "currencyDigits": currency_digits,
    "pluralCategory": plural_category,
    "pluralCategories": plural_categories,
}
