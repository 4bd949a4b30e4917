"""A push is evaluated beside the calls of the executor, and one push at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from actors.javascript_threads import JavaScriptThread
from functions.system import push
from log.errors import BackendError

from ..support.action_server import ACTIONS, PATIENCE_SECONDS, ActionServer, play
from ..support.recorded import SHOP

PING = "export const ping = publicAction(async () => ask('query', 'answer'));"
APP = PING + "export const answer = query(() => 1);"
NEXT = SHOP + ACTIONS + PING + "export const answer = query(() => 2);"


class Gate:
    """Holds up the analysis of every push on the thread it runs on, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = asyncio.Event()
        self.analyses = 0
        self._is_open = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._analyse: Callable[..., Any] = push.analyse
        monkeypatch.setattr(push, "analyse", self._wait)

    def open(self) -> None:
        self._is_open.set()

    def _wait(self, *arguments: Any) -> Any:
        self.analyses += 1
        self._loop.call_soon_threadsafe(self.reached.set)
        assert self._is_open.wait(PATIENCE_SECONDS), "the loop goes on and opens it"
        return self._analyse(*arguments)


def test_actions_are_run_while_a_push_is_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(server: ActionServer) -> None:
        gate = Gate(monkeypatch)
        pushing = asyncio.create_task(server.start_push(NEXT))
        await gate.reached.wait()
        assert await server.value("ping") == 1.0
        gate.open()
        await server.finish_push(await pushing)
        assert await server.value("ping") == 2.0

    play(ActionServer(tmp_path, APP), scene)


def test_changes_of_the_environment_wait_for_a_push_and_for_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(server: ActionServer) -> None:
        gate = Gate(monkeypatch)
        pushing = asyncio.create_task(server.start_push(NEXT))
        await gate.reached.wait()
        changing = [asyncio.create_task(server.set_variable(f"V{number}", "x")) for number in range(3)]
        assert await server.value("ping") == 1.0, "and they have come to wait meanwhile"
        gate.open()
        await asyncio.gather(pushing, *changing)
        listed = await server.operate("list_environment_variables", {})
        assert sorted(listed["environmentVariables"]) == ["V0", "V1", "V2"]

    play(ActionServer(tmp_path, APP), scene)


def test_a_thread_that_is_closed_begins_nothing_more() -> None:
    begun = list[int]()

    async def scene() -> None:
        thread, goes_on, reached = JavaScriptThread(), threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def work(number: int) -> int:
            begun.append(number)
            loop.call_soon_threadsafe(reached.set)
            assert goes_on.wait(PATIENCE_SECONDS)
            return number

        running = [asyncio.create_task(thread.run(partial(work, number))) for number in range(3)]
        await reached.wait()
        thread.close()
        goes_on.set()
        ended = await asyncio.gather(*running, return_exceptions=True)
        assert ended[0] == 0 and [type(each) for each in ended[1:]] == [asyncio.CancelledError] * 2
        with pytest.raises(BackendError):
            await thread.run(partial(work, 3))

    asyncio.run(scene())
    assert begun == [0]


def test_pushes_are_evaluated_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(server: ActionServer) -> None:
        gate = Gate(monkeypatch)
        pushing = [asyncio.create_task(server.start_push(NEXT)) for _ in range(2)]
        await gate.reached.wait()
        assert await server.value("ping") == 1.0, "and the second push has come to wait meanwhile"
        assert gate.analyses == 1
        gate.open()
        await asyncio.gather(*pushing)
        assert gate.analyses == 2

    play(ActionServer(tmp_path, APP), scene)
