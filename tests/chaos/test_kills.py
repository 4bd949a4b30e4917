"""SIGKILL under load: nothing acknowledged is lost, nothing is applied twice, every client goes on.

The core is killed at named points of a commit's life and at random; the other processes at random. The
clients are the unmodified npm ones; they replay what was not answered.
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.runtime import Pauses

from ..support.server import RunningServer

LOAD = Path(__file__).with_name("load.mjs")
WRITERS = 4
PATIENCE_SECONDS = 90
SEED = 20261125


class Load:
    """The running clients. `finish` lets them settle and checks what they saw."""

    def __init__(self, server: RunningServer, channel: str) -> None:
        self._process = subprocess.Popen(
            ["node", str(LOAD), server.url, channel, str(WRITERS)],
            env=server.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        for _ in range(WRITERS):  # every writer has had an answer
            line = self._next_line()
            assert "started" in line, line

    def _next_line(self) -> str:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith("> "):
                return line
        raise AssertionError("the load ended early")

    def finish(self) -> dict[str, Any]:
        out, err = self._process.communicate(timeout=PATIENCE_SECONDS)
        assert self._process.returncode == 0, err
        assert "Invalid start version" not in out + err, "the chain of transitions never tears"
        return {
            what: value
            for what, value in (json.loads(line[2:]) for line in out.splitlines() if line.startswith("> "))
        }

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


@contextmanager
def load_on(server: RunningServer, channel: str) -> Iterator[Load]:
    load = Load(server, channel)
    try:
        yield load
    finally:
        load.end()


def check(seen: dict[str, Any]) -> None:
    """What every client may rely on, whatever was killed."""
    stored, acknowledged = seen["stored"], seen["acknowledged"]
    doubled = [token for token, times in Counter(stored).items() if times > 1]
    assert doubled == [], "no mutation is applied twice"
    assert set(acknowledged) <= set(stored), "no acknowledged mutation is lost"
    assert set(stored) == set(acknowledged), "every promise resolved, so nothing else is stored"
    for name, results in seen["counts"].items():
        assert results == list(range(1, len(results) + 1)), f"{name} was incremented once per call, in order"
    assert seen["watchers that converged"] == 3, "every subscriber has the newest state without a reload"
    assert seen["went back"] == 0, "nobody was shown an older state"


@pytest.mark.parametrize("label", Pauses.LABELS)
def test_a_core_killed_at_a_named_point_loses_and_doubles_nothing(
    server: RunningServer, kills: int, tally: Counter[str], label: str
) -> None:
    rng = random.Random(f"{SEED}/{label}")
    with load_on(server, f"core-{label}") as load:
        for _ in range(kills):
            pid, passes = server.pid_of("core"), rng.randrange(1, 40)
            server.ask("core", "arm", label, passes)
            server.wait_replaced("core", pid)
            tally[f"core at {label}"] += 1
        check(load.finish())


@pytest.mark.parametrize("role", ["core", "executor-1", "executor-2", "gateway"])
def test_a_process_killed_at_random_loses_and_doubles_nothing(
    server: RunningServer, kills: int, tally: Counter[str], role: str
) -> None:
    rng = random.Random(f"{SEED}/{role}")
    with load_on(server, f"random-{role}") as load:
        for _ in range(kills):
            time.sleep(rng.random() * 0.5)  # the moment of the kill is the random variable
            pid = server.kill(role)
            server.wait_replaced(role, pid)
            tally[f"{role} at random"] += 1
        check(load.finish())
