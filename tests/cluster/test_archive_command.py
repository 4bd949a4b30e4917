"""`tidelog log archive`: afterwards every command answers as before, of a log in SQLite or in PostgreSQL."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from actors.index_view import IndexView
from cluster.archiving import BadAge, parse_age_ns
from cluster.cli import app
from cluster.data_folder import DataFolder
from cluster.stores import open_log_store
from log import limits
from log.committer import NANOSECONDS
from log.record import Record
from log.store import end_of

from ..support.recorded import RecordedServer

SEED = 11
CALLS = 60


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a stopped deployment. Do not change it."""
    folder = tmp_path_factory.mktemp("played") / "data"

    async def play() -> None:
        async with RecordedServer(folder) as server:
            await server.push()
            await server.play(random.Random(SEED), CALLS)

    asyncio.run(play())
    return folder


@pytest.fixture
def folder(played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, of which everything but the newest record may be archived."""
    monkeypatch.setattr(limits, "WRITE_WINDOW_SECONDS_MAX", 0)
    monkeypatch.setattr(limits, "ARCHIVE_SEGMENT_BYTES", 20_000)
    return Path(shutil.copytree(played, tmp_path / "data"))


def tidelog(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeeded(*arguments: object) -> list[str]:
    result = tidelog(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def refused(*arguments: object) -> str:
    result = tidelog(*arguments)
    assert result.exit_code == 1 and result.stdout == "", (result.output, result.exception)
    return result.stderr


def records_of(folder: Path, log_url: str = "") -> list[Record]:
    store = open_log_store(log_url, folder / "log")
    try:
        return list(store.read_from(1))
    finally:
        store.close()


def answers(folder: Path, last_seq: int) -> list[list[str]]:
    """What the commands say that look into the past, near and far."""
    questions = [
        ("log", "tail", "--count", 10_000),
        *(("log", "show", seq) for seq in (1, 2, last_seq // 2, last_seq - 1, last_seq)),
        ("log", "diff", 1, last_seq),
        ("log", "diff", last_seq // 3, last_seq // 2),
        ("at", last_seq // 2, "shop:notes"),
        ("at", last_seq, "shop:notes"),
        ("replay", "--all"),
        ("replay", "--all", "--last", 2),
    ]
    return [succeeded(*question, "--data", folder) for question in questions]


# --- afterwards everything answers as before ---------------------------------------------------------


def test_every_look_into_the_past_says_the_same_after_archiving(folder: Path) -> None:
    records = records_of(folder)
    last = records[-1].seq
    before = answers(folder, last)
    size_before = (folder / "log" / "log.sqlite3").stat().st_size
    (line,) = succeeded("log", "archive", "--older-than", "0s", "--data", folder)
    segments = len(list((folder / "archive").glob("*.log")))
    assert line == (
        f"Archived records 1 to {last - 1} ({last - 1}) in {segments} segment(s); "
        f"the log begins with record {last} now."
    )
    assert segments > 2 and answers(folder, last) == before, f"seed {SEED}"
    assert (folder / "log" / "log.sqlite3").stat().st_size < size_before / 2
    whole, archived = succeeded("verify", "--data", folder)
    assert whole.startswith(f"The log is whole: {last} records")
    assert (
        archived == f"Records 1 to {last - 1} of them are in the archive: {segments} segment(s), whole too."
    )


def test_a_server_started_without_its_views_after_archiving_has_everything(folder: Path) -> None:
    async def notes() -> bytes | None:
        async with RecordedServer(folder) as server:
            return (await server.query("notes", {})).value

    before = asyncio.run(notes())
    succeeded("log", "archive", "--older-than", "0s", "--data", folder)
    shutil.rmtree(folder / "views")
    assert asyncio.run(notes()) == before


def test_a_log_in_postgresql_is_archived_into_the_data_folder_with_the_same_answers(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg")
    from log.postgres_store import PostgresStore

    from ..support.postgres import PostgresServer

    records = records_of(folder)
    last = records[-1].seq
    before = answers(folder, last)
    server = PostgresServer()
    try:
        server.start()
        store = PostgresStore(server.url())
        store.append_and_sync(store.claim_epoch(), records)
        store.close()
        shutil.rmtree(folder / "log")
        monkeypatch.setenv("TIDELOG_LOG", server.url())
        succeeded("log", "archive", "--older-than", "0s", "--data", folder)
        assert server.run("SELECT count(*) FROM tidelog.log") == [(1,)]
        assert answers(folder, last) == before
        assert records_of(folder, server.url()) == records
        assert "segment(s), whole too" in succeeded("verify", "--data", folder)[1]
        assert not (folder / "log").exists()
    finally:
        server.remove()


def test_by_default_two_weeks_stay(folder: Path) -> None:
    (line,) = succeeded("log", "archive", "--data", folder)
    assert line == "Nothing to archive: no record is older than 14d and far enough from the log's end."
    assert not (folder / "archive").exists()
    assert limits.ARCHIVE_AGE_DAYS == 14


# --- refusals ----------------------------------------------------------------------------------------


def test_archiving_beside_a_server_is_refused_with_what_to_do(folder: Path) -> None:
    archive = ("log", "archive", "--older-than", "0s", "--data", folder)
    records = records_of(folder)
    supervisor = DataFolder(folder).try_hold()
    assert supervisor is not None
    with supervisor:
        assert "Stop it, archive, and start it again" in refused(*archive)

    async def beside_a_core() -> str:
        async with RecordedServer(folder):
            return await asyncio.to_thread(refused, *archive)

    assert "Stop it, archive, and start it again" in asyncio.run(beside_a_core())
    assert not (folder / "archive").exists()
    assert records_of(folder)[: len(records)] == records


def test_what_cannot_be_archived_is_refused_and_nothing_is_made(tmp_path: Path, folder: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert "There is no log in" in refused("log", "archive", "--data", nowhere)
    assert not nowhere.exists()
    for age in ("14", "d", "-1d", "1.5h", "two weeks", "1w"):
        assert "is no age: give a whole number and a unit" in refused(
            "log", "archive", f"--older-than={age}", "--data", folder
        )
    assert not (folder / "archive").exists()


def test_an_age_is_a_whole_number_of_seconds_minutes_hours_or_days() -> None:
    ages = {"0s": 0, "90s": 90, "5m": 300, "36h": 129_600, "14d": 1_209_600}
    assert {age: parse_age_ns(age) / NANOSECONDS for age in ages} == ages
    with pytest.raises(BadAge):
        parse_age_ns("")


def test_a_disk_that_refuses_ends_the_command_with_what_to_do_and_loses_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("No space left on device")

    records = records_of(folder)
    archive = ("log", "archive", "--older-than", "0s", "--data", folder)
    with monkeypatch.context() as patched:
        patched.setattr(IndexView, "copy_to", refuse)
        (line,) = succeeded(*archive)
        assert (
            f"Records up to {len(records) - 1} are old enough, but no checkpoint covers those after 0" in line
        )
    with monkeypatch.context() as patched:
        patched.setattr("log.archive_folder._write_synced", refuse)
        said = refused(*archive)
        assert "cut short: No space left on device. Nothing is lost" in said and "run it again" in said
    assert records_of(folder) == records
    succeeded(*archive)
    assert records_of(folder) == records


def test_verify_names_a_damaged_segment_and_keeps_the_views(folder: Path) -> None:
    succeeded("log", "archive", "--older-than", "0s", "--data", folder)
    segment = sorted((folder / "archive").iterdir())[1]
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 4
    segment.write_bytes(data)
    for options in ((), ("--accept-loss",)):
        said = refused("verify", *options, "--data", folder)
        assert f"{segment} is damaged at byte" in said and "Put the segment back from a backup" in said
    assert (folder / "views" / "checkpoints").exists(), "without the archive they cannot be made anew"
    assert f"{segment} is damaged at byte" in refused("log", "tail", "--data", folder)


def test_a_log_behind_its_archive_can_be_accepted_as_it_is(folder: Path) -> None:
    """An archive run was killed, and the database put back to an earlier state."""
    records = records_of(folder)
    store = open_log_store("", folder / "log")
    store.archive.write(store.base(), records[:20])
    store.close()
    connection = sqlite3.connect(folder / "log" / "log.sqlite3")
    connection.execute("DELETE FROM log WHERE seq > 15")
    connection.commit()
    connection.close()
    (folder / "log" / "tail").unlink()
    lost = "ends at record 15, but the archive holds record 20"
    assert lost in refused("verify", "--data", folder)
    assert lost in refused("log", "tail", "--data", folder)
    (line,) = succeeded("verify", "--accept-loss", "--data", folder)
    assert line.startswith("The log is whole: 15 records")
    succeeded("log", "archive", "--older-than", "0s", "--data", folder)
    assert records_of(folder) == records[:15]
    store = open_log_store("", folder / "log")
    assert store.base() == end_of(records[13])
    store.close()
