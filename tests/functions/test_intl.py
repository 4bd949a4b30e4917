"""`Intl` and what asks it: what Node.js writes, the isolate writes too (ECMA-402, spec 03 3.1).

Node.js has ICU inside as we have, but of another year: generated cases may differ in a small share, which is
data (docs/reference/javascript.md lists them); the common calls may not.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from itertools import product

import pytest

from functions.host_imports import Refusal
from functions.host_operations import perform
from functions.isolate import Returned, Thrown

from ..support.intl_cases import (
    LOCALES,
    NUMBERS,
    Generator,
    date_case,
    list_case,
    name_case,
    number_case,
    plural_case,
    relative_case,
    resolved_case,
    sort_case,
)
from ..support.javascript import Run
from ..support.tree import ROOT
from ..support.twin import in_isolate, in_node

CASES_PER_SNIPPET = 60
DIFFERENT_SHARE_MAX = 0.03
DIFFERENT_DATES_SHARE_MAX = 0.12  # patterns and their spaces change more from year to year than digits do


def attempts(cases: list[str]) -> list[str]:
    """Snippets that try many expressions each: an error counts as its name."""
    batches = [cases[at : at + CASES_PER_SNIPPET] for at in range(0, len(cases), CASES_PER_SNIPPET)]
    attempt = "(f) => { try { return f() ?? null; } catch (error) { return 'threw ' + error.name; } }"
    return [f"return [{', '.join(f'() => ({case})' for case in batch)}].map({attempt});" for batch in batches]


def differences(cases: list[str]) -> list[str]:
    snippets = attempts(cases)
    node = [value for outcome in in_node(snippets) for value in outcome["value"]]
    isolate = [value for outcome in in_isolate(snippets, "query") for value in outcome["value"]]
    assert len(node) == len(isolate) == len(cases)
    return [
        f"{case}\n  node:    {expected!r}\n  isolate: {found!r}"
        for case, expected, found in zip(cases, node, isolate, strict=True)
        if expected != found
    ]


def assert_alike(cases: list[str]) -> None:
    different = differences(cases)
    assert not different, "\n".join(different)


@pytest.mark.parametrize(
    ("make", "seed", "count", "share_max"),
    [
        (number_case, 61, 420, DIFFERENT_SHARE_MAX),
        (date_case, 67, 420, DIFFERENT_DATES_SHARE_MAX),
        (plural_case, 71, 120, DIFFERENT_SHARE_MAX),
        (relative_case, 73, 120, DIFFERENT_SHARE_MAX),
        (list_case, 79, 120, 0),
        (name_case, 83, 120, DIFFERENT_SHARE_MAX),
        (sort_case, 89, 120, 0),
        (resolved_case, 97, 120, 2 * DIFFERENT_SHARE_MAX),
    ],
)
def test_generated_calls_give_what_they_give_in_node(
    make: Callable[[Generator], str], seed: int, count: int, share_max: float
) -> None:
    generator = random.Random(seed)
    different = differences([make(generator) for _ in range(count)])
    assert len(different) <= share_max * count, "\n".join([f"seed {seed}", *different])


def test_the_parts_of_random_dates_and_numbers_make_up_their_texts() -> None:
    """Parts are computed on another way than texts; Node.js's data of another year have no say here."""
    generator = random.Random(101)
    both = "((f, value) => [f.formatToParts(value).map((part) => part.value).join(''), f.format(value)])"
    cases = []
    for _ in range(120):
        date, number = date_case(generator).rsplit(".", 1)[0], number_case(generator).rsplit(".format", 1)[0]
        cases.append(f"{both}({date}, {generator.randrange(4_000_000_000_000)})")
        cases.append(f"{both}({number}, {generator.choice(NUMBERS)})")
    pairs = [value for outcome in in_isolate(attempts(cases), "query") for value in outcome["value"]]
    for case, pair in zip(cases, pairs, strict=True):
        if pair != "threw RangeError":
            assert pair[0].replace("\u202f", " ") == pair[1].replace("\u202f", " "), f"seed 101: {case}"
    assert sum(isinstance(pair, list) for pair in pairs) > len(pairs) / 2


# --- common calls: exactly as in Node.js --------------------------------------------------------------

COMMON_LOCALES = ["en-US", "sv", "de-DE", "fr-FR", "ja-JP", "pt-BR", "pl", "ru", "he", "ar-EG"]
AMOUNTS = ["0", "-1234.5", "1e6", "0.256", "12345678901234567890n"]
MOMENT = "new Date(1700000000123)"


