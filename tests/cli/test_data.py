"""Data out of a real server and in again, with the real CLI."""

from __future__ import annotations

import random
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from ..support.app_calls import PeakMemory, call, upload
from ..support.server import RunningServer

pytestmark = pytest.mark.usefixtures("app")


def lines_of(archive: Path, entry: str) -> list[Any]:
    with zipfile.ZipFile(archive) as opened:
        return [orjson.loads(line) for line in opened.read(entry).splitlines()]


def asked(server: RunningServer, path: str, **args: Any) -> Any:
    """What a system query answers an admin."""
    body = {"path": path, "format": "convex_encoded_json", "args": [args]}
    answer = httpx.post(f"{server.url}/api/query", json=body, headers=admin(server)).json()
    assert answer["status"] == "success", answer
    return answer["value"]


def tables(server: RunningServer) -> list[str]:
    return [row["name"] for row in asked(server, "_system/cli/tables:default")["page"]]


def documents(server: RunningServer, table: str) -> list[dict[str, Any]]:
    """As `npx convex data` reads them, oldest first; [] when there is no such table."""
    page = {"cursor": None, "numItems": 8_000}
    found = asked(server, "_system/cli/tableData:default", table=table, order="asc", paginationOpts=page)
    assert found["isDone"]
    rows: list[dict[str, Any]] = found["page"]
    return rows


def export(server: RunningServer, app: Path, archive: Path, *options: str) -> int:
    """The timestamp the CLI prints."""
    done = server.cli(app, "export", "--path", str(archive), *options)
    assert done.returncode == 0, done.stdout
    created = re.search(r"Created snapshot export at timestamp (\d+)", done.stdout)
    assert created is not None and "Downloaded snapshot export to" in done.stdout, done.stdout
    return int(created[1])


def admin(server: RunningServer) -> dict[str, str]:
    return {"Authorization": f"Convex {server.admin_key()}"}


def test_an_export_holds_every_document_table_number_and_file(
    server: RunningServer, app: Path, tmp_path: Path
) -> None:
    call(server, "mutation", "messages:send", {"channel": "export", "body": "Grüße"})
    file_id = upload(server, b"a file to export")
    archive = tmp_path / "all.zip"
    export(server, app, archive, "--include-file-storage")
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        names = opened.namelist()
        assert {entry.external_attr >> 16 for entry in opened.infolist()} == {0o644}
        (file_name,) = [name for name in names if name.startswith(f"_storage/{file_id}")]
        assert opened.read(file_name) == b"a file to export"
        assert opened.read("messages/generated_schema.jsonl") == b'"uniform"\n'
    assert {"README.md", "_tables/documents.jsonl", "_storage/documents.jsonl"} <= set(names)
    exported = lines_of(archive, "messages/documents.jsonl")
    assert len(exported) == len(documents(server, "messages"))
    assert "Grüße" in {document["body"] for document in exported}
    numbers = [row["id"] for row in lines_of(archive, "_tables/documents.jsonl")]
    assert numbers == sorted(numbers) and min(numbers) >= 10_001
    (row,) = [row for row in lines_of(archive, "_storage/documents.jsonl") if row["_id"] == file_id]
    assert row.keys() == {"_id", "_creationTime", "sha256", "size", "contentType", "internalId"}


