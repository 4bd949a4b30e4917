"""One seeded world: a disk, reigns of cores, executors, gateways, clients, and what goes wrong.

`run_history(seed)` plays it to the end and returns what happened. Everything random comes from the seed;
everything runs on one thread in virtual time. The actors are the product's own; see docs/simulation.md for
what stands in for what.

Read in this order: World.run, _play, Supervisor, then faults.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import actors.core
import actors.node_reader
import cluster.links
from actors.core import Core
from actors.runtime import Pauses
from functions.catalog import Catalog, load_catalog
from functions.snapshot import SnapshotReader
from log.record import Record
from log.store import EpochLost

from .app import first_records
from .clients import CROWDED, QUIET, Operator, PlainCaller, SyncClient
from .disk import SimulatedDisk, Syncs
from .faults import Storm
from .history import Durable, Event, Fault, Folded, History, QueryRun, Stopped, Told
from .hosts import CoreHost, ExecutorHost, GatewayHost
from .network import Network
from .node_view import MemoryShard, MemoryViewReader, NodeView
from .processes import Process, ProcessKilled, make_task, running_process
from .virtual_loop import Stuck, VirtualLoop, installed

EXECUTORS, GATEWAYS = 2, 2
SYNC_CLIENTS, PLAIN_CALLERS = 3, 2
MUTATIONS_PER_CLIENT = (2, 5)  # at least, and below
STEPS_MIN = 200
REST_SECONDS_MAX = 90.0
SETTLING_SECONDS = 1.0
_POLL_SECONDS, _RECONNECT_SECONDS = 0.05, 0.3  # seldomer than the product: more looks in vain prove nothing
_NOTICED_SECONDS_MAX = 0.1  # until a death is noticed and its successor started


class World:
    """See the module text. One world plays one history."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self.history = History(seed)
        self.loop = VirtualLoop()
        self.loop.set_task_factory(make_task)  # type: ignore[arg-type]
        self.loop.set_exception_handler(self._loop_failed)
        self.network = Network(self.loop, random.Random(chance.random()))
        self.network.observed = self._observed
        self.syncs = Syncs(self.network, slowness=chance.choice((1, 1, 10)))
        self.loop.blocking_call = self.syncs.start
        self.disk = SimulatedDisk(first_records().records, self._became_durable)
        self.views: dict[Path, NodeView] = {}
        self.supervisor = Supervisor(self)
        self._randomness = random.Random(chance.random())
        self.storm = Storm(self, random.Random(chance.random()))
        self._client_chance = random.Random(chance.random())
        self.clients: list[SyncClient | PlainCaller] = []
        self._catalogs: dict[int, Catalog] = {}
        self._is_over = False

    def run(self) -> History:
        asyncio.set_event_loop(self.loop)
        history = self.history
        try:
            with installed(self.loop, self._randomness, self._kill_running), self._grounded():
                try:
                    self.loop.run_until_complete(self._play())
                except Stuck as stuck:
                    history.defects.append(str(stuck))
                self._end()
        finally:
            asyncio.set_event_loop(None)
        history.records = self.disk.records
        history.steps = self.steps
        return history

    @property
    def steps(self) -> int:
        return self.network.messages + self.syncs.syncs

    def record(self, event: Event) -> None:
        self.history.events.append((self.loop.time(), event))

    async def _play(self) -> None:
        self.supervisor.start()
        self._start_clients()
        await self.storm.blow()
        self.record(Fault("the storm is over"))
        deadline = self.loop.time() + REST_SECONDS_MAX
        self.supervisor.end_old_reigns()
        while self.loop.time() < deadline:
            await asyncio.sleep(0.1)
            if self._is_at_rest() and self.steps < STEPS_MIN:
                self._last_caller.want_more()
            elif self._is_at_rest():
                await asyncio.sleep(SETTLING_SECONDS)
                if self._is_at_rest():  # nobody learnt meanwhile that a connection had been cut
                    break
        for client in self.clients:
            self.record(client.at_rest())

    def _is_at_rest(self) -> bool:
        if not (self.supervisor.is_at_rest and self._operating.done()):
            return False
        return all(client.is_at_rest for client in self.clients)

    def _start_clients(self) -> None:
        find, chance = self.supervisor.some_gateway, self._client_chance
        habits = chance.choice((QUIET, CROWDED))
        for number in range(1, SYNC_CLIENTS + PLAIN_CALLERS + 1):
            name = f"client-{number}"
            process = Process(name, self.loop)
            own = random.Random(chance.random())
            mutations = own.randrange(*MUTATIONS_PER_CLIENT)
            facts = (name, process, own, find, self.record, habits, mutations)
            if number <= SYNC_CLIENTS:
                client: SyncClient | PlainCaller = SyncClient(*facts)
            else:
                client = self._last_caller = PlainCaller(*facts)
            self.clients.append(client)
            process.spawn(client.run())
        operator = Operator(random.Random(chance.random()), self.supervisor.some_executor, self.record)
        self._operating = Process("operator", self.loop).spawn(operator.run())

    def _end(self) -> None:
        """Whatever still waits is cancelled, so that nothing of this world reaches the next."""
        self._is_over = True
        while tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                task.cancel()
            with contextlib.suppress(Stuck):
                self.loop.run_until_complete(self.loop.create_task(asyncio.sleep(0)))
        self.loop.close()

    # --- what actors see of the world ---------------------------------------------------------------

    @contextlib.contextmanager
    def _grounded(self) -> Iterator[None]:
        """The product's files and sockets are this world's."""
        with contextlib.ExitStack() as stack:
            for place, name, replacement in (
                (actors.core, "IndexShard", self._make_shard),
                (actors.node_reader, "ViewReader", lambda folder, _max: MemoryViewReader(self.views[folder])),
                (actors.node_reader, "_POLL_SECONDS", _POLL_SECONDS),
                (actors.node_reader, "load_catalog", self._catalog),
                (cluster.links, "_RECONNECT_SECONDS", _RECONNECT_SECONDS),
                (cluster.links, "connect", self.network.connect),
                (cluster.links, "stop_process", self._stop_running),
            ):
                stack.enter_context(mock.patch.object(place, name, replacement))
            quiet = logging.getLogger().manager.disable
            logging.disable(logging.CRITICAL)  # what actors say about faults is expected here
            stack.callback(logging.disable, quiet)
            yield

    def _make_shard(self, folder: Path, pauses: Pauses, store: object = None) -> MemoryShard:
        view = self.views.setdefault(folder, NodeView())
        return MemoryShard(view, folder, pauses, self._folded, self._catalog)

    def _catalog(self, snapshot: SnapshotReader) -> Catalog:
        """Decoded once in a world: whatever view it comes from, a catalog_ts stands for one catalog."""
        catalog = self._catalogs.get(snapshot.catalog_ts)
        if catalog is None:
            catalog = self._catalogs[snapshot.catalog_ts] = load_catalog(snapshot)
        return catalog

    def stop(self, process: Process, failure: BaseException) -> None:
        """An actor found that it must end its process."""
        if process.is_alive and not self._is_over:
            is_expected = isinstance(failure, EpochLost | OSError)
            reason = f"{type(failure).__name__}: {failure}"
            self.record(Stopped(process.name, reason, is_expected))
            process.kill()

    def _stop_running(self, failure: BaseException) -> None:
        self.stop(running_process(), failure)
        raise ProcessKilled from failure

    def _kill_running(self, pid: int, signal: int) -> None:
        """A process reached a pause that was armed (actors/runtime.py)."""
        process = running_process()
        self.record(Fault(f"{process.name} was killed at a pause"))
        process.kill()
        raise ProcessKilled

    # --- what is written down -----------------------------------------------------------------------

    def _became_durable(self, records: Any) -> None:
        self.record(Durable(tuple(record.ts for record in records)))

    def _folded(self, view: str, record: Record) -> None:
        self.record(Folded(view, record.seq, record.ts, record.crc))

    def _observed(self, process: Process, method: str, arguments: tuple[Any, ...], value: Any) -> None:
        name = process.name
        match method:
            case "stream":
                self.record(Told(name, "stream", arguments[0]))
            case "commit":
                for answer in value:
                    if answer[0] == "committed":
                        self.record(Told(name, "committed", answer[1]))
            case "listen" | "latest_ts":
                self.record(Told(name, "newest", value))
            case "run" if arguments[0][0] == "Query":
                self.record(QueryRun(name, arguments[0][1], arguments[0][3], value[4], value[0]))

    def _loop_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised. (What a task raised, its owner was told.)"""
        failure = context.get("exception")
        if "handle" in context and not isinstance(failure, ProcessKilled):
            self.history.defects.append(f"{context['message']}: {failure!r}")


class Supervisor:
    """Starts every process, and its successor when it died; tells everybody where everybody is."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = itertools.count(1)
        self.core: CoreHost | None = None
        self.executors: dict[str, ExecutorHost] = {}
        self.gateways: dict[str, GatewayHost] = {}
        self._old_reigns: list[Process] = []
        self._tellings = 0  # begun and not ended

    def start(self) -> None:
        self.start_core(Path("node-1"))
        for number in range(1, EXECUTORS + 1):
            self._start_executor(f"executor-{number}")
        for number in range(1, GATEWAYS + 1):
            self._start_gateway(f"gateway-{number}")

    @property
    def is_at_rest(self) -> bool:
        """Whether a core serves, everybody has been told of it, and is done connecting to it."""
        core = self.core
        if core is None or core.server is None or not core.process.is_alive:
            return False
        return self._tellings == 0 and all(host.process.is_alive for host in self.followers())

    def followers(self) -> list[ExecutorHost | GatewayHost]:
        return [*self.executors.values(), *self.gateways.values()]

    def some_gateway(self) -> GatewayHost | None:
        """One that is up, as a load balancer would choose."""
        up = [host for host in self.gateways.values() if host.process.is_alive and host.is_serving]
        return self._world.network.chance.choice(up) if up else None

    def some_executor(self) -> ExecutorHost | None:
        up = [host for host in self.executors.values() if host.process.is_alive]
        return self._world.network.chance.choice(up) if up else None

    def replace_core(self, frozen_seconds: float) -> None:
        """The core does not answer: it is held for dead, and a node elsewhere takes over. It is only
        frozen, and will go on; the log must refuse it."""
        old = self.core
        if old is None or old.server is None:
            return
        old.process.freeze(frozen_seconds)
        old.process.on_death = lambda: None
        self._old_reigns.append(old.process)
        self.start_core(Path(f"node-{next(self._numbers) + 1}"))

    def end_old_reigns(self) -> None:
        for process in self._old_reigns:
            process.kill()

    # --- starting -----------------------------------------------------------------------------------

    def start_core(self, node: Path) -> None:
        world = self._world
        process = self._process("core", lambda: self.start_core(node))
        stop = self._stopper(process)
        core = process.context.run(Core, world.disk, node, world.loop.now_ns, stop)
        host = self.core = CoreHost(process, core)

        async def rise() -> None:
            await host.start(world.network, stop)
            if host is self.core:
                self._share_peers()

        process.spawn(rise())

    def _start_executor(self, name: str) -> None:
        process = self._process(name, lambda: self._start_executor(name))
        world = self._world
        self.executors[name] = ExecutorHost(world.network, process, world.loop.now_ns, self._stopper(process))
        self._share_peers()

    def _start_gateway(self, name: str) -> None:
        process = self._process(name, lambda: self._start_gateway(name))
        host = process.context.run(GatewayHost, self._world.network, process, self._stopper(process))
        process.context.run(host.core.start)
        self.gateways[name] = host
        self._share_peers()

    def _share_peers(self) -> None:
        """Tell everyone at about the same time, as the real supervisor does."""
        for host in self.followers():
            self._tellings += 1
            self._soon(partial(self._tell, host))

    def _tell(self, host: ExecutorHost | GatewayHost) -> None:
        telling = host.process.spawn(self._set_peers(host))
        telling.add_done_callback(self._told)

    def _told(self, telling: asyncio.Task[None]) -> None:
        self._tellings -= 1

    async def _set_peers(self, host: ExecutorHost | GatewayHost) -> None:
        """One telling at a time, each the newest there is: a runtime delivers in order."""
        async with host.telling:
            core = self.core.server if self.core is not None else None
            if core is not None:
                await host.set_peers(core, {name: each.server for name, each in self.executors.items()})

    def _process(self, name: str, restart: Callable[[], None]) -> Process:
        process = Process(f"{name}.{next(self._numbers)}", self._world.loop)
        process.on_death = lambda: self._soon(restart)
        return process

    def _stopper(self, process: Process) -> Callable[[BaseException], None]:
        return lambda failure: self._world.stop(process, failure)

    def _soon(self, what: Callable[[], None]) -> None:
        seconds = self._world.network.chance.random() * _NOTICED_SECONDS_MAX
        self._world.loop.call_later(seconds, what)


def run_history(seed: int) -> History:
    """What the world of this seed comes to."""
    return World(seed).run()
