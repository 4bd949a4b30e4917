"""A commit's own timestamp on its way through executor, writer and session, with the real engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from actors.ahead_snapshot import AheadSnapshot
from actors.executor_settings import runner_of
from actors.history import body_of
from actors.past_view import PastView
from actors.replay import Replayer, is_user_mutation
from cluster.local_runtime import DirectPeer
from functions.transaction import Transaction
from log import values
from log.commit_ts import leave_blanks
from log.keys import encode_item
from log.proven_log import ProvenLog
from log.read_set import ReadSet
from log.record import CallTrace, CommitBody, DocumentWrite
from log.sqlite_reader import SqliteReader
from log.turns import EVERYTHING
from log.values import COMMIT_TS

from ..support.javascript import engine
from ..support.recorded import SHOP, RecordedServer
from .test_transactor import World, play

APP = (
    SHOP
    + """
const now = { $commitTs: null };
const attempt = async (body) => { try { return await body(); } catch (error) { return error.message; } };

export const stamp = mutation(async ({ text }) => {
  const id = await insert("notes", { text, at: now, deep: [{ at: now }] });
  return { at: now, again: await call("get", { id }), text: "{\\"$commitTs\\":null}" };
});
export const onlyReturns = mutation(() => [now]);
export const pass = mutation(async () => {
  const passed = await run("query", "shop:echo", { value: now });
  const stamped = await run("mutation", "shop:stamp", passed);
  return { passed, stamped: stamped.at, listed: (await run("query", "shop:notes", {})).at(-1).at };
});
export const echo = query((args) => args);
export const leak = query(() => ({ deep: [now] }));
export const fromQuery = query(() => attempt(() => run("query", "shop:echo", { value: now })));
export const nestedLeak = query(async () => await run("query", "shop:leak", {}));
export const thrown = mutation(() => {
  const error = new Error("with data");
  error.data = JSON.stringify(now);
  error.ConvexErrorSymbol = Symbol.for("ConvexError");
  error[error.ConvexErrorSymbol] = true;
  throw error;
});
export const snapshots = mutation(async () => {
  const here = JSON.parse(Convex.syscall("1.0/getSnapshotTs", "{}"));
  await insert("notes", { text: "later", at: now });
  return { here, nested: await run("query", "shop:snapshotTs", {}), at: now };
});
export const snapshotTs = query(() => JSON.parse(Convex.syscall("1.0/getSnapshotTs", "{}")));
"""
)


def value_of(outcome: Any) -> Any:
    assert outcome.error is None, outcome.error
    return values.loads(outcome.value)


def serve(folder: Path, scene: Callable[[RecordedServer], Awaitable[None]]) -> RecordedServer:
    server = RecordedServer(folder)

    async def whole() -> None:
        async with server:
            await server.push(APP)
            await scene(server)

    asyncio.run(whole())
    return server


def test_a_mutation_is_answered_the_ts_that_queries_find_in_its_document(tmp_path: Path) -> None:
    async def scene(server: RecordedServer) -> None:
        outcome = await server.mutate("stamp", {"text": "a"})
        told = value_of(outcome)
        assert told["at"] == told["again"]["at"] == outcome.ts
        assert told["again"]["deep"] == [{"at": outcome.ts}]
        assert told["text"] == '{"$commitTs":null}', "a string that spells the placeholder is a string"
        (found,) = value_of(await server.query("notes", {}))
        assert found == told["again"]

    serve(tmp_path, scene)


def test_a_mutation_without_writes_is_answered_the_ts_it_is_told_as(tmp_path: Path) -> None:
    async def scene(server: RecordedServer) -> None:
        for session in (None, ("session", 1)):  # the second writes the row of its session
            outcome = await server.mutate("onlyReturns", {}, session=session)
            assert value_of(outcome) == [outcome.ts]

    serve(tmp_path, scene)


def test_a_request_sent_again_is_answered_the_ts_of_its_first_commit(tmp_path: Path) -> None:
    async def scene(server: RecordedServer) -> None:
        session = ("session", 7)
        first = await server.mutate("stamp", {"text": "once"}, session=session)
        await server.mutate("stamp", {"text": "other"})
        again = await server.mutate("stamp", {"text": "once"}, session=session)
        assert (again.ts, again.value) == (first.ts, first.value)
        assert value_of(first)["at"] == first.ts

    serve(tmp_path, scene)


def test_nested_calls_of_a_mutation_pass_the_placeholder_in_arguments_and_results(tmp_path: Path) -> None:
    async def scene(server: RecordedServer) -> None:
        outcome = await server.mutate("pass", {})
        assert value_of(outcome) == {
            "passed": {"value": outcome.ts},
            "stamped": outcome.ts,
            "listed": outcome.ts,
        }

    serve(tmp_path, scene)


def test_everywhere_else_the_placeholder_is_refused(tmp_path: Path) -> None:
    async def scene(server: RecordedServer) -> None:
        unknown = "Field name $commitTs starts with '$', which is reserved."
        for kind, name in ((server.mutate, "stamp"), (server.query, "echo")):
            outcome = await kind(name, {"text": {"$commitTs": None}})
            assert outcome.error is not None
            assert outcome.error.message.strip() == f"Invalid arguments for shop.js:{name}: {unknown}"
        for name in ("leak", "nestedLeak"):
            outcome = await server.query(name, {})
            assert outcome.error is not None
            assert outcome.error.message.strip() == (
                f"Function shop.js:{name} return value invalid: "
                "queries cannot return an unresolved commit timestamp"
            )
        text = value_of(await server.query("fromQuery", {}))
        assert text == f"Invalid arguments for shop.js:echo: {unknown}"
        outcome = await server.mutate("thrown", {})
        assert outcome.error is not None and outcome.error.data is None
        assert f"ConvexError with invalid data: {unknown}" in outcome.error.message

    serve(tmp_path, scene)


def test_the_snapshot_ts_is_below_the_commit_ts_and_the_same_in_nested_calls(tmp_path: Path) -> None:
    async def scene(server: RecordedServer) -> None:
        before = await server.mutate("stamp", {"text": "before"})
        told = value_of(await server.mutate("snapshots", {}))
        assert before.ts <= told["here"] == told["nested"] < told["at"]
        asked = await server.query("snapshotTs", {})
        assert value_of(asked) == asked.ts and asked.observed_time, "its answer may not be kept for long"

    serve(tmp_path, scene)


def test_recorded_calls_that_wrote_their_ts_replay_identically(tmp_path: Path) -> None:
    async def scene(server: RecordedServer) -> None:
        for number in range(5):
            await server.mutate("stamp", {"text": str(number)}, session=("session", number))
            await server.mutate("pass", {})

    server = serve(tmp_path / "data", scene)
    log = ProvenLog(SqliteReader(tmp_path / "data" / "log"))
    view = PastView(log, tmp_path / "past")
    replayer = Replayer(view, runner_of(engine(), server.settings))
    bodies = [body for record in log.read_from(1) if is_user_mutation(body := body_of(record))]
    assert len(bodies) == 10 and all(body.blanks for body in bodies)
    for body in bodies:
        assert replayer.replay(body) == ()
    changed = bodies[-2]._replace(writes=tuple(map(_spoiled, bodies[-2].writes)))
    assert {difference.what.split(" field ")[-1] for difference in replayer.replay(changed)} == {"text"}
    view.close()


def _spoiled(write: DocumentWrite) -> DocumentWrite:
    """As if the document had held another text of the same length."""
    document = write.document.replace(b'"text":"4"', b'"text":"5"') if write.document is not None else None
    return write._replace(document=document)


# --- before it is durable -----------------------------------------------------------------------------


def test_who_reads_ahead_of_the_disk_reads_the_ts_that_will_be_durable(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.make_counters("one")
        transactor, log = world.transactor(), world.core._log
        world.store.gate.clear()
        writer = transactor.begin(
            transactor._reader.snapshot(log.published_ts), is_read_only=False
        ).transaction
        _patch(world, writer)
        body = writer.commit_body(os.urandom(16), CallTrace(path="m.js:f"))
        client = DirectPeer(world.core, lambda *_: None)
        proposal = ([(writer.reads.encode(), body.encode())], None, None)
        committing = asyncio.create_task(world.core.handle(client, "commit", proposal))
        await asyncio.sleep(0)
        turn = await transactor._take_turn(EVERYTHING)
        assert turn is not None and log.published_ts < log.admitted_ts == turn.commits[-1][0]
        base = transactor._reader.snapshot(turn.published_ts)
        ahead = transactor.begin(AheadSnapshot(base, turn.commits), is_read_only=False).transaction
        read = _at(world, ahead)
        transactor._give_back(turn)
        world.store.gate.set()
        ((_committed, ts, _is_wanted),) = await committing
        snapshot = transactor._reader.snapshot(log.published_ts)
        durable = transactor.begin(snapshot, is_read_only=True).transaction
        assert read == ts == _at(world, durable)

    play(tmp_path, scene)


def _patch(world: World, transaction: Transaction) -> None:
    transaction.patch(transaction.catalog.tables["counters"], world.ids["one"], {"at": COMMIT_TS})


def _at(world: World, transaction: Transaction) -> Any:
    row = transaction.get(transaction.catalog.tables["counters"], world.ids["one"])
    assert row is not None
    return values.decode(orjson.loads(row.document))["at"]  # type: ignore[index,call-overload]


def test_a_proposal_queues_for_the_place_its_ts_will_have_in_an_index(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        index_id, now = b"i" * 16, world.core.published_ts
        held = (index_id, encode_item(now), encode_item(now + 10**12))
        holder, writer = (DirectPeer(world.core, lambda *_: None) for _ in range(2))
        ticket, *_rest = await world.core.handle(holder, "turn", ([held],))
        key = encode_item(COMMIT_TS) + encode_item("d")
        document = values.dumps({"at": COMMIT_TS})
        write = DocumentWrite(b"t" * 16, "d", 0, 20, document, ((index_id, None, key),))
        body = leave_blanks(CommitBody(now, b"call", CallTrace(path="m.js:f"), (write,)), {"d": [(1,)]})
        reads = ReadSet()
        reads.reads_catalog = True
        chain = [(reads.encode(), body.encode())]
        (answer,) = await world.core.handle(writer, "commit", (chain, None, None))
        assert answer[0] == "queue"
        world.core.handle(holder, "end_turn", (ticket,)).close()

    play(tmp_path, scene)
