"""Settings as operators give them: variables, defaults, what follows from them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from cluster.config import DATA_FOLDER_DEFAULT, Settings, cache_folder

NAMES = [str(field.validation_alias) for field in Settings.model_fields.values()]


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


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
        ("TIDELOG_HOST", "0.0.0.0", "host", "0.0.0.0"),
        ("TIDELOG_PORT", "4000", "port", 4000),
        ("TIDELOG_SITE_PORT", "4001", "site_port", 4001),
        ("TIDELOG_EXECUTORS", "7", "executors", 7),
        ("TIDELOG_SILENCE_SECONDS_MAX", "2.5", "silence_seconds_max", 2.5),
        ("INSTANCE_NAME", "orca", "instance_name", "orca"),
        ("INSTANCE_SECRET", "00" * 32, "instance_secret", "00" * 32),
        ("CONVEX_CLOUD_ORIGIN", "https://api.example", "cloud_origin", "https://api.example"),
        ("CONVEX_SITE_ORIGIN", "https://site.example", "site_origin", "https://site.example"),
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
    assert len(set(NAMES)) == len(Settings.model_fields)


@pytest.mark.parametrize(
    ("variable", "text"), [("TIDELOG_PORT", "many"), ("REDACT_LOGS_TO_CLIENT", "perhaps")]
)
def test_a_variable_of_the_wrong_type_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(ValidationError, match=variable):
        Settings()


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
