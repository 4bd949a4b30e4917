"""What the npm CLI says to its local backend, and what `tidelog install-local-backend` prepares for it.

The CLI itself runs in tests/cli/test_local_backend.py.
"""

from __future__ import annotations

import json
import random
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cluster import local_backend_commands
from cluster.cli import app
from cluster.config import Settings
from cluster.data_folder import DataFolder
from cluster.local_backend import (
    VERSION,
    AskHelp,
    BadArguments,
    MakeKey,
    Serve,
    dashboard_folder,
    program_path,
    project_file,
    read_arguments,
)
from log.secrets import read_admin_key

from ..support.tree import ROOT

SECRET = "4a" * 32
STARTED = [
    *("--port", "3210", "--site-proxy-port", "3211", "--sentry-identifier", "9f86d081"),
    *("--instance-name", "anonymous-app", "--instance-secret", SECRET),
    *("--local-storage", "/state/convex_local_storage", "--beacon-tag", "cli-anonymous-dev"),
]
LATER = [
    *("--beacon-fields", '{"override_uuid":"1"}', "--control-plane-url", "https://example.org"),
    *("--control-plane-access-token", "token"),
]
STATE = "/state/convex_local_backend.sqlite3"
KEYGEN = ["keygen", "admin-key", "--instance-name", "anonymous-app", "--instance-secret", SECRET]


