"""Settings as operators give them: variables, defaults, what follows from them."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from cluster.cli import app
from cluster.config import (
    DATA_FOLDER_DEFAULT,
    BadSettings,
    Settings,
    cache_folder,
    read_settings,
    variables_of,
)
from cluster.data_folder import StartRefused, check_sink_file
from log.secrets import read_admin_key

NAMES = [variable for name in Settings.model_fields for variable in variables_of(name)]
SECRET = "5a" * 32


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*NAMES, "TIDELOG_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_without_variables_a_server_is_local_and_uses_every_core() -> None:
    settings = Settings()
    assert settings.data_folder == DATA_FOLDER_DEFAULT
    assert (settings.host, settings.port, settings.site_port) == ("127.0.0.1", 3210, 3211)
    assert settings.executors == (os.cpu_count() or 1)
    assert settings.instance_name is None and settings.instance_secret is None
    assert not settings.redact_errors


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("TIDELOG_DATA", "elsewhere", "data_folder", Path("elsewhere")),
        ("TIDELOG_LOG", "postgresql://db.example/app", "log_url", "postgresql://db.example/app"),
        ("POSTGRES_URL", "postgresql://db.example/app", "log_url", "postgresql://db.example/app"),
        ("TIDELOG_HOST", "0.0.0.0", "host", "0.0.0.0"),
        ("TIDELOG_PORT", "4000", "port", 4000),
        ("TIDELOG_SITE_PORT", "4001", "site_port", 4001),
        ("TIDELOG_EXECUTORS", "7", "executors", 7),
        ("TIDELOG_ACTIONS_AT_ONCE_MAX", "9", "actions_at_once_max", 9),
        ("APPLICATION_MAX_CONCURRENT_V8_ACTIONS", "16", "actions_at_once_max", 16),
        ("TIDELOG_NODE_ACTIONS_AT_ONCE_MAX", "3", "node_actions_at_once_max", 3),
        ("APPLICATION_MAX_CONCURRENT_NODE_ACTIONS", "16", "node_actions_at_once_max", 16),
        ("TIDELOG_SILENCE_SECONDS_MAX", "2.5", "silence_seconds_max", 2.5),
        ("TIDELOG_DRAIN_SECONDS", "5", "drain_seconds", 5.0),
        ("TIDELOG_LOG_FORMAT", "json", "log_format", "json"),
        ("TIDELOG_LOG_LEVEL", "debug", "log_level", "debug"),
        ("TIDELOG_SINK_FILE", "/var/executions.jsonl", "sink_file", "/var/executions.jsonl"),
        ("TIDELOG_SINK_URL", "https://logs.example/in", "sink_url", "https://logs.example/in"),
        ("INSTANCE_NAME", "orca", "instance_name", "orca"),
        ("INSTANCE_SECRET", "00" * 32, "instance_secret", "00" * 32),
        ("CONVEX_CLOUD_ORIGIN", "https://api.example", "cloud_origin", "https://api.example"),
        ("CONVEX_SITE_ORIGIN", "https://site.example", "site_origin", "https://site.example"),
        ("TIDELOG_TRUSTED_PROXIES", "::1, 10.0.0.0/8", "trusted_proxies", "::1, 10.0.0.0/8"),
        ("REDACT_LOGS_TO_CLIENT", "true", "redact_errors", True),
    ],
)
def test_each_variable_sets_its_field_and_no_other(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: object
) -> None:
    before = Settings().model_dump()
    monkeypatch.setenv(variable, text)
    assert Settings().model_dump() == before | {field: value}


def test_every_setting_has_a_variable_and_each_another() -> None:
    assert len(set(NAMES)) == len(NAMES) and all(variables_of(name) for name in Settings.model_fields)


@pytest.mark.parametrize(
    ("variable", "text"), [("TIDELOG_PORT", "many"), ("REDACT_LOGS_TO_CLIENT", "perhaps")]
)
def test_a_variable_of_the_wrong_type_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(BadSettings, match=variable):
        read_settings()


def test_our_own_name_of_a_setting_wins_over_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_URL", "postgresql://theirs.example/app")
    monkeypatch.setenv("TIDELOG_LOG", "postgresql://ours.example/app")
    assert Settings().log_url == "postgresql://ours.example/app"
    monkeypatch.setenv("TIDELOG_LOG", "")
    assert Settings().log_url == "", "said to be kept in the data folder"


def test_origins_follow_host_and_ports_unless_they_are_given() -> None:
    local = Settings(host="127.0.0.1", port=5000, site_port=5001)
    assert local.cloud_origin_in_use == "http://127.0.0.1:5000"
    assert local.site_origin_in_use == "http://127.0.0.1:5001"
    public = local.model_copy(
        update={"cloud_origin": "https://a.example", "site_origin": "https://b.example"}
    )
    assert public.cloud_origin_in_use == "https://a.example"
    assert public.site_origin_in_use == "https://b.example"


def test_settings_cannot_be_changed_and_survive_pickling() -> None:
    settings = Settings(port=5000)
    with pytest.raises(ValidationError):
        settings.port = 1
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_derived_files_are_kept_where_the_user_keeps_caches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tidelog"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "tidelog"


# --- the file -----------------------------------------------------------------------------------------


def write(text: str, path: str = "tidelog.toml", mode: int = 0o600) -> Path:
    file = Path(path)
    file.write_text(text)
    file.chmod(mode)
    return file


def test_each_key_of_the_file_sets_its_field() -> None:
    given = {"sink_url": "https://logs.example/in", "log_format": "json", "redact_errors": True}
    values = Settings(instance_name="orca", instance_secret=SECRET, port=4000, **given)
    lines = [
        f"{name} = {json.dumps(value if isinstance(value, int | float) else str(value))}"
        for name, value in values.model_dump().items()
        if value is not None
    ]
    write("\n".join(lines))
    assert read_settings() == values
    assert len(lines) > 10


def test_an_option_wins_over_the_environment_which_wins_over_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write('port = 1\nsite_port = 2\nhost = "10.0.0.1"\nlog_url = "postgresql://of.file/app"')
    monkeypatch.setenv("TIDELOG_PORT", "11")
    monkeypatch.setenv("TIDELOG_SITE_PORT", "12")
    monkeypatch.setenv("POSTGRES_URL", "postgresql://of.environment/app")
    settings = read_settings(None, port=21, data_folder=None)
    assert (settings.port, settings.site_port, settings.host) == (21, 12, "10.0.0.1")
    assert settings.log_url == "postgresql://of.environment/app"
    assert settings.data_folder == DATA_FOLDER_DEFAULT


def test_a_named_file_is_read_instead_of_the_one_here_and_must_exist() -> None:
    write("port = 1")
    assert read_settings(write("host = '10.0.0.1'", "other.toml")).port == 3210
    with pytest.raises(BadSettings, match=r"nowhere\.toml"):
        read_settings(Path("nowhere.toml"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prot = 3210", "prot"),
        ("TIDELOG_PORT = 3210", "TIDELOG_PORT"),
        ("[server]\nport = 3210", "server"),
        ('port = "3210"', "port"),
        ("port = 70000", "port"),
        ("port = true", "port"),
        ('redact_errors = "yes"', "redact_errors"),
        ('log_format = "yaml"', "log_format"),
        ('sink_url = "logs.example"', "sink_url"),
        ("executors = 0", "executors"),
        ("silence_seconds_max = nan", "silence_seconds_max"),
        ("instance_name = 7", "instance_name"),
        ("port = ", "tidelog.toml"),
        ("port = 1\nport = 2", "tidelog.toml"),
    ],
)
def test_what_the_file_gets_wrong_is_refused_by_key_and_file(text: str, named: str) -> None:
    write(text)
    with pytest.raises(BadSettings) as refused:
        read_settings()
    assert named in str(refused.value) and "tidelog.toml" in str(refused.value)


def test_variables_that_nobody_knows_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDELOG_NO_SUCH_SETTING", "1")
    assert read_settings() == Settings()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f'instance_secret = "{SECRET}"', SECRET),
        ('log_url = "postgresql://ann:hunter2@db.example/app"', "hunter2"),
        ('log_url = "postgresql://db.example/app?password=hunter2"', "hunter2"),
    ],
)
def test_a_secret_in_a_file_that_others_can_read_is_refused(text: str, secret: str) -> None:
    for mode in (0o640, 0o604):
        write(text, mode=mode)
        with pytest.raises(BadSettings, match=r"chmod 600 tidelog\.toml") as refused:
            read_settings()
        assert secret not in str(refused.value)
    write(text, mode=0o600)
    assert secret in str(read_settings().model_dump().values())
    assert secret not in repr(read_settings())


def test_a_file_without_secrets_may_be_read_by_others() -> None:
    write('log_url = "postgresql://ann@db.example/app"', mode=0o644)
    assert read_settings().log_url == "postgresql://ann@db.example/app"


@pytest.mark.parametrize(
    "command",
    [
        ["dev"],
        ["status"],
        ["admin-key"],
        ["verify"],
        ["why"],
        ["backup", "copy"],
        ["restore", "copy"],
        ["log", "tail"],
        ["log", "show", "1"],
        ["log", "diff", "1", "2"],
        ["log", "archive"],
        ["at", "1", "m:f"],
        ["replay", "--all"],
    ],
    ids=" ".join,
)
def test_every_command_reads_the_file_and_says_without_a_traceback_what_is_wrong(command: list[str]) -> None:
    named = write("prot = 1", "named.toml")
    write("port = 1")
    ended = CliRunner().invoke(app, [*command, "--config", str(named)])
    assert ended.exit_code == 1 and isinstance(ended.exception, SystemExit)
    assert "named.toml" in ended.output and "prot" in ended.output
    assert ended.output.count("\n") == 1


def test_commands_find_the_data_folder_that_the_file_names(tmp_path: Path) -> None:
    write(f'data_folder = "kept"\ninstance_name = "orca"\ninstance_secret = "{SECRET}"')
    key = CliRunner().invoke(app, ["admin-key"]).output.strip()
    assert read_admin_key(bytes.fromhex(SECRET), "orca", key) is not None
    assert str(tmp_path / "kept") in CliRunner().invoke(app, ["status"]).output
    other = write("data_folder = 'other'", "other.toml")
    assert str(tmp_path / "other") in CliRunner().invoke(app, ["status", "--config", str(other)]).output
    named = CliRunner().invoke(app, ["status"], env={"TIDELOG_CONFIG": str(other)}).output
    assert str(tmp_path / "other") in named
    elsewhere = CliRunner().invoke(app, ["status"], env={"TIDELOG_DATA": "elsewhere"}).output
    assert str(tmp_path / "elsewhere") in elsewhere


def test_a_sink_that_cannot_be_written_refuses_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="TIDELOG_SINK_FILE"):
        check_sink_file(str(tmp_path / "nowhere" / "executions.jsonl"))
    check_sink_file(str(tmp_path / "executions.jsonl"))
    check_sink_file("")
