"""Before a push is activated its image is built, beside the calls and by nobody again."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import orjson
import pytest

from functions.image import ImageBuilder

from ..support.action_server import ACTIONS, PATIENCE_SECONDS, ActionServer, play
from ..support.recorded import SHOP

ANSWER = "export const answer = query(() => NUMBER);"


def watch_builds(server: ActionServer) -> list[bool]:
    """Whether each build from now on is on another thread than the loop's. Nothing is kept from before."""
    builder: ImageBuilder = server._runtime.executor._engine._images  # type: ignore[attr-defined]
    loop_thread, found = threading.get_ident(), []
    build = builder._build

    def watched(*arguments: Any) -> Any:
        found.append(threading.get_ident() != loop_thread)
        return build(*arguments)

    builder._build = watched  # type: ignore[method-assign]
    builder._cache.clear()
    return found


def test_the_first_call_of_new_code_finds_its_image(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        assert (await server.query("answer", {})).value == b"1.0"
        started = await server.start_push(SHOP + ACTIONS + ANSWER.replace("NUMBER", "2"))
        builds = watch_builds(server)
        await server.finish_push(started)
        assert builds == [True], "once, and while calls could go on"
        assert (await server.query("answer", {})).value == b"2.0"
        assert builds == [True]

    play(ActionServer(tmp_path, ANSWER.replace("NUMBER", "1")), scene)


def test_what_names_no_push_prepares_nothing(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        builds = watch_builds(server)
        for body in (b"[]", b"{}", b'{"startPush":{"pushId":"gone"}}', b'{"startPush":{"pushId":7}}'):
            await server._runtime.executor._push_preparation.prepare(body)
        assert builds == []

    play(ActionServer(tmp_path, ANSWER), scene)


def test_a_push_that_cannot_be_prepared_costs_nobody_the_executor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def of_another_version(*_arguments: Any) -> Any:
        raise KeyError("environment")

    async def scene(server: ActionServer) -> None:
        started = await server.start_push(SHOP + ACTIONS + ANSWER.replace("NUMBER", "2"))
        monkeypatch.setattr("actors.push_preparation.image_requests", of_another_version)
        await server.finish_push(started)
        assert "a push could not be prepared" in caplog.text
        assert (await server.query("answer", {})).value == b"2.0"

    play(ActionServer(tmp_path, ANSWER.replace("NUMBER", "1")), scene)


def test_who_stops_while_images_are_built_waits_for_none_and_begins_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, goes_on = list[int](), threading.Event()
    building = asyncio.Event()

    async def scene(server: ActionServer) -> None:
        loop = asyncio.get_running_loop()

        def build(number: int) -> None:
            built.append(number)
            loop.call_soon_threadsafe(building.set)
            assert goes_on.wait(PATIENCE_SECONDS)

        started = await server.start_push(SHOP + ACTIONS + ANSWER.replace("NUMBER", "2"))
        preparation = server._runtime.executor._push_preparation
        monkeypatch.setattr("actors.push_preparation.image_requests", lambda *_: iter([1, 2]))
        monkeypatch.setattr(preparation._engine, "build_image", build)
        preparing = asyncio.create_task(preparation.prepare(orjson.dumps({"startPush": started})))
        await building.wait()
        preparation.close()
        assert not preparing.done()
        goes_on.set()
        await preparing
        assert built == [1]

    play(ActionServer(tmp_path, ANSWER.replace("NUMBER", "1")), scene)


def test_the_core_decodes_the_catalog_again_only_when_it_has_changed(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        shard = server._runtime.core._shard
        before = shard.catalog()
        await server.mutate("increment", {"name": "c"})
        known = shard.catalog()
        await server.mutate("increment", {"name": "c"})
        assert shard.catalog() is known, "nothing of it was written"
        await server.set_variable("MODE", "other")
        assert "MODE" not in before.environment and shard.catalog().environment == {"MODE": "other"}

    play(ActionServer(tmp_path, ANSWER.replace("NUMBER", "1")), scene)
