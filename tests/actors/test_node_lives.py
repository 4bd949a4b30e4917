"""The life of a Node.js process: used again or not, broken, killed, out of time or memory, replaced."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import orjson
import pytest

from cluster.processes import identify, wait_ended
from log import limits

from ..support.action_server import play
from ..support.node_server import ECHO, NodeServer


def test_calls_one_after_the_other_share_a_process_and_calls_at_once_do_not(tmp_path: Path) -> None:
    source = """
      let calls = 0;
      export const counts = action(async (_ctx, { ms }) => {
        await new Promise((resolve) => setTimeout(resolve, ms));
        console.log("call", ++calls);
        return process.pid;
      });"""

    async def scene(server: NodeServer) -> None:
        first, second = [await server.value("counts", {"ms": 0}) for _ in range(2)]
        assert first == second
        at_once = await asyncio.gather(*(server.value("counts", {"ms": 100}) for _ in range(3)))
        assert len(set(at_once)) == 3 and first in at_once
        assert set(server.pids) == set(at_once)

    play(NodeServer(tmp_path, source), scene)


def test_a_process_with_a_running_timer_is_not_used_again(tmp_path: Path) -> None:
    source = """
      export const ticks = action(async () => {
        setInterval(() => console.log("tick"), 1);
        return process.pid;
      });
      export const listens = action(async () => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        return process.pid;
      });"""

    async def scene(server: NodeServer) -> None:
        ticking = await server.value("ticks")
        heard = await server.act("listens")
        assert heard.value is not None and orjson.loads(heard.value) != ticking
        assert heard.log_lines == b"[]"

    play(NodeServer(tmp_path, source), scene)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("setTimeout(() => { throw new Error('Yikes'); }, 1);", "Uncaught uncaughtException: Yikes"),
        ("Promise.reject(new Error('Yikes'));", "Uncaught unhandledRejection: Yikes"),
        ("process.exit(1);", "Uncaught process.exit: process.exit() called with exit code 1"),
        (
            "process.exitCode = 4; process.exit();",
            "Uncaught process.exit: process.exit() called with exit code 4",
        ),
        ("process.abort();", "Uncaught process.abort: process.abort() called"),
        ("process.kill(process.pid, 'SIGKILL');", "Transient error while executing action"),
        ("require('node:fs').closeSync(Number(process.argv[5]));", "Transient error while executing action"),
    ],
)
def test_an_action_that_breaks_its_process_fails_and_the_next_one_works(
    tmp_path: Path, statement: str, message: str
) -> None:
    source = f"""
      {ECHO}
      export const breaks = action(async ({{ call }}) => {{
        console.log("before");
        {statement}
        await new Promise((resolve) => setTimeout(resolve, 50));
        await call("getUserIdentity");
      }});"""

    async def scene(server: NodeServer) -> None:
        broken = await server.act("breaks")
        assert broken.error is not None and broken.error.message.split("\n")[0] == message
        assert broken.log_lines == b"[\"[LOG] 'before'\"]"
        assert await server.value("echo", {"a": 1}) == {"a": 1}
        assert len(server.pids) == 1

    play(NodeServer(tmp_path, source), scene)


def test_a_process_that_is_killed_in_the_middle_of_a_call_fails_that_call_alone(tmp_path: Path) -> None:
    source = f"{ECHO} export const hangs = action(() => new Promise(() => {{}}));"

    async def scene(server: NodeServer) -> None:
        assert await server.value("echo") == {}
        hanging = asyncio.create_task(server.failure("hangs"))
        await asyncio.sleep(0.1)
        (pid,) = server.pids
        os.kill(pid, signal.SIGKILL)
        assert await hanging == "Transient error while executing action"
        assert await server.value("echo", {"a": 1}) == {"a": 1}

    play(NodeServer(tmp_path, source), scene)


def test_an_idle_process_that_was_killed_is_noticed_before_it_is_used(tmp_path: Path) -> None:
    async def scene(server: NodeServer) -> None:
        for _ in range(3):
            assert await server.value("echo") == {}
            killed = identify(server.pids[0])
            assert killed is not None
            os.kill(killed.pid, signal.SIGKILL)
            await wait_ended(killed)

    play(NodeServer(tmp_path, ECHO), scene)


def test_an_action_out_of_time_ends_and_one_that_never_yields_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "NODE_ACTION_SECONDS_MAX", 0.4)
    monkeypatch.setattr("actors.node_run.NODE_ACTION_SECONDS_MAX", 0.4)
    monkeypatch.setattr("actors.node_run.NODE_ACTION_STUCK_SECONDS", 2.0)
    source = f"""
      {ECHO}
      export const waits = action(() => new Promise(() => {{}}));
      export const spins = action(async () => {{ for (;;); }});"""

    async def scene(server: NodeServer) -> None:
        text = "Action `waits` execution timed out (maximum duration 0.4s)"
        assert await server.failure("waits") == text
        assert server.pids == []
        assert (await server.failure("spins")).startswith("Function execution unexpectedly timed out. Check")
        assert server.pids == []
        assert await server.value("echo", {"a": 1}) == {"a": 1}

    play(NodeServer(tmp_path, source), scene)


def test_an_action_that_fills_its_memory_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.node_process.NODE_HEAP_BYTES_MAX", 32 * limits.MIB)
    source = f"""
      {ECHO}
      export const fills = action(async () => {{ const all = []; for (;;) all.push([Math.random()]); }});"""

    async def scene(server: NodeServer) -> None:
        text = "JavaScript execution ran out of memory (maximum memory usage: 512 MB)"
        assert await server.failure("fills") == text
        assert await server.value("echo", {"a": 1}) == {"a": 1}

    play(NodeServer(tmp_path, source), scene)


def test_a_push_replaces_what_runs(tmp_path: Path) -> None:
    async def scene(server: NodeServer) -> None:
        assert await server.value("echo") == {}
        (old,) = server.pids
        await server.push_tools("export const echo = action(async () => 'new');")
        assert await server.value("echo") == "new"
        assert len(server.pids) == 1 and old not in server.pids

    play(NodeServer(tmp_path, ECHO), scene)
