"""A log with calls in it: the real engine and actors in this process, a small app written by hand.

The app uses what a replay must reproduce: random numbers, the clock, ids, nested calls that are caught,
indexes, console, identity and request id. Written against system calls, so that it needs no Node.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from actors.core import Core
from actors.executor_settings import ExecutorSettings
from cluster.config import Settings
from cluster.data_folder import Credentials, DataFolder
from cluster.local_runtime import LocalRuntime
from gateway.backend import FunctionCall, FunctionOutcome
from log.identity import ADMIN, NO_REQUESTER, UNKNOWN, Identity, Requester
from log.record import CHAIN_START_CRC, CommitBody, DocumentWrite, RecordKind, make_record

from .deployment import module, push_body, schema_module, table
from .javascript import engine

ANN = Identity("user", b'{"subject":"ann","issuer":"https://issuer.test"}')
REGISTERED = """
const register = (kind, visibility, handler) => Object.assign(() => {}, {
  [`is${kind}`]: true, [`is${visibility}`]: true,
  exportArgs: () => '{"type":"any"}', exportReturns: () => "null",
  [`invoke${kind}`]: async (args) => JSON.stringify((await handler(...JSON.parse(args))) ?? null),
});
const query = (handler) => register("Query", "Public", handler);
const mutation = (handler) => register("Mutation", "Public", handler);
const call = async (name, args) => JSON.parse(await Convex.asyncSyscall(`1.0/${name}`, JSON.stringify(args)));
const insert = async (table, value) => (await call("insert", { table, value }))._id;
const patch = (id, value) => call("shallowMerge", { id, value });
const run = (udfType, name, args) => call("runUdf", { udfType, name, args });
const all = async (source) => {
  const query = { source: { order: "asc", ...source }, operators: [] };
  const { queryId } = JSON.parse(Convex.syscall("1.0/queryStream", JSON.stringify({ query })));
  const found = [];
  for (;;) {
    const { done, value } = await call("queryStreamNext", { queryId });
    if (done) return found;
    found.push(value);
  }
};
const where = (indexName, fieldPath, value) =>
  all({ type: "IndexRange", indexName, range: [{ type: "Eq", fieldPath, value }] });
const table = (tableName) => all({ type: "FullTableScan", tableName });
"""
SHOP = (
    REGISTERED
    + """
export const increment = mutation(async ({ name }) => {
  const [counter] = await where("counters.by_name", "name", name);
  if (counter === undefined) {
    await insert("counters", { name, count: 1 });
    return 1;
  }
  const count = counter.count + 1;
  await patch(counter._id, { count });
  return count;
});
export const note = mutation(async ({ text }) => {
  console.log("noting", text);
  return await insert("notes", { text, at: Date.now(), luck: Math.random(), uuid: crypto.randomUUID() });
});
export const fail = mutation(async ({ text }) => {
  await insert("notes", { text, lost: true });
  throw new Error("changed my mind");
});
export const nested = mutation(async ({ name }) => {
  const count = await run("mutation", "shop:increment", { name });
  let caught = null;
  try {
    await run("mutation", "shop:fail", { text: name });
  } catch (error) {
    caught = error.message;
  }
  const notes = await run("query", "shop:notes", {});
  return await run("mutation", "shop:note", { text: `${name} ${count} ${notes.length} ${caught}` });
});
export const remove = mutation(async () => {
  const [oldest] = await table("notes");
  if (oldest === undefined) return null;
  await call("remove", { id: oldest._id });
  return oldest.text;
});
export const sign = mutation(async () => {
  const identity = await call("getUserIdentity", {});
  const { requestId } = await call("getRequestMetadata", {});
  return await insert("signatures", { who: identity?.subject ?? "nobody", requestId });
});
export const seek = mutation(async ({ text }) => {
  const filters = [{ type: "Search", fieldPath: "text", value: text }];
  const query = { source: { type: "Search", indexName: "notes.words", filters }, operators: [{ limit: 3 }] };
  const { queryId } = JSON.parse(Convex.syscall("1.0/queryStream", JSON.stringify({ query })));
  const { done, value } = await call("queryStreamNext", { queryId });
  return await insert("signatures", { who: done ? "nobody" : value._id, requestId: text });
});
export const trail = mutation(async ({ name, text }) => {
  const $ = ($var) => ({ $var });
  const body = { name, at: $("now"), request: $("requestId"), actor: $("convexActor"), from: [$("ip")] };
  await call("auditLog", { body, version: "1.48.0" });
  return text;
});
export const look = mutation(async ({ name }) => (await where("counters.by_name", "name", name)).length);
export const notes = query(() => table("notes"));
export const count = query(async ({ name }) => {
  const [counter] = await where("counters.by_name", "name", name);
  return counter?.count ?? 0;
});
export const post = mutation(async ({ name, text }) => {
  const reference = "_reference/childComponent/ledger/book/enter";
  const enter = (args) => call("runUdf", { udfType: "mutation", reference, args });
  const entries = await enter({ name, text });
  let caught = null;
  try {
    await enter({ name, text: "refused" });
  } catch (error) {
    caught = error.message;
  }
  return await run("mutation", "shop:note", { text: `${name} ${entries} ${caught}` });
});
"""
)
LEDGER_PATH = "../ledger"
BOOK = (
    REGISTERED
    + """
