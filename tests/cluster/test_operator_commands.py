"""`tidelog rotate-secret`, and what the commands to a running server say without one."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cluster.cli import app
from cluster.config import Settings
from cluster.data_folder import DataFolder
from cluster.serving import announcement
from log.secrets import read_admin_key

RUNNING = ("pause", "resume", "revoke-key --all", "revoke-key a|b")


def tidelog(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--data", str(folder)])


def new_key(folder: Path, *options: str) -> str:
    return tidelog(folder, "admin-key", *options).output.split("\n")[-2]


def test_what_the_old_secret_signed_counts_no_more_and_what_is_printed_does(tmp_path: Path) -> None:
    before = new_key(tmp_path)
    rotated = tidelog(tmp_path, "rotate-secret")
    assert rotated.exit_code == 0, rotated.output
    credentials = DataFolder(tmp_path).credentials(Settings())
    old, new = (
        read_admin_key(credentials.instance_secret, credentials.instance_name, key)
        for key in (before, rotated.output.split("\n")[-2])
    )
    assert old is None and new is not None
    (secret,) = (tmp_path / "credentials").glob("instance_secret*")
    assert secret.stat().st_mode & 0o777 == 0o600


def test_an_admin_key_is_shown_on_a_terminal_alone(tmp_path: Path) -> None:
    new_key(tmp_path)
    settings, credentials = Settings(), DataFolder(tmp_path).credentials(Settings())
    shown, kept = (announcement(settings, credentials, 1.5, on_terminal) for on_terminal in (True, False))
    key = shown.split()[-1]
    assert read_admin_key(credentials.instance_secret, credentials.instance_name, key) is not None
    assert f"{credentials.instance_name}|" not in kept and "tidelog admin-key" in kept


def test_a_read_only_key_says_so(tmp_path: Path) -> None:
    key = new_key(tmp_path, "--read-only")
    credentials = DataFolder(tmp_path).credentials(Settings())
    found = read_admin_key(credentials.instance_secret, credentials.instance_name, key)
    assert found is not None and found.is_read_only


def test_the_secret_of_a_server_that_runs_stays(tmp_path: Path) -> None:
    new_key(tmp_path)
    before = DataFolder(tmp_path).credentials(Settings())
    lock_file = DataFolder(tmp_path).try_hold()
    assert lock_file is not None
    with lock_file:
        refused = tidelog(tmp_path, "rotate-secret")
    assert refused.exit_code == 1 and "Stop it first." in refused.output
    assert DataFolder(tmp_path).credentials(Settings()) == before


def test_where_there_is_no_server_no_secret_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "mistyped"
    refused = tidelog(folder, "rotate-secret")
    assert refused.exit_code == 1 and "no server's data folder" in refused.output
    assert not folder.exists()


def test_a_secret_that_is_set_outside_is_changed_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTANCE_SECRET", "00" * 32)
    refused = tidelog(tmp_path, "rotate-secret")
    assert refused.exit_code == 1 and "INSTANCE_SECRET is set" in refused.output


@pytest.mark.parametrize("command", RUNNING)
def test_commands_to_a_server_that_does_not_run_say_so(tmp_path: Path, command: str) -> None:
    new_key(tmp_path)
    refused = tidelog(tmp_path, *command.split())
    assert refused.exit_code == 1
    assert "No server runs on" in refused.output or "no admin key of this instance" in refused.output


def test_one_key_or_all_are_revoked_not_both_nor_none(tmp_path: Path) -> None:
    for arguments in (["revoke-key"], ["revoke-key", "a|b", "--all"]):
        refused = tidelog(tmp_path, *arguments)
        assert refused.exit_code == 1 and "Name one key, or give --all." in refused.output
