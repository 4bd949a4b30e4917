"""SIGKILL under load: nothing acknowledged is lost, nothing is applied twice, every client goes on.

The core is killed at named points of a commit's life and at random; the other processes at random. The
clients are the unmodified npm ones; they replay what was not answered. What they wrote is looked at once
more in test_lives.py, after the death of the whole server and the loss of every view.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from actors.runtime import Pauses

from ..support.server import RunningServer
from .load import check, load_on

SEED = 20261125
KILLS_PER_LOAD = 5  # the lists that watchers hold stay short
PASSES_MAX = 40
REST_SECONDS_MAX = 0.5


def kill_under_load(server: RunningServer, name: str, kills: int, kill: Callable[[], str]) -> list[str]:
    """Kill that often, with new clients every few times; returns the channels they wrote to.

    `kill` says what it did, for whoever has to do it again.
    """
    channels = []
    for first in range(0, kills, KILLS_PER_LOAD):
        channels.append(f"{name}-{first}")
        with load_on(server, channels[-1]) as load:
            done = [kill() for _ in range(min(KILLS_PER_LOAD, kills - first))]
            check(load.finish(), f"{name}, seed {SEED}, from kill {first}: {done}")
    return channels


@pytest.mark.parametrize("label", Pauses.LABELS)
def test_a_core_killed_at_a_named_point_loses_and_doubles_nothing(
    server: RunningServer, kills: int, tally: Counter[str], channels: list[str], label: str
) -> None:
    chance = random.Random(f"{SEED}/{label}")

    def kill() -> str:
        pid, passes = server.pid_of("core"), chance.randrange(1, PASSES_MAX)
        server.ask("core", "arm", label, passes)
        server.wait_replaced("core", pid)
        tally[f"core at {label}"] += 1
        return f"at pass {passes} of {label}"

    channels.extend(kill_under_load(server, f"core-{label}", kills, kill))


@pytest.mark.parametrize("role", ["core", "executor-1", "executor-2", "gateway", "slow-executor"])
def test_a_process_killed_at_random_loses_and_doubles_nothing(
    server: RunningServer, kills: int, tally: Counter[str], channels: list[str], role: str
) -> None:
    chance = random.Random(f"{SEED}/{role}")

    def kill() -> str:
        rest_seconds = chance.random() * REST_SECONDS_MAX
        time.sleep(rest_seconds)  # the moment of the kill is the random variable
        server.wait_replaced(role, server.kill(role))
        tally[f"{role} at random"] += 1
        return f"after {rest_seconds:.3f} s"

    channels.extend(kill_under_load(server, f"random-{role}", kills, kill))
