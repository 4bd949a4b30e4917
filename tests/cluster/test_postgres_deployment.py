"""A whole server with its log in a real PostgreSQL and its files behind a real S3 API: two starts of Ray."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cluster.data_folder import StartRefused
from cluster.stores import check_blob_store
from log.postgres_store import WRITER_NAME, PostgresStore

from ..chaos.operator import end_what_is_left, mutation, query, verify
from ..support.app_calls import upload
from ..support.postgres import PostgresServer
from ..support.s3 import BUCKET, s3_server
from ..support.server import CONFORMANCE_APP, RunningServer, copy_app, needs_npm


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    needs_npm()
    running = PostgresServer()
    try:
        running.start()
        yield running
    finally:
        running.remove()


@pytest.fixture
def s3() -> Iterator[str]:
    with s3_server() as address:
        yield address


def test_an_app_whose_log_is_in_postgres_and_whose_files_are_in_s3_comes_back_from_them_alone(
    postgres: PostgresServer, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDELOG_LOG", postgres.url("app"))
    monkeypatch.setenv("TIDELOG_FILES", f"s3://{BUCKET}/app")
    server = RunningServer(tmp_path)
    try:
        server.start()
        pushed = server.cli(copy_app(CONFORMANCE_APP, tmp_path / "app"), "deploy", "-y")
        assert pushed.returncode == 0, pushed.stdout
        assert [mutation(server, "messages:increment", name="here") for _ in range(3)] == [1, 2, 3]
        content = random.Random(3).randbytes(3_000_000)
        file_id = upload(server, content)
        assert postgres.end_sessions(WRITER_NAME), "the connection breaks"
        assert mutation(server, "messages:increment", name="here") == 4
        assert server.ask("core", "status")["epoch"] == 1, "and the server goes on"
        assert server.stop() == 0
        assert not server.data.log.exists(), "nothing of the log is in the data folder"
        assert list(server.data.files.iterdir()) == [], "nothing of the files is, either"
        shutil.rmtree(server.data.views)
        server.start()
        address = query(server, "files:url", id=file_id)
        part = httpx.get(address, headers={"range": "bytes=1000000-1999999"})
        assert part.status_code == 206 and part.content == content[1_000_000:2_000_000]
        assert httpx.get(address).content == content
        assert query(server, "messages:count", name="here") == 4
        assert mutation(server, "messages:increment", name="here") == 5
        assert server.stop() == 0
        store = PostgresStore(postgres.url("app"))
        store.close()
        assert f"The log is whole: {store.end().seq} records" in verify(server).stdout
    finally:
        end_what_is_left(server)


_CORE = """
import sys
from cluster.host_config import HostConfig
from cluster.ray_runtime import ActorProcess
from log.errors import BackendError
folder, log_url = sys.argv[1:]
core = ActorProcess(HostConfig(
    "core", folder, folder, "127.0.0.1", 0, 0, "tidelog", bytes(32), "", "", False, log_url))
while True:
    try:
        print(core.start()[1][0], flush=True)
        break
    except BackendError as refusal:
        print(refusal.code, flush=True)
        sys.stdin.readline()
core.stop()
"""


def test_a_core_that_could_not_start_without_its_postgres_starts_when_it_is_back(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    postgres.stop()
    core = subprocess.Popen(
        [sys.executable, "-c", _CORE, str(tmp_path), postgres.url()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert core.stdout is not None and core.stdout.readline() == "LogServerAway\n"
    postgres.start()
    said, _ = core.communicate("again\n", timeout=30)
    assert (said, core.returncode) == ("127.0.0.1\n", 0)


def test_a_server_whose_object_store_is_not_there_says_so_and_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "files"
    for url, why in (("s3://", "is no address of a bucket"), ("s3://bucket", "cannot be used at the moment")):
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
        monkeypatch.setattr("log.object_blob_store.OBJECT_RETRY_SECONDS_MAX", 1)
        with pytest.raises(StartRefused, match=why):
            check_blob_store(url, folder)
    check_blob_store("", folder)
    assert not folder.exists()


def test_a_server_whose_postgres_is_not_there_says_so_and_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDELOG_LOG", "postgresql://user:hunter2@127.0.0.1:1/nowhere")
    server = RunningServer(tmp_path)
    with pytest.raises(AssertionError, match="the server ended"):
        server.start()
    said = server.output.read_text()
    assert said.startswith("Tidelog did not start: PostgreSQL at 127.0.0.1:1, database nowhere")
    assert "hunter2" not in said
    refused = verify(server)
    assert refused.returncode == 1 and "PostgreSQL at 127.0.0.1:1" in refused.stderr
