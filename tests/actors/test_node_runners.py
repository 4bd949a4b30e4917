"""The pool of Node processes: who gets which, when one ends, and that none is left (real Node.js)."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from actors.node_packages import NodePackageFolders
from actors.node_process import NodeProcess, find_node
from actors.node_runners import NodeRunners
from actors.package_installations import PackageInstallations
from cluster.processes import identify
from functions.node_bundle import NodeBundle
from log import limits
from log.errors import BackendError

from ..support.node_server import needs_node

PATIENCE_SECONDS = 30
SOURCE = """
import { spawn } from "node:child_process";
const register = (handler) => ({ invokeAction: async () => JSON.stringify(await handler()) });
export const pid = register(() => process.pid);
export const spin = register(() => {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  require("node:fs").writeFileSync("child", String(child.pid));
  for (;;);
});
"""
HOST = """
import asyncio, sys
from pathlib import Path
from actors.node_packages import NodePackageFolders
from actors.node_runners import NodeRunners
from actors.package_installations import PackageInstallations
from tests.actors.test_node_runners import bundle, message, sources

async def main():
    runners = NodeRunners(Path(sys.argv[1]), PackageInstallations(NodePackageFolders(None)))
    process = await runners.take(bundle(), sources)
    process.send(message("spin"))
    print(process.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def bundle(key: str = "one") -> NodeBundle:
    return NodeBundle("code", key, (("tools.js", "0"),), {})


def sources() -> dict[str, str]:
    return {"tools.js": SOURCE}


def message(name: str) -> dict[str, Any]:
    call = {"kind": "call", "id": "call", "path": "tools.js", "name": name, "args": "[]"}
    return {**call, "seconds": 60, "linesMax": 256, "charactersMax": 1000}


def play(folder: Path, scene: Callable[[NodeRunners], Coroutine[Any, Any, None]]) -> None:
    needs_node()

    async def whole() -> None:
        runners = NodeRunners(folder / "node", PackageInstallations(NodePackageFolders(None)))
        try:
            await asyncio.wait_for(scene(runners), PATIENCE_SECONDS)
        finally:
            await runners.close()

    asyncio.run(whole())


async def pid_said_by(process: NodeProcess) -> int:
    process.send(message("pid"))
    settled = await process.receive()
    assert settled is not None and settled["isReusable"] is True, settled
    return int(settled["value"])


def is_gone(pid: int, seconds_max: float = 10) -> bool:
    deadline = time.monotonic() + seconds_max
    while identify(pid) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_the_process_used_last_is_used_next(tmp_path: Path) -> None:
    async def scene(runners: NodeRunners) -> None:
        first, second = await runners.take(bundle(), sources), await runners.take(bundle(), sources)
        assert await pid_said_by(second) == second.pid != first.pid
        await runners.give_back(first, 1)
        await runners.give_back(second, 1)
        assert await runners.take(bundle(), sources) is second

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("memory_bytes", "is_kept"),
    [
        (None, False),
        (limits.NODE_PROCESS_MEMORY_BYTES_MAX, True),
        (limits.NODE_PROCESS_MEMORY_BYTES_MAX + 1, False),
    ],
)
def test_a_process_in_doubt_or_too_large_ends(
    tmp_path: Path, memory_bytes: int | None, is_kept: bool
) -> None:
    async def scene(runners: NodeRunners) -> None:
        process = await runners.take(bundle(), sources)
        await runners.give_back(process, memory_bytes)
        assert process.is_running is is_kept
        assert runners.pids == ([process.pid] if is_kept else [])

    play(tmp_path, scene)


def test_a_process_ends_after_its_number_of_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.node_runners.NODE_PROCESS_CALLS_MAX", 3)

    async def scene(runners: NodeRunners) -> None:
        used = []
        for _ in range(4):
            process = await runners.take(bundle(), sources)
            used.append(process.pid)
            await runners.give_back(process, 1)
        assert used[0] == used[1] == used[2] != used[3]

    play(tmp_path, scene)


def test_no_more_idle_processes_are_kept_than_the_limit_says(tmp_path: Path) -> None:
    async def scene(runners: NodeRunners) -> None:
        count = limits.NODE_PROCESSES_IDLE_MAX + 1
        taken = await asyncio.gather(*(runners.take(bundle(), sources) for _ in range(count)))
        for process in taken:
            await runners.give_back(process, 1)
        assert runners.pids == sorted(process.pid for process in taken[:-1])
        assert not taken[-1].is_running

    play(tmp_path, scene)


def test_processes_of_another_environment_end_when_it_has_changed(tmp_path: Path) -> None:
    async def scene(runners: NodeRunners) -> None:
        old = await runners.take(bundle("one"), sources)
        await runners.give_back(old, 1)
        new = await runners.take(bundle("two"), sources)
        assert not old.is_running and new is not old

    play(tmp_path, scene)


def test_nothing_is_left_after_close_whatever_was_running(tmp_path: Path) -> None:
    async def scene(runners: NodeRunners) -> None:
        idle, busy = await runners.take(bundle(), sources), await runners.take(bundle(), sources)
        busy.send(message("spin"))
        await runners.give_back(idle, 1)
        child = await _child_of_spin(tmp_path / "node" / "code")
        await runners.close()
        assert runners.pids == []
        assert all(is_gone(pid) for pid in (idle.pid, busy.pid, child))

    play(tmp_path, scene)


def test_a_process_whose_host_was_killed_ends_with_what_it_started_even_while_it_spins(
    tmp_path: Path,
) -> None:
    needs_node()
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, str(tmp_path / "node")], stdout=subprocess.PIPE, text=True
    )
    assert host.stdout is not None
    pid = int(host.stdout.readline())
    child = asyncio.run(_child_of_spin(tmp_path / "node" / "code"))
    os.kill(host.pid, signal.SIGKILL)
    host.wait()
    host.stdout.close()
    assert is_gone(pid) and is_gone(child)


async def _child_of_spin(folder: Path) -> int:
    """The pid of what `spin` started, once it runs."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (folder / "child").exists() or not (folder / "child").read_text():
            await asyncio.sleep(0.02)
    return int((folder / "child").read_text())


# --- which Node.js ------------------------------------------------------------------------------------


def fake_node(folder: Path, script: str) -> None:
    path = folder / "node"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("version", ["v20.0.0", "v22.11.0", "v24.1.2"])
def test_the_versions_of_the_specification_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    fake_node(tmp_path, f"echo {version}")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_node() == str(tmp_path / "node")


@pytest.mark.parametrize("script", [None, "echo v18.20.0", "echo v21.1.0", "echo v200.1.0", "exit 1"])
def test_any_other_or_none_is_refused_with_the_specified_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    if script is not None:
        fake_node(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError) as refused:
        find_node()
    assert refused.value.code == "NodeNotInstalled"
    assert refused.value.message.startswith(
        'Deployment is not configured to deploy "use node" actions. Node.js v20, 22, or 24 is not installed. '
    )
