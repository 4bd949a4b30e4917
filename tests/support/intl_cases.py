"""Random calls of `Intl` as JavaScript expressions: locales, options, values that apps use, and some more."""

from __future__ import annotations

import json
import random

LOCALES = [
    "en",
    "en-GB",
    "en-IN",
    "de",
    "de-AT",
    "fr",
    "fr-CA",
    "es",
    "es-MX",
    "it",
    "pt-BR",
    "nl",
    "sv",
    "da",
]
LOCALES += [
    "nb",
    "fi",
    "pl",
    "tr",
    "ru",
    "uk",
    "cs",
    "ro",
    "hu",
    "el",
    "ja",
    "zh",
    "zh-TW",
    "ko",
    "ar",
    "ar-EG",
]
LOCALES += ["ar", "ar-EG", "he", "hi", "id", "vi", "th"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Asia/Kolkata", "Australia/Lord_Howe"]
ZONES += ["America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Auckland"]

Generator = random.Random
Table = dict[str, list[object]]


def options(generator: Generator, table: Table, share: float = 0.35) -> dict[str, object]:
    return {name: generator.choice(values) for name, values in table.items() if generator.random() < share}


def call(service: str, locale: str, chosen: dict[str, object], rest: str) -> str:
    return f"new Intl.{service}('{locale}', {json.dumps(chosen)}).{rest}"


# --- generated cases --------------------------------------------------------------------------------

DIGITS: Table = {
    "minimumIntegerDigits": [1, 2, 5],
    "minimumFractionDigits": [0, 1, 2],
    "maximumFractionDigits": [0, 2, 4, 6],
    "minimumSignificantDigits": [1, 2],
    "maximumSignificantDigits": [2, 3, 5],
    "roundingMode": ["ceil", "floor", "expand", "trunc", "halfEven", "halfExpand"],
    "roundingPriority": ["auto", "morePrecision", "lessPrecision"],
    "trailingZeroDisplay": ["auto", "stripIfInteger"],
}
WRITING: Table = {
    "notation": ["standard", "scientific", "engineering", "compact", "compact"],
    "compactDisplay": ["short", "long"],
    "useGrouping": ["always", "auto", "min2", True, False],
    "signDisplay": ["auto", "never", "always", "exceptZero", "negative"],
}
NUMBERS = [
    "0",
    "-0",
    "1",
    "-1",
    "5",
    "1.5",
    "-2.5",
    "12.345",
    "999.995",
    "1234.5",
    "-98765.4321",
    "1e6",
    "1e-7",
]
NUMBERS += [
    "1e-7",
    "123456789",
    "1.5e15",
    "1e21",
    "NaN",
    "-Infinity",
    "98765432109876543210n",
    "'0x10'",
    "' 12 '",
]
NUMBERS += ["'123456789012345678901234567890.5'", "'x'", "'.5'", "'1e400'"]
STYLES: list[dict[str, object]] = [
    {},
    {"style": "percent"},
    *({"style": "currency", "currency": code} for code in ("USD", "EUR", "JPY", "KWD", "XYZ")),
    {"style": "currency", "currency": "CHF", "currencyDisplay": "code"},
    {"style": "currency", "currency": "GBP", "currencyDisplay": "name"},
    {"style": "currency", "currency": "CAD", "currencyDisplay": "narrowSymbol", "currencySign": "accounting"},
    {"style": "unit", "unit": "kilometer-per-hour"},
    {"style": "unit", "unit": "liter", "unitDisplay": "long"},
    {"style": "unit", "unit": "byte", "unitDisplay": "narrow"},
    {"style": "unit", "unit": "percent"},
]


def number_case(generator: Generator) -> str:
    writing = {**options(generator, WRITING), **options(generator, DIGITS, 0.15)}
    chosen = {**writing, **generator.choice(STYLES)}
    method = generator.choice(["format", "format", "formatToParts"])
    return call("NumberFormat", generator.choice(LOCALES), chosen, f"{method}({generator.choice(NUMBERS)})")


COMPONENTS: Table = {
    "weekday": ["narrow", "short", "long"],
    "year": ["numeric", "2-digit"],
    "month": ["numeric", "2-digit", "narrow", "short", "long"],
    "day": ["numeric", "2-digit"],
    "hour": ["numeric", "2-digit"],
    "minute": ["numeric", "2-digit"],
    "second": ["numeric", "2-digit"],
}
RARE_COMPONENTS: Table = {
    "era": ["narrow", "short", "long"],
    "dayPeriod": ["narrow", "short", "long"],
    "fractionalSecondDigits": [1, 2, 3],
    "timeZoneName": ["short", "long", "shortOffset", "longOffset", "shortGeneric", "longGeneric"],
}
CLOCKS: Table = {"hour12": [True, False], "hourCycle": ["h11", "h12", "h23", "h24"]}
DATE_STYLES: Table = {style: ["full", "long", "medium", "short"] for style in ("dateStyle", "timeStyle")}


def date_options(generator: Generator) -> dict[str, object]:
    always = {"timeZone": generator.choice(ZONES), **options(generator, CLOCKS, 0.15)}
    if generator.random() < 0.4:
        return {**always, **options(generator, DATE_STYLES, 0.8)}
    return {**always, **options(generator, COMPONENTS, 0.5), **options(generator, RARE_COMPONENTS, 0.06)}


def date_case(generator: Generator) -> str:
    start, end = (generator.randrange(-2_000_000_000_000, 4_000_000_000_000) for _ in range(2))
    rest = generator.choice([f"format({start})", f"formatToParts({start})", f"formatRange({start}, {end})"])
    return call("DateTimeFormat", generator.choice(LOCALES), date_options(generator), rest)


def plural_case(generator: Generator) -> str:
    chosen = {"type": generator.choice(["cardinal", "ordinal"]), **options(generator, DIGITS, 0.1)}
    number = generator.choice(["0", "1", "2", "3", "5", "11", "21", "101", "1.5", "0.1", "1000000", "-1"])
    return call("PluralRules", generator.choice(LOCALES), chosen, f"select({number})")


RELATIVE: Table = {"style": ["long", "short", "narrow"], "numeric": ["always", "auto"]}
UNITS = ["second", "minutes", "hour", "days", "week", "months", "quarters", "year", "decade"]


def relative_case(generator: Generator) -> str:
    amount = generator.choice(["0", "-0", "1", "-1", "2", "-2", "3.5", "-1000", "12345", "NaN"])
    method = generator.choice(["format", "formatToParts"])
    rest = f"{method}({amount}, '{generator.choice(UNITS)}')"
    return call("RelativeTimeFormat", generator.choice(LOCALES), options(generator, RELATIVE, 0.6), rest)


LISTS: Table = {"type": ["conjunction", "disjunction", "unit"], "style": ["long", "short", "narrow"]}


def list_case(generator: Generator) -> str:
    items = generator.sample(["a", "b c", "😀", "ö", "", "i", "hielo"], generator.randrange(5))
    rest = f"{generator.choice(['format', 'formatToParts'])}({json.dumps(items)})"
    return call("ListFormat", generator.choice(LOCALES), options(generator, LISTS, 0.6), rest)


CODES = {
    "region": ["US", "DE", "419", "GB", "ZZ", "QX", "x"],
    "language": ["en", "de-AT", "zh-Hans", "pt-BR", "fr", "zz", "en_US"],
    "script": ["Latn", "Cyrl", "Hans", "Zzzx"],
    "currency": ["USD", "EUR", "JPY", "XXA", "nope"],
    "calendar": ["gregory", "japanese", "islamic-civil"],
    "dateTimeField": ["year", "weekday", "timeZoneName", "century"],
}
NAMING: Table = {
    "style": ["long", "short", "narrow"],
    "fallback": ["code", "none"],
    "languageDisplay": ["standard"],
}


def name_case(generator: Generator) -> str:
    kind = generator.choice(sorted(CODES))
    chosen = {"type": kind, **options(generator, NAMING)}
    return call("DisplayNames", generator.choice(LOCALES), chosen, f"of('{generator.choice(CODES[kind])}')")


WORDS = [
    "a",
    "A",
    "á",
    "Á",
    "ä",
    "ae",
    "z",
    "Z",
    "ö",
    "o",
    "ø",
    "å",
    "ñ",
    "n",
    "ch",
    "c",
    "ll",
    "1",
    "2",
    "10",
    "résumé",
    "resume",
    "co-op",
    "coop",
    "_",
    "-",
    "ı",
    "i",
    "İ",
    "I",
    "ß",
    "ss",
    "ж",
    "я",
    "日",
    "本",
    "",
]
COLLATIONS = ["de-u-co-phonebk", "es-u-co-trad", "zh-u-co-stroke", "en-u-kn", "en-u-kf-upper"]
SORTING: Table = {
    "sensitivity": ["base", "accent", "case", "variant"],
    "numeric": [True, False],
    "caseFirst": ["upper", "lower", "false"],
    "ignorePunctuation": [True, False],
    "usage": ["sort", "search"],
}


def sort_case(generator: Generator) -> str:
    words = [generator.choice(WORDS) + generator.choice(WORDS) for _ in range(8)]
    locale, chosen = generator.choice([*LOCALES, *COLLATIONS]), options(generator, SORTING, 0.25)
    return f"{json.dumps(words)}.sort({call('Collator', locale, chosen, 'compare')})"


def resolved_case(generator: Generator) -> str:
    tags = ["en-u-nu-arab-hc-h23-ca-buddhist-kn", "xx", "de-XX", "zh-Hant-HK", "th-u-nu-thai-ca-gregory"]
    services: dict[str, dict[str, object]] = {
        "NumberFormat": {**generator.choice(STYLES), **options(generator, WRITING)},
        "DateTimeFormat": {**date_options(generator), "timeZone": "Europe/Berlin"},
        "Collator": options(generator, SORTING),
        "ListFormat": options(generator, LISTS),
        "RelativeTimeFormat": options(generator, RELATIVE),
    }
    service = generator.choice(sorted(services))
    return call(service, generator.choice([*LOCALES, *tags]), services[service], "resolvedOptions()")
