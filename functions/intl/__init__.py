"""The computations behind `Intl`: asked in JSON, answered in JSON (spec 03 3.1). ICU lives in this folder.

The prelude (engine/prelude/intl/) has the classes, reads and checks their options, and asks here for what
needs locale data. A request names a verb and settings; what ICU builds from the two is kept, since one object
formats many values.

Promises:
  - an answer follows from request and data alone: the process's own locale, time zone and time have no part
    in it, so that a replay and every other machine with the same ICU compute the same;
  - nothing but `Refusal` tells of a failure, as a RangeError.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import icu

from functions.host_imports import Refusal
from functions.intl import dates, locales, numbers, texts
from functions.intl.locales import Settings, Unknown
from log.limits import INTL_OBJECTS_KEPT_MAX

Computation = Callable[[Any], Any]

VERBS: dict[str, Callable[[Settings], Computation]] = {
    **locales.VERBS,
    **numbers.VERBS,
    **dates.VERBS,
    **texts.VERBS,
}

# ICU falls back to the process's locale and zone (LANG, TZ) where it is not told one. We tell it everywhere;
# this is the second fence.
icu.Locale.setDefault(icu.Locale("en_US"))
icu.TimeZone.setDefault(icu.TimeZone.createTimeZone("UTC"))


def perform(request: bytes, data: bytes) -> bytes | Refusal:
    """Do what the prelude asks; `request` is JSON ["intl", verb, settings], `data` the verb's argument."""
    try:
        return json.dumps(_prepared(request)(json.loads(data))).encode()
    except Unknown as unknown:
        return _refusal(str(unknown))
    except (icu.ICUError, icu.InvalidArgsError):
        return _refusal("Internationalization cannot do this with these options.")


@lru_cache(INTL_OBJECTS_KEPT_MAX)
def _prepared(request: bytes) -> Computation:
    _, verb, settings = json.loads(request)
    return VERBS[verb](settings)


def _refusal(message: str) -> Refusal:
    return Refusal(json.dumps({"message": message, "data": {"name": "RangeError"}}).encode())
