"""The body of a request while it comes, and the news that its client has gone.

Whoever runs the request gets the pieces one by one, the next when there is room for it; meanwhile one more is
read ahead, so that the client's going is noticed. What nobody wants is read and dropped: the connection is
needed for what follows. A client that goes while more than that is unread goes unnoticed until the function
reads on: the bytes in front of the news hide it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from gateway.backend import HttpActionRun
from gateway.http import Receive, Send
from log.limits import HTTP_LINGER_SECONDS_MAX


class RequestBody:
    """One per request. First `first`, then `bring`; at last `close`.

    `too_large` is done when more came than may.
    """

    def __init__(self, receive: Receive, bytes_max: int) -> None:
        self.too_large: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._receive, self._bytes_max = receive, bytes_max
        self._coming = self._next_message()
        self._bytes_read = 0
        self._has_more, self._is_gone = True, False
        self._ended = asyncio.Event()  # by itself, or with its client
        self._bringing: asyncio.Task[None] | None = None

    async def first(self) -> tuple[bytes, bool]:
        """What is there already, and whether more is to come. Waits for nobody."""
        await asyncio.sleep(0)  # one turn of the loop, in which `receive` hands over what has come
        if not self._coming.done() or _is_end(self._coming):
            return b"", True
        return self._take()

    def bring(self, run: HttpActionRun | None) -> None:
        """From now on the rest goes to the run, or nowhere."""
        self._bringing = asyncio.create_task(self._bring(run))

    def close(self) -> None:
        """The request is answered: nothing more is read here."""
        self._coming.cancel()
        if self._bringing is not None:
            self._bringing.cancel()

    def lingering(self, send: Send) -> Send:
        """For a connection that closes with its response: the rest of the body is read before, for a while.
        Else the bytes that nobody has read would make the system reset it, and take the response away."""

        async def send_and_linger(message: dict[str, Any]) -> None:
            is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if is_last and not self._ended.is_set():
                await send({**message, "more_body": True})
                await self._linger()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        return send_and_linger

    # --- reading ------------------------------------------------------------------------------------

    async def _bring(self, run: HttpActionRun | None) -> None:
        wanted_by = self._unless_too_large(run if self._has_more else None)
        while True:
            await first_of(self._coming)
            if _is_end(self._coming):
                self._note_gone(run)
                return
            piece, has_more = self._take()
            wanted_by = self._unless_too_large(wanted_by)
            if wanted_by is not None and not await self._hand_over(wanted_by, piece, has_more):
                wanted_by = None

    def _unless_too_large(self, run: HttpActionRun | None) -> HttpActionRun | None:
        """Who still wants more; told when it may not have it."""
        if run is None or not self.too_large.done():
            return run
        run.refuse_body()
        return None

    async def _hand_over(self, run: HttpActionRun, piece: bytes, has_more: bool) -> bool:
        """Whether the run wants more. A client that goes meanwhile makes it let go of the piece."""
        writing = asyncio.ensure_future(run.write(piece, has_more))
        try:
            await first_of(writing, self._coming)
            if not writing.done() and _is_end(self._coming):
                self._note_gone(run)
            return await writing and has_more
        finally:
            writing.cancel()

    def _take(self) -> tuple[bytes, bool]:
        """The piece that has come, and the next one is waited for."""
        message = self._coming.result()
        self._coming = self._next_message()
        piece: bytes = message.get("body", b"")
        self._bytes_read += len(piece)
        if self._bytes_read > self._bytes_max and not self.too_large.done():
            self.too_large.set_result(None)
        self._has_more = self._has_more and message.get("more_body", False)
        if not self._has_more:
            self._ended.set()
        return piece, self._has_more

    def _note_gone(self, run: HttpActionRun | None) -> None:
        self._ended.set()
        if run is not None and not self._is_gone:
            run.leave()
        self._is_gone = True

    def _next_message(self) -> asyncio.Future[dict[str, Any]]:
        return asyncio.ensure_future(self._receive())

    async def _linger(self) -> None:
        if self._bringing is None:
            self.bring(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HTTP_LINGER_SECONDS_MAX):
                await self._ended.wait()


async def first_of(*futures: asyncio.Future[Any]) -> None:
    """Return when one of them is done; none is cancelled."""
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _is_end(coming: asyncio.Future[dict[str, Any]]) -> bool:
    return bool(coming.result()["type"] == "http.disconnect")
