"""The commands that look into the log, on a stopped folder, on one in use, and on a copy."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from click.testing import Result
from typer.testing import CliRunner

from cluster.cli import app
from log.proven_log import ProvenLog
from log.record import CommitBody, DocumentWrite, Record, RecordKind
from log.sqlite_reader import SqliteReader

from ..support.recorded import RecordedServer, tamper

SEED = 7
CALLS = 60
SECRET = "do-not-print-me"
_TIDELOG = Path(sys.executable).with_name("tidelog")


@dataclass(frozen=True)
class Played:
    """A stopped deployment and what one query answered at one moment."""

    folder: Path
    ts: int
    notes: bytes

    def records(self) -> list[Record]:
        reader = SqliteReader(self.folder / "log")
        try:
            return list(ProvenLog(reader).read_from(1))
        finally:
            reader.close()

    def calls(self, name: str = "") -> list[tuple[Record, CommitBody]]:
        """Records of the app's mutations, or of one of them."""
        bodies = [(record, CommitBody.decode(record.body)) for record in self.records() if record.body]
        commits = [(record, body) for record, body in bodies if record.kind is RecordKind.COMMIT]
        return [pair for pair in commits if pair[1].trace.path.startswith(f"shop.js:{name}")]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("played") / "data"

    async def play() -> Played:
        rng = random.Random(SEED)
        async with RecordedServer(folder) as server:
            await server.push()
            await server.set_variable("TOKEN", "first-" + SECRET)
            await server.play(rng, CALLS)
            await server.set_variable("TOKEN", "second-" + SECRET)
            seen = await server.query("notes", {})
            await server.play(rng, CALLS)
            assert seen.value is not None
            return Played(folder, seen.ts, seen.value)

    yield asyncio.run(play())


