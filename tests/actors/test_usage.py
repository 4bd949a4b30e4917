"""What calls are told to have used travels with their outcome to the gateway, and into no record."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors.calls import Ended, outcome_fields, told_bytes, without_results
from functions.invocation import RunOutcome
from gateway.backend import NO_USAGE, FunctionCall, FunctionOutcome, Usage
from log import values
from log.identity import UNKNOWN

from ..support.action_server import ActionServer, play, value_of
from ..support.recorded import ANN

SOURCE = """
export const countThenFail = mutation(async ({ name }) => {
  await where("counters.by_name", "name", name);
  await insert("notes", { text: "lost" });
  throw new Error("changed my mind");
});
export const catches = mutation(async ({ name }) => {
  await run("mutation", "shop:increment", { name });
  return (await run("query", "shop:notes", {})).length;
});
export const outer = publicAction(({ name }) => ask("mutation", "increment", { name }));
export const around = publicAction(({ name }) => ask("action", "outer", { name }));
export const later = publicAction(({ name }) => schedule("increment", { name }, Date.now() / 1000));
"""


def size_of(document: Any) -> int:
    return values.size_of(document)


def documents_of(outcome: FunctionOutcome) -> list[Any]:
    assert outcome.value is not None, outcome.error
    return list(values.loads_canonical(outcome.value))


def test_a_query_is_told_the_documents_it_read_with_their_bytes(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        assert (await server.query("notes", {})).usage == NO_USAGE
        for text in ("a", "bb", "ccc"):
            await server.mutate("note", {"text": text})
        outcome = await server.query("notes", {})
        notes = documents_of(outcome)
        assert outcome.usage == Usage(sum(map(size_of, notes)), 3, 0, 0)

    play(ActionServer(tmp_path, SOURCE), scene)


def test_a_mutation_is_told_what_it_wrote_and_nested_calls_are_inside(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        first = (await server.mutate("increment", {"name": "a"})).usage
        assert (first.database_read_documents, first.database_write_documents) == (0, 1)
        assert first.database_read_bytes == 0 and first.database_write_bytes > len("count") + len("name")
        again = (await server.mutate("increment", {"name": "a"})).usage
        assert again.database_write_documents == 1 and again.database_read_documents >= 1
        await server.mutate("note", {"text": "x"})
        notes = (await server.query("notes", {})).usage
        nested = (await server.mutate("catches", {"name": "a"})).usage
        assert nested == Usage(
            again.database_read_bytes + notes.database_read_bytes,
            again.database_read_documents + notes.database_read_documents,
            again.database_write_bytes,
            again.database_write_documents,
        )

    play(ActionServer(tmp_path, SOURCE), scene)


def test_a_failed_mutation_has_read_and_written_nothing_and_a_resent_one_has_done_neither(
    tmp_path: Path,
) -> None:
    async def scene(server: ActionServer) -> None:
        session = ("11111111-1111-4111-8111-111111111111", 0)
        sent = await server.mutate("increment", {"name": "a"}, session=session)
        assert sent.usage.database_write_documents == 1
        resent = await server.mutate("increment", {"name": "a"}, session=session)
        assert (resent.value, resent.ts, resent.usage) == (sent.value, sent.ts, NO_USAGE)
        failed = await server.mutate("countThenFail", {"name": "a"})
        assert failed.error is not None
        assert failed.usage == Usage(failed.usage.database_read_bytes, 1, 0, 0)
        assert failed.usage.database_read_bytes == sent.usage.database_write_bytes, "the one row it read"
        assert (await server.mutate("nowhere", {})).usage == NO_USAGE

    play(ActionServer(tmp_path, SOURCE), scene)


def test_what_an_action_calls_is_in_its_trace_and_what_it_schedules_is_in_none(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        told: list[FunctionCall] = []
        server._runtime.backend.listen_to_jobs(lambda call, outcome: told.append(call))
        trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
        for name in ("around", "outer", "later"):
            call = FunctionCall(f"shop.js:{name}", b'[{"name":"a"}]', UNKNOWN, trace_id=trace_id)
            outcome = await server._runtime.backend.run_action(call)
            assert outcome.error is None, outcome.error
        while len(told) < 4:
            await asyncio.sleep(0.01)
        assert [(call.path, call.trace_id, call.late_seconds is None) for call in told] == [
            ("shop.js:increment", trace_id, True),
            ("shop.js:outer", trace_id, True),
            ("shop.js:increment", trace_id, True),
            ("shop.js:increment", "", False),
        ]

    play(ActionServer(tmp_path, SOURCE), scene)


def test_an_action_uses_nothing_itself_and_what_it_calls_or_schedules_is_told_apart(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        outcome = await server.act("outer", {"name": "a"})
        assert (value_of(outcome), outcome.usage) == (1, NO_USAGE)
        ((path, called),) = server.told
        assert (path, called.usage.database_write_documents) == ("shop.js:increment", 1)
        assert called.value is None and called.reads == b""
        ran: list[tuple[FunctionCall, FunctionOutcome]] = []
        server._runtime.backend.listen_to_jobs(lambda call, outcome: ran.append((call, outcome)))
        await server.act("outer", {"name": "a"})
        await server.act("later", {"name": "a"})
        while len(ran) < 2:
            await asyncio.sleep(0.01)
        (by_action, _), (job, outcome) = ran
        assert (job.path, outcome.usage.database_write_documents) == ("shop.js:increment", 1)
        assert job.late_seconds is not None and 0 <= job.late_seconds < 60
        assert by_action.late_seconds is None, "nobody had set it a time"

    play(ActionServer(tmp_path, SOURCE), scene)


def test_what_an_action_calls_is_part_of_its_request_and_a_job_has_one_of_its_own(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        told: list[FunctionCall] = []
        server._runtime.backend.listen_to_jobs(lambda call, outcome: told.append(call))
        await server.act("around", {"name": "a"}, identity=ANN)
        await server.act("later", {"name": "a"}, identity=ANN)
        while len(told) < 3:
            await asyncio.sleep(0.01)
        *called, job = told
        for call in called:
            assert (call.caller, call.identity.kind, call.request_id) == (
                "Action",
                "user",
                "0123456789abcdef",
            )
        assert (job.caller, job.identity.kind, len(job.request_id)) == ("Scheduler", "system", 16)

    play(ActionServer(tmp_path, SOURCE), scene)


@pytest.mark.parametrize("is_beyond", [False, True])
def test_of_calls_that_say_more_than_is_told_the_first_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_beyond: bool
) -> None:
    source = """
      export const says = mutation(async ({ text }) => { console.log(text); });
      export const asks = publicAction(async () => {
        for (const text of ["a".repeat(300), "b".repeat(300), "c"]) await ask("mutation", "says", { text });
      });"""

    async def scene(server: ActionServer) -> None:
        await server.act("asks")
        said = [outcome.log_lines for _path, outcome in server.told]
        sizes = [len(lines) for lines in said]
        assert [lines[9:10] for lines in said] == [b"a", b"b", b"c"]
        monkeypatch.setattr("actors.action_operations.ACTION_CALLS_TOLD_BYTES_MAX", sum(sizes) - is_beyond)
        server.told.clear()
        await server.act("asks")
        assert [len(outcome.log_lines) for _path, outcome in server.told] == sizes[: 2 if is_beyond else 3]

    play(ActionServer(tmp_path, source), scene)


def test_what_is_told_of_a_call_holds_neither_its_results_nor_its_cursor() -> None:
    """All are as large as the app makes them: a cursor holds an index key."""
    outcome = RunOutcome(b'"value"', None, "Query", log_lines=("said",), journal_end="cursor")
    told = without_results(outcome_fields(Ended(outcome, 1, b"reads", (("", "m.js:f", "user", []),)), 0.5))
    assert not {b'"value"', "cursor", b"reads"} & {each for each in told if isinstance(each, str | bytes)}
    assert told[-1] == () and told_bytes(told) == len(b'["said"]')
