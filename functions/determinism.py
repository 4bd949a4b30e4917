"""Everything random or temporal about a call follows from one recorded seed and one clock reading.

A mutation's record holds both, so re-executing it draws the same ids and the same random numbers
(spec 04 10.8). JavaScript draws from the seed itself; the host from keys derived from it by purpose.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

SEED_BYTES = 32
_BLOCK_BYTES = 64


class SeededBytes:
    """An endless stream of bytes fixed by `seed` and `purpose`."""

    __slots__ = ("_block", "_count", "_key", "_position")

    def __init__(self, seed: bytes, purpose: bytes) -> None:
        self._key = seed + purpose
        self._count = 0
        self._block, self._position = b"", 0

    def __call__(self, length: int) -> bytes:
        taken = b""
        while len(taken) < length:
            if self._position == len(self._block):
                counter = self._count.to_bytes(8, "big")
                self._block, self._position = hashlib.blake2b(self._key + counter).digest(), 0
                self._count += 1
            part = self._block[self._position : self._position + length - len(taken)]
            taken += part
            self._position += len(part)
        return taken


@dataclass(frozen=True, slots=True)
class CallClock:
    """The time of one run. `now_ms` is what JavaScript reads (whole milliseconds); `creation_ms` is the
    base of creation times, never before the snapshot (spec 04 1.1)."""

    now_ms: float
    creation_ms: float

    @classmethod
    def at(cls, now_ns: int, begin_ts: int) -> CallClock:
        base_ns = max(now_ns, begin_ts + 1)
        creation_ms = base_ns // 1_000_000 + (base_ns % 1_000_000) * 1e-6
        return cls(float(now_ns // 1_000_000), creation_ms)