def tidelog(*arguments: object) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeeded(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def refused(result: Result) -> str:
    assert result.exit_code == 1 and result.stdout == "", result.output
    assert not isinstance(result.exception, AssertionError | TypeError | KeyError), result.exception
    return result.stderr


# --- tail, show, diff -------------------------------------------------------------------------------


def test_tail_prints_a_line_for_each_of_the_newest_records(played: Played) -> None:
    records = played.records()
    lines = succeeded(tidelog("log", "tail", "--count", 5, "--data", played.folder))
    assert [line.split()[:2] for line in lines] == [[str(each.seq), str(each.ts)] for each in records[-5:]]
    everything = succeeded(tidelog("log", "tail", "--count", 10_000, "--data", played.folder))
    assert len(everything) == len(records)
    assert "writer 1 takes over" in everything[0]


def test_tail_says_who_wrote_how_much_of_what(played: Played) -> None:
    everything = succeeded(tidelog("log", "tail", "--count", 10_000, "--data", played.folder))
    record, body = played.calls("nested")[-1]
    line = everything[record.seq - 1]
    assert "  shop:nested  " in line and line.endswith(body.trace.identity)
    assert "counters ~1" in line and "notes +1" in line


def test_show_prints_the_call_and_each_document_before_and_after(played: Played) -> None:
    record, body = next(
        (record, body) for record, body in played.calls("increment") if body.writes[-1].previous_ts
    )
    text = "\n".join(succeeded(tidelog("log", "show", record.seq, "--data", played.folder)))
    assert "shop:increment" in text and body.trace.args.decode() in text and body.trace.seed.hex() in text
    changed = next(write for write in body.writes if write.previous_ts)
    count = orjson.loads(changed.document or b"")["count"]
    before, after = (f'"count":{number}' for number in (count - 1, count))
    shown = text.split(f"~ counters/{changed.document_id}")[1]
    assert before in shown.splitlines()[1] and after in shown.splitlines()[2]
    assert "by_name: " in shown


def test_values_of_environment_variables_are_never_printed(played: Played) -> None:
    lines = succeeded(tidelog("log", "diff", 1, played.records()[-1].seq, "--data", played.folder))
    seqs = [
        record.seq
        for record in played.records()
        if record.kind is RecordKind.COMMIT and SECRET.encode() in record.body
    ]
    assert len(seqs) == 2, "it was set and changed"
    lines += succeeded(tidelog("log", "diff", seqs[0], seqs[1], "--data", played.folder))
    for seq in seqs:
        lines += succeeded(tidelog("log", "show", seq, "--data", played.folder))
    text = "\n".join(lines)
    assert SECRET not in text
    assert text.count("<redacted>") >= 4 and '"name":"TOKEN"' in text


def test_diff_names_what_was_added_changed_and_removed(played: Played) -> None:
    calls = played.calls()
    first, last = calls[10][0], calls[-10][0]
    documents: dict[str, dict[str, bytes]] = {"first": {}, "last": {}}
    for record in played.records():
        for write in CommitBody.decode(record.body).writes if record.kind is RecordKind.COMMIT else ():
            for moment, until in (("first", first.ts), ("last", last.ts)):
                if record.ts <= until:
                    documents[moment].pop(write.document_id, None)
                    if write.document is not None:
                        documents[moment][write.document_id] = write.document
    lines = succeeded(tidelog("log", "diff", first.ts, last.seq, "--data", played.folder))
    shown = {tuple(line.split()[:2]) for line in lines if line.startswith("  ")}
    then, now = documents["first"], documents["last"]
    expected = {("+", name) for name in now.keys() - then.keys()}
    expected |= {("-", name) for name in then.keys() - now.keys()}
    expected |= {("~", name) for name in now.keys() & then.keys() if now[name] != then[name]}
    assert shown == expected, f"seed {SEED}"
    assert any(line.startswith("  ~ ") and "count: " in line and " -> " in line for line in lines)


# --- at ---------------------------------------------------------------------------------------------


def test_at_answers_what_the_query_answered_then(played: Played) -> None:
    (line,) = succeeded(tidelog("at", played.ts, "shop:notes", "--data", played.folder))
    assert line.encode() == played.notes
    (now,) = succeeded(tidelog("at", played.records()[-1].seq, "shop:notes", "--data", played.folder))
    assert now != line


def test_at_takes_arguments_and_says_why_a_query_failed(played: Played) -> None:
    moment = played.records()[-1].seq
    (line,) = succeeded(tidelog("at", moment, "shop:count", '{"name":"a"}', "--data", played.folder))
    assert float(line) > 0
    assert "JSON object" in refused(tidelog("at", moment, "shop:count", "a", "--data", played.folder))
    missing = refused(tidelog("at", moment, "shop:missing", "--data", played.folder))
    assert "Could not find public function for 'shop:missing'" in missing
    mutation = refused(tidelog("at", moment, "shop:note", "--data", played.folder))
    assert "defined as Mutation" in mutation


# --- replay -----------------------------------------------------------------------------------------


def test_replay_says_identical_by_whatever_name_the_call_is_asked_for(played: Played) -> None:
    record, body = next((record, body) for record, body in played.calls("note") if body.trace.session_id)
    trace = body.trace
    session = f"{trace.session_id}:{trace.session_request}"
    for name in (record.seq, record.ts, session, trace.request_id):
        lines = succeeded(tidelog("replay", name, "--data", played.folder))
        assert lines == [f"record {record.seq}  shop:note: identical"]


def test_replay_of_all_counts_what_was_identical(played: Played) -> None:
    total = len(played.calls())
    assert succeeded(tidelog("replay", "--all", "--data", played.folder)) == [
        f"{total} of {total} calls identical."
    ]
    assert succeeded(tidelog("replay", "--all", "--last", 7, "--data", played.folder)) == [
        "7 of 7 calls identical."
    ]


def test_replay_names_the_first_difference_and_fails(played: Played, tmp_path: Path) -> None:
    shutil.copytree(played.folder, tmp_path / "copy")
    record, body = played.calls("sign")[-1]
    signed = next(write for write in body.writes if b'"who"' in (write.document or b""))

    def change(write: DocumentWrite) -> DocumentWrite:
        if write.document_id != signed.document_id or write.document is None:
            return write
        return write._replace(document=write.document.replace(b'"who":"', b'"who":"not '))

    assert tamper(tmp_path / "copy", change) == [record.seq]
    who = orjson.loads(signed.document or b"")["who"]
    for arguments in ((record.seq,), ("--all",)):
        result = tidelog("replay", *arguments, "--data", tmp_path / "copy")
        assert result.exit_code == 1
        what = f"document signatures/{signed.document_id} field who"
        assert f'first difference: {what}: recorded "not {who}", now "{who}"' in result.stdout


# --- refusals ---------------------------------------------------------------------------------------


def test_what_cannot_be_answered_is_refused_with_what_to_do(played: Played, tmp_path: Path) -> None:
    end, data = played.records()[-1], played.folder
    bootstrap = 2
    for arguments, said in (
        (("log", "tail", "--data", tmp_path), "There is no log in"),
        (("log", "show", end.seq + 1, "--data", data), f"the log holds records 1 to {end.seq}"),
        (("log", "show", "0", "--data", data), f"the log holds records 1 to {end.seq}"),
        (("log", "diff", 5, 4, "--data", data), "give the earlier moment first"),
        (("log", "diff", 5, "soon", "--data", data), "soon is no moment"),
        (("at", end.ts + 1, "shop:notes", "--data", data), "does not cover"),
        (("replay", bootstrap, "--data", data), "it marks the start"),
        (("replay", 3, "--data", data), "only mutations of the app are replayed"),
        (("replay", "--data", data), "or say --all"),
        (("replay", "5", "--all", "--data", data), "or say --all"),
    ):
        assert said in refused(tidelog(*arguments)), arguments
    assert list(tmp_path.iterdir()) == [], "nothing was made"


def test_a_copy_without_the_secret_is_looked_at_but_not_executed(played: Played, tmp_path: Path) -> None:
    shutil.copytree(played.folder / "log", tmp_path / "log")
    assert succeeded(tidelog("log", "tail", "--data", tmp_path))
    seq = played.calls("note")[0][0].seq
    assert "INSTANCE_SECRET" in refused(tidelog("replay", seq, "--data", tmp_path))
    assert not (tmp_path / "credentials").exists()


def test_a_log_that_lost_acknowledged_records_is_refused(played: Played, tmp_path: Path) -> None:
    shutil.copytree(played.folder / "log", tmp_path / "log")
    connection = sqlite3.connect(tmp_path / "log" / "log.sqlite3")
    connection.execute("DELETE FROM log WHERE seq > (SELECT max(seq) - 3 FROM log)")
    connection.commit()
    connection.close()
    assert "3 record(s) are missing" in refused(tidelog("log", "tail", "--data", tmp_path))


# --- beside a server --------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, str]:
    """Every file's digest; not of SQLite's shared memory, which every reader of it writes to."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }


def looks_at(moment: int) -> list[tuple[str, ...]]:
    return [
        ("log", "tail"),
        ("log", "show", str(moment)),
        ("log", "diff", "1", str(moment)),
        ("at", str(moment), "shop:notes"),
        ("replay", "--all", "--last", "3"),
    ]


def look(folder: Path, moment: int) -> None:
    """With the real command, in processes of its own."""
    for words in looks_at(moment):
        command = [str(_TIDELOG), *words, "--data", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (words, done.stdout, done.stderr)


def test_looking_changes_nothing_in_a_stopped_folder(played: Played) -> None:
    before = contents(played.folder)
    for words in looks_at(played.calls()[-1][0].seq):
        succeeded(tidelog(*words, "--data", played.folder))
    assert contents(played.folder) == before


def test_looking_does_not_disturb_a_running_server_and_sees_its_newest_record(
    played: Played, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(played.folder, folder)

    async def scenario() -> None:
        async with RecordedServer(folder) as server:
            noted = await server.mutate("note", {"text": "beside"})
            await asyncio.to_thread(look, folder, noted.ts)
            assert (await server.mutate("note", {"text": "after"})).error is None

    asyncio.run(scenario())


def test_looking_changes_nothing_in_what_a_killed_server_left(played: Played, tmp_path: Path) -> None:
    """Its write-ahead log holds records that the file does not: they are seen, and stay there."""
    folder, killed = tmp_path / "data", tmp_path / "killed"
    shutil.copytree(played.folder, folder)

    async def scenario() -> int:
        async with RecordedServer(folder) as server:
            noted = await server.mutate("note", {"text": "the last"})
            shutil.copytree(folder, killed, ignore=shutil.ignore_patterns("views", "*-shm"))
            return noted.ts

    ts = asyncio.run(scenario())
    before = contents(killed)
    assert "log/log.sqlite3-wal" in before
    look(killed, ts)
    assert contents(killed) == before


def test_tail_follows_what_is_committed(played: Played, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(played.folder, folder)
    command = [str(_TIDELOG), "log", "tail", "--count", "1", "--follow", "--data", str(folder)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}

    async def scenario() -> None:
        following = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, env=environment
        )
        assert following.stdout is not None
        try:
            async with asyncio.timeout(30):
                await following.stdout.readline()  # what was there
                async with RecordedServer(folder) as server:  # started after the look began
                    assert b"takes over" in await following.stdout.readline()
                    for number in range(3):
                        outcome = await server.mutate("note", {"text": str(number)})
                        line = (await following.stdout.readline()).decode()
                        assert str(outcome.ts) in line and "shop:note  notes +1" in line
        finally:
            following.kill()
            await following.wait()

    asyncio.run(scenario())


def test_a_log_in_postgresql_is_looked_into_with_the_same_answers(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same records, copied; the folder has the credentials and no part in the log."""
    pytest.importorskip("psycopg")
    from log.postgres_store import PostgresStore

    from ..support.postgres import PostgresServer

    seq = played.calls("note")[-1][0].seq
    expected = [succeeded(tidelog(*words, "--data", played.folder)) for words in looks_at(seq)]
    server = PostgresServer()
    try:
        server.start()
        store = PostgresStore(server.url())
        store.append_and_sync(store.claim_epoch(), played.records())
        store.close()
        monkeypatch.setenv("TIDELOG_LOG", server.url())
        assert [succeeded(tidelog(*words, "--data", played.folder)) for words in looks_at(seq)] == expected
    finally:
        server.remove()
