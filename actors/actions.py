"""Runs actions on this node: admission, the run itself, and what others are told of it (design D12).

A suspended action keeps its memory. All of them together keep to a budget: beyond it, or beyond a number of
running actions, further ones wait for their turn, and are refused when they have waited for too long. An
action that another one calls runs inside it: it waits for nobody, or both would wait for ever.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from actors.action_files import Transactions
from actors.action_operations import ActionOperations, ActionServices
from actors.action_run import ActionRun
from actors.admission import Admission
from actors.calls import Ended, RunCall
from actors.chain import Attempt
from actors.egress import EgressRules
from actors.executor_pool import ExecutorPool
from actors.fetch import HttpTransport
from actors.function_runs import invocation_of
from actors.http_exchange import HttpExchange
from actors.javascript_threads import javascript_threads
from actors.node_actions import NodeActions, is_node_action
from functions import action
from functions.action import PreparedAction
from functions.call_checks import component_not_found_text
from functions.determinism import SEED_BYTES
from functions.http_action import HttpActionRequest, prepare_http_action
from functions.images import Images
from functions.invocation import RunOutcome
from functions.isolate import Engine
from functions.node_errors import node_not_installed
from functions.outcome import refusal
from functions.path import parse_function_path
from functions.source_map import SourceMap
from functions.system.files import FileAccess
from log.limits import (
    ACTION_THREADS,
    ACTIONS_MEMORY_BYTES_MAX,
    ACTIONS_RUNNING_MAX,
)


class Actions:
    """The actions of one executor. Used on the event loop's thread."""

    def __init__(
        self,
        engine: Engine,
        images: Images,
        deployment: dict[str, Any],
        executors: ExecutorPool,
        transactions: Transactions,
        files: FileAccess,
        egress: EgressRules,
        now_ns: Callable[[], int],
        node: NodeActions | None,
        running_max: int = ACTIONS_RUNNING_MAX,
    ) -> None:
        self._engine, self._images, self._deployment = engine, images, deployment
        self._begin_reading, self._node = transactions.begin, node
        self._transport = HttpTransport(egress)
        self._services = ActionServices(
            executors, transactions, self._run_nested, files, self._transport, now_ns
        )
        self._threads = javascript_threads(ACTION_THREADS)
        self._admission = Admission(running_max, ACTIONS_MEMORY_BYTES_MAX)
        self._last_image_bytes = 0

    async def close(self) -> None:
        await self._transport.close()
        if self._node is not None:
            await self._node.close()

    @property
    def running(self) -> int:
        return self._admission.running

    @property
    def waiting(self) -> int:
        return self._admission.waiting

    @property
    def node_pids(self) -> list[int]:
        return self._node.pids if self._node is not None else []

    async def run(self, call: RunCall) -> Ended:
        """An action that somebody outside asked for."""
        estimate_bytes = self._last_image_bytes
        await self._admission.enter(estimate_bytes)
        try:
            return await self._run_nested(call, depth=0)
        finally:
            self._admission.leave(estimate_bytes)

    async def run_job(self, call: RunCall) -> Ended | None:
        """A scheduled one. None: the deployment is paused, and the action did not start."""
        estimate_bytes = self._last_image_bytes
        await self._admission.enter(estimate_bytes)
        try:
            attempt = await self._begin_reading()
            if attempt.transaction.catalog.is_paused:
                return None
            return await self._run_at(attempt, call, depth=0)
        finally:
            self._admission.leave(estimate_bytes)

    async def run_http(self, request: HttpActionRequest, exchange: HttpExchange) -> Ended | None:
        """A request from outside, answered through the exchange; None when the app answers none."""
        estimate_bytes = self._last_image_bytes
        await self._admission.enter(estimate_bytes)
        try:
            attempt = await self._begin_reading()
            prepared = prepare_http_action(
                self._images,
                attempt.transaction.catalog,
                attempt.transaction.snapshot,
                request,
                self._deployment,
                os.urandom(SEED_BYTES),
                float(time.time_ns() // 1_000_000),
            )
            if isinstance(prepared, RunOutcome):
                return Ended(prepared, attempt.transaction.begin_ts)
            return await self._run_prepared(prepared, 0, exchange) if prepared is not None else None
        finally:
            self._admission.leave(estimate_bytes)

    async def _run_nested(self, call: RunCall, depth: int) -> Ended:
        return await self._run_at(await self._begin_reading(), call, depth)

    async def _run_at(self, attempt: Attempt, call: RunCall, depth: int) -> Ended:
        """With the modules of the attempt's moment."""
        catalog = attempt.transaction.catalog_of(call.component)
        if catalog is None:
            outcome = RunOutcome(None, refusal(component_not_found_text(call.component)), "Action")
            return Ended(outcome, attempt.transaction.begin_ts)
        invocation = invocation_of(call, parse_function_path(call.path))
        if is_node_action(catalog, invocation):
            if self._node is None:
                raise node_not_installed("This server keeps no processes for it.")
            return await self._node.run(invocation, attempt, self._services, depth)
        prepared = action.prepare(
            self._images,
            catalog,
            attempt.transaction.snapshot,
            invocation,
            self._deployment,
            os.urandom(SEED_BYTES),
            float(time.time_ns() // 1_000_000),
        )
        if isinstance(prepared, RunOutcome):
            return Ended(prepared, attempt.transaction.begin_ts)
        self._last_image_bytes = prepared.image.bytes_held
        return await self._run_prepared(prepared, depth)

    async def _run_prepared(
        self, prepared: PreparedAction, depth: int, exchange: HttpExchange | None = None
    ) -> Ended:
        operations = ActionOperations(prepared.context, self._services, depth, exchange)
        isolate = self._engine.isolate()
        try:
            run = ActionRun(prepared.context, isolate, self._threads, operations)
            if exchange is not None:
                exchange.logs = run.host.logs
            settled = await run.settle(prepared.image, prepared.request)
            unawaited = isolate.unawaited_operations()
        finally:
            self._engine.release(isolate)
        attempt = await self._begin_reading()  # hours may have gone by: the first snapshot may be no more

        def source_map(path: str) -> SourceMap | None:
            return self._images.source_map_of(prepared.catalog, attempt.transaction.snapshot, path)

        outcome = action.conclude(prepared, settled, run.host.logs, unawaited, source_map)
        return Ended(outcome, attempt.transaction.begin_ts, calls=operations.calls)
