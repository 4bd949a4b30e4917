"""What an action may have done for it: calls, jobs, files, the network, waiting (spec 03 2.6, 2.8-2.10).

Each operation stands by itself: a query or mutation runs on a fast executor, in a transaction of its own,
with the action's identity; an action runs right here, inside the one that calls it. What is scheduled or
cancelled is committed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from actors.action_files import FILE_CALLS, ActionFiles, Transactions
from actors.calls import Ended, RunCall, ToldCall, outcome_fields, told_bytes, wire_call, without_results
from actors.executor_pool import ExecutorPool
from actors.fetch import Fetches, HttpTransport
from actors.http_exchange import EXCHANGE_CALLS, HttpExchange
from functions import errors, scheduled_jobs
from functions.action import ActionContext
from functions.call_checks import argument_array
from functions.components import APP_PATH
from functions.function_address import FunctionAddress, named_address
from functions.function_handles import callee_of, create_handle
from functions.isolate import AnswerError
from functions.search.vector_search import vector_search
from functions.system.files import FileAccess
from functions.transaction import Transaction
from log.identity import UNKNOWN, Identity
from log.limits import (
    ACTION_CALLS_TOLD_BYTES_MAX,
    ACTION_CALLS_TOLD_MAX,
    ACTION_DEPTH_MAX,
    ACTION_SECONDS_MAX,
)

RunAction = Callable[[RunCall, int], Awaitable[Ended]]
"""(call, depth of nesting) -> how it ended."""


@dataclass(frozen=True, slots=True)
class ActionServices:
    """Who does what actions ask for."""

    executors: ExecutorPool
    transactions: Transactions
    run_action: RunAction
    files: FileAccess
    transport: HttpTransport
    now_ns: Callable[[], int]


@dataclass(slots=True)
class ActionOperations:
    """actors.action_run.Operations. `calls` tells what was run meanwhile."""

    context: ActionContext
    services: ActionServices
    depth: int
    exchange: HttpExchange | None = None  # of an HTTP action
    calls: list[ToldCall] = field(default_factory=list)
    _told_bytes: int = 0
    _sleeping: dict[int, asyncio.Event] = field(default_factory=dict)
    _transactions: Transactions = field(init=False)
    _files: ActionFiles = field(init=False)
    _fetches: Fetches = field(init=False)

    def __post_init__(self) -> None:
        services = self.services
        self._transactions = services.transactions.within(self.context.component)
        self._files = ActionFiles(services.files, self._transactions)
        self._fetches = Fetches(services.transport)

    async def perform(self, name: str, arguments: dict[str, Any]) -> bytes | AnswerError:
        if self.exchange is not None and name in EXCHANGE_CALLS:
            return await self.exchange.perform(name, arguments)
        if name in FILE_CALLS:
            return await self._files.perform(name, arguments)
        handler = _HANDLERS.get(name)
        if handler is None:
            raise errors.unknown_async_operation(name)
        return await handler(self, arguments)

    def tell(self, name: str, arguments: dict[str, Any]) -> None:
        sleeping = self._sleeping.get(arguments.get("id", -1))
        if name == "host/cancelSleep" and sleeping is not None:
            sleeping.set()
        elif name == "host/fetchAbort":
            self._fetches.abort(arguments)
        elif name == "host/requestCancel" and self.exchange is not None:
            self.exchange.body.drop()

    async def close(self) -> None:
        """Sleepers were cancelled with their tasks."""
        await self._fetches.close()
        await self._files.close()

    # --- functions ----------------------------------------------------------------------------------

    async def run_query(self, arguments: dict[str, Any]) -> bytes | AnswerError:
        return await self._run_elsewhere("Query", await self._call("Query", arguments, "runQuery"))

    async def run_mutation(self, arguments: dict[str, Any]) -> bytes | AnswerError:
        return await self._run_elsewhere("Mutation", await self._call("Mutation", arguments, "runMutation"))

    async def run_action(self, arguments: dict[str, Any]) -> bytes | AnswerError:
        if self.depth + 1 > ACTION_DEPTH_MAX:
            raise errors.call_depth_exceeded()
        call = await self._call("Action", arguments, "runAction")
        ended = await self.services.run_action(call, self.depth + 1)
        for told in ended.calls:
            self._tell_of(told)
        return self._answer(call, outcome_fields(ended, 0.0))

    async def _run_elsewhere(self, udf_type: str, call: RunCall) -> bytes | AnswerError:
        may_repeat = udf_type == "Query"
        fields = await self.services.executors.ask("run", wire_call(call), None, may_repeat=may_repeat)
        return self._answer(call, fields)

    async def _call(self, udf_type: str, arguments: dict[str, Any], method: str) -> RunCall:
        """Whatever an action names it may call: visibility is for those outside (spec 03 1.6)."""
        callee = named_address(self.context.component, arguments, method)
        if callee is None:
            callee = await self._transactions.read(
                lambda transaction: callee_of(transaction, arguments, method)
            )
        identity = self._identity_for(callee)
        return RunCall(
            udf_type=udf_type,
            path=callee.path.canonical,
            component=callee.component,
            args=argument_array(arguments.get("args")),
            identity_kind=identity.kind,
            identity_attributes=identity.attributes_json,
            request_id=self.context.invocation.request_id,
            journal=None,
            call_id=os.urandom(16),
            session_id=None,
            session_request=None,
            may_call_internal=True,
            parent_job_id=self.context.job_id,
            requester_fields=self.context.invocation.requester,
        )

    def _identity_for(self, callee: FunctionAddress) -> Identity:
        """Components are not told who calls, unless it is an admin (spec 03 5.5)."""
        identity = self.context.identity
        is_within_app = self.context.component == callee.component == APP_PATH
        return identity if is_within_app or identity.is_admin else UNKNOWN

    def _answer(self, call: RunCall, fields: list[Any]) -> bytes | AnswerError:
        self._tell_of((call.component, call.path, call.identity_kind, fields))
        value, message, data, *_ = fields
        return AnswerError(message, data) if message is not None else bytes(value)

    def _tell_of(self, call: ToldCall) -> None:
        """Without the value, which nobody looks for in a log and which may be large. All of them are told in
        one message, with the action's outcome, so they are bounded together."""
        component, path, identity_kind, fields = call
        size_bytes = told_bytes(fields)
        fits = self._told_bytes + size_bytes <= ACTION_CALLS_TOLD_BYTES_MAX
        if fits and len(self.calls) < ACTION_CALLS_TOLD_MAX:
            self._told_bytes += size_bytes
            self.calls.append((component, path, identity_kind, without_results(fields)))

    async def create_handle(self, arguments: dict[str, Any]) -> bytes:
        handle = await self._transactions.read(lambda transaction: create_handle(transaction, arguments))
        return orjson.dumps(handle)

    async def refuse_audit(self, _arguments: dict[str, Any]) -> bytes:
        raise errors.no_audit_log_in_actions()

    async def search_vectors(self, arguments: dict[str, Any]) -> bytes:
        return await self._transactions.search(lambda transaction: vector_search(transaction, arguments))

    # --- scheduling ---------------------------------------------------------------------------------

    async def schedule(self, arguments: dict[str, Any]) -> bytes:
        def work(transaction: Transaction) -> bytes:
            callee = callee_of(transaction, arguments, "scheduler")
            args, at_seconds, parent = arguments.get("args"), arguments.get("ts"), self.context.job_id
            return orjson.dumps(scheduled_jobs.schedule(transaction, callee, args, at_seconds, parent))

        return await self._transactions.transact("_system/schedule", work)

    async def cancel(self, arguments: dict[str, Any]) -> bytes:
        def work(transaction: Transaction) -> bytes:
            scheduled_jobs.cancel(transaction, arguments.get("id"))
            return b"null"

        return await self._transactions.transact("_system/cancel_job", work)

    # --- the network --------------------------------------------------------------------------------

    async def fetch(self, arguments: dict[str, Any]) -> bytes:
        return await self._fetches.fetch(arguments)

    async def write_to_fetch(self, arguments: dict[str, Any]) -> bytes:
        return await self._fetches.write(arguments)

    async def read_from_fetch(self, arguments: dict[str, Any]) -> bytes:
        return await self._fetches.read(arguments)

    # --- waiting ------------------------------------------------------------------------------------

    async def sleep(self, arguments: dict[str, Any]) -> bytes:
        """A longer time than the action has is as good as any."""
        timer_id, milliseconds = arguments.get("id"), arguments.get("ms")
        if not isinstance(timer_id, int) or not isinstance(milliseconds, int | float):
            raise errors.invalid_argument(None, "setTimeout", "id and ms must be numbers")
        ends = self._sleeping[timer_id] = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(0.0, milliseconds / 1_000), ACTION_SECONDS_MAX)):
                await ends.wait()
        if self._sleeping.get(timer_id) is ends:
            del self._sleeping[timer_id]
        return b"null"


Handler = Callable[[ActionOperations, dict[str, Any]], Awaitable[bytes | AnswerError]]

_HANDLERS: dict[str, Handler] = {
    "1.0/actions/query": ActionOperations.run_query,
    "1.0/actions/mutation": ActionOperations.run_mutation,
    "1.0/actions/action": ActionOperations.run_action,
    "1.0/actions/schedule": ActionOperations.schedule,
    "1.0/actions/cancel_job": ActionOperations.cancel,
    "1.0/actions/vectorSearch": ActionOperations.search_vectors,
    "1.0/createFunctionHandle": ActionOperations.create_handle,
    "1.0/auditLog": ActionOperations.refuse_audit,
    "host/sleep": ActionOperations.sleep,
    "host/fetch": ActionOperations.fetch,
    "host/fetchWrite": ActionOperations.write_to_fetch,
    "host/fetchRead": ActionOperations.read_from_fetch,
}
