"""An action that outlives its component gets errors it can catch, and ends nobody's process (spec 02 21)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from functions.components import COMPONENTS
from functions.system.component_rows import install
from functions.transaction import Transaction
from gateway.backend import FunctionCall, FunctionOutcome
from log.identity import ADMIN

from ..support.action_server import ActionServer, message_of, play, value_of

FILE = "00000000-0000-4000-8000-000000000000"
OPERATIONS = {
    "a query": 'ask("query", "alive")',
    "a mutation": 'ask("mutation", "begin")',
    "an action": 'ask("action", "ping")',
    "a handle's query": 'call("actions/query", { functionHandle: handle, args: {} })',
    "a handle's action": 'call("actions/action", { functionHandle: handle, args: {} })',
    "a child's query": 'call("actions/query", { reference: "_reference/childComponent/b/m/f", args: {} })',
    "a new handle": 'call("createFunctionHandle", { name: "shop:ping" })',
    "a job": 'schedule("ping", {}, Date.now() / 1_000 + 1_000)',
    "a job of a handle": 'call("actions/schedule", { functionHandle: handle, args: {}, ts: 2e9 })',
    "an end of a job": 'call("actions/cancel_job", { id: job })',
    "a vector": 'call("actions/vectorSearch", { query: { indexName: "t.v", vector: [1], limit: 1 } })',
    "a file's URL": f'call("storageGetUrl", {{ storageId: "{FILE}" }})',
    "a file's metadata": f'call("storageGetMetadata", {{ storageId: "{FILE}" }})',
    "an upload URL": 'call("storageGenerateUploadUrl", {})',
    "an end of a file": f'call("storageDelete", {{ storageId: "{FILE}" }})',
    "a new file": 'host("fileFinish", { id: 7, sha256: null, contentType: null })',
    "a file": f'host("fileOpen", {{ id: 8, storageId: "{FILE}" }})',
}
SOURCE = f"""
const host = async (name, args) =>
  JSON.parse(await Convex.asyncSyscall(`host/${{name}}`, JSON.stringify(args)));
export const alive = query(() => 1);
export const begin = mutation(() => insert("begun", {{}}));
export const ping = publicAction(() => 1);
const gone = async () => {{
  await ask("mutation", "begin");
  for (;;) {{
    try {{
      await call("storageGetUrl", {{ storageId: "{FILE}" }});
    }} catch (error) {{
      return error.message;
    }}
  }}
}};
export const outlive = publicAction(async () => {{
  const handle = await call("createFunctionHandle", {{ name: "shop:ping" }});
  const job = await schedule("ping", {{}}, Date.now() / 1_000 + 1_000);
  await host("fileWrite", {{ id: 7, piece: "AAAA" }});
  const found = {{ first: await gone() }};
  const operations = {{
    {",".join(f'"{name}": () => {code}' for name, code in OPERATIONS.items())}
  }};
  for (const [name, operation] of Object.entries(operations)) {{
    try {{
      found[name] = JSON.stringify(await operation());
    }} catch (error) {{
      found[name] = `Error: ${{error.message}}`;
    }}
  }}
  return found;
}});
export const careless = publicAction(async () => {{
  await gone();
  await call("storageGenerateUploadUrl", {{}});
}});
"""


async def write(server: ActionServer, work: Callable[[Transaction], Any]) -> None:
    def run(transaction: Transaction) -> bytes:
        work(transaction)
        return b""

    await server._runtime.executor._system.transact_for_action("test:write", run)


async def install_with_modules(server: ActionServer) -> str:
    """A component `a` that has the modules of the app, mounted; its id."""
    found = []

    def work(transaction: Transaction) -> None:
        install(transaction, "a")
        catalog = transaction.catalog_of("a")
        assert catalog is not None and catalog.component.namespace is not None
        component_id = catalog.component.namespace
        found.append(component_id)
        tables = transaction.catalog.tables
        for name in ("_modules", "_function_handles"):
            for row in transaction.all_documents(tables[name]):
                fields = {field: value for field, value in row.items() if not field.startswith("_")}
                transaction.insert(name, {**fields, "component": component_id})
        transaction.patch(tables[COMPONENTS], component_id, {"state": "active"})

    await write(server, work)
    return found[-1]


async def has_begun(server: ActionServer) -> None:
    """Until the action has written its row: it is under way."""
    while True:
        attempt = await server._runtime.executor._begin_reading(None)
        found = attempt.transaction.catalog_of("a")
        if found is not None and "begun" in found.tables:
            return
        await asyncio.sleep(0.01)


async def outlived(server: ActionServer, name: str) -> FunctionOutcome:
    """What comes of an action of `a` that is still under way when `a` is deleted."""
    component_id = await install_with_modules(server)
    call = FunctionCall(
        f"shop.js:{name}", orjson.dumps([{}]), ADMIN, request_id="0123456789abcdef", component="a"
    )
    running = asyncio.create_task(server._runtime.backend.run_action(call))
    await has_begun(server)
    unmounted = {"state": "unmounted"}
    await write(server, lambda tx: tx.patch(tx.catalog.tables[COMPONENTS], component_id, unmounted))
    answer: dict[str, Any] = {"isDone": False}
    while not answer["isDone"]:
        body = orjson.dumps({"componentId": component_id, "next": answer.get("next")})
        answer = orjson.loads(await server._runtime.executor._system.operate("delete_component", body))
    return await running


def test_every_operation_of_an_action_whose_component_is_gone_is_refused_and_ends_nothing(
    tmp_path: Path,
) -> None:
    async def scene(server: ActionServer) -> None:
        found = value_of(await outlived(server, "outlive"))
        assert found.pop("first") == "The component 'a' was deleted."
        assert found.keys() == OPERATIONS.keys()
        assert [name for name, answer in found.items() if not answer.startswith("Error: ")] == [], found
        assert server._runtime.failures == []
        assert await server.value("ping") == 1
        assert await server.system_rows("_scheduled_jobs") == []
        assert await server.system_rows("_file_storage") == []

    play(ActionServer(tmp_path, SOURCE), scene)


def test_who_does_not_catch_that_fails_with_it(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        assert "The component 'a' was deleted." in message_of(await outlived(server, "careless"))
        assert server._runtime.failures == []
        assert await server.value("ping") == 1

    play(ActionServer(tmp_path, SOURCE), scene)
