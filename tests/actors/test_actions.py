"""Actions end to end inside one process: calls, scheduling, waiting, ends of every kind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from log import limits
from log.errors import BackendError
from log.identity import ADMIN

from ..support.action_server import ActionServer, play
from ..support.recorded import ANN


def test_an_action_calls_queries_mutations_and_actions_and_sees_what_they_wrote(tmp_path: Path) -> None:
    source = """
      export const inner = action("Internal", ({ name }) => ask("mutation", "increment", { name }));
      export const outer = publicAction(async ({ name }) => {
        const first = await ask("mutation", "increment", { name });
        const second = await ask("action", "inner", { name });
        return [first, second, await ask("query", "count", { name })];
      });"""

    async def scene(server: ActionServer) -> None:
        assert await server.value("outer", {"name": "a"}) == [1, 2, 2]
        paths = [path for path, _outcome in server.told]
        assert paths == ["shop.js:increment", "shop.js:increment", "shop.js:inner", "shop.js:count"]

    play(ActionServer(tmp_path, source), scene)


def test_an_internal_action_is_not_there_for_clients_but_for_admins(tmp_path: Path) -> None:
    source = 'export const hidden = action("Internal", () => 7);'

    async def scene(server: ActionServer) -> None:
        assert "Could not find public function for 'shop:hidden'" in await server.failure("hidden")
        assert (await server.act("hidden", identity=ADMIN)).value == b"7.0"

    play(ActionServer(tmp_path, source), scene)


def test_a_failed_call_can_be_caught_and_names_its_data(tmp_path: Path) -> None:
    source = """
      const marker = Symbol.for("ConvexError");
      export const refuse = mutation(async () => {
        const error = new Error("no");
        Object.assign(error, { ConvexErrorSymbol: marker, [marker]: true, data: '{"why":"closed"}' });
        throw error;
      });
      export const careful = publicAction(async () => {
        try {
          await ask("mutation", "refuse");
        } catch (error) {
          return [error.message.split("\\n")[0], error.data];
        }
      });
      export const careless = publicAction(() => ask("mutation", "fail", { text: "x" }));"""

    async def scene(server: ActionServer) -> None:
        message, data = await server.value("careful")
        assert message == "Uncaught Error: no" and data == {"why": "closed"}
        assert (await server.failure("careless")).startswith(
            "Uncaught Error: Uncaught Error: changed my mind"
        )
        assert await server.system_rows("_scheduled_jobs") == []

    play(ActionServer(tmp_path, source), scene)


def test_operations_run_at_the_same_time_and_timers_fire_in_order(tmp_path: Path) -> None:
    source = """
      export const many = publicAction(async () => {
        const found = [];
        const waits = [30, 10, 20, 10].map((ms, i) => sleep(ms).then(() => found.push(i)));
        const counts = [..."abcdefghijkl"].map((name) => ask("mutation", "increment", { name }));
        await Promise.all([...waits, ...counts]);
        return found;
      });"""

    async def scene(server: ActionServer) -> None:
        assert await server.value("many") == [1, 3, 2, 0]

    play(ActionServer(tmp_path, source), scene)


def test_what_nobody_awaited_is_told_and_timers_are_not(tmp_path: Path) -> None:
    source = """
      export const hasty = publicAction(async () => {
        sleep(60000); sleep(60000);
        ask("mutation", "increment", { name: "a" }); call("actions/vectorSearch", {});
        return 1;
      });"""

    async def scene(server: ActionServer) -> None:
        started = time.monotonic()
        outcome = await server.act("hasty")
        assert outcome.value == b"1.0" and time.monotonic() - started < 30
        assert b"2 unawaited operations: [mutation, vectorSearch]. Async operations" in outcome.log_lines

    play(ActionServer(tmp_path, source), scene)


def test_an_action_knows_who_calls_and_passes_it_on(tmp_path: Path) -> None:
    source = """
      export const who = mutation(async () => (await call("getUserIdentity", {}))?.subject ?? null);
      export const me = publicAction(async () => [
        (await call("getUserIdentity", {})).subject, await ask("mutation", "who"),
        (await call("getRequestMetadata", {})).requestId, (await call("getFunctionMetadata", {})).name,
      ]);"""

    async def scene(server: ActionServer) -> None:
        outcome = await server.act("me", identity=ANN)
        assert outcome.value == b'["ann","ann","0123456789abcdef","shop:me"]'

    play(ActionServer(tmp_path, source), scene)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("new Promise(() => {})", "Returned promise will never resolve"),
        (
            "(() => { const f = () => f() + 1; return f(); })()",
            "Uncaught RangeError: Maximum call stack size",
        ),
        ("(() => { const a = []; for (;;) a.push(new Array(1e5).fill(a.length)); })()", "out of memory"),
        ('call("get", { id: "x" })', "Unknown async operation 1.0/get"),
        ('JSON.parse(Convex.syscall("1.0/queryStream", "{}"))', "Unknown operation 1.0/queryStream"),
        ('call("actions/mutation", { args: {} })', "Missing required argument 'name'"),
        ('call("actions/mutation", { name: 7, args: {} })', "Invalid argument"),
        ('Convex.asyncSyscall("1.0/actions/query", "{")', "Received invalid json"),
        ('Convex.asyncSyscall("host/sleep", "{}")', "must be numbers"),
        (
            'call("actions/schedule", { name: "shop:count", args: {}, ts: "soon" })',
            "must be a number of seconds",
        ),
        ('call("actions/cancel_job", {})', "Invalid scheduled function ID"),
        ('ask("mutation", "count", { name: "a" })', "Trying to execute shop.js:count as Mutation"),
    ],
)
def test_a_hostile_action_ends_in_its_error_and_the_next_one_runs(
    tmp_path: Path, body: str, text: str
) -> None:
    source = f"""
      export const hostile = publicAction(() => {body});
      export const fine = publicAction(() => 1);"""

    async def scene(server: ActionServer) -> None:
        assert text in await server.failure("hostile")
        assert await server.value("fine") == 1

    play(ActionServer(tmp_path, source), scene)


def test_an_action_that_outlives_its_time_is_ended_waiting_or_computing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.action_run.ACTION_SECONDS_MAX", 0.3)
    source = """
      export const waits = publicAction(() => sleep(60000));
      export const computes = publicAction(() => { for (;;); });"""

    async def scene(server: ActionServer) -> None:
        for name in ("waits", "computes"):
            assert "Function execution timed out" in await server.failure(name)

    play(ActionServer(tmp_path, source), scene)


def test_actions_call_one_another_only_so_deep(tmp_path: Path) -> None:
    source = 'export const deeper = publicAction(() => ask("action", "deeper", {}));'

    async def scene(server: ActionServer) -> None:
        assert "Cross component call depth limit exceeded" in await server.failure("deeper")

    play(ActionServer(tmp_path, source), scene)


def test_two_hundred_actions_wait_together_and_all_end(tmp_path: Path) -> None:
    source = """
      export const wait = publicAction(async ({ name }) => {
        await sleep(300);
        return await ask("mutation", "increment", { name });
      });"""

    async def scene(server: ActionServer) -> None:
        outcomes = await asyncio.gather(*(server.value("wait", {"name": "n"}) for _ in range(200)))
        assert sorted(outcomes) == [float(number) for number in range(1, 201)]

    play(ActionServer(tmp_path, source), scene)


def test_beyond_the_budget_actions_queue_and_are_refused_when_they_have_waited_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.admission.ACTION_ADMISSION_SECONDS_MAX", 0.2)
    source = "export const wait = publicAction(({ ms }) => sleep(ms));"

    async def scene(server: ActionServer) -> None:
        await asyncio.gather(*(server.act("wait", {"ms": 20}) for _ in range(3)))
        first = asyncio.create_task(server.act("wait", {"ms": 1_000}))
        await asyncio.sleep(0.05)
        with pytest.raises(BackendError, match="limited to 1 concurrent actions") as refused:
            await server.act("wait", {"ms": 1})
        assert refused.value.code == "TooManyConcurrentRequests"
        assert (await first).error is None

    server = ActionServer(tmp_path, source)
    server.settings = replace(server.settings, actions_at_once_max=1)
    play(server, scene)


def test_an_action_schedules_and_cancels(tmp_path: Path) -> None:
    source = """
      export const plan = publicAction(async () => {
        const soon = await schedule("increment", { name: "a" }, Date.now() / 1000);
        const never = await schedule("increment", { name: "b" }, Date.now() / 1000 + 3600);
        await call("actions/cancel_job", { id: never });
        return [soon, never];
      });"""

    async def scene(server: ActionServer) -> None:
        soon, never = await server.value("plan")
        states = await _ended_states(server, 2)
        assert states == {soon: "success", never: "canceled"}
        assert (await server.query("count", {"name": "b"})).value == b"0.0"

    play(ActionServer(tmp_path, source), scene)


async def _ended_states(server: ActionServer, count: int) -> dict[str, str]:
    """State of every job, once `count` have ended."""
    while True:
        rows = await server.system_rows("_scheduled_jobs")
        if sum(row["completedTs"] is not None for row in rows) >= count:
            return {row["_id"]: row["state"]["type"] for row in rows}
        await asyncio.sleep(0.01)


def test_a_scheduled_action_runs_once_and_its_job_says_how_it_ended(tmp_path: Path) -> None:
    source = """
      export const works = publicAction(async () => {
        const { scheduledFunctionId } = await call("getRequestMetadata", {});
        const states = [(await ask("query", "stateOf", { id: scheduledFunctionId })).kind];
        return await ask("mutation", "note", { text: states.join() });
      });
      export const stateOf = query(async ({ id }) =>
        (await call("get", { id, isSystem: true })).state);
      export const breaks = publicAction(() => { throw new Error("broken"); });
      export const plan = publicAction(async () =>
        [await schedule("works", {}, Date.now() / 1000), await schedule("breaks", {}, Date.now() / 1000)]);"""

    async def scene(server: ActionServer) -> None:
        works, breaks = await server.value("plan")
        states = await _ended_states(server, 2)
        assert states == {works: "success", breaks: "failed"}
        rows = {row["_id"]: row for row in await server.system_rows("_scheduled_jobs")}
        assert rows[breaks]["state"]["error"].startswith("Uncaught Error: broken")
        notes = (await server.query("notes", {})).value or b""
        assert notes.count(b'"text":"inProgress"') == 1

    play(ActionServer(tmp_path, source), scene)


def test_what_a_cancelled_action_still_schedules_is_cancelled_from_the_start(tmp_path: Path) -> None:
    source = """
      export const long = publicAction(async () => {
        const { scheduledFunctionId } = await call("getRequestMetadata", {});
        await call("actions/cancel_job", { id: scheduledFunctionId });
        await schedule("increment", { name: "a" }, Date.now() / 1000);
        await ask("mutation", "later");
        return "done";
      });
      export const later = mutation(async () => {
        await call("schedule", { name: "shop:increment", args: { name: "a" }, ts: Date.now() / 1000 });
      });
      export const plan = publicAction(() => schedule("long", {}, Date.now() / 1000));"""

    async def scene(server: ActionServer) -> None:
        job = await server.value("plan")
        states = await _ended_states(server, 3)
        assert len(states) == 3 and set(states.values()) == {"canceled"} and job in states
        assert (await server.query("count", {"name": "a"})).value == b"0.0"

    play(ActionServer(tmp_path, source), scene)


def test_an_action_that_was_lost_has_failed_and_is_not_run_again(tmp_path: Path) -> None:
    source = """
      export const long = publicAction(async () => {
        await ask("mutation", "increment", { name: "a" });
        await sleep(60000);
      });
      export const plan = publicAction(() => schedule("long", {}, Date.now() / 1000));"""

    async def whole() -> None:
        async with ActionServer(tmp_path, source) as server:
            await server.value("plan")
            while (await server.query("count", {"name": "a"})).value != b"1.0":
                await asyncio.sleep(0.01)
        async with ActionServer(tmp_path, source) as server:
            states = await _ended_states(server, 1)
            assert list(states.values()) == ["failed"]
            (row,) = await server.system_rows("_scheduled_jobs")
            assert row["state"]["error"] == "Transient error while executing action"
            assert (await server.query("count", {"name": "a"})).value == b"1.0"

    asyncio.run(whole())


def test_a_lost_action_is_told_by_its_path(tmp_path: Path) -> None:
    source = """
      export const long = publicAction(async () => {
        await ask("mutation", "increment", { name: "a" });
        await sleep(60000);
      });
      export const plan = publicAction(() => schedule("long", {}, Date.now() / 1000));"""

    async def scene(server: ActionServer) -> None:
        await server.value("plan")
        while (await server.query("count", {"name": "a"})).value != b"1.0":
            await asyncio.sleep(0.01)
        (row,) = await server.system_rows("_scheduled_jobs")
        asked_again = await server._runtime.executor._answer_run_job(row["_id"], bytes(16), may_start=True)
        kind, component, path, _request_id, (_value, message, *_rest) = asked_again
        assert (kind, component, path) == ("ran", "", "shop.js:long")
        assert message == "Transient error while executing action"

    play(ActionServer(tmp_path, source), scene)


def test_an_action_begun_in_the_moment_of_a_pause_waits_and_runs_once(tmp_path: Path) -> None:
    source = """
      export const once = publicAction(() => ask("mutation", "increment", { name: "a" }));
      export const plan = publicAction(() => schedule("once", {}, Date.now() / 1000));"""

    async def scene(server: ActionServer) -> None:
        executor, refused = server._runtime.executor, asyncio.Event()
        begin = executor._answer_run_job_action

        async def pause_and_begin(job_id: str, call: Sequence[Any]) -> Any:
            if not refused.is_set():
                await server.operate("pause_deployment", {})
            answer = await begin(job_id, call)
            refused.set()
            return answer

        executor._answer_run_job_action = pause_and_begin  # type: ignore[method-assign]
        await server.value("plan")
        await refused.wait()
        (job,) = await server.system_rows("_scheduled_jobs")
        assert job["state"] == {"type": "pending"} and job["nextTs"] is not None
        await server.operate("unpause_deployment", {})
        states = await _ended_states(server, 1)
        assert list(states.values()) == ["success"]
        assert (await server.query("count", {"name": "a"})).value == b"1.0"

    play(ActionServer(tmp_path, source), scene)


def test_the_limits_of_actions_fit_together() -> None:
    assert limits.ACTION_ADMISSION_SECONDS_MAX < limits.ACTION_SECONDS_MAX