def test_common_ways_to_write_numbers_are_those_of_node() -> None:
    chosen = [
        "{}",
        "{ style: 'percent' }",
        "{ style: 'currency', currency: 'EUR' }",
        "{ notation: 'compact' }",
    ]
    chosen += ["{ maximumFractionDigits: 1 }", "{ style: 'unit', unit: 'kilometer', unitDisplay: 'long' }"]
    assert_alike(
        [
            f"({amount}).toLocaleString('{locale}', {options})"
            for locale, amount, options in product(COMMON_LOCALES, AMOUNTS, chosen)
        ]
    )


def test_common_ways_to_write_dates_are_those_of_node() -> None:
    zone = "timeZone: 'Europe/Berlin'"
    chosen = [f"{{ {zone} }}", f"{{ {zone}, dateStyle: 'long' }}", f"{{ {zone}, dateStyle: 'short' }}"]
    chosen += [
        f"{{ {zone}, year: 'numeric', month: 'long', day: 'numeric' }}",
        f"{{ {zone}, weekday: 'long' }}",
    ]
    chosen += [f"{{ {zone}, month: '2-digit', day: '2-digit', year: 'numeric' }}"]
    dates = [
        f"{MOMENT}.toLocaleDateString('{locale}', {options})"
        for locale, options in product(COMMON_LOCALES, chosen)
    ]
    times = [
        f"{MOMENT}.{method}('{locale}', {{ {zone} }})"
        for locale, method in product(COMMON_LOCALES, ["toLocaleString", "toLocaleTimeString"])
    ]
    assert_alike([*dates, *times])


def test_the_methods_of_other_classes_are_those_of_node() -> None:
    utc = "undefined, { timeZone: 'UTC' }"
    assert_alike(
        [
            "(1234.5).toLocaleString()",
            "(1234n).toLocaleString('de')",
            f"new Date(0).toLocaleString({utc})",
            "new Date(NaN).toLocaleDateString()",
            "new Date(0).toLocaleDateString('en', { timeStyle: 'short' })",
            "new Date(0).toLocaleTimeString('en', { dateStyle: 'short' })",
            f"[1.5, new Date(0), null, undefined, 'x', [1000]].toLocaleString({utc})",
            "new Float64Array([1000.5, 2]).toLocaleString('de')",
            "(() => { const list = [1]; list.push(list); return list.toLocaleString(); })()",
            "['b', 'a', 'ä', 'A', 'Z', 'z'].sort((a, b) => a.localeCompare(b))",
            "['b', 'a', 'ä', 'A', 'Z', 'z'].sort((a, b) => a.localeCompare(b, 'sv', { caseFirst: 'upper' }))",
            "'a'.localeCompare()",
            "'undefined'.localeCompare()",
            "'istanbul Iı'.toLocaleUpperCase('tr') + 'ISTANBUL'.toLocaleLowerCase(['tr', 'en'])",
            "'ÀÉΣ'.toLocaleLowerCase() + 'ß'.toLocaleUpperCase('de')",
            "'x'.toLocaleUpperCase('not a tag')",
            "String.prototype.localeCompare.call(null, 'a')",
            "Number.prototype.toLocaleString.call('1')",
            "[Number, BigInt, Date, String, Array].map((c) => [c.prototype.toLocaleString?.length])",
            "['localeCompare', 'toLocaleUpperCase'].map((name) => ''[name].length)",
        ]
    )


