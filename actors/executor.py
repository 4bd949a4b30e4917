"""Runs functions: reads the node's view in place, proposes commits to the core, retries on conflict.

JavaScript runs on the loop's own thread, one call at a time; while a commit is on its way the next call
runs. Snapshots, catalogs and images are found here, rules are in functions/. An executor that was given
others to ask runs actions as well (actors/actions.py): it is a slow one (design D12).

Messages (method: arguments -> answer):
    run: call (a list, see RunCall), ts | None   -> outcome (a list, see `outcome_fields`),
                                                    None = an action, which this executor does not run
    run_job: job id, call id, may start actions  -> ["ran", component, path, request id, outcome]
                                                    | ["start", call]
                                                    | None = there is nothing to run now
    run_job_action: job id, call                 -> [component, path, request id, outcome] of what it began
                                                    | None = it is put back, the deployment is paused
    http_begin, http_write, http_refuse, http_read, http_leave: see actors/http_actions.py
    run_inline: call, source, component id       -> an outcome: of the query that this module exports
    operate: name, body (JSON bytes)             -> JSON bytes
    prepare_push: body of a finish_push          -> none: it may be activated now
    status:                                      -> for operators
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from actors.action_files import Transactions
from actors.action_jobs import begin_action, end_action, put_back_action
from actors.actions import Actions
from actors.calls import Ended, RunCall, outcome_fields, wire_call
from actors.chain import Attempt, Done
from actors.egress import EgressRules
from actors.executor_pool import ExecutorPool
from actors.executor_settings import ExecutorSettings, files_of, runner_of
from actors.export_worker import ExportJob
from actors.function_runs import run_given_query, run_mutation, run_query
from actors.http_actions import HttpActions
from actors.import_worker import ImportJob
from actors.job_runs import run_job
from actors.node_actions import NodeActions
from actors.node_packages import NodePackageFolders
from actors.node_reader import NodeReader
from actors.package_installations import PackageInstallations
from actors.push_preparation import PushPreparation
from actors.runtime import Client, Peer
from actors.system_calls import SystemCalls, check_may_write
from actors.table_rows import MinuteRows, TableRows
from actors.transactor import Transactor
from actors.transfer_worker import TransferWorker
from functions.isolate import Engine
from functions.pages import CursorCodec
from functions.path import FunctionPath, parse_function_path
from functions.system.inline_query import given_query
from functions.system.operation import enter_component_of_id
from functions.transaction import Transaction
from log import limits
from log.errors import internal_server_error
from log.invariant import invariant


class Executor:
    """actors.runtime.Actor. `connect` gives it a core, again after the core was replaced."""

    def __init__(
        self,
        engine: Engine,
        settings: ExecutorSettings,
        now_ns: Callable[[], int],
        executors: ExecutorPool | None = None,
    ) -> None:
        self._engine, self._settings, self._now_ns = engine, settings, now_ns
        self._runner = runner_of(engine, settings)
        self._reader = NodeReader(limits.SEARCH_ROWS_PER_STEP)
        self._transactor = Transactor(self._reader, now_ns)
        codec = CursorCodec(settings.instance_secret)
        self._push_preparation = PushPreparation(engine, settings.system_environment, self._begin_reading)
        self._packages = PackageInstallations(NodePackageFolders(settings.node_packages_folder))
        self._system = SystemCalls(
            engine, settings, codec, self._transactor, self._begin_reading, now_ns, self._packages
        )
        self._has_core = asyncio.Event()
        self._actions = self._make_actions(executors) if executors is not None else None
        self._http_actions = HttpActions(self._actions) if self._actions is not None else None
        self._workers = self._make_workers() if executors is not None else ()
        self._rows_read = TableRows()
        self.calls_run = 0

    def _make_actions(self, executors: ExecutorPool) -> Actions:
        runner, settings = self._runner, self._settings
        transactions = self._transactions()
        node = None
        if settings.node_folder is not None:
            environment = settings.system_environment
            begin = transactions.begin
            node = NodeActions(
                settings.node_folder,
                self._packages,
                runner.images,
                runner.deployment,
                environment,
                begin,
                settings.node_actions_at_once_max,
            )
        return Actions(
            self._engine,
            runner.images,
            runner.deployment,
            executors,
            transactions,
            files_of(settings),
            EgressRules(settings.egress_refuse_private),
            self._now_ns,
            node,
            settings.actions_at_once_max,
        )

    def _transactions(self) -> Transactions:
        def begin() -> Awaitable[Attempt]:
            return self._begin_reading(None)

        return Transactions(begin, self._system.transact_for_action, self._reader.searching)

    def _make_workers(self) -> tuple[TransferWorker, ...]:
        """Of a slow executor that has the server's blobs."""
        blobs = self._settings.blobs
        if blobs is None:
            return ()
        transactions = self._transactions()
        exporting = ExportJob(transactions, self._reader.view_folder, blobs, self._now_ns)
        importing = ImportJob(transactions, blobs, self._now_ns)
        return TransferWorker(exporting, transactions), TransferWorker(importing, transactions)

    async def close(self) -> None:
        """Let go of the network, of other processes, and of what runs beside the calls."""
        self._push_preparation.close()
        self._system.close()
        await self._packages.close()
        for worker in self._workers:
            await worker.stop()
        if self._actions is not None:
            await self._actions.close()

    def release_view(self) -> None:
        """Close the view. Only when no call runs any more: a call reads it in place."""
        self._reader.close()

    async def connect(self, core: Peer) -> None:
        """Use this core from now on; calls that lost the previous one ask it about their commits."""
        folder = await core.call("locate")
        self._reader.attach(Path(folder))
        self._transactor.connect(core)
        self._has_core.set()
        for worker in self._workers:
            worker.start()

    # --- actors.runtime.Actor -----------------------------------------------------------------------

    async def handle(self, client: Client, method: str, arguments: tuple[Any, ...]) -> Any:
        handlers: dict[str, Callable[..., Awaitable[Any]]] = {
            "run": self._answer_run,
            "run_job": self._answer_run_job,
            "run_job_action": self._answer_run_job_action,
            "run_inline": self._answer_run_inline,
            "operate": self._operate,
            "prepare_push": self._push_preparation.prepare,
            "table_rows": self._answer_table_rows,
        }
        if method in handlers:
            await self._has_core.wait()  # a gateway may know us before we know the core
            return await handlers[method](*arguments)
        if method == "status":
            return self.status()
        if method.startswith("http_") and self._http_actions is not None:
            await self._has_core.wait()
            return await self._http_actions.handle(client, method, arguments)
        raise internal_server_error()

    async def _answer_run(self, call: Sequence[Any], ts: int | None) -> list[Any] | None:
        started = time.perf_counter()
        ended = await self._reader.searching(lambda: self._run(RunCall(*call), ts))
        return self._told(ended, started) if ended is not None else None

    async def _answer_run_inline(self, fields: Sequence[Any], source: str, component_id: str) -> list[Any]:
        started, call = time.perf_counter(), RunCall(*fields)
        ended = await self._reader.searching(lambda: self._run_inline(call, source, component_id))
        return self._told(ended, started)

    async def _answer_run_job(self, job_id: str, call_id: bytes, may_start: bool) -> Any:
        started = time.perf_counter()
        address, ended = await self._reader.searching(lambda: self._run_job(job_id, call_id, may_start))
        if isinstance(ended, RunCall):
            return ["start", wire_call(ended)]
        if ended is None:
            return None
        return ["ran", *address, _job_request_id(call_id), self._told(ended, started)]

    def _told(self, ended: Ended, started: float) -> list[Any]:
        """The outcome as it travels. What it read is counted as its caller is told: once, whatever was run
        again."""
        self._rows_read.count(ended.outcome.rows_read, self._now_ns())
        return outcome_fields(ended, time.perf_counter() - started)

    async def _answer_table_rows(self, component: str, name: str) -> list[MinuteRows]:
        snapshot = self._reader.snapshot(self._reader.published_ts)
        return self._rows_read.of_table(self._reader.catalog(snapshot), component, name)

    async def _answer_run_job_action(self, job_id: str, fields: Sequence[Any]) -> Any:
        started, call = time.perf_counter(), RunCall(*fields)
        actions = self._actions
        invariant(actions is not None, "actions are asked of who runs them")
        assert actions is not None  # for the type checker
        ended = await actions.run_job(call)

        def end(transaction: Transaction) -> bytes:
            if ended is None:
                put_back_action(transaction, job_id, call.request_id)
            else:
                end_action(transaction, job_id, call.request_id, ended.outcome)
            return b""

        await self._system.transact_for_action("_system/end_action", end)
        if ended is None:
            return None
        return [call.component, call.path, call.request_id, self._told(ended, started)]

    def disconnected(self, client: Client) -> None:
        """A running call ends and its answer is dropped; whoever waited for a response has gone."""
        if self._http_actions is not None:
            self._http_actions.disconnected(client)

    def status(self) -> dict[str, Any]:
        return {
            "role": "executor",
            "published_ts": self._reader.published_ts,
            "calls_run": self.calls_run,
            "conflicts_met": self._transactor.conflicts_met,
            "runs_stopped": self._transactor.runs_stopped,
            "turns_taken": self._transactor.turns_taken,
            "images_held": self._runner.images.held,
            "actions_running": self._actions.running if self._actions is not None else 0,
            "actions_waiting": self._actions.waiting if self._actions is not None else 0,
            "node_pids": self._actions.node_pids if self._actions is not None else [],
        }

    async def _operate(self, name: str, body: bytes) -> bytes:
        answer = await self._system.operate(name, body)
        for worker in self._workers:
            worker.wake()
        return answer

    # --- calls --------------------------------------------------------------------------------------

    async def _run(self, call: RunCall, ts: int | None) -> Ended | None:
        self.calls_run += 1
        path = parse_function_path(call.path)
        if path.is_system:
            return await self._system.run(call, path, ts)
        udf_type = call.udf_type or self._type_of(call.component, path)
        if udf_type != "Query":
            check_may_write(call, udf_type)
        if udf_type == "Mutation":
            return await self._run_mutation(call, path)
        if udf_type == "Action":
            return await self._actions.run(call) if self._actions is not None else None
        return await self._run_query(call, path, ts)

    def _type_of(self, component: str, path: FunctionPath) -> str:
        """What an untyped call is; an unknown function is treated as a query, whose lookup refuses it."""
        snapshot = self._reader.snapshot(self._reader.published_ts)
        catalog = self._reader.catalog(snapshot).of_component(component)
        module = catalog.modules.get(path.module) if catalog is not None else None
        function = module.functions.get(path.function) if module is not None else None
        return function.udf_type if function is not None else "Query"

    async def _run_query(self, call: RunCall, path: FunctionPath, ts: int | None) -> Ended:
        return run_query(self._runner, call, path, await self._begin_reading(ts))

    async def _run_inline(self, call: RunCall, source: str, component_id: str) -> Ended:
        attempt = await self._begin_reading(None)
        self.calls_run += 1
        environment = self._settings.system_environment
        component = enter_component_of_id(attempt.transaction, component_id)
        given = given_query(self._engine, attempt.transaction, environment, source)
        return run_given_query(self._runner, given, replace(call, component=component), attempt)

    async def _run_mutation(self, call: RunCall, path: FunctionPath) -> Ended:
        """Run and commit, again from a newer snapshot when something it read was overwritten."""

        def work(attempt: Attempt) -> Done[Ended]:
            return run_mutation(self._runner, call, path, attempt)

        attempts_max = limits.MUTATION_ATTEMPTS_MAX
        ended, ts = await self._transactor.transact(
            path.canonical, call.call_id, attempts_max, work, call.args
        )
        return ended.at(ts)

    async def _run_job(
        self, job_id: str, call_id: bytes, may_start: bool
    ) -> tuple[tuple[str, str], Ended | RunCall | None]:
        """A scheduled function, if it is still to be run: its component and path, and what it came to. An
        action has only begun: it is called by whoever asks."""
        address, request_id = ("", ""), _job_request_id(call_id)

        def work(attempt: Attempt) -> Done[Ended | RunCall | None]:
            nonlocal address
            if attempt.transaction.catalog.is_paused:
                return Done(None)  # the scheduler asks again when the deployment goes on
            begun = begin_action(job_id, request_id, attempt, may_start=may_start)
            if begun is not None:
                address, begun_action = begun
                return begun_action
            done = run_job(self._runner, job_id, request_id, attempt)
            address = (done.trace.component, done.trace.path) if done.trace is not None else ("", "")
            return Done(done.result, done.trace)

        attempts_max = limits.SYSTEM_ATTEMPTS_MAX
        ended, ts = await self._transactor.transact("_system/job", call_id, attempts_max, work)
        return address, ended.at(ts) if isinstance(ended, Ended) else ended

    async def _begin_reading(self, ts: int | None) -> Attempt:
        reader = self._reader
        if ts is not None:
            await reader.wait_published(ts)
        snapshot = reader.snapshot(reader.published_ts if ts is None else ts)
        return self._transactor.begin(snapshot, is_read_only=True)


def _job_request_id(call_id: bytes) -> str:
    """No client has named the request."""
    return call_id.hex()[:16]