def test_an_export_without_files_has_none_and_is_downloaded_again_by_its_timestamp(
    server: RunningServer, app: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "tables.zip"
    ts = export(server, app, archive)
    with zipfile.ZipFile(archive) as opened:
        assert not [name for name in opened.namelist() if name.startswith("_storage")]
    again = httpx.get(f"{server.url}/api/export/zip/{ts}", headers=admin(server))
    assert again.content == archive.read_bytes()
    assert again.headers["content-disposition"].startswith("attachment; filename=snapshot_")
    assert again.headers["content-disposition"].endswith(f"_{ts}.zip")
    assert again.headers["cache-control"] == "private, max-age=2592000"


@pytest.mark.parametrize(
    ("snapshot", "status", "code"),
    [("17", 404, "ExportNotFound"), ("nothing", 400, "BadSnapshotId"), ("9" * 30, 400, "BadSnapshotId")],
)
def test_a_download_of_what_is_no_export_is_refused(
    server: RunningServer, snapshot: str, status: int, code: str
) -> None:
    refused = httpx.get(f"{server.url}/api/export/zip/{snapshot}", headers=admin(server))
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    nobody = httpx.get(f"{server.url}/api/export/zip/{snapshot}")
    assert nobody.status_code == 403


# --- imports ------------------------------------------------------------------------------------------

LINES = '{"name":"ä","n":1}\n{"name":"b","n":{"$integer":"AQAAAAAAAAA="}}\n'


def run_import(server: RunningServer, app: Path, file: Path, *options: str) -> str:
    done = server.cli(app, "import", str(file), *options)
    assert done.returncode == 0, done.stdout
    return done.stdout


def refused_import(server: RunningServer, app: Path, file: Path, *options: str) -> str:
    done = server.cli(app, "import", str(file), *options)
    assert done.returncode == 1, done.stdout
    return done.stdout


def fields_of(server: RunningServer, table: str) -> list[dict[str, Any]]:
    """The documents without what the server made."""
    return [
        {name: value for name, value in document.items() if not name.startswith("_")}
        for document in documents(server, table)
    ]


def test_lines_are_imported_appended_replaced_and_refused_over_existing_ones(
    server: RunningServer, app: Path, tmp_path: Path
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(LINES)
    assert 'Added 2 documents to table "foo".' in run_import(server, app, file, "--table", "foo")
    once = [{"n": 1, "name": "ä"}, {"n": {"$integer": "AQAAAAAAAAA="}, "name": "b"}]
    assert fields_of(server, "foo") == once
    refusal = refused_import(server, app, file, "--table", "foo")
    assert (
        "Hit an error while importing:\nTable foo already exists. "
        "Please choose a new table name or use replace/append modes."
    ) in refusal
    run_import(server, app, file, "--table", "foo", "--append")
    assert fields_of(server, "foo") == once * 2
    shown = run_import(server, app, file, "--table", "foo", "--replace", "-y")
    assert (
        "Import change summary:\n"
        "table | create | delete         |\n"
        "---------------------------------\n"
        "foo   | 2      | 4 of 4         |\n"
        "Once the import has started, it will run in the background.\n"
        "Interrupting `npx convex import` will not cancel it."
    ) in shown
    assert fields_of(server, "foo") == once


def test_a_csv_and_a_json_array_are_imported(server: RunningServer, app: Path, tmp_path: Path) -> None:
    table = tmp_path / "x.csv"
    table.write_text("\ufeffname, n\nä,1e3\n 1,\nnan,inf\n")
    run_import(server, app, table, "--table", "cells")
    assert fields_of(server, "cells") == [
        {"n": 1000, "name": "ä"},
        {"n": "", "name": " 1"},
        {"n": None, "name": None},
    ]
    array = tmp_path / "x.json"
    array.write_text('[{"a":[1,{"b":null}]}]')
    run_import(server, app, array, "--table", "arrays")
    assert fields_of(server, "arrays") == [{"a": [1, {"b": None}]}]


def test_what_cannot_be_imported_says_why_and_leaves_nothing(
    server: RunningServer, app: Path, tmp_path: Path
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text("{}\n17\n")
    refusal = refused_import(server, app, file, "--table", "never")
    assert "Hit an error while importing:\nRow 2 wasn't an object" in refusal
    file.write_text('{"name":"n","n":1}\n{"name":1}\n')
    before = documents(server, "counters")
    refusal = refused_import(server, app, file, "--table", "counters", "--replace", "-y")
    assert "Hit an error while importing:\nFailed to insert or update a document in table" in refusal
    assert "does not match the schema" in refusal
    assert documents(server, "counters") == before
    assert "never" not in tables(server)


def test_what_was_exported_comes_back_identical_after_everything_changed(
    server: RunningServer, app: Path, tmp_path: Path
) -> None:
    for number in range(3):
        call(server, "mutation", "messages:send", {"channel": "round", "body": f"trip {number}"})
    file_id = upload(server, b"a file of the round trip")
    url: Any = call(server, "query", "files:url", {"id": file_id})
    archive = tmp_path / "s.zip"
    export(server, app, archive, "--include-file-storage")
    names = [*tables(server), "_storage"]
    before = {name: documents(server, name) for name in names}
    assert sum(map(len, before.values())) > 4
    call(server, "mutation", "messages:send", {"channel": "round", "body": "too much"})
    call(server, "mutation", "messages:increment", {"name": "too much"})
    call(server, "mutation", "files:remove", {"id": file_id})
    late = tmp_path / "late.jsonl"
    late.write_text(LINES)
    run_import(server, app, late, "--table", "late")
    run_import(server, app, archive, "--replace-all", "-y")
    assert {name: documents(server, name) for name in names} == before
    assert documents(server, "late") == []
    assert call(server, "query", "files:url", {"id": file_id}) == url
    assert httpx.get(url).content == b"a file of the round trip"
    listed: Any = call(server, "query", "messages:list", {"channel": "round"})
    assert len(listed) == 3


# --- kills and sizes ----------------------------------------------------------------------------------

MIB = 1 << 20
GROWTH_BYTES_MAX = 64 * MIB
SECONDS_MAX = 60


def latest_export(server: RunningServer) -> Any:
    return asked(server, "_system/cli/exports:getLatest")


def wait_for_export(server: RunningServer, *states: str) -> Any:
    deadline = time.monotonic() + SECONDS_MAX
    while (row := latest_export(server))["state"] not in states:
        assert time.monotonic() < deadline, f"the export stays {row}"
        time.sleep(0.05)
    return row


def request_export(server: RunningServer) -> None:
    address = f"{server.url}/api/export/request/zip?includeStorage=true"
    assert httpx.post(address, headers=admin(server)).status_code == 200


def test_an_export_ends_as_failed_with_its_killed_process_and_the_next_one_stays_small(
    server: RunningServer, tmp_path: Path
) -> None:
    rng = random.Random(5)
    large = b"".join(rng.randbytes(MIB) for _ in range(128))
    file_id = upload(server, large)
    request_export(server)
    wait_for_export(server, "in_progress")
    pid = server.kill("slow-executor")
    server.wait_replaced("slow-executor", pid)
    assert wait_for_export(server, "failed", "completed")["state"] == "failed"
    with PeakMemory(server.pid_of("slow-executor")) as memory:
        request_export(server)
        row = wait_for_export(server, "failed", "completed")
    assert row["state"] == "completed"
    assert memory.growth_bytes < GROWTH_BYTES_MAX, f"{memory.growth_bytes // MIB} MiB more"
    archive = tmp_path / "large.zip"
    with (
        archive.open("wb") as file,
        httpx.stream("GET", f"{server.url}/api/export/zip/{row['_id']}", headers=admin(server)) as download,
    ):
        for piece in download.iter_bytes():
            file.write(piece)
    with zipfile.ZipFile(archive) as opened:
        (name,) = [name for name in opened.namelist() if name.startswith(f"_storage/{file_id}")]
        assert opened.read(name) == large
    call(server, "mutation", "files:remove", {"id": file_id})
