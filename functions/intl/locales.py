"""Language tags: which are valid, how they are written, which data answers for them (ECMA-402 6, 9).

Promise: whatever was asked for, `resolve` names a locale that ICU has data for: ICU never has to choose.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import icu

from log.limits import INTL_OBJECTS_KEPT_MAX, INTL_TAG_LENGTH_MAX

LOCALE_DEFAULT = "en-US"
HOUR_CYCLES = ("h11", "h12", "h23", "h24")
CALENDARS = (
    "buddhist",
    "chinese",
    "coptic",
    "dangi",
    "ethioaa",
    "ethiopic",
    "gregory",
    "hebrew",
    "indian",
    "islamic",
    "islamic-civil",
    "islamic-rgsa",
    "islamic-tbla",
    "islamic-umalqura",
    "iso8601",
    "japanese",
    "persian",
    "roc",
)
ICU_CALENDARS = {"gregory": "gregorian", "ethioaa": "ethiopic-amete-alem"}
"""Those that ICU names otherwise than language tags do."""
CALENDAR_ALIASES = {icu: tag for tag, icu in ICU_CALENDARS.items()} | {"islamicc": "islamic-civil"}

VARIANT = r"(?:[a-z\d]{5,8}|\d[a-z\d]{3})"
TAG = re.compile(
    rf"(?:[a-z]{{2,3}}|[a-z]{{5,8}})(?:-[a-z]{{4}})?(?:-(?:[a-z]{{2}}|\d{{3}}))?(?P<variants>(?:-{VARIANT})*)"
    r"(?P<extensions>(?:-[a-wyz\d](?:-[a-z\d]{2,8})+)*)(?:-x(?:-[a-z\d]{1,8})+)?",
    re.ASCII,
)
ZONE = re.compile(r"(?!SystemV/).*/.*|[A-Z]{3}(\d[A-Z]{3})?")
"""Names of the IANA data base among ICU's own: by area, or in the old form (UTC, EST, EST5EDT)."""
SINGLETON = re.compile(r"-([a-z\d])(?=-)")

Settings = dict[str, Any]


class Unknown(Exception):
    """Asked for something that does not exist; becomes a RangeError with this text."""


def repeats(items: list[str]) -> bool:
    return len(items) != len(set(items))


@lru_cache(INTL_OBJECTS_KEPT_MAX)
def canonical(tag: str) -> str:
    """The canonical form of a Unicode BCP 47 locale identifier; Unknown if it is none."""
    match = TAG.fullmatch(tag.lower()) if len(tag) <= INTL_TAG_LENGTH_MAX else None
    if (
        match is None
        or repeats(match["variants"].split("-")[1:])
        or repeats(SINGLETON.findall(match["extensions"]))
    ):
        raise Unknown(f"Incorrect locale information provided: {tag}")
    found: str = icu.Locale.createCanonical(icu.Locale.forLanguageTag(tag).getName()).toLanguageTag()
    return found


@cache
def available(of_collation: bool = False) -> frozenset[str]:
    """Tags ICU has data for, also with the script left out where a region tells it (zh-TW)."""
    names = (icu.Collator if of_collation else icu.Locale).getAvailableLocales()
    locales = [icu.Locale(name) for name in names]
    found = {locale.toLanguageTag() for locale in locales}
    found |= {f"{locale.getLanguage()}-{locale.getCountry()}" for locale in locales if locale.getCountry()}
    return frozenset(found)


def without_extensions(tag: str) -> str:
    return re.split(r"-[a-z\d]-", tag, maxsplit=1)[0]


def best_available(tag: str, of_collation: bool = False) -> str | None:
    """The longest beginning of the tag that there is data for (ECMA-402 9.2.2)."""
    parts = without_extensions(tag).split("-")
    while parts:
        if (candidate := "-".join(parts)) in available(of_collation):
            return candidate
        parts.pop()
    return None


