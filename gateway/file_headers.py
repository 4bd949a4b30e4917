"""The headers of uploads and downloads, read and checked: type, digest, range (spec 01 2.8). Pure."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import ClassVar

from log.file_errors import bad_header

_SHA256_BYTES = 32
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:\s*;\s*(?:{_TOKEN}=(?:{_TOKEN}|{_QUOTED}))?)*\s*")
_UNIT = "bytes="
_RANGE = re.compile(r"\s*([0-9]*)\s*-\s*([0-9]*)\s*")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes [start, end) of a file."""

    start: int
    end: int
    UNSATISFIABLE: ClassVar[ByteRange]

    @property
    def length(self) -> int:
        return self.end - self.start


ByteRange.UNSATISFIABLE = ByteRange(-1, -1)


def check_content_type(header: str | None) -> str | None:
    """Verbatim, if it is a media type: the file is served with it."""
    if header is not None and not _MEDIA_TYPE.fullmatch(header):
        raise bad_header("Content-Type", "it is no media type, as text/plain would be")
    return header


def parse_digest(header: str | None) -> bytes | None:
    """The SHA-256 that the sender computed (RFC 3230); None: it sent none."""
    if header is None:
        return None
    for entry in header.split(","):
        algorithm, _, value = entry.strip().partition("=")
        if algorithm.lower() == "sha-256":
            try:
                digest = base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                digest = b""
            if len(digest) == _SHA256_BYTES:
                return digest
    raise bad_header("Digest", "it must be sha-256= and 32 bytes in base64")


def sha256_digest(digest: bytes) -> bytes:
    return b"sha-256=" + base64.b64encode(digest)


def parse_range(header: str | None, size_bytes: int) -> ByteRange | None:
    """Which part is asked for; None: the whole. UNSATISFIABLE: several parts, none, or one behind the end.

    Of an empty file there are no parts: it is sent whole. A unit other than bytes is not ours to know."""
    if header is None or not header.startswith(_UNIT) or size_bytes == 0:
        return None
    matched = _RANGE.fullmatch(header.removeprefix(_UNIT))
    if matched is None:
        return ByteRange.UNSATISFIABLE
    first, last = matched.groups()
    if not first:
        length = int(last or 0)
        return ByteRange(max(0, size_bytes - length), size_bytes) if length else ByteRange.UNSATISFIABLE
    start = int(first)
    end = min(int(last) + 1, size_bytes) if last else size_bytes
    return ByteRange(start, end) if start < end else ByteRange.UNSATISFIABLE
