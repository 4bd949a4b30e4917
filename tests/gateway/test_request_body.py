"""The rest of a request's body is brought to its run piece by piece, and its client's going is news."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway import request_body
from gateway.request_body import RequestBody

from ..support.fake_http_run import FakeHttpRun

PATIENCE_SECONDS = 20
BYTES_MAX = 10


class Client:
    """What an ASGI server would hand over, when the test says so."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive(self) -> dict[str, Any]:
        return await self._messages.get()

    def sends(self, piece: bytes, has_more: bool = True) -> None:
        self._messages.put_nowait({"type": "http.request", "body": piece, "more_body": has_more})

    def goes(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    @property
    def unread(self) -> int:
        return self._messages.qsize()


def play(scene: Callable[[Client, RequestBody, FakeHttpRun], Awaitable[None]]) -> None:
    async def whole() -> None:
        client = Client()
        body = RequestBody(client.receive, BYTES_MAX)
        try:
            await asyncio.wait_for(scene(client, body, FakeHttpRun()), PATIENCE_SECONDS)
        finally:
            body.close()

    asyncio.run(whole())


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_what_came_with_the_head_is_there_at_once_and_nothing_is_waited_for() -> None:
    async def nothing_yet(client: Client, body: RequestBody, run: FakeHttpRun) -> None:
        assert await body.first() == (b"", True)

    async def a_part(client: Client, body: RequestBody, run: FakeHttpRun) -> None:
        client.sends(b"abc")
        assert await body.first() == (b"abc", True)

    async def all_of_it(client: Client, body: RequestBody, run: FakeHttpRun) -> None:
        client.sends(b"abc", False)
        assert await body.first() == (b"abc", False)

    async def its_client_has_gone(client: Client, body: RequestBody, run: FakeHttpRun) -> None:
        client.goes()
        assert await body.first() == (b"", True)
        body.bring(run)
        assert await run.told.get() == "left"

    for scene in (nothing_yet, a_part, all_of_it, its_client_has_gone):
        play(scene)


def test_pieces_arrive_in_order_through_the_last() -> None:
    async def scene(client: Client, body: RequestBody, run: FakeHttpRun) -> None:
        await body.first()
        body.bring(run)
        client.sends(b"one")
        client.sends(b"two", False)
        assert [await run.told.get() for _ in range(2)] == ["piece", "last piece"]
        assert run.pieces == [b"one", b"two"]
        client.goes()
        assert await run.told.get() == "left"

    play(scene)


def test_while_there_is_no_room_one_piece_is_read_ahead_and_no_more() -> None:
    async def scene(client: Client, body: RequestBody, run: FakeHttpRun) -> None:
        run.room.clear()
        await body.first()
        body.bring(run)
        for _ in range(6):
            client.sends(b"x")
        await settled()
        assert (len(run.pieces), client.unread) == (1, 4)
        run.room.set()
        for _ in range(6):
            assert await run.told.get() == "piece"
        assert client.unread == 0

    play(scene)


def test_a_client_that_goes_while_there_is_no_room_is_noticed() -> None:
    async def scene(client: Client, body: RequestBody, run: FakeHttpRun) -> None:
        run.room.clear()
        await body.first()
        body.bring(run)
        client.sends(b"x")
        assert await run.told.get() == "piece"
        client.goes()
        assert await run.told.get() == "left"

    play(scene)


def test_what_the_run_does_not_want_is_read_and_dropped() -> None:
    async def scene(client: Client, body: RequestBody, run: FakeHttpRun) -> None:
        run = FakeHttpRun(wants_pieces=1)
        await body.first()
        body.bring(run)
        for _ in range(3):
            client.sends(b"x")
        client.goes()
        assert [await run.told.get() for _ in range(2)] == ["piece", "left"]
        assert run.pieces == [b"x"]

    play(scene)


@pytest.mark.parametrize("is_first", [True, False])
def test_one_byte_beyond_the_limit_is_told_once_and_the_rest_dropped(is_first: bool) -> None:
    async def scene(client: Client, body: RequestBody, run: FakeHttpRun) -> None:
        if is_first:
            client.sends(bytes(BYTES_MAX + 1))
        await body.first()
        body.bring(run)
        if not is_first:
            client.sends(bytes(BYTES_MAX))
            assert await run.told.get() == "piece" and not body.too_large.done()
            client.sends(b"x")
        client.sends(b"more")
        assert await run.told.get() == "too large" and body.too_large.done()
        client.goes()
        assert await run.told.get() == "left"
        assert b"more" not in run.pieces

    play(scene)


def sender() -> tuple[list[dict[str, Any]], Callable[[dict[str, Any]], Awaitable[None]]]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    return sent, send


ANSWER = {"type": "http.response.body", "body": b"all of it"}


def test_a_closing_connection_gets_its_answer_and_closes_when_the_body_has_come() -> None:
    async def scene(client: Client, body: RequestBody, run: FakeHttpRun) -> None:
        sent, send = sender()
        answering = asyncio.create_task(body.lingering(send)(ANSWER))
        client.sends(b"some")
        await settled()
        assert sent == [{**ANSWER, "more_body": True}] and not answering.done()
        client.sends(b"the rest", False)
        await answering
        assert sent[1:] == [{"type": "http.response.body", "body": b""}]

    play(scene)


def test_a_closing_connection_waits_for_the_rest_of_a_body_only_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene(client: Client, body: RequestBody, run: FakeHttpRun) -> None:
        sent, send = sender()
        await body.lingering(send)(ANSWER)
        assert [message.get("more_body", False) for message in sent] == [True, False]

    monkeypatch.setattr(request_body, "HTTP_LINGER_SECONDS_MAX", 0.01)
    play(scene)


def test_a_closing_connection_whose_body_has_come_closes_at_once() -> None:
    async def scene(client: Client, body: RequestBody, run: FakeHttpRun) -> None:
        client.sends(b"", False)
        await body.first()
        sent, send = sender()
        await body.lingering(send)(ANSWER)
        assert sent == [ANSWER]

    play(scene)