def keywords(tag: str) -> dict[str, str]:
    """The Unicode extension of a canonical tag; a key without a value means "true"."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for part in tag.partition("-u-")[2].split("-"):
        if len(part) == 1:  # another extension begins
            break
        if len(part) == 2:
            current = found.setdefault(part, [])
        else:
            current.append(part)
    return {key: "-".join(values) or "true" for key, values in found.items()}


# --- the keys of the Unicode extension -------------------------------------------------------------------


@cache
def numbering_systems() -> frozenset[str]:
    """Those that have ten digits."""
    names = icu.NumberingSystem.getAvailableNames()
    return frozenset(n for n in names if not icu.NumberingSystem.createInstanceByName(n).isAlgorithmic())


@cache
def collations(locale: str) -> frozenset[str]:
    values = icu.Collator.getKeywordValuesForLocale("collation", icu.Locale.forLanguageTag(locale), False)
    names = {"dictionary": "dict", "phonebook": "phonebk", "traditional": "trad", "gb2312han": "gb2312"}
    return frozenset(names.get(value, value) for value in values) - {"standard", "search"}


def is_known(key: str, value: str, locale: str) -> bool:
    """Whether the locale can honour this value of the key."""
    if key == "nu":
        return value in numbering_systems()
    if key == "co":
        return value in collations(locale)
    fixed = {"ca": CALENDARS, "hc": HOUR_CYCLES, "kn": ("true", "false"), "kf": ("upper", "lower", "false")}
    return value in fixed[key]


def icu_locale(tag: str, **keys: str | None) -> icu.Locale:
    """The locale for ICU, with the keys that are given."""
    told = "".join(f"-{key}-{value}" for key, value in sorted(keys.items()) if value)
    return icu.Locale.forLanguageTag(f"{tag}-u{told}" if told else tag)


def resolve(asked: dict[str, Any]) -> dict[str, Any]:
    """Which locale answers, and the values of its keys: ResolveLocale of ECMA-402 9.2.7.

    asked: "locales", canonical tags in order of wish; "keys": those the service knows, each with the value
    an option asks for, or null. A key nobody asks for stays null.
    """
    collating = "co" in asked["keys"]
    matched = ((tag, found) for tag in asked["locales"] if (found := best_available(tag, collating)))
    tag, locale = next(matched, (LOCALE_DEFAULT, LOCALE_DEFAULT))
    wishes, values, kept = keywords(tag), {}, ""
    for key, option in sorted(asked["keys"].items()):
        wish, value = wishes.get(key), None
        if wish is not None and is_known(key, CALENDAR_ALIASES.get(wish, wish), locale):
            value = CALENDAR_ALIASES.get(wish, wish)
        option = CALENDAR_ALIASES.get(option, option)
        if option is not None and option != value and is_known(key, option, locale):
            value, wish = option, None
        if value is not None and wish is not None:
            kept += f"-{key}" if value == "true" else f"-{key}-{value}"
        values[key] = value
    return {"locale": f"{locale}-u{kept}" if kept else locale, "data": locale, **values}


def supported(tags: list[str]) -> list[str]:
    return [tag for tag in tags if best_available(tag)]


# --- Intl.Locale and letters -----------------------------------------------------------------------------


def likely(settings: Settings) -> Callable[[str], str]:
    """Add or remove the subtags that are likely; the extensions stay."""

    def change(tag: str) -> str:
        locale = icu.Locale.forLanguageTag(tag)
        locale.addLikelySubtags() if settings["add"] else locale.minimizeSubtags()
        changed: str = locale.toLanguageTag()
        return changed

    return change


def change_case(settings: Settings) -> Callable[[str], str]:
    """toLocaleUpperCase and toLocaleLowerCase for the languages with rules of their own."""
    locale = icu.Locale.forLanguageTag(settings["locale"])

    def change(text: str) -> str:
        letters = icu.UnicodeString(text)
        return str(letters.toUpper(locale) if settings["upper"] else letters.toLower(locale))

    return change


@cache
def time_zones() -> dict[str, str]:
    """Each IANA name, in small letters -> as it is written."""
    names = icu.TimeZone.createEnumeration()
    return {name.lower(): name for name in names if ZONE.fullmatch(name)}


def supported_values(key: str) -> list[str]:
    """Intl.supportedValuesOf."""
    if key == "calendar":
        return sorted(CALENDARS)
    if key == "numberingSystem":
        return sorted(numbering_systems())
    if key == "timeZone":
        areas = (name for name in time_zones().values() if "/" in name)
        return sorted({"UTC", *map(icu.TimeZone.getIanaID, areas)})
    if key == "collation":
        return sorted({value for locale in available() for value in collations(locale)})
    raise Unknown(f"Invalid key : {key}")


def numbering_system(tag: str) -> str:
    """The digits the locale's own people use."""
    return str(icu.NumberingSystem.createInstance(icu.Locale.forLanguageTag(tag)).getName())


VERBS: dict[str, Callable[[Settings], Callable[[Any], Any]]] = {
    "canonical": lambda _: canonical,
    "resolve": lambda _: resolve,
    "supported": lambda _: supported,
    "supportedValues": lambda _: supported_values,
    "numberingSystem": lambda _: numbering_system,
    "likely": likely,
    "case": change_case,
}
