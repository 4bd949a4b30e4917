"""A body on its way is held within a bound, in order, and nobody waits for one that has ended in any way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from actors.incoming_body import IncomingBody
from log.errors import BackendError, client_disconnected
from log.limits import HTTP_ACTION_PIECE_BYTES, HTTP_ACTION_REQUEST_AHEAD_BYTES_MAX

PATIENCE_SECONDS = 20
FULL = bytes(HTTP_ACTION_REQUEST_AHEAD_BYTES_MAX)


def play(scene: Coroutine[Any, Any, None]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(scene, PATIENCE_SECONDS)

    asyncio.run(whole())


async def begun(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task that has come as far as it can by itself."""
    task = asyncio.create_task(work)
    for _ in range(5):
        await asyncio.sleep(0)
    return task


def test_what_was_put_is_read_in_order_whatever_the_pace() -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)

    async def scene() -> None:
        pieces = [rng.randbytes(rng.choice([0, 1, 100, HTTP_ACTION_PIECE_BYTES * 3])) for _ in range(50)]
        body = IncomingBody(pieces[0], True)

        async def bring() -> None:
            for number, piece in enumerate(pieces[1:], 2):
                has_more = number < len(pieces)
                assert await body.put(piece, has_more) == has_more, f"seed {seed}"
                for _ in range(rng.randrange(3)):
                    await asyncio.sleep(0)

        bringing, found = asyncio.create_task(bring()), b""
        while piece := await body.read():
            assert len(piece) <= HTTP_ACTION_PIECE_BYTES, f"seed {seed}"
            found += piece
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
        await bringing
        assert found == b"".join(pieces), f"seed {seed}"

    play(scene())


def test_who_brings_waits_at_the_bound_until_something_was_read() -> None:
    async def scene() -> None:
        body = IncomingBody(b"", True)
        assert (await begun(body.put(FULL[1:], True))).done(), "one byte below it"
        blocked = await begun(body.put(b"x", True))
        assert not blocked.done(), "at it"
        await body.read()
        assert await blocked

    play(scene())


def test_a_reader_waits_for_the_first_piece() -> None:
    async def scene() -> None:
        body = IncomingBody(b"", True)
        reading = await begun(body.read())
        assert not reading.done()
        await body.put(b"one", False)
        assert await reading == b"one" and await body.read() == b""

    play(scene())


def test_a_body_that_failed_lets_both_sides_go() -> None:
    async def scene() -> None:
        body = IncomingBody(FULL, True)
        blocked = await begun(body.put(b"x", True))
        body.fail(client_disconnected())
        assert not await blocked and not await body.put(b"late", True)
        for _ in range(2):
            with pytest.raises(BackendError, match="no longer there"):
                await body.read()

    play(scene())


def test_a_reader_that_waits_hears_of_a_failure() -> None:
    async def scene() -> None:
        body = IncomingBody(b"", True)
        reading = await begun(body.read())
        body.fail(client_disconnected())
        with pytest.raises(BackendError, match="no longer there"):
            await reading

    play(scene())


def test_a_body_nobody_wants_holds_nothing() -> None:
    async def scene() -> None:
        body = IncomingBody(FULL, True)
        blocked = await begun(body.put(FULL, True))
        body.drop()
        assert not await blocked and not await body.put(FULL, True)
        assert await body.read() == b""

    play(scene())
