"""The body of a request on its way to JavaScript: what has come, and was not asked for yet (spec 03 5.4).

Who brings it waits while more is held than may be, who reads it waits until something is there. Neither waits
for a body that has failed or that nobody wants any more; nothing of such a body is kept.
"""

from __future__ import annotations

import asyncio
from collections import deque

from log.errors import BackendError
from log.limits import HTTP_ACTION_PIECE_BYTES, HTTP_ACTION_REQUEST_AHEAD_BYTES_MAX


class IncomingBody:
    """`put` and `fail` are for who brings it, `read` and `drop` for who reads it."""

    def __init__(self, first: bytes, has_more: bool) -> None:
        self._held = deque([memoryview(first)] if first else [])
        self._held_bytes = len(first)
        self._has_more = has_more  # until the last piece has come, or none will
        self._failure: BackendError | None = None
        self._is_wanted = True  # until `drop`
        self._changed = asyncio.Event()

    async def put(self, piece: bytes, has_more: bool) -> bool:
        """Take a piece; return when there is room for the next: whether one is wanted."""
        if self._is_open and piece:
            self._held.append(memoryview(piece))
            self._held_bytes += len(piece)
        self._has_more = self._has_more and has_more
        self._changed.set()
        while self._is_open and self._held_bytes >= HTTP_ACTION_REQUEST_AHEAD_BYTES_MAX:
            await self._change()
        return self._is_open

    def fail(self, refusal: BackendError) -> None:
        """The rest does not come: whoever reads is refused. What has come to its end stays readable."""
        if self._has_more:
            self._failure, self._has_more = refusal, False
            self._forget()

    async def read(self) -> bytes:
        """The next bytes, b"" at the end."""
        while not self._held and self._has_more:
            await self._change()
        if self._failure is not None:
            raise self._failure
        if not self._held:
            return b""
        piece = self._held.popleft()
        if len(piece) > HTTP_ACTION_PIECE_BYTES:
            self._held.appendleft(piece[HTTP_ACTION_PIECE_BYTES:])
            piece = piece[:HTTP_ACTION_PIECE_BYTES]
        self._held_bytes -= len(piece)
        self._changed.set()
        return bytes(piece)

    def drop(self) -> None:
        """Nobody reads any more."""
        self._is_wanted = self._has_more = False
        self._forget()

    @property
    def _is_open(self) -> bool:
        return self._is_wanted and self._has_more

    def _forget(self) -> None:
        self._held.clear()
        self._held_bytes = 0
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
