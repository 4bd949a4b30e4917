"""Recorded calls executed again are identical, and where they are not, the first difference is named."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from actors.calls import RunCall
from actors.chain import attempt_at
from actors.executor_settings import runner_of
from actors.function_runs import run_query
from actors.history import DocumentChange, History, NotRecorded, body_of
from actors.past_view import PastView
from actors.replay import Difference, NotReplayable, Replayer, is_user_mutation
from functions.determinism import CallClock
from functions.path import parse_function_path
from log.proven_log import ProvenLog
from log.record import CallTrace, CommitBody, DocumentWrite, Record
from log.sqlite_reader import SqliteReader
from log.store import LogDamaged, MemoryStore

from ..support.javascript import engine
from ..support.recorded import FIND, KINDS, SHOP, RecordedServer, tamper

SEED = 20261126
CALLS = 1_150
"""Some fail or write nothing and leave no record; at least RECORDED_MIN are left."""
RECORDED_MIN = 1_000
STORY_KINDS = {**KINDS, "post": 2}


class Story:
    """A played deployment: its folder, its log, and what queries answered while it was played."""

    def __init__(self, folder: Path) -> None:
        self.server = RecordedServer(folder)
        self.seen: list[tuple[int, str, dict[str, Any], bytes | None]] = []
        self.conflicts_met = 0
        asyncio.run(self._play())
        self.log = ProvenLog(SqliteReader(folder / "log"))

    async def _play(self) -> None:
        rng = random.Random(SEED)
        async with self.server as server:
            server.kinds = STORY_KINDS
            await server.push(ledger=True)
            await server.play(rng, CALLS // 2)
            await self._look(rng)
            await server.set_variable("GREETING", "hello")
            await server.push(
                SHOP + FIND, ledger=True, by_text=["text"]
            )  # an index over documents that are there
            for _ in range(5):
                await self._look(rng, find=True)
                await server.play(rng, CALLS // 10)
            await self._look(rng, find=True)
            self.conflicts_met = server.conflicts_met

    async def _look(self, rng: random.Random, *, find: bool = False) -> None:
        questions: list[tuple[str, dict[str, Any]]] = [("notes", {}), ("count", {"name": rng.choice("abc")})]
        if find:
            questions.append(("find", {"text": rng.choice("xyü")}))
        for name, args in questions:
            outcome = await self.server.query(name, args)
            self.seen.append((outcome.ts, name, args, outcome.value))

    def records(self) -> list[Record]:
        return list(self.log.read_from(1))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    yield Story(tmp_path_factory.mktemp("story") / "data")


class Laboratory:
    """A past view and what runs functions on it."""

    def __init__(self, story: Story, log: ProvenLog, folder: Path) -> None:
        self.view = PastView(log, folder)
        self.runner = runner_of(engine(), story.server.settings)
        self._replayer = Replayer(self.view, self.runner)

    def replay(self, record: Record) -> tuple[Difference, ...]:
        return self._replayer.replay(body_of(record))

    def query(self, ts: int, name: str, args: dict[str, Any]) -> bytes | None:
        snapshot = self.view.snapshot(ts)
        clock = CallClock.at(ts, ts)
        attempt = attempt_at(snapshot, self.view.catalog(snapshot), clock, bytes(32), is_read_only=True)
        text = orjson.dumps([args])
        call = RunCall("Query", f"shop.js:{name}", "", text, "unknown", None, "", None, b"", None, None)
        return run_query(self.runner, call, parse_function_path(call.path), attempt).outcome.value


# --- identical --------------------------------------------------------------------------------------


def test_a_thousand_recorded_calls_replay_identically(story: Story, tmp_path: Path) -> None:
    laboratory = Laboratory(story, story.log, tmp_path)
    calls = [record for record in story.records() if is_user_mutation(body_of(record))]
    assert len(calls) >= RECORDED_MIN, f"seed {SEED}"
    assert story.conflicts_met > 20, f"calls raced, seed {SEED}"
    kinds = {body_of(record).trace.path for record in calls}
    posts = [body_of(record) for record in calls if body_of(record).trace.path == "shop.js:post"]
    assert all(
        wrote_into_the_ledger(body) and b"no such line" in (note_in(body).document or b"") for body in posts
    )
    assert kinds == {f"shop.js:{name}" for name in STORY_KINDS if name != "fail"}
    for record in calls:
        found = laboratory.replay(record)
        assert found == (), f"seed {SEED}, record {record.seq}: {found[0]}"
    laboratory.view.close()


def test_a_query_at_a_past_ts_answers_what_it_answered_then(story: Story, tmp_path: Path) -> None:
    """Also through an index that was filled over existing documents."""
    laboratory = Laboratory(story, story.log, tmp_path)
    assert any(value not in (b"[]", b"0") for _ts, _name, _args, value in story.seen)
    for ts, name, args, value in story.seen:
        assert laboratory.query(ts, name, args) == value, (SEED, ts, name, args)
    laboratory.view.close()


def test_only_calls_of_the_app_are_replayed(story: Story, tmp_path: Path) -> None:
    laboratory = Laboratory(story, story.log, tmp_path)
    others = [record for record in story.records() if not is_user_mutation(body_of(record))]
    assert len(others) > 5
    for record in others:
        with pytest.raises(NotReplayable):
            laboratory.replay(record)
    laboratory.view.close()


def test_an_address_that_an_operator_set_is_seen_again_as_of_its_time(tmp_path: Path) -> None:
    source = """
    export const vouch = mutation(async () => {
      const token = await call("signJwt", { version: "1.48.0", claims: {}, expiresInSeconds: 60 });
      return insert("tokens", { token, url: process.env.CONVEX_CLOUD_URL });
    });
    """
    server = RecordedServer(tmp_path / "data")

    async def play() -> None:
        async with server:
            await server.push(SHOP + source)
            for url in (None, "https://other.example", None):
                body = {"requestDestination": "convexCloud", "url": url}
                await server.operate("update_canonical_url", body)
                assert (await server.mutate("vouch", {})).error is None

    asyncio.run(play())
    log = ProvenLog(SqliteReader(server.folder / "log"))
    view = PastView(log, tmp_path / "view")
    replayer = Replayer(view, runner_of(engine(), server.settings))
    bodies = [body_of(record) for record in log.read_from(1) if is_user_mutation(body_of(record))]
    own = server.settings.cloud_origin.encode()
    named = [any(own in (write.document or b"") for write in body.writes) for body in bodies]
    assert named == [True, False, True]
    assert [replayer.replay(body) for body in bodies] == [(), (), ()]
    view.close()


# --- different --------------------------------------------------------------------------------------


def changed_copy(story: Story, folder: Path, old: bytes, new: bytes) -> tuple[ProvenLog, list[int]]:
    """A copy of the story whose documents say `new` where they said `old`, with a chain that fits."""
    shutil.copytree(story.server.folder, folder)

    def change(write: DocumentWrite) -> DocumentWrite:
        if write.document is None or old not in write.document:
            return write
        return write._replace(document=write.document.replace(old, new))

    seqs = tamper(folder, change)
    return ProvenLog(SqliteReader(folder / "log")), seqs


def first_record(log: ProvenLog, path: str, *, after: int = 0) -> Record:
    return next(
        record for record in log.read_from(after + 1) if body_of(record).trace.path == f"shop.js:{path}"
    )


def test_a_changed_module_is_told_by_what_its_calls_then_do(story: Story, tmp_path: Path) -> None:
    old, new = b"const count = counter.count + 1;", b"const count = counter.count + 2;"
    log, seqs = changed_copy(story, tmp_path / "data", old, new)
    assert seqs, "the module's text is in the log"
    laboratory = Laboratory(story, log, tmp_path / "view")
    other = first_record(log, "note", after=seqs[0])
    assert laboratory.replay(other) == (), "what the change does not touch is as before"
    second = next(
        record
        for record in log.read_from(seqs[0] + 1)
        if body_of(record).trace.path == "shop.js:increment" and body_of(record).writes[-1].previous_ts
    )
    found = [difference.what for difference in laboratory.replay(second)]
    assert found[0] == "outcome"
    assert any(what.startswith("document counters/") and what.endswith(" field count") for what in found)
    laboratory.view.close()


def test_a_changed_document_is_named_with_its_field(story: Story, tmp_path: Path) -> None:
    noted = first_record(story.log, "note")
    write = note_in(body_of(noted))
    assert write.document is not None
    uuid = orjson.loads(write.document)["uuid"].encode()
    log, seqs = changed_copy(story, tmp_path / "data", uuid, uuid[::-1])
    assert seqs[0] == noted.seq
    laboratory = Laboratory(story, log, tmp_path / "view")
    record = log.record(noted.seq)
    assert record is not None
    (found,) = laboratory.replay(record)
    assert found.what == f"document notes/{write.document_id} field uuid"
    assert (found.recorded, found.replayed) == (f'"{uuid[::-1].decode()}"', f'"{uuid.decode()}"')
    laboratory.view.close()


def note_in(body: CommitBody) -> DocumentWrite:
    """The write of a note among those of `note`."""
    return next(write for write in body.writes if b'"uuid"' in (write.document or b""))


def wrote_into_the_ledger(body: CommitBody) -> bool:
    """One line of two; the other was refused, and the component has nothing of it."""
    lines = [write.document or b"" for write in body.writes if b'"luck"' in (write.document or b"")]
    entries = [line for line in lines if b'"uuid"' not in line]
    return len(entries) == 1 and b'"refused"' not in entries[0]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"seed": bytes(32)}, "outcome"),  # note returns an id
        ({"outcome_crc": 1}, "outcome"),
        ({"logs_crc": 1}, "console"),
        ({"audit_lines": (b"{}",)}, "audit line 1"),
        ({"reads_crc": 1}, "reads"),
        ({"args": b'[{"text":"other"}]'}, "console"),
        ({"now_ms": 1.0}, "document notes/{id} field at"),
        ({"creation_ms": 1.5}, "outcome"),  # ids end in the day
        ({"path": "shop.js:fail"}, "outcome"),
        ({"path": "shop.js:look"}, "outcome"),
    ],
)
def test_each_part_of_a_record_is_compared(
    story: Story, tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    laboratory = Laboratory(story, story.log, tmp_path)
    record = first_record(story.log, "note")
    body = body_of(record)
    changed = body._replace(trace=body.trace._replace(**change))
    found = Replayer(laboratory.view, laboratory.runner).replay(changed)
    assert found[0].what == what.format(id=note_in(body).document_id)
    laboratory.view.close()


def test_an_audit_line_that_is_missing_changed_or_too_many_is_named(story: Story, tmp_path: Path) -> None:
    laboratory = Laboratory(story, story.log, tmp_path)
    body = body_of(first_record(story.log, "trail"))
    (line,) = body.trace.audit_lines
    assert {"at", "request", "actor", "from"} < orjson.loads(line).keys() and b"$var" not in line
    for lines, number, recorded in (((), 1, "absent"), ((b"{}",), 1, "{}"), ((line, b"{}"), 2, "{}")):
        changed = body._replace(trace=body.trace._replace(audit_lines=lines))
        (found,) = Replayer(laboratory.view, laboratory.runner).replay(changed)
        now = "absent" if number == 2 else line.decode()
        assert (found.what, found.recorded, found.replayed) == (f"audit line {number}", recorded, now)
    laboratory.view.close()


def test_a_difference_in_an_index_key_or_a_missing_document_is_named(story: Story, tmp_path: Path) -> None:
    laboratory = Laboratory(story, story.log, tmp_path)
    body = body_of(first_record(story.log, "note"))
    write = note_in(body)
    others = tuple(other for other in body.writes if other != write)
    keys = tuple((index_id, old, b"\x0e") for index_id, old, _new in write.keys)
    for writes, what in (((write._replace(keys=keys),), " index by_id"), ((), "")):
        changed = body._replace(writes=(*others, *writes))
        found = Replayer(laboratory.view, laboratory.runner).replay(changed)
        assert found[0].what == f"document notes/{write.document_id}{what}"
    laboratory.view.close()


def test_a_record_without_the_clock_of_creation_times_still_decodes_and_is_refused() -> None:
    """Records grow at the end: what an earlier version wrote has fewer fields."""
    import msgpack

    begin_ts, call_id, trace, writes = msgpack.unpackb(CommitBody(1, b"id", CallTrace("m.js:f"), ()).encode())
    old = CommitBody.decode(msgpack.packb((begin_ts, call_id, trace[:-3], writes)))
    assert old.trace == CallTrace("m.js:f")
    with pytest.raises(NotReplayable, match="clock of creation times"):
        Replayer(None, None).replay(old)  # type: ignore[arg-type]


# --- history ----------------------------------------------------------------------------------------


def fold(records: list[Record], ts: int) -> dict[tuple[bytes, str], bytes]:
    """The dumb way: every document there is at `ts`."""
    documents: dict[tuple[bytes, str], bytes] = {}
    for record in records:
        for write in body_of(record).writes if record.ts <= ts else ():
            if write.document is None:
                del documents[write.tablet_id, write.document_id]
            else:
                documents[write.tablet_id, write.document_id] = write.document
    return documents


@pytest.mark.parametrize("seed", range(5))
def test_the_changes_between_two_moments_are_those_between_two_folds(story: Story, seed: int) -> None:
    rng, records = random.Random(seed), story.records()
    moments = sorted(rng.sample(range(len(records)), 2))
    first_ts, last_ts = (records[position].ts for position in moments)
    first, last = fold(records, first_ts), fold(records, last_ts)
    expected = [
        DocumentChange(*name, first.get(name), last.get(name))
        for name in sorted(first.keys() | last.keys())
        if first.get(name) != last.get(name)
    ]
    assert list(History(story.log).changes(first_ts, last_ts)) == expected, f"seed {seed}"
    assert expected


def test_every_document_before_a_write_is_that_of_the_fold(story: Story) -> None:
    records, history = story.records()[:200], History(story.log)
    for position, record in enumerate(records):
        before = fold(records[:position], record.ts)
        for write in body_of(record).writes:
            found = history.before(write.tablet_id, write.document_id, write.previous_ts)
            assert found == before.get((write.tablet_id, write.document_id)), record.seq


def test_a_record_is_found_by_each_of_its_names(story: Story) -> None:
    history = History(story.log)
    record = next(
        record for record in story.records() if body_of(record).trace.session_id and record.seq > 50
    )
    body = body_of(record)
    trace = body.trace
    session = f"{trace.session_id}:{trace.session_request}"
    for name in (str(record.seq), str(record.ts), session, trace.request_id, body.call_id.hex()):
        assert history.find(name) == record, name


def test_what_is_not_recorded_is_refused_with_what_there_is(story: Story) -> None:
    history, end = History(story.log), story.log.end()
    for name in ("0", str(end.seq + 1), str(end.ts + 1), "session-9:1", "no such thing", "", "abcd"):
        with pytest.raises(NotRecorded, match=f"records 1 to {end.seq}"):
            history.find(name)
    for name in ("0", str(end.seq + 1), str(end.ts + 1)):
        with pytest.raises(NotRecorded, match="does not cover"):
            history.moment(name)


def test_a_moment_between_two_records_is_the_earlier_one(story: Story) -> None:
    records, history = story.records(), History(story.log)
    for position in range(0, len(records) - 1, 97):
        here, there = records[position], records[position + 1]
        assert history.moment(str(here.seq)) == history.moment(str(here.ts)) == here.ts
        assert history.moment(str(there.ts - 1)) == (here.ts if there.ts - 1 >= here.ts else there.ts)


def test_a_broken_chain_is_refused_wherever_reading_begins(story: Story) -> None:
    records = story.records()[:30]
    for broken in (0, 1, 17, 29):
        store = MemoryStore()
        store._records = [
            record._replace(body=record.body + b"\xc0") if position == broken else record
            for position, record in enumerate(records)
        ]
        damaged = ProvenLog(store)
        for first in range(1, broken + 2):
            with pytest.raises(LogDamaged, match=f"after record {broken}"):
                list(damaged.read_from(first))