def test_the_namespace_and_its_classes_look_as_in_node() -> None:
    services = "Collator DateTimeFormat DisplayNames ListFormat NumberFormat PluralRules RelativeTimeFormat"
    names = json.dumps([*services.split(), "Segmenter"])
    looks = "[c.name, c.length, Object.keys(c), String(c.prototype), c.supportedLocalesOf.length]"
    assert_alike(
        [
            f"{names}.map((name) => Intl[name]).map((c) => {looks})",
            "Object.prototype.toString.call(Intl)",
            f"{names}.map((name) => Intl[name].supportedLocalesOf(['de-XX', 'xx', 'en-u-nu-arab']))",
            "Intl.NumberFormat('de').format(1.5) + Intl.DateTimeFormat('de', { timeZone: 'UTC' }).format(0)",
            "Intl.PluralRules('de')",
            "[1, 2].map(new Intl.NumberFormat('de', { minimumFractionDigits: 1 }).format)",
            "(() => { const f = new Intl.NumberFormat('de'); return f.format === f.format; })()",
            "new (class extends Intl.NumberFormat {})('de').format(1.5)",
            "Intl.NumberFormat.prototype.format",
            "Intl.getCanonicalLocales(['EN-us', 'en-US', 'iw', 'zh-cmn', 'de-u-nu-latn-co-phonebk'])",
            "Intl.getCanonicalLocales('en-x-a-u')",
            *(f"Intl.getCanonicalLocales({tag})" for tag in ("'i'", "'en_US'", "'de-a'", "null", "1", "[1]")),
            *(f"Intl.supportedValuesOf('{key}').length > 5" for key in ("unit", "calendar", "timeZone")),
            "Intl.supportedValuesOf('planet')",
            "new Intl.Locale('zh-hant', { region: 'TW', numeric: true, calendar: 'roc' }).toString()",
            "(({ language, region, script, hourCycle }) => [language, region, script, hourCycle])"
            "(new Intl.Locale('en-latn-us-u-hc-h12'))",
            "['zh-TW', 'en', 'sr-Cyrl-RS'].map((t) => [new Intl.Locale(t).maximize().baseName, "
            "new Intl.Locale(t).minimize().baseName])",
            "[...new Intl.Segmenter('en', { granularity: 'word' }).segment('a b😀. c')]",
            "[...new Intl.Segmenter('en').segment('e\u0301👨‍👩‍👧x')].map((s) => s.segment)",
            "new Intl.Segmenter('en', { granularity: 'sentence' }).segment('One. Two.').containing(5)",
        ]
    )


def test_sorting_is_the_same_for_texts_too_long_for_a_sort_key() -> None:
    """Short texts are compared by keys that are kept, long ones by the host: an order must not show which."""
    words = ["a", "B", "ä", "z", "x" * 300 + "a", "x" * 300 + "B", "x" * 256, "X" * 257, "x" * 10]
    assert_alike([f"{json.dumps(words)}.sort(new Intl.Collator('{locale}').compare)" for locale in LOCALES])


# --- refusals ---------------------------------------------------------------------------------------------


def test_what_node_refuses_is_refused_with_the_same_error() -> None:
    number, date = "new Intl.NumberFormat('en', {})", "new Intl.DateTimeFormat('en', {})"
    chosen = ["{ style: 'x' }", "{ style: 'currency' }", "{ currency: 'EU' }", "{ style: 'unit', unit: 'x' }"]
    chosen += [
        "{ maximumFractionDigits: 101 }",
        "{ minimumFractionDigits: 5, maximumFractionDigits: 2 }",
        "null",
    ]
    chosen += ["{ roundingIncrement: 3 }", "{ roundingIncrement: 5, maximumSignificantDigits: 2 }"]
    chosen += ["{ numberingSystem: '?' }", "{ useGrouping: 'x' }", "{ minimumIntegerDigits: 22 }"]
    dates = [
        "{ timeZone: 'Mars/Base' }",
        "{ month: 'x' }",
        "{ dateStyle: 'x' }",
        "{ hourCycle: 'h13' }",
        "null",
    ]
    dates += ["{ dateStyle: 'short', year: 'numeric' }", "{ fractionalSecondDigits: 4 }", "{ calendar: '!' }"]
    assert_alike(
        [
            *(number.replace("{}", bad) for bad in chosen),
            *(date.replace("{}", bad) for bad in dates),
            "new Intl.NumberFormat('en').format(Symbol())",
            "new Intl.DateTimeFormat('en').format(NaN)",
            "new Intl.DateTimeFormat('en').format(8.64e15 + 1)",
            "new Intl.DateTimeFormat('en').formatRange(0)",
            "new Intl.NumberFormat('en').formatRange(1, NaN)",
            "new Intl.Collator('en', { sensitivity: 'x' })",
            "new Intl.ListFormat('en', 5)",
            "new Intl.ListFormat('en').format([1])",
            "new Intl.RelativeTimeFormat('en').format(Infinity, 'day')",
            "new Intl.DisplayNames('en')",
            "new Intl.DisplayNames('en', { type: 'region' }).of('Europe')",
            "new Intl.PluralRules('en', { type: 'x' })",
            "new Intl.Segmenter('en', { granularity: 'line' })",
            "new Intl.Locale()",
            "new Intl.Locale('en', { region: 'Europe' })",
        ]
    )


