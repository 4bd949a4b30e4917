"""Runs Node actions on this node: which process, for how many at once, and what others are told (D12).

An action that another one calls takes a process of its own and waits for nobody, or both might wait for
ever; only those from outside are counted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from actors.action_operations import ActionOperations, ActionServices
from actors.admission import Admission
from actors.calls import Ended
from actors.chain import Attempt
from actors.node_run import NodeRun
from actors.node_runners import NodeRunners
from actors.package_installations import PackageInstallations
from functions import node_action
from functions.call_checks import Invocation
from functions.catalog import Catalog
from functions.images import Images
from functions.invocation import RunOutcome
from functions.node_action import PreparedNodeAction
from functions.node_bundle import node_bundle
from functions.source_map import SourceMap
from log.limits import NODE_ACTIONS_RUNNING_MAX


class NodeActions:
    """The Node actions of one executor. Used on the event loop's thread."""

    def __init__(
        self,
        folder: Path,
        packages: PackageInstallations,
        images: Images,
        deployment: dict[str, Any],
        system_environment: dict[str, str],
        begin_reading: Callable[[], Awaitable[Attempt]],
        running_max: int = NODE_ACTIONS_RUNNING_MAX,
    ) -> None:
        self._images, self._deployment = images, deployment
        self._system_environment, self._begin_reading = system_environment, begin_reading
        self._runners = NodeRunners(folder, packages)
        self._admission = Admission(running_max, 0)

    @property
    def pids(self) -> list[int]:
        return self._runners.pids

    async def close(self) -> None:
        await self._runners.close()

    async def run(
        self, invocation: Invocation, attempt: Attempt, services: ActionServices, depth: int
    ) -> Ended:
        """Check it at the attempt's snapshot, then run it."""
        prepared = node_action.prepare(attempt.transaction.catalog, invocation, self._deployment)
        if isinstance(prepared, RunOutcome):
            return Ended(prepared, attempt.transaction.begin_ts)
        async with self._admitted(depth):
            return await self._run_prepared(
                prepared, attempt, ActionOperations(prepared.context, services, depth)
            )

    @asynccontextmanager
    async def _admitted(self, depth: int) -> AsyncIterator[None]:
        if depth > 0:
            yield
            return
        await self._admission.enter(0)
        try:
            yield
        finally:
            self._admission.leave(0)

    async def _run_prepared(
        self, prepared: PreparedNodeAction, attempt: Attempt, operations: ActionOperations
    ) -> Ended:
        snapshot = attempt.transaction.snapshot
        bundle = node_bundle(prepared.catalog, self._system_environment)
        process = await self._runners.take(bundle, lambda: bundle.sources(snapshot))
        run = NodeRun(prepared, process, operations)
        try:
            settled = await run.settle()
        finally:
            await self._runners.give_back(process, run.memory_bytes)
        now = await self._begin_reading()  # minutes may have gone by: the first snapshot may be no more

        def source_map(path: str) -> SourceMap | None:
            return self._images.source_map_of(prepared.catalog, now.transaction.snapshot, path)

        outcome = node_action.conclude(prepared, settled, run.host.logs, run.unawaited, source_map)
        return Ended(outcome, now.transaction.begin_ts, calls=operations.calls)


def is_node_action(catalog: Catalog, invocation: Invocation) -> bool:
    """Whether the call names a function of a Node module."""
    module = catalog.modules.get(invocation.path.module)
    return module is not None and module.is_node
