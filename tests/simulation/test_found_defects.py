"""What simulated histories brought to light, each in its shortest form: a change of the product changes what
a seed plays, and would lose it. (That a call run twice has one answer: tests/actors/test_transactor.py.)
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from actors.calls import RunCall, wire_call
from actors.executor import Executor
from actors.executor_settings import ExecutorSettings
from actors.runtime import Peer
from cluster import links
from cluster.backend import ClusterBackend
from functions.isolate import Engine


class SuddenCore:
    """A core whose answer to `listen` and first push arrive in one segment."""

    def __init__(self, backend: ClusterBackend, published_ts: int, pushed_ts: int) -> None:
        self._backend, self._published_ts, self._pushed_ts = backend, published_ts, pushed_ts

    async def call(self, method: str, *arguments: Any) -> Any:
        if method == "register":
            return ["valid", arguments[2]]
        answered = asyncio.get_running_loop().create_future()

        def arrive() -> None:
            answered.set_result(self._published_ts)
            if self._pushed_ts:
                self._backend.pushed("stream", (self._pushed_ts, ()))

        asyncio.get_running_loop().call_soon(arrive)
        return await answered


def test_a_new_stream_covers_nothing_before_lost_registrations_are_given_up() -> None:
    """1. A core dies and with it the registrations. Commits follow under its successor.
    2. The gateway listens; the answer and the first pushes arrive together.
    3. The pushes are heard first: they cover the commits and invalidate nothing.
    4. Until the answer is handled, overwritten results are shown as right at the new ts."""

    async def scene() -> None:
        backend = ClusterBackend()
        heard: list[tuple[int, list[int]]] = []
        backend.listen(lambda ts, hits: heard.append((ts, [hit.key for hit in hits])))
        await backend.set_core(cast(Peer, SuddenCore(backend, 1, 0)))
        await backend.register(7, b"", 1)
        await backend.set_core(cast(Peer, SuddenCore(backend, 5, 6)))
        first_after_death = next(place for place, (ts, _) in enumerate(heard) if ts > 1)
        given_up = next(place for place, (_, keys) in enumerate(heard) if 7 in keys)
        assert given_up <= first_after_death, heard

    asyncio.run(scene())


def test_a_call_that_arrives_before_the_core_is_found_ends_no_executor() -> None:
    async def scene() -> None:
        settings = ExecutorSettings("test", b"s" * 32, "http://cloud", "http://site")
        executor = Executor(cast(Engine, None), settings, lambda: 1)
        call = RunCall("Query", "m.js:f", "", b"[{}]", "unknown", None, "", None, b"c" * 16, None, None)
        running = asyncio.create_task(executor.handle(cast(Any, None), "run", (wire_call(call), 0)))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not running.done(), "it waits until there is a core"
        running.cancel()

    asyncio.run(scene())


class Opened:
    """A connection as a link sees one."""

    is_open = True

    def close(self) -> None:
        self.is_open = False


def test_a_link_that_was_pointed_elsewhere_does_not_stay_with_the_old_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1. A link connects to a core that hangs. 2. It is pointed to the successor. 3. The old one goes on."""

    async def scene() -> None:
        goes_on, up_at = asyncio.Event(), list[str]()
        opened: dict[object, str] = {}

        async def connect(host: str, *_: Any) -> Opened:
            if host == "old":
                await goes_on.wait()
            peer = Opened()
            opened[peer] = host
            return peer

        async def on_up(peer: Any) -> None:
            up_at.append(opened[peer])

        monkeypatch.setattr(links, "connect", connect)
        link = links.Link(b"", lambda *_: None, on_up)
        pointing = []
        for name in ("old", "new"):
            pointing.append(asyncio.create_task(link.point_to((name, 1))))
            await asyncio.sleep(0.01)
        goes_on.set()
        await asyncio.sleep(0.3)
        link.close()
        for task in pointing:
            task.cancel()
        assert up_at and up_at[-1] == "new", up_at

    asyncio.run(scene())


def test_a_link_whose_connection_is_lost_while_it_is_being_greeted_connects_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        greeted: list[Opened] = []

        async def connect(*_: Any) -> Opened:
            return Opened()

        async def on_up(peer: Any) -> None:
            greeted.append(peer)
            if len(greeted) == 1:
                peer.is_open = False
                link._lost()  # as the transport says it: nobody else will ask for a new connection

        monkeypatch.setattr(links, "connect", connect)
        link = links.Link(b"", lambda *_: None, on_up)
        await link.point_to(("somewhere", 1))
        assert len(greeted) == 2 and greeted[1].is_open
        link.close()

    asyncio.run(scene())
