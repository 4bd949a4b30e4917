"""Node actions that import packages the server has installed: pushed, run, and found again when lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from log import limits
from log.errors import BackendError, ErrorKind

from ..support.fake_npm import INSTALL_ANSWER, FakeNpm
from ..support.node_server import TOOLS, NodeServer, needs_node, node_module
from ..support.recorded import RecordedServer

PATIENCE_SECONDS = 60
ANSWER = [{"name": "answer", "version": "1.0.0"}]
SOURCE = """
import answer from "answer";
export const answered = action(async () => answer);
export const lazily = action(async () => (await import("answer")).default);
"""


class PackagesServer(NodeServer):
    """`packages` are what its pushes name."""

    packages: list[dict[str, str]] = ANSWER

    @property
    def packages_folder(self) -> Path:
        folder = self.settings.node_packages_folder
        assert folder is not None
        return folder

    async def operate(self, name: str, body: Any) -> Any:
        named = {"nodeDependencies": self.packages} if name == "start_push" else {}
        return await super().operate(name, {**body, **named})

    async def refusal(self, source: str = SOURCE) -> BackendError:
        """Of a push that changes the Node module."""
        with pytest.raises(BackendError) as refused:
            await self.push_tools(source)
        self.tools = TOOLS + SOURCE
        return refused.value


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNpm:
    needs_node()
    return FakeNpm(tmp_path, monkeypatch)


def play(folder: Path, scene: Callable[[PackagesServer], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with PackagesServer(folder / "data", SOURCE) as server:
            await asyncio.wait_for(scene(server), PATIENCE_SECONDS)

    asyncio.run(whole())


def test_a_package_is_there_for_analysis_and_calls_and_is_installed_once(
    npm: FakeNpm, tmp_path: Path
) -> None:
    async def scene(server: PackagesServer) -> None:
        assert await server.value("answered") == await server.value("lazily") == 42
        await server.push_tools(SOURCE + "export const more = action(async () => answer + 1);")
        assert await server.value("more") == 43
        assert len(npm.calls) == 1

    play(tmp_path, scene)


def test_a_server_that_lacks_the_packages_of_its_code_installs_them_when_they_are_needed(
    npm: FakeNpm, tmp_path: Path
) -> None:
    async def push(server: PackagesServer) -> None:
        assert npm.calls

    async def lacking(server: PackagesServer) -> None:
        assert await server.value("answered") == 42
        assert len(npm.calls) == 2

    play(tmp_path, push)
    shutil.rmtree(tmp_path / "data" / "packages")

    async def restarted() -> None:
        server = PackagesServer(tmp_path / "data", SOURCE)
        await RecordedServer.__aenter__(server)  # without a push
        try:
            await asyncio.wait_for(lacking(server), PATIENCE_SECONDS)
        finally:
            await server.__aexit__()

    asyncio.run(restarted())


def test_a_push_whose_packages_cannot_be_installed_changes_nothing(npm: FakeNpm, tmp_path: Path) -> None:
    async def scene(server: PackagesServer) -> None:
        npm.does("echo 'npm error notarget No matching version found for answer@9.9.9.'; exit 1")
        server.packages = [{"name": "answer", "version": "9.9.9"}]
        refused = await server.refusal()
        assert refused.code == "InvalidExternalModules" and refused.kind is ErrorKind.BAD_REQUEST
        assert refused.message.startswith("Hit an error while pushing:\n")
        assert "No matching version found for answer@9.9.9." in refused.message
        assert await server.value("answered") == 42

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (
            "echo 'export default 42; throw new Error(\"none\")' > node_modules/answer/index.js",
            "Uncaught Error: none",
        ),
        ("echo 'export const named = 42' > node_modules/answer/index.js", "an export named 'default'"),
        ("rm -r node_modules/answer", "Cannot find package 'answer'"),
    ],
)
def test_a_package_that_does_not_load_is_named_as_one(
    npm: FakeNpm, tmp_path: Path, script: str, text: str
) -> None:
    async def scene(server: PackagesServer) -> None:
        npm.does(INSTALL_ANSWER + script)
        server.packages = [{"name": "answer", "version": "1.0.1"}]
        refused = await server.refusal()
        assert refused.code == "InvalidExternalModules" and text in refused.message
        assert "Failed to analyze tools.js: " in refused.message

    play(tmp_path, scene)


def test_an_error_of_the_module_itself_is_not_said_to_be_of_a_package(npm: FakeNpm, tmp_path: Path) -> None:
    async def scene(server: PackagesServer) -> None:
        refused = await server.refusal(SOURCE + 'throw new Error("my own");')
        assert refused.code == "InvalidModules" and "my own" in refused.message

    play(tmp_path, scene)


def test_other_work_goes_on_while_packages_are_installed(npm: FakeNpm, tmp_path: Path) -> None:
    async def scene(server: PackagesServer) -> None:
        begun = tmp_path / "begun"
        os.mkfifo(begun)
        npm.does(INSTALL_ANSWER + f"echo > {begun}; cat {begun}")
        server.packages = [{"name": "answer", "version": "1.0.2"}]
        pushing = asyncio.create_task(server.push_tools(SOURCE))
        await asyncio.to_thread(begun.read_text)
        assert await server.value("answered") == 42
        await asyncio.to_thread(begun.write_text, "go on")
        await pushing

    play(tmp_path, scene)


def test_a_call_succeeds_that_waited_longer_for_npm_than_its_snapshot_stays_readable(
    npm: FakeNpm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(server: PackagesServer) -> None:
        shutil.rmtree(server.packages_folder)
        begun = tmp_path / "begun"
        os.mkfifo(begun)
        npm.does(INSTALL_ANSWER + f"echo > {begun}; cat {begun}")
        calling = asyncio.create_task(server.value("answered"))
        await asyncio.to_thread(begun.read_text)
        await server.mutate("note", {"text": "the snapshot of the call is not the newest"})
        monkeypatch.setattr(limits, "UNDO_SECONDS", 0)
        while server.core_actor._shard.prune(time.time_ns()):
            pass
        await asyncio.to_thread(begun.write_text, "go on")
        assert await calling == 42

    play(tmp_path, scene)


def test_a_list_is_in_use_as_long_as_calls_take_a_process_that_has_it(npm: FakeNpm, tmp_path: Path) -> None:
    async def scene(server: PackagesServer) -> None:
        assert await server.value("answered") == 42
        [folder], pids = server.packages_folder.iterdir(), server.pids
        os.utime(folder, (1_000_000, 1_000_000))
        assert await server.value("answered") == 42
        assert server.pids == pids and folder.stat().st_mtime > 1_000_000

    play(tmp_path, scene)


def test_a_process_whose_packages_are_gone_runs_no_call(npm: FakeNpm, tmp_path: Path) -> None:
    """It may load more of them."""

    async def scene(server: PackagesServer) -> None:
        assert await server.value("answered") == 42
        pids = server.pids
        shutil.rmtree(server.packages_folder)
        assert await server.value("lazily") == 42
        assert not set(pids) & set(server.pids) and len(npm.calls) == 2

    play(tmp_path, scene)


def test_modules_where_the_packages_would_be_are_refused(npm: FakeNpm, tmp_path: Path) -> None:
    async def scene(server: PackagesServer) -> None:
        server.others = (node_module("node_modules/mine.js", ""),)
        refused = await server.refusal()
        assert refused.code == "BadJsonBody" and "node_modules/mine.js" in refused.message

    play(tmp_path, scene)
