"""`log.audit` in the real engine: which calls leave lines, in their records and for whoever tells sinks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from gateway.backend import FunctionOutcome
from log.identity import ADMIN, UNKNOWN
from log.limits import AUDIT_LINES_MAX
from log.proven_log import ProvenLog
from log.record import CallTrace, CommitBody, RecordKind
from log.sqlite_reader import SqliteReader

from ..support.action_server import ActionServer, message_of, play, value_of
from ..support.recorded import ANN

SOURCE = """
const caught = async (promise) => {
  try { return await promise; } catch (error) { return error.message.split("\\n")[0]; }
};
const audit = (body) => call("auditLog", { body, version: "1.48.0" });
const $ = (name) => ({ $var: name });

export const audits = mutation(async ({ text }) => {
  const answered = await audit({ text, at: $("now"), request: $("requestId"), actor: $("convexActor") });
  return [answered, Date.now()];
});
export const writesAndAudits = mutation(async ({ text }) => {
  await insert("notes", { text });
  await audit({ text, from: [$("ip"), $("userAgent")] });
});
export const auditsAndFails = mutation(async () => {
  await audit({ text: "lost" });
  throw new Error("changed my mind");
});
export const nests = mutation(async () => {
  await audit({ n: 1 });
  await run("mutation", "shop:writesAndAudits", { text: "inner" });
  await caught(run("mutation", "shop:auditsAndFails", {}));
  await caught(run("query", "shop:looksAndFails", {}));
  await run("query", "shop:looks", { text: "inner query" });
  await run("snapshotQuery", "shop:looks", { text: "snapshot query" });
  await audit({ n: 2 });
});
export const nestsAndFails = mutation(async () => {
  await run("mutation", "shop:writesAndAudits", { text: "inner" });
  throw new Error("changed my mind");
});
export const looks = query(async ({ text }) => { await audit({ text }); return text; });
export const looksAndFails = query(async () => { await audit({ text: "lost" }); throw new Error("no"); });
export const fills = mutation(async ({ count, inner }) => {
  for (let n = 0; n < count; n++) await audit({ n });
  return inner === undefined ? null : await caught(run("mutation", "shop:fills", { count: inner }));
});
export const refusals = mutation(async () => [
  await caught(audit("text")), await caught(audit({ a: $("clock") })), await caught(call("auditLog", {})),
  await caught(call("writeDeploymentAuditLog", { action: "a" })),
  await caught(Convex.asyncSyscall("1.0/auditLog", "[")),
]);
export const acts = publicAction(async () => {
  const refused = await caught(audit({ text: "lost" }));
  await ask("mutation", "writesAndAudits", { text: "called" });
  await ask("query", "looks", { text: "called, too" });
  return refused;
});
export const schedules = mutation(async ({ name }) => {
  await call("schedule", { name: `shop:${name}`, args: { text: "scheduled" }, ts: Date.now() / 1000 });
});
"""


def lines_of(outcome: FunctionOutcome) -> list[Any]:
    return [orjson.loads(line) for line in outcome.audit_lines]


def traces(server: ActionServer) -> list[CallTrace]:
    """Of all calls of the app that stand in the log."""
    log = ProvenLog(SqliteReader(server.folder / "log"))
    bodies = [CommitBody.decode(each.body) for each in log.read_from(1) if each.kind is RecordKind.COMMIT]
    return [body.trace for body in bodies if body.trace.path.startswith("shop.js:")]


def audited(found: Sequence[CallTrace]) -> list[Any]:
    return [orjson.loads(line) for trace in found for line in trace.audit_lines]


def test_a_mutation_that_only_audits_has_a_record_with_its_lines(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        for identity, actor in ((UNKNOWN, None), (ANN, None), (ADMIN, {"type": "admin"})):
            outcome = await server.mutate("audits", {"text": "x"}, identity=identity, request_id="r1")
            answered, now = value_of(outcome)
            assert answered is None
            expected = {"text": "x", "at": now, "request": "r1", "actor": actor}
            assert lines_of(outcome) == [expected]
            trace = traces(server)[-1]
            assert (trace.path, trace.audit_lines) == ("shop.js:audits", outcome.audit_lines)
            assert isinstance(lines_of(outcome)[0]["at"], int), "milliseconds are whole"

    play(ActionServer(tmp_path, SOURCE), scene)


def test_a_mutation_that_fails_leaves_no_line_and_no_record(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        for name in ("auditsAndFails", "nestsAndFails"):
            outcome = await server.mutate(name, {})
            assert "changed my mind" in message_of(outcome) and outcome.audit_lines == ()
        assert traces(server) == []

    play(ActionServer(tmp_path, SOURCE), scene)


def test_a_nested_call_that_is_rolled_back_takes_its_lines_along_and_the_others_stay_in_order(
    tmp_path: Path,
) -> None:
    async def scene(server: ActionServer) -> None:
        outcome = await server.mutate("nests", {})
        inner = {"text": "inner", "from": [None, None]}
        looked = [{"text": "inner query"}, {"text": "snapshot query"}]
        assert lines_of(outcome) == [{"n": 1}, inner, *looked, {"n": 2}] == audited(traces(server))

    play(ActionServer(tmp_path, SOURCE), scene)


def test_a_request_that_a_session_sends_twice_is_audited_once(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        first, second = [await server.mutate("audits", {"text": "x"}, session=("s", 1)) for _ in range(2)]
        assert (first.ts, first.value) == (second.ts, second.value)
        assert len(first.audit_lines) == 1 and second.audit_lines == ()
        assert len(audited(traces(server))) == 1

    play(ActionServer(tmp_path, SOURCE), scene)


def test_the_lines_of_a_query_are_told_and_that_it_may_not_be_shared(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        outcome = await server.query("looks", {"text": "x"})
        assert lines_of(outcome) == [{"text": "x"}] and outcome.observed_identity
        failed = await server.query("looksAndFails", {})
        assert failed.error is not None and failed.audit_lines == ()
        assert traces(server) == [], "nothing of a query is durable"

    play(ActionServer(tmp_path, SOURCE), scene)


def test_the_limits_are_those_of_the_whole_call_tree(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        full = await server.mutate("fills", {"count": AUDIT_LINES_MAX - 1, "inner": 1})
        assert value_of(full) is None and len(full.audit_lines) == AUDIT_LINES_MAX
        over = await server.mutate("fills", {"count": AUDIT_LINES_MAX - 1, "inner": 2})
        assert value_of(over) == "Uncaught Error: Audit logs exceed function execution limits"
        assert len(over.audit_lines) == AUDIT_LINES_MAX - 1
        alone = await server.mutate("fills", {"count": AUDIT_LINES_MAX + 1})
        assert "Audit logs exceed function execution limits" in message_of(alone)

    play(ActionServer(tmp_path, SOURCE), scene)


def test_what_is_no_audit_call_is_refused_by_its_text_and_may_be_caught(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        prefix = "Invalid argument `body` for `auditLog`: "
        outcome = await server.mutate("refusals", {})
        *found, malformed = value_of(outcome)
        assert found == [
            prefix + "expected an object, got a string",
            prefix + 'unknown variable "clock"',
            prefix + "expected an object, got nothing",
            "writeDeploymentAuditLog is only available in system UDFs",
        ]
        assert malformed.startswith("Received invalid json: ")
        assert outcome.audit_lines == () and traces(server) == []

    play(ActionServer(tmp_path, SOURCE), scene)


def test_an_action_may_not_audit_and_what_it_calls_is_told_with_its_lines(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        outcome = await server.act("acts")
        assert value_of(outcome) == "Audit logging is not yet supported in actions"
        assert outcome.audit_lines == ()
        told = [(path, [line["text"] for line in lines_of(called)]) for path, called in server.told]
        assert told == [("shop.js:writesAndAudits", ["called"]), ("shop.js:looks", ["called, too"])]
        assert [line["text"] for line in audited(traces(server))] == ["called"]

    play(ActionServer(tmp_path, SOURCE), scene)


def test_a_scheduled_mutation_is_audited_in_the_record_of_its_end_and_only_if_it_succeeds(
    tmp_path: Path,
) -> None:
    async def scene(server: ActionServer) -> None:
        for name in ("audits", "auditsAndFails"):
            await server.mutate("schedules", {"name": name})
            while len(server.told) < (1 if name == "audits" else 2):
                await asyncio.sleep(0.01)
        (first, ran), (second, failed) = server.told
        assert (first, second) == ("shop.js:audits", "shop.js:auditsAndFails")
        jobs = [trace for trace in traces(server) if trace.job_id]
        assert lines_of(ran) == audited(jobs) and lines_of(ran)[0]["text"] == "scheduled"
        assert failed.audit_lines == () and len(jobs) == 2

    play(ActionServer(tmp_path, SOURCE), scene)


def test_who_audits_after_a_lost_race_leaves_the_lines_of_the_run_that_counts(tmp_path: Path) -> None:
    source = (
        SOURCE
        + """
export const races = mutation(async ({ name }) => {
  const count = await run("mutation", "shop:increment", { name });
  await audit({ count });
});
"""
    )

    async def scene(server: ActionServer) -> None:
        outcomes = await asyncio.gather(*(server.mutate("races", {"name": "hot"}) for _ in range(20)))
        assert server.conflicts_met > 0, "nobody raced"
        assert sorted(line["count"] for each in outcomes for line in lines_of(each)) == list(range(1, 21))
        assert [line["count"] for line in audited(traces(server))] == list(range(1, 21))

    play(ActionServer(tmp_path, source), scene)
