"""The two sides of an HTTP action wait for one another, and nobody waits for who has gone."""

from __future__ import annotations

import asyncio
import random
from base64 import b64decode, b64encode
from collections.abc import Coroutine
from typing import Any

import orjson
import pytest

from actors.http_exchange import HttpExchange
from functions.http_action import HttpActionRequest
from log.errors import BackendError
from log.limits import HTTP_ACTION_PIECE_BYTES, HTTP_ACTION_RESPONSE_BYTES_MAX

PATIENCE_SECONDS = 20


def request_of(body: bytes = b"", method: str = "POST", has_more: bool = False) -> HttpActionRequest:
    return HttpActionRequest(method, "http://x/a", "/a", (), body, has_more, "unknown", None, None, "id")


def play(scene: Coroutine[Any, Any, None]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(scene, PATIENCE_SECONDS)

    asyncio.run(whole())


async def write(exchange: HttpExchange, piece: bytes) -> bool:
    answer = await exchange.perform("host/responseWrite", {"piece": b64encode(piece).decode()})
    return bool(orjson.loads(answer))


async def read_all(exchange: HttpExchange) -> bytes:
    found = b""
    while (piece := orjson.loads(await exchange.perform("host/requestRead", {}))) is not None:
        found += b64decode(piece)
    return found


def test_a_request_is_read_in_pieces_of_bounded_size() -> None:
    async def scene() -> None:
        body = random.Random(1).randbytes(3 * HTTP_ACTION_PIECE_BYTES + 7)
        assert await read_all(HttpExchange(request_of(body))) == body
        assert await read_all(HttpExchange(request_of(body, "GET"))) == b"", "GET carries no body"

    play(scene())


def test_a_request_that_is_left_fails_its_body_only_while_more_of_it_was_to_come() -> None:
    async def scene() -> None:
        for has_more in (True, False):
            exchange = HttpExchange(request_of(b"begun", has_more=has_more))
            exchange.leave()
            exchange.leave()
            if has_more:
                with pytest.raises(BackendError, match="no longer there"):
                    await read_all(exchange)
            else:
                assert await read_all(exchange) == b"begun"

    play(scene())


def test_who_takes_a_response_is_let_go_when_its_client_goes() -> None:
    async def scene() -> None:
        exchange = HttpExchange(request_of())
        taking = asyncio.create_task(exchange.take())
        await asyncio.sleep(0)
        exchange.leave()
        assert await taking is None
        await exchange.end()

    play(scene())


def test_who_takes_is_let_go_when_the_client_goes_in_the_moment_of_a_piece() -> None:
    async def scene() -> None:
        exchange = HttpExchange(request_of())
        taking = asyncio.create_task(exchange.take())
        await asyncio.sleep(0)
        writing = asyncio.create_task(write(exchange, b"one"))
        asyncio.get_running_loop().call_soon(exchange.leave)  # before `taking` goes on
        await writing
        assert not await write(exchange, b"two")
        await exchange.end()
        assert await taking is None and await exchange.take() is None, "there are no more pieces"

    play(scene())


@pytest.mark.parametrize(
    ("body", "has_more", "goes_along"),
    [
        (bytes(HTTP_ACTION_PIECE_BYTES), False, True),
        (bytes(HTTP_ACTION_PIECE_BYTES + 1), False, False),
        (b"begun", True, False),
    ],
)
def test_a_small_body_that_is_there_goes_along_with_the_request(
    body: bytes, has_more: bool, goes_along: bool
) -> None:
    described = orjson.loads(request_of(body, has_more=has_more).json)
    assert described["streamId"] == "request" and ("body" in described) == goes_along
    assert "body" not in orjson.loads(request_of(body, "GET", has_more).json)


def test_a_response_arrives_as_it_was_written_whatever_the_pace() -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)

    async def scene() -> None:
        exchange = HttpExchange(request_of())
        written = [rng.randbytes(rng.randrange(0, 50)) for _ in range(200)]

        async def javascript() -> None:
            head = {"status": 201, "headerPairs": [["a", "b"]], "piece": None}
            await exchange.perform("host/responseHead", head)
            for piece in written:
                assert await write(exchange, piece)
                for _ in range(rng.randrange(3)):
                    await asyncio.sleep(0)
            await exchange.end()

        running = asyncio.create_task(javascript())
        head = await exchange.head()
        assert head is not None and (head.status, head.headers, head.body) == (201, (("a", "b"),), None)
        taken = b""
        while (piece := await exchange.take()) is not None:
            taken += piece
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
        await running
        assert taken == b"".join(written), f"seed {seed}"

    play(scene())


def test_who_writes_waits_until_the_piece_before_was_taken() -> None:
    async def scene() -> None:
        exchange = HttpExchange(request_of())
        assert await write(exchange, b"one")
        second = asyncio.create_task(write(exchange, b"two"))
        await asyncio.sleep(0.01)
        assert not second.done()
        assert await exchange.take() == b"one"
        assert await second

    play(scene())


def test_when_the_client_goes_the_writer_is_told_and_the_signal_fires() -> None:
    async def scene() -> None:
        exchange = HttpExchange(request_of())
        gone = asyncio.create_task(exchange.perform("host/requestGone", {}))
        assert await write(exchange, b"one")
        blocked = asyncio.create_task(write(exchange, b"two"))
        await asyncio.sleep(0.01)
        assert not gone.done()
        exchange.leave()
        assert await gone == b"null"
        assert not await blocked and not await write(exchange, b"three")
        await exchange.end()

    play(scene())


def test_a_run_that_ends_without_a_head_says_so() -> None:
    async def scene() -> None:
        exchange = HttpExchange(request_of())
        ending = asyncio.create_task(exchange.end())
        assert await exchange.head() is None
        assert await exchange.take() is None
        await ending

    play(scene())


def test_a_piece_that_crosses_the_limit_is_left_out_and_a_smaller_one_still_fits() -> None:
    async def scene() -> None:
        exchange = HttpExchange(request_of())
        first = bytes(HTTP_ACTION_RESPONSE_BYTES_MAX - 3)
        assert await write(exchange, first) and await exchange.take() == first
        assert await write(exchange, b"four")
        assert await write(exchange, b"ok!") and await exchange.take() == b"ok!"
        (line,) = exchange.logs.pretty()
        assert line == "[ERROR] HttpResponseTooLarge: HTTP actions support responses up to 20 MiB"

    play(scene())


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"status": "200", "headerPairs": []},
        {"status": 200, "headerPairs": 7},
        {"status": 200, "headerPairs": [["a"]]},
        {"status": 200, "headerPairs": [["a", 1]]},
        {"status": 200, "headerPairs": [], "piece": "%"},
        {"status": 199, "headerPairs": []},
        {"status": 200, "headerPairs": [["a", "b\r\nc: d"]]},
        {"status": 200, "headerPairs": [["a b", "c"]]},
        {"status": 200, "headerPairs": [["a", "\u2026"]]},
    ],
)
def test_a_head_made_by_hand_is_refused(head: dict[str, Any]) -> None:
    async def scene() -> None:
        with pytest.raises(BackendError):
            await HttpExchange(request_of()).perform("host/responseHead", head)

    play(scene())
