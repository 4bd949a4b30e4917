"""Requests of actions over real sockets: what arrives, bodies in pieces, what ends them."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from actors.fetch import Fetches
from log.limits import FETCH_PIECE_BYTES_MAX, MIB

from ..support.fetch_caller import Caller, play, refusal_of, result_of
from ..support.http_peer import CODINGS, PIECE, TEXT, HttpPeer

# --- requests and responses ------------------------------------------------------------------------------


def test_a_request_arrives_as_it_was_given() -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        body = base64.b64encode(b"\x00\xffdata").decode()
        headers = [["x-mine", "1"], ["content-length", "99"], ["connection", "close"]]
        head = await caller.head(peer.url("/echo?a=%41%2F&b"), method="PATCH", headers=headers, body=body)
        assert (head["status"], head["statusText"]) == (200, "OK")
        seen = json.loads(await caller.rest())
        assert seen["path"] == "/echo?a=%41%2F&b", "an address is not written anew"
        assert (seen["method"], seen["body"]) == ("PATCH", "\x00\xffdata")
        assert seen["headers"] == {"x-mine": "1", "content-length": "6", "accept": "*/*"}

    play(scene)


def test_what_the_response_says_is_passed_on_unchanged() -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        head = await caller.head(peer.url("/latin"))
        assert ["X-Name", "café"] in head["headers"], "bytes of headers are Latin-1"
        assert await caller.rest() == b"ok"
        head = await caller.head(peer.url("/redirect/302?to=/echo"), 2)
        assert head["status"] == 302 and ["location", "/echo"] in head["headers"]
        assert peer.seen == ["GET /redirect/302"], "whoever calls decides where to go"
        assert (await caller.head(peer.url("/status/404"), 3))["statusText"] == "As Asked"

    play(scene)


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_compression_is_undone(coding: str) -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        head = await caller.head(peer.url(f"/coded/{coding}"))
        told = {name.lower() for name, _ in head["headers"]} & {"content-encoding", "content-length"}
        assert told == ({"content-encoding", "content-length"} if coding == "identity" else set())
        assert await caller.rest() == TEXT

    play(scene)


def test_requests_one_after_the_other_share_a_connection_and_no_cookies() -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        for request_id in range(3):
            await caller.head(
                peer.url("/echo"), request_id, headers=[["cookie", "a=1"]] if not request_id else []
            )
            seen = json.loads(await caller.rest(request_id))
        assert "cookie" not in seen["headers"] and len(peer.connections) == 1

    play(scene)


# --- bodies in pieces ------------------------------------------------------------------------------------


def test_a_response_is_read_while_it_is_still_being_sent() -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        await caller.head(peer.url("/waits"))
        assert await caller.piece() == b"first"
        second = asyncio.create_task(caller.piece())
        await asyncio.sleep(0.05)
        assert not second.done()
        peer.gate.set()
        assert await second == b"second" and await caller.piece() is None

    play(scene)


def test_what_is_not_read_stays_with_the_sender() -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        await caller.head(peer.url("/endless"))
        sent = -1
        while peer.bytes_sent != sent:  # until it is stuck
            sent = peer.bytes_sent
            await asyncio.sleep(0.3)
        response = caller.fetches._open[1]._response
        assert response is not None
        assert response.content._size <= 4 * FETCH_PIECE_BYTES_MAX
        assert sent <= 32 * MIB, "more than the sockets hold"
        pieces = [await caller.piece() or b"" for _ in range(40)]
        assert max(map(len, pieces)) <= FETCH_PIECE_BYTES_MAX
        read = b"".join(pieces)
        assert read == (PIECE * (len(read) // len(PIECE) + 1))[: len(read)], "pieces are whole and in order"

    play(scene)


def test_a_streamed_request_waits_for_a_slow_receiver() -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        head = asyncio.create_task(caller.head(peer.url("/slowly"), method="POST", hasStreamedBody=True))
        await asyncio.sleep(0.05)
        piece, taken = bytes(FETCH_PIECE_BYTES_MAX), 0
        try:
            while taken < 1_000:
                await asyncio.wait_for(caller.write(piece), 0.5)
                taken += 1
        except TimeoutError:
            peer.gate.set()
        assert taken * len(piece) < 32 * MIB, "more was taken than a socket holds"
        await caller.write(b"")
        await caller.write(b"end")
        await caller.write(None)
        assert (await head)["status"] == 200
        received = int(await caller.rest())
        assert received - taken * len(piece) in (3, 3 + len(piece)), "the piece that had to wait may count"

    play(scene)


def test_a_response_that_comes_before_the_body_was_sent_ends_the_sending() -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        head = asyncio.create_task(caller.head(peer.url("/ignores"), method="POST", hasStreamedBody=True))
        await asyncio.sleep(0)
        await caller.write(b"first")
        assert (await head)["status"] == 200
        assert await caller.rest() == b"enough"
        assert await refusal_of(caller.write(b"more")) == "FetchFailed: The request has ended"

    play(scene)


# --- ends ------------------------------------------------------------------------------------------------


def test_an_abort_ends_a_request_that_waits_for_its_response() -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        head = asyncio.create_task(caller.head(peer.url("/never")))
        while not peer.seen:
            await asyncio.sleep(0.01)
        caller.fetches.abort({"id": 1})
        assert await refusal_of(result_of(head)) == "FetchFailed: The request has ended"
        await peer.left.wait()
        caller.fetches.abort({"id": 1})
        caller.fetches.abort({"id": "none"})

    play(scene)


def test_an_abort_may_come_before_its_request() -> None:
    """Both are told in one burst of JavaScript, and the request is a task that has yet to begin."""

    async def scene(caller: Caller, peer: HttpPeer) -> None:
        head = asyncio.create_task(caller.head(peer.url("/never"), 5))
        caller.fetches.abort({"id": 5})
        assert await refusal_of(result_of(head)) == "FetchFailed: The request has ended"
        caller.fetches.abort({"id": 4})
        assert (await caller.head(peer.url("/echo"), 4))["status"] == 200, "ids are counted upwards"
        assert peer.seen == ["GET /echo"]

    play(scene)


def test_a_piece_may_come_before_its_request_has_its_turn() -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        early = asyncio.create_task(caller.write(b"early"))
        lost = asyncio.create_task(caller.write(b"lost", 2))
        await asyncio.sleep(0.02)
        head = asyncio.create_task(caller.head(peer.url("/echo"), method="POST", hasStreamedBody=True))
        await early
        await caller.write(None)
        assert (await head)["status"] == 200 and json.loads(await caller.rest())["body"] == "early"
        caller.fetches.abort({"id": 2})
        assert await refusal_of(result_of(lost)) == "FetchFailed: The request has ended"

    play(scene)


def test_an_abort_ends_the_pending_read_and_the_connection() -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        await caller.head(peer.url("/waits"))
        assert await caller.piece() == b"first"
        pending = asyncio.create_task(caller.piece())
        await asyncio.sleep(0.02)
        caller.fetches.abort({"id": 1})
        assert await refusal_of(result_of(pending)) == "FetchFailed: The request has ended"
        assert await refusal_of(caller.piece()) == "FetchFailed: The request has ended"
        assert caller.open_connections() == 0

    play(scene)


def test_an_abort_ends_a_write_that_waits() -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        head = asyncio.create_task(caller.head(peer.url("/slowly"), method="POST", hasStreamedBody=True))
        await asyncio.sleep(0.05)

        async def write_for_ever() -> None:
            while True:
                await caller.write(bytes(FETCH_PIECE_BYTES_MAX))

        writing = asyncio.create_task(write_for_ever())
        await asyncio.sleep(0.3)
        caller.fetches.abort({"id": 1})
        assert await refusal_of(result_of(writing)) == "FetchFailed: The request has ended"
        assert (await refusal_of(result_of(head))).startswith("FetchFailed")

    play(scene)


def test_close_ends_everything_of_one_action_and_nothing_of_others() -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        other = Caller()
        other.transport, other.fetches = caller.transport, Fetches(caller.transport)
        await other.head(peer.url("/waits"))
        heads = [asyncio.create_task(caller.head(peer.url("/never"), number)) for number in range(3)]
        await caller.head(peer.url("/endless"), 3)
        while len(peer.seen) < 3:
            await asyncio.sleep(0.01)
        await caller.fetches.close()
        for head in heads:
            assert await refusal_of(result_of(head)) == "FetchFailed: The request has ended"
        peer.gate.set()
        assert await other.rest() == b"firstsecond"

    play(scene)


def test_a_cancelled_caller_is_cancelled_and_leaves_nothing() -> None:
    async def scene(caller: Caller, peer: HttpPeer) -> None:
        head = asyncio.create_task(caller.head(peer.url("/never")))
        while not peer.seen:
            await asyncio.sleep(0.01)
        head.cancel()
        with pytest.raises(asyncio.CancelledError):
            await head
        await peer.left.wait()
        assert (await caller.head(peer.url("/echo")))["status"] == 200, "its id is free again"

    play(scene)
