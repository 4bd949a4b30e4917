"""Database, console, modules and limits as functions meet them, in the real engine (spec 03 1 to 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from functions import invocation
from functions.path import parse_function_path
from gateway.backend import FunctionCall
from log import limits
from log.identity import UNKNOWN

from ..support.action_server import ACTIONS, ActionServer, play, value_of
from ..support.deployment import module
from ..support.recorded import SHOP

SOURCE = """
const caught = async (promise) => { try { return await promise; } catch (error) { return error.message; } };
const get = (id, rest = {}) => call("get", { id, isSystem: false, ...rest });
const remove_ = (id, rest = {}) => call("remove", { id, ...rest });
const texts = async () => (await table("notes")).map((note) => note.text);

export default query(() => "the default");
export const roundTrip = mutation(async () => {
  const id = await insert("notes", { text: "one", n: 1 });
  const seen = [await get(id)];
  seen.push(await patch(id, { text: "two", n: { $undefined: null }, m: 2 }), await get(id));
  seen.push(await call("replace", { id, value: { text: "three" } }), await get(id), await texts());
  seen.push(await remove_(id), await get(id), await texts());
  return seen.map((each) => {
    if (each === null || Array.isArray(each)) return each;
    const { _id, _creationTime, ...fields } = each;
    return { ...fields, isSame: _id === id && _creationTime > 0 };
  });
});
export const refusals = mutation(async () => {
  const id = await insert("notes", { text: "gone" });
  const other = await insert("counters", { name: "other", count: 0 });
  await remove_(id);
  return {
    ids: [id, other],
    missing: await Promise.all([
      caught(patch(id, { text: "x" })), caught(call("replace", { id, value: {} })), caught(remove_(id)),
    ]),
    mismatched: await Promise.all([
      caught(get(other, { table: "notes" })),
      caught(call("shallowMerge", { id: other, value: {}, table: "notes" })),
      caught(call("replace", { id: other, value: {}, table: "notes" })),
      caught(remove_(other, { table: "notes" })),
    ]),
    undecodable: await caught(get("short")),
    values: await Promise.all([
      caught(insert("notes", 7)), caught(patch(other, [])), caught(insert("_storage", {})),
    ]),
    json: await Convex.asyncSyscall("1.0/get", "{").catch((error) => error.message.slice(0, 22)),
    unknown: await caught(call("nonsense", {})),
  };
});
const pageOf = () => call("queryPage", {
  query: { source: { type: "FullTableScan", tableName: "notes", order: "asc" }, operators: [] },
  cursor: null, endCursor: null, pageSize: 2,
});
export const paginatesTwice = query(async () => { await pageOf(); return await caught(pageOf()); });
export const paginatesInNestedCalls = query(async () => {
  await pageOf();
  return (await run("query", "shop:paginatesOnce", {})).page.length;
});
export const paginatesOnce = query(pageOf);
export const operators = query(({ count }) => {
  const source = { type: "FullTableScan", tableName: "notes" };
  const query = { source, operators: new Array(count).fill({ limit: 1 }) };
  return caught((async () => Convex.syscall("1.0/queryStream", JSON.stringify({ query })))());
});
export const counted = query(async () => [
  await call("count", { table: "notes" }), await call("count", { table: "nothing" }),
  (await call("getTransactionMetrics", {})).documentsRead.used,
]);
export const readsTooMuch = mutation(async () => {
  const transactionLimits = { documentsRead: 2 };
  const notes = call("runUdf", { udfType: "query", name: "shop:notes", args: {}, transactionLimits });
  const failure = await caught(notes);
  await insert("notes", { text: "after it" });
  return failure;
});
export const prints = mutation(({ lines }) => {
  console.log("hi", { a: 1 });
  console.log("é".repeat(40_000));
  for (let n = 2; n < lines; n++) console.info(n);
});
export const printsNested = mutation(async () => {
  console.log("before");
  await run("mutation", "shop:prints", { lines: 3 });
  console.log("after");
});
export const slow = query(async () => { for (let n = 0; n < 3; n++) await texts(); });
export const color = query(() => process.env.COLOR ?? null);
"""


# --- modules and paths ------------------------------------------------------------------------------


def test_modules_import_each_other_in_cycles_share_chunks_and_may_have_a_default_export(
    tmp_path: Path,
) -> None:
    async def scene(server: ActionServer) -> None:
        chunk = module("_deps/chunk.js", "globalThis.evaluations = (globalThis.evaluations ?? 0) + 1;")
        functions = SHOP.partition("const call =")[0]
        odd = module(
            "dir/odd.js",
            'import "../_deps/chunk.js"; import { isEven } from "./even.js";'
            "export const isOdd = (n) => n !== 0 && isEven(n - 1);"
            + functions
            + "export default query(() => isOdd(7));"
            "export const evaluations = query(() => globalThis.evaluations);",
        )
        even = module(
            "dir/even.js",
            'import "../_deps/chunk.js"; import { isOdd } from "./odd.js";'
            "export const isEven = (n) => n === 0 || isOdd(n - 1);",
        )
        await server.push(SHOP + ACTIONS + SOURCE, chunk, odd, even)
        for path in ("dir/odd", "dir/odd.js", "dir/odd:default", "dir/odd.js:default"):
            assert await answer(server, path) is True, path
        for path in ("dir/odd:evaluations", "dir/odd.js:evaluations"):
            assert await answer(server, path) == 1, "a chunk of two modules is evaluated once"
        assert await answer(server, "shop") == "the default"

    play(ActionServer(tmp_path, SOURCE), scene)


async def answer(server: ActionServer, path: str) -> Any:
    call = FunctionCall(parse_function_path(path).canonical, b"[{}]", UNKNOWN)
    return value_of(await server._runtime.backend.run_query(call, None, None))


# --- documents --------------------------------------------------------------------------------------


def test_a_mutation_reads_what_it_wrote_at_every_step(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        one, two = {"text": "one", "n": 1, "isSame": True}, {"text": "two", "m": 2, "isSame": True}
        three = {"text": "three", "isSame": True}
        assert value_of(await server.mutate("roundTrip", {})) == [
            *(one, two, two, three, three, ["three"]),
            *(three, None, []),
        ]

    play(ActionServer(tmp_path, SOURCE), scene)


def test_what_no_document_can_answer_is_refused_with_its_text(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        found = value_of(await server.mutate("refusals", {}))
        gone, _other = found["ids"]
        assert found["missing"] == [
            f"{what} on nonexistent document ID {gone}" for what in ("Update", "Replace", "Delete")
        ]
        assert found["mismatched"] == [
            f"Invalid argument `id` for `db.{method}`: "
            'expected to be an Id<"notes">, got Id<"counters"> instead.'
            for method in ("get", "patch", "replace", "delete")
        ]
        assert found["undecodable"] == (
            "Invalid argument `id` for `db.get`: Unable to decode ID: Invalid ID length 5"
        )
        assert found["values"] == [
            "Invalid argument `value` for `db.insert`: Value must be an Object",
            "Invalid argument `value` for `db.patch`: Value must be an Object",
            "_storage is a read-only table",
        ]
        assert found["json"] == "Received invalid json:"
        assert found["unknown"] == "Unknown async operation 1.0/nonsense"

    play(ActionServer(tmp_path, SOURCE), scene)


def test_a_function_has_one_paginated_query_and_each_nested_call_another(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        for number in range(3):
            await server.mutate("note", {"text": str(number)})
        assert value_of(await server.query("paginatesTwice", {})) == (
            "This query or mutation function ran multiple paginated queries. "
            "Convex only supports a single paginated query in each function."
        )
        assert value_of(await server.query("paginatesInNestedCalls", {})) == 2

    play(ActionServer(tmp_path, SOURCE), scene)


def test_counting_a_table_reads_all_of_it_and_charges_no_documents(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        for number in range(3):
            await server.mutate("note", {"text": str(number)})
        assert value_of(await server.query("counted", {})) == [3, 0, 0]

    play(ActionServer(tmp_path, SOURCE), scene)


# --- environment ------------------------------------------------------------------------------------


def test_a_variable_is_read_as_it_was_set_last_also_where_it_was_unset_before(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        assert value_of(await server.query("color", {})) is None
        for color in ("red", "blue"):
            await server.set_variable("COLOR", color)
            assert value_of(await server.query("color", {})) == color

    play(ActionServer(tmp_path, SOURCE), scene)


# --- limits -----------------------------------------------------------------------------------------


def test_a_query_has_at_most_256_operators(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        assert value_of(await server.query("operators", {"count": 256})) == '{"queryId":0}'
        refused = value_of(await server.query("operators", {"count": 257}))
        assert refused == "Query has too many operators: 257"

    play(ActionServer(tmp_path, SOURCE), scene)


def test_a_mutation_that_caught_a_read_limit_may_still_commit(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        for number in range(3):
            await server.mutate("note", {"text": str(number)})
        failure = value_of(await server.mutate("readsTooMuch", {}))
        assert "Too many documents read in a single function execution (limit: 2)" in failure
        assert len(value_of(await server.query("notes", {}))) == 4

    play(ActionServer(tmp_path, SOURCE), scene)


def test_time_in_system_calls_is_limited_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(server: ActionServer) -> None:
        monkeypatch.setattr(invocation.limits, "FUNCTION_SYSTEM_SECONDS_MAX", 0)
        outcome = await server.query("slow", {})
        assert outcome.error is not None
        assert "Your request timed out performing too many system operations." in outcome.error.message

    play(ActionServer(tmp_path, SOURCE), scene)


# --- console ----------------------------------------------------------------------------------------


def test_lines_are_shown_as_specified_cut_and_counted(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        lines = orjson.loads((await server.mutate("prints", {"lines": 300})).log_lines)
        assert lines[0] == "[LOG] 'hi' {\n  a: 1\n}"
        cut = lines[1].removeprefix("[LOG] ").removesuffix(" (truncated due to length)")
        assert lines[1].endswith(" (truncated due to length)")
        assert limits.LOG_LINE_BYTES_MAX - 1 <= len(cut.encode()) <= limits.LOG_LINE_BYTES_MAX
        assert lines[254] == "[INFO] 254" and len(lines) == 256
        assert lines[255] == "[ERROR] Log overflow (maximum 256). Remaining log lines omitted."

    play(ActionServer(tmp_path, SOURCE), scene)


def test_lines_of_nested_calls_are_among_those_of_the_caller(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        lines = orjson.loads((await server.mutate("printsNested", {})).log_lines)
        assert [line[:9] for line in lines] == [
            "[LOG] 'be",
            "[LOG] 'hi",
            "[LOG] 'éé",
            "[INFO] 2",
            "[LOG] 'af",
        ]

    play(ActionServer(tmp_path, SOURCE), scene)
