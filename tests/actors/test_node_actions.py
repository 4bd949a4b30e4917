"""Node actions end to end: the real Node.js beside actors in this process; ends of every kind."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from log import limits
from log.errors import BackendError

from ..support.action_server import play
from ..support.node_server import ECHO, NodeServer, node_module
from ..support.recorded import ANN


async def log_of(server: NodeServer, name: str, args: dict[str, Any] | None = None) -> list[str]:
    lines: list[str] = orjson.loads((await server.act(name, args)).log_lines)
    return lines


# --- what an action can do ----------------------------------------------------------------------------


def test_modules_of_node_files_timers_and_imports_are_there(tmp_path: Path) -> None:
    source = """
      import { createHash } from "node:crypto";
      import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
      import { tmpdir } from "node:os";
      import { join } from "node:path";
      import { shout } from "./_deps/node/SHOUT.js";
      export const works = action(async (_ctx, { text }) => {
        const folder = mkdtempSync(join(tmpdir(), "tidelog-test-"));
        writeFileSync(join(folder, "note"), text);
        const written = readFileSync(join(folder, "note"));
        rmSync(folder, { recursive: true });
        await new Promise((resolve) => setTimeout(resolve, 5));
        const { whisper } = await import("./sub/whisper.js");
        const { EOL } = require("node:os");
        return [createHash("sha256").update(written).digest("hex"), shout(text), whisper(text), EOL];
      });"""
    others = (
        node_module("_deps/node/SHOUT.js", "export const shout = (text) => text.toUpperCase();"),
        node_module("sub/whisper.js", "export const whisper = (text) => `(${text})`;"),
    )

    async def scene(server: NodeServer) -> None:
        digest = hashlib.sha256(b"hey").hexdigest()
        assert await server.value("works", {"text": "hey"}) == [digest, "HEY", "(hey)", "\n"]

    play(NodeServer(tmp_path, source, *others), scene)


def test_it_calls_functions_of_every_kind_as_whoever_calls_it(tmp_path: Path) -> None:
    source = """
      export const inner = action(async ({ ask }, { name }) => ask("mutation", "shop:increment", { name }));
      export const outer = action(async ({ ask, call }, { name }) => [
        await ask("mutation", "shop:increment", { name }),
        await ask("action", "tools:inner", { name }),
        await ask("query", "shop:count", { name }),
        (await call("getUserIdentity"))?.subject,
        (await call("getFunctionMetadata")).name,
      ]);"""

    async def scene(server: NodeServer) -> None:
        outcome = await server.act("outer", {"name": "a"}, ANN)
        assert outcome.error is None and outcome.value is not None
        assert orjson.loads(outcome.value) == [1, 2, 2, "ann", "tools:outer"]
        paths = [path for path, _outcome in server.told]
        assert paths == ["shop.js:increment", "shop.js:increment", "tools.js:inner", "shop.js:count"]

    play(NodeServer(tmp_path, source), scene)


def test_what_it_schedules_is_committed_and_what_it_cancels_does_not_run(tmp_path: Path) -> None:
    source = """
      export const schedules = action(async ({ call }) => {
        const ts = Date.now() / 1000 + 600;
        const id = await call("actions/schedule", { name: "shop:increment", args: { name: "a" }, ts });
        await call("actions/cancel_job", { id });
      });"""

    async def scene(server: NodeServer) -> None:
        assert await server.value("schedules") is None
        (job,) = await server.system_rows("_scheduled_jobs")
        assert job["state"]["type"] == "canceled"

    play(NodeServer(tmp_path, source), scene)


@pytest.mark.parametrize("length", [0, 10, (1 << 20) + 1])
def test_files_are_stored_and_read_back_in_pieces(tmp_path: Path, length: int) -> None:
    source = """
      export const stores = action(async ({ call, stored }, { length }) => {
        const blob = new Blob(["x".repeat(length)], { type: "text/plain" });
        const storageId = await stored("storeBlob", { blob });
        const read = await stored("getBlob", { storageId });
        const { size } = await call("storageGetMetadata", { storageId });
        await call("storageDelete", { storageId });
        const gone = await stored("getBlob", { storageId });
        return [await read.text() === await blob.text(), read.type, size, gone];
      });"""

    async def scene(server: NodeServer) -> None:
        assert await server.value("stores", {"length": length}) == [True, "text/plain", length, None]

    play(NodeServer(tmp_path, source), scene)


def test_the_environment_is_that_of_the_deployment_and_nothing_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTANCE_SECRET_OF_A_TEST", "hidden")
    source = "export const environment = action(async () => ({ ...process.env }));"

    async def scene(server: NodeServer) -> None:
        await server.set_variable("COLOR", "red")
        found = await server.value("environment")
        own = {"CONVEX_CLOUD_URL", "CONVEX_SITE_URL", "COLOR"}
        assert set(found) == {"PATH", "PWD", "LANG", "NODE_PATH", "TZ"} | own
        assert (found["COLOR"], found["TZ"]) == ("red", "UTC")
        await server.set_variable("COLOR", "blue")
        assert (await server.value("environment"))["COLOR"] == "blue"

    play(NodeServer(tmp_path, source), scene)


def test_the_console_renders_as_node_does(tmp_path: Path) -> None:
    source = """
      export const prints = action(async () => {
        console.log("hi", { a: 1 });
        for (const level of ["debug", "info", "warn", "error"]) console[level](level);
        console.dir([1]);
        console.time("x");
        console.time("x");
        console.timeEnd("y");
        process.stdout.write("not for the log");
      });"""

    async def scene(server: NodeServer) -> None:
        assert await log_of(server, "prints") == [
            "[LOG] 'hi' { a: 1 }",
            "[DEBUG] 'debug'",
            "[INFO] 'info'",
            "[WARN] 'warn'",
            "[ERROR] 'error'",
            "[LOG] [ 1 ]",
            "[WARN] \"Timer 'x' already exists\"",
            "[WARN] \"Timer 'y' does not exist\"",
        ]

    play(NodeServer(tmp_path, source), scene)


def test_a_loop_that_prints_leaves_as_many_lines_as_are_allowed(tmp_path: Path) -> None:
    source = """
      export const lines = action(async () => { for (let i = 0; i < 5000; i++) console.log(i); });
      const text = "x".repeat(9_998);  // rendered in quotes: 10,000 characters
      export const long = action(async () => console.log(text, text, text, text));
      export const much = action(async () => {
        for (let i = 0; i < 60; i++) console.log(text, text, text);
      });"""

    async def scene(server: NodeServer) -> None:
        lines = await log_of(server, "lines")
        assert len(lines) == limits.LOG_LINES_MAX and lines[-1].startswith(
            "[ERROR] Log overflow (maximum 256)"
        )
        (long,) = await log_of(server, "long")
        assert long.endswith(" (truncated due to length)")
        much = await log_of(server, "much")
        assert len(much) == 34 and much[-1].startswith("[ERROR] Log overflow (maximum 1M characters)")

    play(NodeServer(tmp_path, source), scene)


# --- failures that user code can see --------------------------------------------------------------------


def test_what_is_thrown_is_told_with_its_name_and_data(tmp_path: Path) -> None:
    source = """
      const marker = Symbol.for("ConvexError");
      const convexError = (data) =>
        Object.assign(new Error("E"), {
          name: "ConvexError", ConvexErrorSymbol: marker, [marker]: true, data,
        });
      export const plain = action(async () => { throw new TypeError("wrong"); });
      export const text = action(async () => { throw "just text"; });
      export const object = action(async () => { throw { a: 1 }; });
      export const withData = action(async () => { throw convexError('{"code":"NOPE"}'); });
      export const catches = action(async ({ ask }) => {
        try { await ask("action", "tools:withData"); } catch (error) { return [error.message, error.data]; }
      });"""

    async def scene(server: NodeServer) -> None:
        assert await server.failure("plain") == "Uncaught TypeError: wrong"
        assert await server.failure("text") == "Uncaught just text"
        assert await server.failure("object") == "Uncaught #<Object>"
        error = (await server.act("withData")).error
        assert error is not None and (error.message, error.data) == (
            "Uncaught ConvexError: E\n",
            b'{"code":"NOPE"}',
        )
        message, data = await server.value("catches")
        assert "Uncaught ConvexError: E" in message and data == {"code": "NOPE"}

    play(NodeServer(tmp_path, source), scene)


def test_calls_that_make_no_sense_here_are_refused_with_their_texts(tmp_path: Path) -> None:
    source = """
      const textOf = async (attempt) => {
        try { return String(await attempt()); } catch (error) { return error.message; }
      };
      export const refusals = action(async ({ call, ask }) => [
        await textOf(() => call("get", { id: "x" })),
        await textOf(() => Convex.syscall("1.0/queryStream", "{}")),
        await textOf(() => call("schedule")),
        await textOf(() => call("nothing")),
        await textOf(() => Convex.syscall("1.0/nothing", "{}")),
        await textOf(() => Convex.jsSyscall("nothing", {})),
        await textOf(() => Convex.asyncSyscall("1.0/getUserIdentity", '{"requestId":"another"}')),
        await textOf(() => ask("query", "shop:missing")),
      ]);"""

    async def scene(server: NodeServer) -> None:
        found = await server.value("refusals")
        outside = "is being used outside of a Convex query or mutation. Didyou mean to use `ctx.query` or"
        assert (
            found[0]
            == found[1]
            == (f"The Convex database object {outside} `ctx.mutation` to access the database?")
        )
        assert found[2].startswith(f"The Convex scheduler object {outside}")
        assert found[3:6] == ["Unknown operation 1.0/nothing"] * 2 + ["Unknown operation nothing"]
        assert found[6].startswith("Leftover state detected. ")
        assert "Could not find public function for 'shop:missing'" in found[7]

    play(NodeServer(tmp_path, source), scene)


def test_a_thousand_operations_may_wait_and_no_more(tmp_path: Path) -> None:
    source = """
      export const many = action(async ({ call }, { count }) => {
        const calls = Array.from({ length: count }, () => call("storageGenerateUploadUrl"));
        return (await Promise.allSettled(calls)).filter(({ status }) => status === "rejected")
          .map(({ reason }) => reason.message);
      });"""

    async def scene(server: NodeServer) -> None:
        assert await server.value("many", {"count": 1000}) == []
        (refused,) = await server.value("many", {"count": 1001})
        assert refused.startswith("Too many concurrent operations.")

    play(NodeServer(tmp_path, source), scene)


def test_no_more_run_at_once_than_the_operator_allows(tmp_path: Path) -> None:
    source = """
      export const pause = action(async () => {
        const began = Date.now();
        await new Promise((resolve) => setTimeout(resolve, 30));
        return [began, Date.now()];
      });"""

    async def scene(server: NodeServer) -> None:
        spans = sorted(await asyncio.gather(*(server.value("pause") for _ in range(4))))
        assert all(first[1] <= second[0] for first, second in pairwise(spans)), spans

    server = NodeServer(tmp_path, source)
    server.settings = replace(server.settings, node_actions_at_once_max=1)
    play(server, scene)


def test_arguments_beyond_what_node_actions_may_have_are_refused(tmp_path: Path) -> None:
    async def scene(server: NodeServer) -> None:
        fits = {"text": "x" * (limits.NODE_ACTION_ARGS_BYTES_MAX - len('[{"text":""}]'))}
        assert await server.value("echo", fits) == fits
        with pytest.raises(BackendError) as refused:
            await server.act("echo", {"text": fits["text"] + "x"})
        assert refused.value.code == "ArgsTooLarge"
        assert "The maximum size is 5 MiB." in refused.value.message

    play(NodeServer(tmp_path, ECHO), scene)


def test_operations_nobody_awaited_are_told(tmp_path: Path) -> None:
    source = """
      export const careless = action(async ({ ask }) => {
        ask("mutation", "shop:increment", { name: "a" });
      });"""

    async def scene(server: NodeServer) -> None:
        (warning,) = await log_of(server, "careless")
        assert warning.startswith(
            "[WARN] You have an outstanding mutation call. Operations should be awaited"
        )
        assert server.pids == []

    play(NodeServer(tmp_path, source), scene)
