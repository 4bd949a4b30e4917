"""Which store the settings name, and what happens where it cannot be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cluster.data_folder import StartRefused
from cluster.host_config import HostConfig
from cluster.stores import open_log_store
from log.sqlite_store import SqliteStore

PASSWORD = "hunter2"


def test_without_a_setting_the_log_is_sqlite_in_the_data_folder(tmp_path: Path) -> None:
    store = open_log_store("", tmp_path)
    assert isinstance(store.held, SqliteStore) and (tmp_path / "log.sqlite3").exists()
    store.close()


def test_a_log_of_an_unknown_kind_is_refused_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="'mysql' log") as refusal:
        open_log_store(f"mysql://user:{PASSWORD}@host/database", tmp_path)
    assert PASSWORD not in str(refusal.value)


def test_a_postgres_log_without_its_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "log.postgres_store", raising=False)
    with pytest.raises(StartRefused, match=r"pip install 'tidelog\[postgres\]'"):
        open_log_store("postgresql://host/database", tmp_path)


def test_a_start_without_postgres_does_not_import_its_library() -> None:
    script = (
        "import sys; import cluster.cli, cluster.hosts, cluster.stores; assert 'psycopg' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_what_a_process_is_told_does_not_show_the_password(tmp_path: Path) -> None:
    config = HostConfig(
        role="core",
        data_folder=str(tmp_path),
        cache_folder=str(tmp_path),
        host="127.0.0.1",
        port=0,
        site_port=0,
        instance_name="tidelog",
        instance_secret=bytes(32),
        cloud_origin="",
        site_origin="",
        redact_errors=False,
        log_url=f"postgresql://user:{PASSWORD}@host/database",
    )
    assert PASSWORD not in repr(config)
