"""`tidelog backup` and `tidelog restore`: of a deployment that goes on meanwhile, proven, all or nothing."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cluster import backups
from cluster.cli import app
from cluster.stores import open_log_reader
from log import limits
from log.blob_store import LocalBlobStore, put_bytes
from log.proven_log import ProvenLog
from log.store import LogDamaged

from ..support.recorded import RecordedServer

CALLS = 40


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a stopped deployment, with two files. Do not change it."""
    folder = tmp_path_factory.mktemp("played") / "data"

    async def play() -> None:
        async with RecordedServer(folder) as server:
            await server.push()
            await server.play(random.Random(5), CALLS)

    asyncio.run(play())
    blobs = LocalBlobStore(folder / "files")
    for content in (b"a file", random.Random(6).randbytes(700_000)):
        put_bytes(blobs, content)
    (folder / "format").write_text("1")
    return folder


@pytest.fixture
def data(played: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(played, tmp_path / "data"))


def tidelog(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def records(folder: Path, log_url: str = "") -> list[Any]:
    reader = open_log_reader(log_url, folder / "log")
    try:
        return list(ProvenLog(reader).read_from(1))
    finally:
        reader.close()


def blobs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "files").iterdir() if len(path.name) == 64}


def test_what_was_backed_up_is_restored_byte_for_byte(data: Path, tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        done = tidelog("backup", tmp_path / "backup", "--data", data)
    finally:
        os.umask(umask)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"Backed up {len(records(data))} records") and "2 file(s)" in done.output
    restored = tidelog("restore", tmp_path / "backup", "--data", tmp_path / "again")
    assert restored.exit_code == 0, restored.output
    for copy in (tmp_path / "backup", tmp_path / "again"):
        assert records(copy) == records(data)
        assert blobs(copy) == blobs(data) and len(blobs(copy)) == 2
        assert copy.stat().st_mode & 0o077 == 0, "nobody else enters it"
        for name in ("instance_name", "instance_secret"):
            kept = copy / "credentials" / name
            assert kept.read_text() == (data / "credentials" / name).read_text()
            assert kept.stat().st_mode & 0o077 == 0, "nobody else reads it"
        assert tidelog("verify", "--data", copy).exit_code == 0


def test_a_restored_deployment_goes_on_with_everything_it_had(data: Path, tmp_path: Path) -> None:
    assert tidelog("backup", tmp_path / "backup", "--data", data).exit_code == 0
    assert tidelog("restore", tmp_path / "backup", "--data", tmp_path / "again").exit_code == 0
    before = len(records(data))

    async def go_on() -> None:
        async with RecordedServer(tmp_path / "again") as server:
            await server.play(random.Random(7), 10)

    asyncio.run(go_on())
    after = records(tmp_path / "again")
    assert len(after) > before and after[:before] == records(data)
    replayed = tidelog("replay", "--all", "--data", tmp_path / "again")
    assert replayed.exit_code == 0, replayed.output


def test_a_backup_of_a_deployment_that_is_written_meanwhile_ends_where_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, target = tmp_path / "data", tmp_path / "backup"
    ends: list[int] = []
    copy_blobs = backups._copy_blobs

    async def play() -> None:
        async with RecordedServer(folder) as server:
            await server.push()
            await server.play(random.Random(8), 20)
            (folder / "format").write_text("1")
            loop = asyncio.get_running_loop()

            def copy_while_others_write(source: Path, into: Path) -> int:
                ends.append(len(records(folder)))
                asyncio.run_coroutine_threadsafe(server.play(random.Random(9), 20), loop).result(60)
                return copy_blobs(source, into)

            monkeypatch.setattr(backups, "_copy_blobs", copy_while_others_write)
            done = await asyncio.to_thread(tidelog, "backup", target, "--data", folder)
            assert done.exit_code == 0, done.output

    asyncio.run(play())
    assert len(records(target)) == ends[0] < len(records(folder))
    assert records(folder)[: ends[0]] == records(target)


def test_a_log_whose_beginning_was_archived_is_backed_up_in_one_piece(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = records(data)
    monkeypatch.setattr(limits, "WRITE_WINDOW_SECONDS_MAX", 0)
    assert tidelog("log", "archive", "--older-than", "0s", "--data", data).exit_code == 0
    assert list((data / "archive").iterdir())
    assert tidelog("backup", tmp_path / "backup", "--data", data).exit_code == 0
    assert records(tmp_path / "backup") == before and not (tmp_path / "backup" / "archive").exists()


def damage_a_record(folder: Path) -> None:
    with sqlite3.connect(folder / "log" / "log.sqlite3") as connection:
        connection.execute("UPDATE log SET body = X'00' WHERE seq = 5")
    connection.close()


def damage_a_file(folder: Path) -> None:
    (name, *_) = blobs(folder)
    (folder / "files" / name).write_bytes(b"something else")


@pytest.mark.parametrize("harm", [damage_a_record, damage_a_file])
def test_what_is_damaged_is_neither_backed_up_nor_restored(
    data: Path, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    backup = tmp_path / "backup"
    assert tidelog("backup", backup, "--data", data).exit_code == 0
    for folder in (data, backup):
        harm(folder)
    refused = tidelog("backup", tmp_path / "second", "--data", data)
    assert refused.exit_code == 1 and "damaged" in refused.output
    assert not (tmp_path / "second").exists()
    refused = tidelog("restore", backup, "--data", tmp_path / "again")
    assert refused.exit_code == 1 and "damaged" in refused.output
    assert list((tmp_path / "again").iterdir()) == [], "trying again finds nothing half done"


def test_nothing_that_exists_is_written_over(data: Path, tmp_path: Path) -> None:
    assert tidelog("backup", tmp_path / "backup", "--data", data).exit_code == 0
    again = tidelog("backup", tmp_path / "backup", "--data", data)
    assert again.exit_code == 1 and "exists already" in again.output
    refused = tidelog("restore", tmp_path / "backup", "--data", data)
    assert refused.exit_code == 1 and "holds a deployment already" in refused.output
    nothing = tidelog("restore", tmp_path / "nowhere", "--data", tmp_path / "new")
    assert nothing.exit_code == 1 and "is no backup" in nothing.output
    nothing = tidelog("backup", tmp_path / "new", "--data", tmp_path / "nowhere")
    assert nothing.exit_code == 1 and not (tmp_path / "new").exists()


def test_a_backup_that_was_killed_leaves_no_folder_of_its_name(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> None:
        raise LogDamaged("as if it were killed")

    with monkeypatch.context() as patched:
        patched.setattr(backups, "_copy_records", fail)
        assert tidelog("backup", tmp_path / "backup", "--data", data).exit_code == 1
    assert not (tmp_path / "backup").exists()
    assert tidelog("backup", tmp_path / "backup", "--data", data).exit_code == 0
    assert records(tmp_path / "backup") == records(data)
