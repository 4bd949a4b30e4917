"""Functions that call functions inside one transaction, in the real engine (spec 03 2.5)."""

from __future__ import annotations

from pathlib import Path

from log.keys import encode_item

from ..support.action_server import ACTIONS, ActionServer, message_of, play, value_of
from ..support.recorded import SHOP

SOURCE = """
let calls = 0;
globalThis.marks = 0;
const drawn = Math.random();
const caught = async (promise) => {
  try { return await promise; } catch (error) { return [error.message.split("\\n")[0], error.data ?? null]; }
};
const limited = (udfType, name, args, transactionLimits) =>
  caught(call("runUdf", { udfType, name: `shop:${name}`, args, transactionLimits }));

export const mark = query(() => [++calls, ++globalThis.marks, drawn, Math.random(), Date.now()]);
export const marks = query(async () => {
  calls += 10;
  globalThis.marks += 10;
  return [await run("query", "shop:mark", {}), await run("query", "shop:mark", {}), Date.now(), drawn];
});
export const deeper = query(({ left }) =>
  left === 0 ? "the last" : run("query", "shop:deeper", { left: left - 1 }));
export const writes = query(() => run("mutation", "shop:increment", { name: "a" }));
export const schedulesAndFails = mutation(async () => {
  await insert("notes", { text: "lost" });
  await insert("madeByIt", { text: "lost" });
  await call("schedule", { name: "shop:increment", args: { name: "lost" }, ts: Date.now() / 1000 });
  throw new Error("changed my mind");
});
export const catches = mutation(async () => {
  await insert("notes", { text: "before" });
  await call("schedule", { name: "shop:increment", args: { name: "kept" }, ts: Date.now() / 1000 });
  const failure = await caught(run("mutation", "shop:schedulesAndFails", {}));
  await insert("notes", { text: "after" });
  return failure;
});
export const readsAndFails = mutation(async ({ name }) => {
  await where("counters.by_name", "name", name);
  throw new Error("changed my mind");
});
export const catchesReader = mutation(async ({ name }) => {
  await caught(run("mutation", "shop:readsAndFails", { name }));
});
export const throwsData = query(() => {
  const error = new Error("full");
  error.data = JSON.stringify({ code: 7 });
  error.ConvexErrorSymbol = Symbol.for("ConvexError");
  error[error.ConvexErrorSymbol] = true;
  throw error;
});
export const leavesRejected = query(async () => { Promise.reject(new Error("nobody handles this")); });
export const waitsForEver = query(() => new Promise(() => {}));
export const cannotCatch = query(() => { try { performance.timing; } catch {} });
export const loops = query(() => { for (;;); });
export const catchesThem = query(async ({ names }) => {
  const found = [];
  for (const name of names) found.push(await caught(run("query", `shop:${name}`, {})));
  return found;
});
export const fill = mutation(async ({ count }) => {
  for (let n = 0; n < count; n++) await insert("notes", { text: `note ${n}` });
  return count;
});
export const withLimits = mutation(async () => [
  await limited("mutation", "fill", { count: 3 }, { documentsWritten: 2 }),
  await limited("mutation", "fill", { count: 2 }, { documentsWritten: 2 }),
  await limited("query", "notes", {}, { documentsRead: 1 }),
  (await limited("query", "notes", {}, { documentsRead: 2 })).length,
  await limited("mutation", "fill", { count: 1 }, { bytesWritten: 10 }),
  await limited("mutation", "catches", {}, { functionsScheduled: 0 }),
  (await run("query", "shop:notes", {})).length,
  await run("mutation", "shop:fill", { count: 4 }),
]);
"""


def test_every_call_and_every_nested_call_has_globals_of_its_own(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        rounds = [value_of(await server.query("marks", {})) for _ in range(2)]
        for first, second, now, drawn in rounds:
            assert first[:2] == second[:2] == [1, 1], "neither module nor global state reaches a nested call"
            assert first[2] == second[2] == drawn, "what was drawn at module scope stays"
            assert first[3] != second[3], "each nested call draws numbers of its own"
            assert first[4] == second[4] == now, "the clock is that of the whole call"
        assert rounds[0][3] == rounds[1][3]
        await server.push(SHOP + ACTIONS + SOURCE + "export const one = query(() => 1);")
        assert value_of(await server.query("marks", {}))[3] == rounds[0][3], "seeds change with the version"

    play(ActionServer(tmp_path, SOURCE), scene)


def test_calls_nest_eight_deep_and_the_ninth_is_refused(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        assert value_of(await server.query("deeper", {"left": 8})) == "the last"
        refused = message_of(await server.query("deeper", {"left": 9}))
        assert (
            "Cross component call depth limit exceeded. Do you have an infinite loop in your app?" in refused
        )

    play(ActionServer(tmp_path, SOURCE), scene)


def test_a_query_calls_no_mutation(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        refused = message_of(await server.query("writes", {}))
        assert "Cannot call a Mutation function from a Query function" in refused

    play(ActionServer(tmp_path, SOURCE), scene)


def test_a_nested_mutation_that_fails_leaves_no_document_no_table_and_no_job(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        failure = value_of(await server.mutate("catches", {}))
        assert failure == ["Uncaught Error: changed my mind", None]
        assert [note["text"] for note in value_of(await server.query("notes", {}))] == ["before", "after"]
        jobs = await server.system_rows("_scheduled_jobs")
        assert len(jobs) == 1, "what the caller scheduled stays"
        executor = server._runtime.executor
        assert "madeByIt" not in (await executor._begin_reading(None)).transaction.catalog.tables

    play(ActionServer(tmp_path, SOURCE), scene)


def test_what_a_failed_nested_mutation_read_still_counts(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        reads = await server.reads_of("catchesReader", {"name": "hot"})
        assert any(start.startswith(encode_item("hot")) for _index, start, _end in reads.intervals())

    play(ActionServer(tmp_path, SOURCE), scene)


def test_a_caller_may_catch_what_ends_a_nested_call_but_not_what_ends_all(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        names = ["throwsData", "leavesRejected", "waitsForEver", "cannotCatch"]
        data, rejected, never, uncatchable = value_of(await server.query("catchesThem", {"names": names}))
        assert data == ["Uncaught Error: full", {"code": 7}], "the data of a ConvexError reaches its catcher"
        assert rejected[0] == "Uncaught Error: nobody handles this"
        assert never[0] == "Returned promise will never resolve"
        assert uncatchable[0].startswith("Not implemented: timing for Performance")
        ended = message_of(await server.query("catchesThem", {"names": ["loops"]}))
        assert ended == "Function execution timed out (maximum duration: 1s)\n"

    play(ActionServer(tmp_path, SOURCE), scene)


def test_limits_of_a_nested_call_hold_inside_it_and_end_with_it(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        found = value_of(await server.mutate("withLimits", {}))
        wrote_too_much, wrote, read_too_much, read, bytes_too_many, scheduled, left, later = found
        assert "Too many writes in a single function execution (limit: 2)" in wrote_too_much[0]
        assert "Too many documents read in a single function execution (limit: 1)" in read_too_much[0]
        assert "Too many bytes written in a single function execution" in bytes_too_many[0]
        assert "Too many functions scheduled by this mutation (limit: 0)" in scheduled[0]
        assert (wrote, read, left, later) == (2, 2, 2, 4), "and the caller's own limits are back"
        assert len(value_of(await server.query("notes", {}))) == 6, "and it may commit"

    play(ActionServer(tmp_path, SOURCE), scene)
