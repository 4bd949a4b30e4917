"""The words that a text is searched by (spec 04 5.1): no stemming, no stop words, no folding of accents."""

from __future__ import annotations

import re
import sys

from functions.intl.words import word_pattern
from log.limits import SEARCH_TOKEN_BYTES_MAX

_ASCII_WORD = re.compile(r"[0-9a-z]+")


def tokens_of(text: str) -> list[str]:
    """Runs of letters and digits in order, in lower case; longer ones than a token may be are left out.

    The strings are interned: an index holds each word many times.
    """
    if text.isascii():
        words = _ASCII_WORD.findall(text.lower())
        return [sys.intern(word) for word in words if len(word) <= SEARCH_TOKEN_BYTES_MAX]
    return [
        sys.intern("".join(map(str.lower, word)))  # by character: a final sigma is one like the others
        for word in word_pattern().findall(text)
        if len(word.encode()) <= SEARCH_TOKEN_BYTES_MAX
    ]
