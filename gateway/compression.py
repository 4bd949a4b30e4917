"""Content-Encoding of request bodies, undone within a bound (spec 02 1).

A push arrives as brotli. A few kilobytes of any of these formats can stand for gigabytes, so the output
is bounded while it grows, not measured afterwards. Pure.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import brotli

from log import errors

_STEP_BYTES = 1 << 20
_DEFLATE_RAW, _DEFLATE_ZLIB, _GZIP = -15, 15, 31  # zlib's wbits


def decompress(body: bytes, encoding: str, bytes_max: int) -> bytes:
    """The body as it was before `encoding`; BadContentEncoding or body_too_large when it cannot be."""
    coding = encoding.strip().lower()
    match coding:
        case "" | "identity":
            plain = body
        case "br":
            plain = _collect(_brotli_steps(body), coding, bytes_max)
        case "gzip" | "x-gzip":
            plain = _collect(_zlib_steps(body, _GZIP), coding, bytes_max)
        case "deflate":
            # Both the zlib format and the bare one are met in the wild under this name.
            has_header = len(body) > 1 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
            plain = _collect(
                _zlib_steps(body, _DEFLATE_ZLIB if has_header else _DEFLATE_RAW), coding, bytes_max
            )
        case _:
            raise errors.bad_content_encoding(encoding)
    if len(plain) > bytes_max:
        raise errors.body_too_large(bytes_max)
    return plain


def _collect(step: Callable[[], bytes | None], coding: str, bytes_max: int) -> bytes:
    """Call `step` for one bounded piece after the other until it answers None."""
    pieces, size = [], 0
    try:
        while (piece := step()) is not None:
            pieces.append(piece)
            size += len(piece)
            if size > bytes_max:
                raise errors.body_too_large(bytes_max)
    except (zlib.error, brotli.error, EOFError):
        raise errors.bad_content_encoding(coding) from None
    return b"".join(pieces)


def _zlib_steps(body: bytes, window_bits: int) -> Callable[[], bytes | None]:
    decoder = zlib.decompressobj(window_bits)
    rest = body

    def step() -> bytes | None:
        nonlocal rest
        if decoder.eof:
            return None
        piece = decoder.decompress(rest, _STEP_BYTES)
        rest = decoder.unconsumed_tail
        if not piece and not rest and not decoder.eof:
            raise EOFError
        return piece

    return step


def _brotli_steps(body: bytes) -> Callable[[], bytes | None]:
    decoder = brotli.Decompressor()
    rest = body

    def step() -> bytes | None:
        nonlocal rest
        if decoder.is_finished():
            return None
        piece: bytes = decoder.process(rest, output_buffer_limit=_STEP_BYTES)
        rest = b""
        if not piece and decoder.can_accept_more_data() and not decoder.is_finished():
            raise EOFError
        return piece

    return step
