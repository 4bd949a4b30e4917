"""Runs actions on this node: admission, the run itself, and what others are told of it (design D12).

A suspended action keeps its memory. All of them together keep to a budget: beyond it, or beyond a number of
running actions, further ones wait for their turn, and are refused when they have waited for too long. An
action that another one calls runs inside it: it waits for nobody, or both would wait for ever.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from actors.action_files import Transactions
from actors.action_operations import ActionOperations, ActionServices
from actors.action_run import ActionRun
from actors.calls import Ended, RunCall
from actors.egress import EgressRules
from actors.executor_pool import ExecutorPool
from actors.fetch import HttpTransport
from actors.function_runs import invocation_of
from actors.http_exchange import HttpExchange
from functions import action
from functions.action import PreparedAction
from functions.determinism import SEED_BYTES
from functions.errors import too_many_concurrent_actions
from functions.http_action import HttpActionRequest, prepare_http_action
from functions.images import Images
from functions.invocation import RunOutcome
from functions.isolate import Engine
from functions.path import parse_function_path
from functions.source_map import SourceMap
from functions.system.files import FileAccess
from log.limits import (
    ACTION_ADMISSION_SECONDS_MAX,
    ACTION_THREADS,
    ACTIONS_MEMORY_BYTES_MAX,
    ACTIONS_RUNNING_MAX,
)

_THREAD_STACK_BYTES = 64 << 20  # JavaScript nests on it


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
    ) -> None:
        self._engine, self._images, self._deployment = engine, images, deployment
        self._begin_reading = transactions.begin
        self._transport = HttpTransport(egress)
        self._services = ActionServices(
            executors, transactions, self._run_nested, files, self._transport, now_ns
        )
        self._threads = _threads(ACTION_THREADS)
        self._admission = Admission(ACTIONS_RUNNING_MAX, ACTIONS_MEMORY_BYTES_MAX)
        self._last_image_bytes = 0

    async def close(self) -> None:
        await self._transport.close()

    @property
    def running(self) -> int:
        return self._admission.running

    async def run(self, call: RunCall) -> Ended:
        """An action that somebody outside asked for."""
        estimate_bytes = self._last_image_bytes
        await self._admission.enter(estimate_bytes)
        try:
            return await self._run_nested(call, depth=0)
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
            return await self._run_prepared(prepared, 0, exchange) if prepared is not None else None
        finally:
            self._admission.leave(estimate_bytes)

    async def _run_nested(self, call: RunCall, depth: int) -> Ended:
        attempt = await self._begin_reading()
        prepared = action.prepare(
            self._images,
            attempt.transaction.catalog,
            attempt.transaction.snapshot,
            invocation_of(call, parse_function_path(call.path)),
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


class Admission:
    """Who may start: first come, first served, within a number and a sum of bytes."""

    def __init__(self, running_max: int, bytes_max: int) -> None:
        self._running_max, self._bytes_max = running_max, bytes_max
        self._bytes = 0
        self._turns = asyncio.Lock()
        self._left = asyncio.Event()
        self.running = 0

    async def enter(self, size_bytes: int) -> None:
        """Wait for room; refused with the specified text when there is none for too long (spec 03 4)."""
        try:
            async with asyncio.timeout(ACTION_ADMISSION_SECONDS_MAX), self._turns:
                while not self._has_room(size_bytes):
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError:
            raise too_many_concurrent_actions(self.running) from None
        self.running += 1
        self._bytes += size_bytes

    def leave(self, size_bytes: int) -> None:
        self.running -= 1
        self._bytes -= size_bytes
        self._left.set()

    def _has_room(self, size_bytes: int) -> bool:
        is_alone = self.running == 0
        return is_alone or (self.running < self._running_max and self._bytes + size_bytes <= self._bytes_max)


def _threads(count: int) -> ThreadPoolExecutor:
    """Threads with room for JavaScript's stack. All are started here: the size is that of the moment."""
    before = threading.stack_size(_THREAD_STACK_BYTES)
    try:
        pool = ThreadPoolExecutor(count, thread_name_prefix="javascript")
        all_there = threading.Barrier(count + 1)
        for _ in range(count):
            pool.submit(all_there.wait)
        all_there.wait()
        return pool
    finally:
        threading.stack_size(before)
