"""Every connection between actors passes this (actors/runtime.py). A subclass supplies open() only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from actors.runtime import Client, Peer
from log.errors import BackendError, ErrorKind


class EchoActor:
    """Answers what it is asked; `hold` waits until `release`; `tell` pushes before it answers."""

    def __init__(self) -> None:
        self.gone: list[Client] = []
        self.released = asyncio.Event()

    async def handle(self, client: Client, method: str, arguments: tuple[Any, ...]) -> Any:
        if method == "echo":
            return arguments
        if method == "refuse":
            raise BackendError(ErrorKind.RATE_LIMITED, "TooMany", "slow down", {"after": 1})
        if method == "tell":
            for number in range(arguments[0]):
                client.push("told", number)
            return "answered"
        await self.released.wait()
        return "released"

    def disconnected(self, client: Client) -> None:
        self.gone.append(client)


Opened = tuple[EchoActor, Peer, list[tuple[str, tuple[Any, ...]]]]
Scenario = Callable[[Opened], Awaitable[None]]


class ConnectionContract:
    """Promises of actors/runtime.py."""

    def run(self, scenario: Scenario) -> None:
        """Open a connection to a fresh EchoActor, run, close."""
        raise NotImplementedError

    def test_a_call_is_answered_with_its_own_values(self) -> None:
        async def scenario(opened: Opened) -> None:
            _actor, peer, _pushed = opened
            sent = (1, "two", b"three", None, True, 2**62, 1.5, ["four", b"5"], {"six": 6})
            answer = await peer.call("echo", *sent)
            assert tuple(answer) == (*sent[:7], ("four", b"5"), {"six": 6})

        self.run(scenario)

    def test_a_refusal_arrives_with_every_fact(self) -> None:
        async def scenario(opened: Opened) -> None:
            with pytest.raises(BackendError) as refused:
                await opened[1].call("refuse")
            facts = (refused.value.kind, refused.value.code, refused.value.message, refused.value.data)
            assert facts == (ErrorKind.RATE_LIMITED, "TooMany", "slow down", {"after": 1})

        self.run(scenario)

    def test_what_was_pushed_before_an_answer_arrives_in_order(self) -> None:
        async def scenario(opened: Opened) -> None:
            _actor, peer, pushed = opened
            assert await peer.call("tell", 100) == "answered"
            await peer.call("echo")
            assert pushed == [("told", (number,)) for number in range(100)]

        self.run(scenario)

    def test_a_slow_call_does_not_hold_up_others(self) -> None:
        async def scenario(opened: Opened) -> None:
            actor, peer, _pushed = opened
            held = asyncio.ensure_future(peer.call("hold"))
            for number in range(50):
                assert (await peer.call("echo", number))[0] == number
            assert not held.done()
            actor.released.set()
            assert await held == "released"

        self.run(scenario)

    def test_large_values_cross_whole(self) -> None:
        async def scenario(opened: Opened) -> None:
            large = bytes(range(256)) * 40_000
            answers = await asyncio.gather(*(opened[1].call("echo", large, n) for n in range(3)))
            assert [(answer[0] == large, answer[1]) for answer in answers] == [(True, n) for n in range(3)]

        self.run(scenario)
