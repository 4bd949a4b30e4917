"""Whoever needs a list waits for one installation of it, and nobody else waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from actors.node_packages import FOLDER_VARIABLE, NodePackageFolders
from actors.package_installations import PackageInstallations
from cluster.processes import processes_with_variable
from functions.node_packages import NodePackage
from log.errors import BackendError

from ..support.fake_npm import INSTALL_ANSWER, FakeNpm
from ..support.node_server import needs_node

ANSWER, OTHER = (NodePackage("answer", "1.0.0"),), (NodePackage("answer", "2.0.0"),)
PATIENCE_SECONDS = 30
WAITERS = 8


class HeldNpm(FakeNpm):
    """One that waits in the middle until it is let go on."""

    def holds(self, folder: Path, script: str) -> None:
        self._begun, self._go_on = folder / "begun", folder / "go on"
        self.does(f"touch '{self._begun}'; until [ -e '{self._go_on}' ]; do sleep 0.01; done; {script}")

    async def begins(self) -> None:
        while not self._begun.exists():
            await asyncio.sleep(0.005)

    def goes_on(self) -> None:
        self._go_on.touch()


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HeldNpm:
    needs_node()
    return HeldNpm(tmp_path, monkeypatch)


def play(folder: Path, scene: Callable[[PackageInstallations], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        installations = PackageInstallations(NodePackageFolders(folder / "packages"))
        try:
            await asyncio.wait_for(scene(installations), PATIENCE_SECONDS)
        finally:
            await installations.close()

    asyncio.run(whole())


async def asked(
    installations: PackageInstallations, *lists: tuple[NodePackage, ...]
) -> list[asyncio.Task[str]]:
    """A task for each, which has asked already; it comes to the refusal, or to nothing when there is none."""

    async def ask(packages: tuple[NodePackage, ...]) -> str:
        try:
            await installations.provide(packages)
        except BackendError as refused:
            assert refused.code == "InvalidExternalModules"
            return refused.message
        return ""

    tasks = [asyncio.create_task(ask(packages)) for packages in lists]
    await asyncio.sleep(0)
    return tasks


def test_all_who_wait_for_an_installation_hear_what_became_of_it_and_the_next_one_tries_again(
    npm: HeldNpm, tmp_path: Path
) -> None:
    npm.holds(tmp_path, "echo 'npm error 404'; exit 1")

    async def scene(installations: PackageInstallations) -> None:
        tasks = await asked(installations, *[ANSWER] * WAITERS)
        await npm.begins()
        npm.goes_on()
        refusals = await asyncio.gather(*tasks)
        assert len(set(refusals)) == 1 and refusals[0].endswith(":\nnpm error 404")
        assert len(npm.calls) == 1
        npm.does(INSTALL_ANSWER)
        assert await asyncio.gather(*await asked(installations, *[ANSWER] * WAITERS)) == [""] * WAITERS
        assert len(npm.calls) == 2

    play(tmp_path, scene)


def test_waiting_for_npm_takes_no_thread_from_other_work(npm: HeldNpm, tmp_path: Path) -> None:
    npm.holds(tmp_path, INSTALL_ANSWER)

    async def scene(installations: PackageInstallations) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        tasks = await asked(installations, ANSWER)
        await npm.begins()
        await asyncio.to_thread(lambda: None)
        assert not tasks[0].done()
        npm.goes_on()
        assert await tasks[0] == ""

    play(tmp_path, scene)


def test_what_is_installed_waits_for_no_other_list(npm: HeldNpm, tmp_path: Path) -> None:
    async def scene(installations: PackageInstallations) -> None:
        await installations.provide(ANSWER)
        npm.holds(tmp_path, INSTALL_ANSWER)
        tasks = await asked(installations, OTHER)
        await npm.begins()
        await installations.provide(ANSWER)
        await installations.provide(())
        assert not tasks[0].done()
        npm.goes_on()
        assert await tasks[0] == ""

    play(tmp_path, scene)


def test_one_who_gives_up_does_not_end_it_for_the_others(npm: HeldNpm, tmp_path: Path) -> None:
    npm.holds(tmp_path, INSTALL_ANSWER)

    async def scene(installations: PackageInstallations) -> None:
        leaving, staying = await asked(installations, ANSWER, ANSWER)
        await npm.begins()
        leaving.cancel()
        npm.goes_on()
        assert await staying == "" and leaving.cancelled() and len(npm.calls) == 1

    play(tmp_path, scene)


def test_after_close_everybody_is_refused_and_no_npm_is_left(npm: HeldNpm, tmp_path: Path) -> None:
    npm.holds(tmp_path, "sleep 600")

    async def scene(installations: PackageInstallations) -> None:
        tasks = await asked(installations, ANSWER, OTHER)
        await npm.begins()
        await installations.close()
        tasks += await asked(installations, ANSWER)
        refusals = await asyncio.gather(*tasks)
        assert all(refusal.endswith("The server is stopping.") for refusal in refusals)
        assert len(npm.calls) == 1, "the next in the queue has not begun"
        assert list((tmp_path / "packages").iterdir()) == []
        while list(processes_with_variable(FOLDER_VARIABLE, str(tmp_path / "packages"))):
            await asyncio.sleep(0.01)  # what npm had started was killed with it, and is about to go

    play(tmp_path, scene)