def tidelog(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "My App"
    folder.mkdir()
    (folder / "package.json").write_text("{}")
    return folder


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """With which settings servers would have been started, in a process that keeps its logging."""
    settings: list[Settings] = []
    monkeypatch.setattr(local_backend_commands, "log_to_file", lambda *_: None)
    monkeypatch.setattr(local_backend_commands, "run", lambda started, _parent: settings.append(started))
    return settings


# --- what it is started with --------------------------------------------------------------------------


def test_arguments_mean_the_same_in_every_order_and_with_either_way_to_give_values() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    flags = [*STARTED, *LATER]
    pairs = [[name, value] for name, value in zip(flags[::2], flags[1::2], strict=True)]
    expected = Serve("3210", "3211", "anonymous-app", SECRET, Path("/state/tidelog"), ())
    assert read_arguments([*STARTED, STATE, *LATER]) == expected
    for _ in range(50):
        parts = [[STATE], *(rng.choice([pair, ["=".join(pair)]]) for pair in pairs)]
        rng.shuffle(parts)
        assert read_arguments([word for part in parts for word in part]) == expected, parts


@pytest.mark.parametrize("added", [["--future", "1"], ["--future=1"], ["--future"]])
def test_a_flag_of_a_later_cli_is_named_and_ignored(added: list[str]) -> None:
    asked = read_arguments([*STARTED, STATE, *added])
    assert isinstance(asked, Serve) and asked.unknown == ("--future",)
    asked = read_arguments([*STARTED, STATE, *added, *LATER])
    assert isinstance(asked, Serve) and asked.instance_name == "anonymous-app"


@pytest.mark.parametrize("flag", ["--port", "--site-proxy-port", "--instance-name", "--instance-secret"])
def test_a_missing_value_that_is_needed_is_named(flag: str) -> None:
    at = STARTED.index(flag)
    without = [*STARTED[:at], *STARTED[at + 2 :]]
    for arguments in ([STATE, *without], [STATE, *without, flag], [STATE, *without, f"{flag}="]):
        with pytest.raises(BadArguments, match=flag):
            read_arguments(arguments)


@pytest.mark.parametrize("paths", [[], [STATE, STATE]])
def test_one_path_is_needed(paths: list[str]) -> None:
    with pytest.raises(BadArguments, match=f"there are {len(paths)}"):
        read_arguments([*STARTED, *paths])


def test_help_among_all_arguments_is_help_and_a_key_is_asked_for_by_name() -> None:
    assert isinstance(read_arguments([*STARTED, STATE, "--help"]), AskHelp)
    assert read_arguments(KEYGEN) == MakeKey("anonymous-app", SECRET)
    with pytest.raises(BadArguments):
        read_arguments(KEYGEN[:-2])


def test_the_program_prints_help_and_keys_alone_and_refuses_with_a_status() -> None:
    helped = tidelog("local-backend", *STARTED, STATE, "--help")
    assert helped.exit_code == 0 and "keygen admin-key" in helped.stdout
    made = tidelog("local-backend", *KEYGEN)
    key = made.stdout.strip()
    assert made.exit_code == 0 and read_admin_key(bytes.fromhex(SECRET), "anonymous-app", key) is not None
    for wrong in (KEYGEN[:-1], [*KEYGEN[:-1], "4a"], STARTED, [*STARTED, "--port", "x", STATE]):
        refused = tidelog("local-backend", *wrong)
        assert refused.exit_code == 1 and refused.stdout == "" and refused.stderr, wrong


def test_data_stays_beside_the_state_whatever_the_environment_is_set_up_for(
    tmp_path: Path, served: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = {
        "TIDELOG_DATA": str(tmp_path / "other"),
        "TIDELOG_LOG": "postgresql://db.example.org/log",
        "TIDELOG_FILES": "s3://bucket",
        "TIDELOG_HOST": "0.0.0.0",
        "CONVEX_CLOUD_ORIGIN": "https://app.example.org",
        "CONVEX_SITE_ORIGIN": "https://site.example.org",
    }
    for name, value in elsewhere.items():
        monkeypatch.setenv(name, value)
    assert tidelog("local-backend", *STARTED, str(tmp_path / "state.sqlite3")).exit_code == 0
    (settings,) = served
    assert settings.data_folder == tmp_path / "tidelog"
    assert (settings.log_url, settings.files_url, settings.host) == ("", "", "127.0.0.1")
    assert settings.cloud_origin_in_use == "http://127.0.0.1:3210"
    assert settings.site_origin_in_use == "http://127.0.0.1:3211"


def test_commands_find_in_the_data_folder_whose_it_is(tmp_path: Path, served: list[Settings]) -> None:
    for secret in ("5b" * 32, SECRET):
        started = [*STARTED, "--instance-secret", secret, str(tmp_path / "state.sqlite3")]
        assert tidelog("local-backend", *started).exit_code == 0
        key = tidelog("admin-key", "--data", str(tmp_path / "tidelog")).stdout.strip()
        assert read_admin_key(bytes.fromhex(secret), "anonymous-app", key) is not None


def test_a_server_that_does_not_stop_is_named_and_keeps_its_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_backend_commands, "_FORMER_SECONDS_MAX", 0.0)
    monkeypatch.setattr(local_backend_commands, "log_to_file", lambda *_: None)
    folder = DataFolder(tmp_path / "tidelog")
    folder.prepare()
    before = folder.credentials(Settings())
    held = folder.try_hold()
    assert held is not None
    with held:
        refused = tidelog("local-backend", *STARTED, str(tmp_path / "state.sqlite3"))
    assert refused.exit_code == 1 and f"uses the data folder {folder.path}" in refused.stderr
    assert folder.credentials(Settings()) == before


# --- what is installed --------------------------------------------------------------------------------


def test_what_is_installed_is_what_the_cli_looks_for(home: Path, project: Path) -> None:
    installed = tidelog("install-local-backend", str(project))
    assert installed.exit_code == 0 and VERSION in installed.stdout, installed.output
    assert stat.S_IMODE(program_path(home).stat().st_mode) == 0o755
    assert json.loads((dashboard_folder(home) / "config.json").read_text()) == {"version": VERSION}
    known = deployment(project)
    assert known["backendVersion"] == VERSION and known["deploymentName"].startswith("anonymous-my-app-")
    secret = bytes.fromhex(known["instanceSecret"])
    assert read_admin_key(secret, known["deploymentName"], known["adminKey"]) is not None
    assert stat.S_IMODE(project_file(project).stat().st_mode) == 0o600
    assert (project / ".convex" / ".gitignore").read_text() == "/*\n"


def test_a_second_installation_keeps_the_deployment_and_a_second_project_has_another(
    home: Path, project: Path, tmp_path: Path
) -> None:
    tidelog("install-local-backend", str(project))
    before = deployment(project)
    assert tidelog("install-local-backend", str(project)).exit_code == 0
    assert deployment(project) == before
    other = tmp_path / "elsewhere" / project.name
    other.mkdir(parents=True)
    (other / "package.json").write_text("{}")
    tidelog("install-local-backend", str(other))
    assert deployment(other)["deploymentName"] != before["deploymentName"]


@pytest.mark.parametrize("found", ['{"backendVersion": "precompiled-2026-09-15-4e9b83a"}', "[]", "{", "{}"])
def test_a_deployment_of_another_backend_is_left_alone(home: Path, project: Path, found: str) -> None:
    path = project_file(project)
    path.parent.mkdir(parents=True)
    path.write_text(found)
    refused = tidelog("install-local-backend", str(project))
    assert refused.exit_code == 1 and "another backend" in refused.stderr
    assert path.read_text() == found and not program_path(home).exists()


def test_a_folder_without_a_package_is_no_project(home: Path, tmp_path: Path) -> None:
    refused = tidelog("install-local-backend", str(tmp_path))
    assert refused.exit_code == 1 and "package.json" in refused.stderr
    assert not program_path(home).exists() and not (tmp_path / ".convex").exists()


def test_a_dashboard_that_is_there_stays(home: Path, project: Path) -> None:
    page = dashboard_folder(home) / "out" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("a dashboard")
    tidelog("install-local-backend", str(project))
    assert page.read_text() == "a dashboard"


def test_the_page_about_it_names_the_version_that_is_installed() -> None:
    page = (ROOT / "docs" / "local.md").read_text()
    assert set(re.findall(r"precompiled-[\w.-]+", page)) == {VERSION}


def deployment(project: Path) -> Any:
    return json.loads(project_file(project).read_text())
