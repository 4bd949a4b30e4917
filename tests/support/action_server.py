"""A deployment whose app is made of actions: the real engine and actors in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import orjson

from functions.call_checks import Invocation
from functions.path import parse_function_path
from gateway.backend import FunctionCall, FunctionOutcome
from log.blob_store import LocalBlobStore
from log.identity import NO_REQUESTER, UNKNOWN, Identity, Requester
from log.read_set import ReadSet

from .recorded import SHOP, RecordedServer

ACTIONS = """
const sleep = (ms) => Convex.asyncSyscall("host/sleep", JSON.stringify({ id: nextTimer++, ms }));
let nextTimer = 1;
const action = (visibility, handler) => Object.assign(() => {}, {
  isAction: true, [`is${visibility}`]: true,
  exportArgs: () => '{"type":"any"}', exportReturns: () => "null",
  invokeAction: async (_id, args) => JSON.stringify((await handler(...JSON.parse(args))) ?? null),
});
const publicAction = (handler) => action("Public", handler);
const ask = (kind, name, args = {}) => call(`actions/${kind}`, { name: `shop:${name}`, args });
const schedule = (name, args, ts) => call("actions/schedule", { name: `shop:${name}`, args, ts });
"""


PATIENCE_SECONDS = 60


class ActionServer(RecordedServer):
    """`async with ActionServer(folder, source) as server`, then `server.act(name, args)`."""

    def __init__(self, folder: Path, source: str) -> None:
        super().__init__(folder)
        self.settings = replace(self.settings, blobs=LocalBlobStore(folder / "files"))
        self.source = source
        self.told: list[tuple[str, FunctionOutcome]] = []

    async def __aenter__(self) -> ActionServer:
        await super().__aenter__()
        self._runtime.backend.listen_to_jobs(lambda call, outcome: self.told.append((call.path, outcome)))
        await self.push(SHOP + ACTIONS + self.source)
        return self

    async def act(
        self,
        name: str,
        args: dict[str, Any] | None = None,
        identity: Identity = UNKNOWN,
        requester: Requester = NO_REQUESTER,
    ) -> FunctionOutcome:
        call = FunctionCall(
            f"shop.js:{name}",
            orjson.dumps([args or {}]),
            identity,
            request_id="0123456789abcdef",
            requester=requester,
        )
        return await self._runtime.backend.run_action(call)

    async def value(self, name: str, args: dict[str, Any] | None = None) -> Any:
        """What the action returned."""
        outcome = await self.act(name, args)
        assert outcome.value is not None, outcome.error
        return value_of(outcome)

    async def failure(self, name: str, args: dict[str, Any] | None = None) -> str:
        """First line of what the action failed with."""
        return message_of(await self.act(name, args)).split("\n")[0]

    async def reads_of(self, name: str, args: dict[str, Any]) -> ReadSet:
        """What a run of the mutation reads; nothing is committed."""
        executor = self._runtime.executor
        snapshot = executor._reader.snapshot(executor._reader.published_ts)
        attempt = executor._transactor.begin(snapshot, is_read_only=False)
        path = parse_function_path(f"shop:{name}")
        call = Invocation(path, "Mutation", orjson.dumps([args]), UNKNOWN)
        outcome = executor._runner.run(attempt.transaction, call, attempt.seed, attempt.clock.now_ms)
        assert outcome.error is None, outcome.error
        return attempt.transaction.reads

    async def system_rows(self, table: str) -> list[Any]:
        executor = self._runtime.executor
        attempt = await executor._begin_reading(None)
        transaction = attempt.transaction
        return list(transaction.all_documents(transaction.catalog.tables[table]))


Server = TypeVar("Server", bound=ActionServer)


def play(server: Server, scene: Callable[[Server], Coroutine[Any, Any, None]]) -> None:
    """The scene at the server, within our patience."""

    async def whole() -> None:
        async with server:
            await asyncio.wait_for(scene(server), PATIENCE_SECONDS)

    asyncio.run(whole())


def value_of(outcome: FunctionOutcome) -> Any:
    """What the function returned."""
    assert outcome.error is None, outcome.error
    return orjson.loads(outcome.value or b"null")


def message_of(outcome: FunctionOutcome) -> str:
    """What the function failed with."""
    assert outcome.error is not None, outcome.value
    return outcome.error.message