export const enter = mutation(async ({ name, text }) => {
  await insert("entries", { name, text, at: Date.now(), luck: Math.random() });
  if (text === "refused") throw new Error("no such line");
  return (await table("entries")).length;
});
"""
)
"""The component of `post`: its second call in each fails, and is caught."""

FIND = """
export const find = query(({ text }) => where("notes.by_text", "text", text));
"""

KINDS = {
    "increment": 5,
    "note": 4,
    "nested": 2,
    "remove": 2,
    "sign": 2,
    "seek": 2,
    "trail": 2,
    "fail": 1,
    "look": 1,
}
"""What a random call does, and how often. `fail` leaves no record, `look` one only for its session, `trail`
one with an audit line and without documents."""


def with_ledger(body: Any) -> Any:
    """A push that installs the component `ledger` too."""
    child = {"name": "ledger", "path": LEDGER_PATH, "args": [], "env": []}
    body["appDefinition"]["definition"] = _config("app", "", child)
    body["appDefinition"]["dependencies"] = [LEDGER_PATH]
    definition = {
        "definitionPath": LEDGER_PATH,
        "definition": _config("childComponent", "ledger"),
        "dependencies": [],
        "schema": None,
        "functions": [module("book.js", BOOK)],
        "udfServerVersion": "1.48.0",
    }
    return {**body, "componentDefinitions": [definition]}


def _config(kind: str, name: str, *children: Any) -> Any:
    tree = {"definitionType": {"type": kind, "name": name, "args": []}, "httpMounts": {}}
    text = json.dumps({**tree, "childComponents": children})
    return module("convex.config.js", f"export default {{ export: () => ({text}) }};")


class RecordedServer:
    """One deployment on a data folder as `tidelog dev` makes it, driven from here."""

    def __init__(self, folder: Path) -> None:
        data = DataFolder(folder)
        data.prepare()
        self.folder, settings = folder, Settings()
        self.credentials: Credentials = data.credentials(settings)
        self.settings = ExecutorSettings(
            self.credentials.instance_name,
            self.credentials.instance_secret,
            settings.cloud_origin_in_use,
            settings.site_origin_in_use,
        )
        self.calls = 0
        self.kinds = KINDS

    async def __aenter__(self) -> RecordedServer:
        self._runtime = LocalRuntime(self.folder, engine(), self.settings)
        await self._runtime.start()
        return self

    async def __aexit__(self, *_failure: object) -> None:
        await self._runtime.stop()
        assert self._runtime.failures == []

    @property
    def core_actor(self) -> Core:
        return self._runtime.core

    @property
    def conflicts_met(self) -> int:
        return int(self._runtime.executor.status()["conflicts_met"])

    async def push(
        self, source: str = SHOP, *others: Any, ledger: bool = False, **notes_indexes: list[str]
    ) -> None:
        """As the CLI pushes: start, wait for the indexes, finish. `others` are modules beside shop.js;
        `ledger`: with the component that `post` calls."""
        await self.finish_push(await self.start_push(source, *others, ledger=ledger, **notes_indexes))

    async def start_push(
        self, source: str, *others: Any, ledger: bool = False, **notes_indexes: list[str]
    ) -> Any:
        notes = table("notes", **notes_indexes)
        notes["searchIndexes"] = [
            {"indexDescriptor": "words", "searchField": "text", "filterFields": ["luck"]}
        ]
        notes["vectorIndexes"] = [
            {"indexDescriptor": "near", "vectorField": "place", "dimensions": 2, "filterFields": []}
        ]
        schema = schema_module(table("counters", by_name=["name"]), notes, validation=False)
        body = push_body(module("shop.js", source), *others, schema=schema)
        started = await self.operate("start_push", with_ledger(body) if ledger else body)
        while (await self.operate("wait_for_schema", {"schemaChange": started["schemaChange"]}))[
            "type"
        ] != "complete":
            await asyncio.sleep(0.01)
        return started

    async def finish_push(self, started: Any) -> None:
        await self.operate("finish_push", {"startPush": started, "dryRun": False, "message": None})

    async def set_variable(self, name: str, value: str) -> None:
        changes = {"changes": [{"name": name, "value": value}]}
        await self.operate("update_environment_variables", changes)

    async def operate(self, name: str, body: Any) -> Any:
        return orjson.loads(await self._runtime.backend.admin(name, orjson.dumps(body), ADMIN))

    async def mutate(
        self,
        name: str,
        args: dict[str, Any],
        *,
        identity: Identity = UNKNOWN,
        request_id: str = "",
        session: tuple[str, int] | None = None,
        requester: Requester = NO_REQUESTER,
    ) -> FunctionOutcome:
        path, text = f"shop.js:{name}", orjson.dumps([args])
        session_id, session_request = session if session is not None else (None, None)
        call = FunctionCall(
            path,
            text,
            identity,
            request_id=request_id,
            session_id=session_id,
            session_request=session_request,
            requester=requester,
        )
        return await self._runtime.backend.run_mutation(call)

    async def query(self, name: str, args: dict[str, Any], ts: int | None = None) -> FunctionOutcome:
        call = FunctionCall(f"shop.js:{name}", orjson.dumps([args]), UNKNOWN)
        return await self._runtime.backend.run_query(call, ts, None)

    async def play(self, rng: random.Random, calls: int, at_once: int = 8) -> None:
        """Random calls, a few at a time, so that they race for the same documents."""
        while calls > 0:
            burst = min(rng.randrange(1, at_once + 1), calls)
            await asyncio.gather(*(self._random_call(rng) for _ in range(burst)))
            calls -= burst

    async def _random_call(self, rng: random.Random) -> None:
        """Some are sent twice, as by a client that reconnected."""
        self.calls += 1
        number = self.calls
        name = rng.choices(list(self.kinds), list(self.kinds.values()))[0]
        args = {"name": rng.choice("abc"), "text": rng.choice(("x", "y", "ü")) * rng.randrange(1, 4)}
        identity = rng.choice((UNKNOWN, ANN, ADMIN))
        session = (f"session-{number % 3}", number) if rng.random() < 0.5 else None
        times = 2 if session is not None and rng.random() < 0.2 else 1
        for _ in range(times):
            await self.mutate(name, args, identity=identity, request_id=f"{number:016x}", session=session)


def tamper(folder: Path, change: Callable[[DocumentWrite], DocumentWrite]) -> list[int]:
    """Change documents of a stopped log and make its chain fit again; the seqs of what changed."""
    connection = sqlite3.connect(folder / "log" / "log.sqlite3")
    changed, crc = [], CHAIN_START_CRC
    rows = connection.execute("SELECT seq, ts, epoch, kind, body FROM log ORDER BY seq").fetchall()
    for seq, ts, epoch, kind, body in rows:
        if kind == RecordKind.COMMIT:
            commit = CommitBody.decode(body)
            writes = tuple(map(change, commit.writes))
            if writes != commit.writes:
                body = commit._replace(writes=writes).encode()
                changed.append(seq)
        crc = make_record(crc, seq, ts, epoch, RecordKind(kind), body).crc
        connection.execute("UPDATE log SET body = ?, crc = ? WHERE seq = ?", (body, crc, seq))
    connection.commit()
    connection.close()
    return changed
