"""A run of an HTTP action that a test answers by hand, and what the gateway told it."""

from __future__ import annotations

import asyncio

from gateway.backend import FunctionOutcome, HttpActionAnswer, Unanswered

Answer = HttpActionAnswer | tuple[Unanswered, FunctionOutcome | None]


class FakeHttpRun:
    """gateway.backend.HttpActionRun. `room` is set while pieces are taken; `told` hears of everything."""

    def __init__(self, answer: Answer | None = None, wants_pieces: int = 1_000) -> None:
        self.answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if answer is not None:
            self.answered.set_result(answer)
        self.room = asyncio.Event()
        self.room.set()
        self.pieces: list[bytes] = []
        self.told: asyncio.Queue[str] = asyncio.Queue()
        self._wants_pieces = wants_pieces

    async def answer(self) -> Answer:
        return await asyncio.shield(self.answered)

    async def write(self, piece: bytes, has_more: bool) -> bool:
        self.pieces.append(piece)
        self.told.put_nowait("piece" if has_more else "last piece")
        await self.room.wait()
        return len(self.pieces) < self._wants_pieces

    def refuse_body(self) -> None:
        self.told.put_nowait("too large")

    def leave(self) -> None:
        self.told.put_nowait("left")
        self.room.set()
