"""The supervisor starts again what was lost, and gives up a process that cannot start."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cluster import supervisor
from cluster.config import Settings
from cluster.data_folder import DataFolder
from cluster.processes import ProcessIdentity, identify
from cluster.supervisor import Supervisor


class FakeActor:
    """A real process each time; the ones whose number is in `stuck` never start."""

    def __init__(self, stuck: set[int]) -> None:
        self._stuck, self._number = stuck, 0
        self.process: ProcessIdentity | None = None
        self.address: tuple[str, int] | None = None
        self.attempts: list[int] = []
        self.running: list[subprocess.Popen[bytes]] = []

    async def start(self) -> None:
        self.attempts.append(self._number)
        if self._number in self._stuck:
            raise OSError("the port is taken")
        self.running.append(subprocess.Popen(["sleep", "60"]))
        self.process, self.address = identify(self.running[-1].pid), ("127.0.0.1", 1)

    def replace(self) -> None:
        self._number += 1

    async def set_peers(self, peers: Any) -> None:
        return None

    async def stop(self) -> None:
        return None


class FakeRuntime:
    def __init__(self) -> None:
        self.actors: dict[str, FakeActor] = {}

    def spawn(self, config: Any) -> FakeActor:
        return self.actors.setdefault(config.role, FakeActor({1} if config.role == "gateway" else set()))


def test_a_process_that_cannot_start_is_given_up_for_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_RETRY_SECONDS", 0.001)
    folder, runtime = DataFolder(tmp_path), FakeRuntime()
    folder.prepare()
    settings = Settings().model_copy(update={"data_folder": tmp_path, "executors": 1})

    async def scenario() -> None:
        watched = Supervisor(runtime, settings, folder, folder.credentials(settings))
        await watched.start()
        watching = asyncio.create_task(watched.watch())
        gateway = runtime.actors["gateway"]
        gateway.replace()  # from now on it is stuck
        gateway.running[0].kill()
        gateway.running[0].wait()
        async with asyncio.timeout(20):
            while len(gateway.running) < 2:
                await asyncio.sleep(0.01)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert gateway.attempts == [0, *[1] * 25, 2], "tried for a while, then with another process"

    try:
        asyncio.run(scenario())
    finally:
        for actor in runtime.actors.values():
            for process in actor.running:
                process.kill()
                process.wait()
