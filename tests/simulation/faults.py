"""What goes wrong in a history, and when: drawn from the seed, one fault after another.

Each fault is something a machine or a network does to processes that did nothing wrong. After the storm
everything heals, so that whatever was owed can be paid.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from actors.runtime import Pauses

from .history import Fault

if TYPE_CHECKING:
    from .world import World

_STORM_SECONDS = (0.8, 2.0)
_NEVER = 10**9
_CALM_SHARE = 0.1  # of histories without any fault: the checkers must hold in good weather too


class Storm:
    """All faults of one world."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world, self._chance = world, chance
        self._faults: list[Callable[[], str | None]] = [
            self._cut_a_connection,
            self._cut_a_connection,
            self._cut_a_connection,
            self._kill_the_core,
            self._kill_the_core_at_a_pause,
            self._kill_the_core_at_a_pause,
            self._replace_the_core,
            self._freeze_somebody,
            self._kill_an_executor,
            self._kill_a_gateway,
            self._fail_a_sync,
            self._slow_everything,
        ]

    async def blow(self) -> None:
        chance = self._chance
        is_calm = chance.random() < _CALM_SHARE
        mean_seconds = chance.choice((0.05, 0.15, 0.4))
        loop = self._world.loop
        end = loop.time() + chance.uniform(*_STORM_SECONDS)
        while loop.time() < end:
            await asyncio.sleep(chance.expovariate(1 / mean_seconds))
            what = None if is_calm else chance.choice(self._faults)()
            if what is not None:
                self._world.record(Fault(what))
        self._heal()

    def _heal(self) -> None:
        self._world.network.slow_share = 0.02
        self._world.syncs.failing = 0
        core = self._world.supervisor.core
        if core is not None:
            for label in Pauses.LABELS:
                core.core.pauses.arm(label, _NEVER)

    # --- the faults: each does its harm and says what it was ----------------------------------------

    def _cut_a_connection(self) -> str | None:
        connections = list(self._world.network.connections)
        if not connections:
            return None
        connection = self._chance.choice(connections)
        connection.cut()
        return f"cut {connection.name}"

    def _kill_the_core(self) -> str | None:
        core = self._world.supervisor.core
        if core is None or not core.process.is_alive:
            return None
        core.process.kill()
        return f"killed {core.process.name}"

    def _kill_the_core_at_a_pause(self) -> str | None:
        core = self._world.supervisor.core
        if core is None or core.server is None or not core.process.is_alive:
            return None
        label = self._chance.choice(Pauses.LABELS)
        core.core.pauses.arm(label, self._chance.randrange(1, 4))
        return f"{core.process.name} will be killed {label}"

    def _replace_the_core(self) -> str | None:
        core = self._world.supervisor.core
        if core is None or core.server is None or not core.process.is_alive:
            return None
        self._world.supervisor.replace_core(self._chance.uniform(0.05, 1.5))
        return f"{core.process.name} was held for dead"

    def _freeze_somebody(self) -> str | None:
        supervisor = self._world.supervisor
        process = self._chance.choice([host.process for host in supervisor.followers()])
        process.freeze(self._chance.uniform(0.05, 0.5))
        return f"froze {process.name}"

    def _kill_an_executor(self) -> str | None:
        process = self._chance.choice(list(self._world.supervisor.executors.values())).process
        if not process.is_alive:
            return None
        process.kill()
        return f"killed {process.name}"

    def _kill_a_gateway(self) -> str | None:
        process = self._chance.choice(list(self._world.supervisor.gateways.values())).process
        if not process.is_alive:
            return None
        process.kill()
        return f"killed {process.name}"

    def _fail_a_sync(self) -> str | None:
        self._world.syncs.failing = 1
        return "the next sync fails"

    def _slow_everything(self) -> str | None:
        network = self._world.network
        network.slow_share = self._chance.choice((0.02, 0.1, 0.3))
        return f"{network.slow_share:.0%} of messages are slow"
