"""Which characters words are made of: letters and digits of every script (Unicode Alphabetic and N)."""

from __future__ import annotations

import re
from functools import lru_cache

import icu


@lru_cache(maxsize=1)
def word_pattern() -> re.Pattern[str]:
    """Matches a run of letters and digits. `str.isalnum` is narrower: it splits words at vowel signs."""
    letters = icu.UnicodeSet("[[:Alphabetic:][:N:]]")
    ranges = (
        f"{re.escape(letters.getRangeStart(at))}-{re.escape(letters.getRangeEnd(at))}"
        for at in range(letters.getRangeCount())
    )
    return re.compile(f"[{''.join(ranges)}]+")
