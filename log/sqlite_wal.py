"""Does a SQLite write-ahead log hold valid frames that SQLite would not replay?

SQLite stops at the first frame whose checksum or salt is wrong and says nothing; frames behind it that
carry the current salt were written after it, so something acknowledged may be missing (measured: a cut or
flipped WAL opens "ok" with fewer rows). Format: https://www.sqlite.org/fileformat2.html#walformat.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_HEADER = struct.Struct(">IIIIIIII")
_FRAME_HEADER = struct.Struct(">IIIIII")
_MAGIC_LITTLE_ENDIAN = 0x377F0682
_MAGIC_BIG_ENDIAN = 0x377F0683


@dataclass(frozen=True, slots=True)
class WalReport:
    """`valid_frames` are replayed by SQLite; `stray_frames` belong to transactions behind the first
    broken one, which was therefore not the one in flight when the writer died."""

    valid_frames: int
    stray_frames: int


def inspect_wal(path: Path) -> WalReport:
    """Read the whole file; an absent or empty one is fine. A damaged header hides every frame."""
    data = path.read_bytes() if path.exists() else b""
    if not data:
        return WalReport(0, 0)
    header = _HEADER.unpack_from(data) if len(data) >= _HEADER.size else None
    if header is None or header[0] not in (_MAGIC_LITTLE_ENDIAN, _MAGIC_BIG_ENDIAN):
        return WalReport(0, 1)
    magic, _format, page_bytes, _checkpoint, salt_1, salt_2, check_1, check_2 = header
    words = struct.Struct("<" if magic == _MAGIC_LITTLE_ENDIAN else ">")
    running = _checksum(words.format, data[:24], (0, 0))
    if running != (check_1, check_2):
        return WalReport(0, 1)
    return _walk_frames(data, words.format, page_bytes, (salt_1, salt_2), running)


def _walk_frames(
    data: bytes, order: str, page_bytes: int, salts: tuple[int, int], running: tuple[int, int]
) -> WalReport:
    frame_bytes = _FRAME_HEADER.size + page_bytes
    valid, stray, is_broken, is_behind = 0, 0, False, False
    for offset in range(_HEADER.size, len(data), frame_bytes):
        frame = data[offset : offset + frame_bytes]
        if len(frame) < _FRAME_HEADER.size:
            break
        _page, pages_after_commit, salt_1, salt_2, check_1, check_2 = _FRAME_HEADER.unpack_from(frame)
        if (salt_1, salt_2) != salts:
            is_broken = True  # what a checkpoint left of an earlier generation: normal, and the end
            continue
        if not is_broken and len(frame) == frame_bytes:
            head_sum = _checksum(order, frame[:8], running)
            whole_sum = _checksum(order, frame[_FRAME_HEADER.size :], head_sum)
            if whole_sum == (check_1, check_2):
                running, valid = whole_sum, valid + 1
                continue
        # The transaction in flight may be broken anywhere; after its commit frame nothing may follow.
        stray += is_behind
        is_broken = True
        is_behind = is_behind or pages_after_commit != 0
    return WalReport(valid, stray)


def _checksum(order: str, data: bytes, start: tuple[int, int]) -> tuple[int, int]:
    first, second = start
    words = struct.unpack(f"{order[0]}{len(data) // 4}I", data)
    for position in range(0, len(words), 2):
        first = (first + words[position] + second) & 0xFFFFFFFF
        second = (second + words[position + 1] + first) & 0xFFFFFFFF
    return first, second