def test_the_host_refuses_what_it_does_not_know() -> None:
    settings = {"data": "en", "style": "unit", "unit": "parsec-squared", "unitDisplay": "short"}
    digits = {"minimumIntegerDigits": 1, "maximumFractionDigits": 0, "minimumFractionDigits": 0}
    modes = {"roundingMode": "ceil", "roundingIncrement": 1, "trailingZeroDisplay": "auto"}
    request = json.dumps(["intl", "numberText", {**settings, **digits, **modes}]).encode()
    answer = perform(request, b'"1"', entropy_allowed=False)
    assert isinstance(answer, Refusal) and json.loads(answer)["data"] == {"name": "RangeError"}


FORGED = [
    "['intl', 'nope', {}]",
    "['intl', 'numberText', { data: 'en' }]",
    "['intl', 'numberText', []]",
    "['intl', 'dateText', { data: 'en', calendar: 'x', numberingSystem: 1, timeZone: '', pattern: 7 }]",
    "['intl']",
    "{ do: 'nope' }",
    "7",
]


@pytest.mark.parametrize("forged", FORGED)
def test_a_request_that_user_code_forged_is_refused_and_is_no_defect_of_the_host(forged: str) -> None:
    run = Run(
        f"""export const f = query(() => {{
          const stringify = JSON.stringify;
          JSON.stringify = () => stringify({forged});
          return (1.5).toLocaleString(); }});"""
    )
    assert isinstance(run.call("f", kind="query"), Thrown)


def test_a_forged_request_for_endless_digits_is_refused() -> None:
    settings = {"data": "en", "minimumIntegerDigits": 10**12, "roundingMode": "ceil", "roundingIncrement": 1}
    request = json.dumps(["intl", "numberText", {**settings, "trailingZeroDisplay": "auto"}]).encode()
    assert isinstance(perform(request, b'"1"', entropy_allowed=False), Refusal)


# --- determinism and cost ------------------------------------------------------------------------------

IN_A_PROCESS = """
import json, sys
from functions.host_operations import perform
for request, data in json.load(sys.stdin):
    print(perform(json.dumps(request).encode(), json.dumps(data).encode(), entropy_allowed=False))
"""


def test_two_processes_with_other_languages_and_zones_compute_the_same() -> None:
    """LANG and TZ are what ICU falls back to; nothing we ask may come to that."""
    asked = {"data": "de", "ca": None, "nu": None, "timeZone": "Europe/Berlin", "timeStyle": "full"}
    shown = {"data": "de", "calendar": "gregory", "numberingSystem": "latn", "timeZone": "Asia/Tokyo"}
    requests = [
        (["intl", "resolve", {}], {"locales": ["xx", "de-XX"], "keys": {"nu": None}}),
        (["intl", "resolve", {}], {"locales": [], "keys": {}}),
        (["intl", "dateOpen", {}], asked),
        (["intl", "dateText", {**shown, "pattern": "EEEE HH:mm zzzz"}], 0),
        (["intl", "dateRange", {**shown, "pattern": "d. MMM HH:mm"}], [0, 10_000_000]),
        (["intl", "compare", {**dict.fromkeys(["co", "kn", "kf", "sensitivity", "ignorePunctuation"]),
                              "data": "sv", "usage": "sort"}], ["z", "ä"]),
        (["intl", "supportedValues", {}], "timeZone"),
    ]  # fmt: skip
    answers = [
        subprocess.run(
            [sys.executable, "-c", IN_A_PROCESS],
            input=json.dumps(requests).encode(),
            env={**os.environ, "LANG": language, "LC_ALL": language, "TZ": zone},
            cwd=ROOT,
            check=True,
            capture_output=True,
        ).stdout
        for language, zone in (("C", "UTC"), ("ja_JP.UTF-8", "America/New_York"))
    ]
    assert answers[0] == answers[1]
    assert b"Mitteleurop" not in answers[0] and b"Japanische" in answers[0]


def test_the_time_zone_is_utc_and_the_language_english_unless_a_call_says_otherwise() -> None:
    run = Run(
        """export const f = query(() => {
          const { locale, timeZone } = new Intl.DateTimeFormat().resolvedOptions();
          return [locale, timeZone, new Date(0).toLocaleString(), new Date(0).toString()]; });"""
    )
    settled = run.call("f", kind="query")
    assert isinstance(settled, Returned)
    locale, zone, text, native = json.loads(settled.json)
    assert (locale, zone, text) == ("en-US", "UTC", "1/1/1970, 12:00:00 AM")
    assert "00:00:00 GMT+0000" in native


def test_user_code_may_replace_what_intl_is() -> None:
    settled = Run("globalThis.Intl = { mine: 1 }; export const f = query(() => Intl.mine);").call("f")
    assert settled == Returned(b"1")
