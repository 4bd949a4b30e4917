"""Settings, named as operators know them. The only file that uses pydantic settings (design D26).

Each is an environment variable, a key of `tidelog.toml` (the name of its field) and, some of them, an option;
docs/reference/settings.md lists them and a test compares. `INSTANCE_NAME`, `INSTANCE_SECRET`, `POSTGRES_URL`,
`CONVEX_CLOUD_ORIGIN`, `CONVEX_SITE_ORIGIN`, `REDACT_LOGS_TO_CLIENT` and `APPLICATION_MAX_CONCURRENT_...` keep
the names self-hosters of Convex know (spec 02 24).

What is set twice counts in this order: option, environment, file, default.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, AliasChoices, Field, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import TomlConfigSettingsSource as TomlSource

from log.limits import ACTIONS_RUNNING_MAX, NODE_ACTIONS_RUNNING_MAX

DATA_FOLDER_DEFAULT = Path(".tidelog")
CONFIG_FILE_DEFAULT = Path("tidelog.toml")
_READABLE_BY_OTHERS = 0o077
_ANYTHING = re.compile(".")
_PASSWORD = re.compile(r"://[^/@]*:[^/@]+@|[?&]password=")


class BadSettings(Exception):
    """What an operator has set cannot be used. The text names it, where it stands, and what to do."""


def _networks(text: str) -> str:
    """Addresses and networks, separated by commas; ValueError for what is neither."""
    for part in filter(None, text.split(",")):
        ipaddress.ip_network(part.strip())
    return text


class Settings(BaseSettings):
    """How one server is set up. Immutable; passed to every process as its dump."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    data_folder: Path = Field(DATA_FOLDER_DEFAULT, validation_alias="TIDELOG_DATA")
    log_url: str = Field("", validation_alias=AliasChoices("TIDELOG_LOG", "POSTGRES_URL"), repr=False)
    files_url: str = Field("", validation_alias="TIDELOG_FILES")
    host: str = Field("127.0.0.1", validation_alias="TIDELOG_HOST")
    port: int = Field(3210, ge=0, le=65_535, validation_alias="TIDELOG_PORT")
    site_port: int = Field(3211, ge=0, le=65_535, validation_alias="TIDELOG_SITE_PORT")
    executors: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, validation_alias="TIDELOG_EXECUTORS"
    )
    actions_at_once_max: int = Field(
        ACTIONS_RUNNING_MAX,
        ge=1,
        validation_alias=AliasChoices("TIDELOG_ACTIONS_AT_ONCE_MAX", "APPLICATION_MAX_CONCURRENT_V8_ACTIONS"),
    )
    node_actions_at_once_max: int = Field(
        NODE_ACTIONS_RUNNING_MAX,
        ge=1,
        validation_alias=AliasChoices(
            "TIDELOG_NODE_ACTIONS_AT_ONCE_MAX", "APPLICATION_MAX_CONCURRENT_NODE_ACTIONS"
        ),
    )
    silence_seconds_max: float = Field(15.0, gt=0, validation_alias="TIDELOG_SILENCE_SECONDS_MAX")
    drain_seconds: float = Field(0.0, ge=0, le=600, validation_alias="TIDELOG_DRAIN_SECONDS")
    log_format: Literal["text", "json"] = Field("text", validation_alias="TIDELOG_LOG_FORMAT")
    log_level: Literal["debug", "info", "warning", "error"] | None = Field(
        None, validation_alias="TIDELOG_LOG_LEVEL"
    )
    sink_file: str = Field("", validation_alias="TIDELOG_SINK_FILE")
    sink_url: str = Field("", pattern=r"^(https?://.+)?$", validation_alias="TIDELOG_SINK_URL", repr=False)
    instance_name: str | None = Field(None, validation_alias="INSTANCE_NAME")
    instance_secret: str | None = Field(None, validation_alias="INSTANCE_SECRET", repr=False)
    cloud_origin: str | None = Field(None, validation_alias="CONVEX_CLOUD_ORIGIN")
    site_origin: str | None = Field(None, validation_alias="CONVEX_SITE_ORIGIN")
    egress_refuse_private: bool = Field(False, validation_alias="TIDELOG_EGRESS_REFUSE_PRIVATE")
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = Field(
        "", validation_alias="TIDELOG_TRUSTED_PROXIES"
    )
    redact_errors: bool = Field(False, validation_alias="REDACT_LOGS_TO_CLIENT")

    @property
    def cloud_origin_in_use(self) -> str:
        return self.cloud_origin or f"http://{self.host}:{self.port}"

    @property
    def site_origin_in_use(self) -> str:
        return self.site_origin or f"http://{self.host}:{self.site_port}"


def variables_of(field_name: str) -> tuple[str, ...]:
    """The environment variables that set a field; the first one wins."""
    alias = Settings.model_fields[field_name].validation_alias
    return tuple(map(str, alias.choices)) if isinstance(alias, AliasChoices) else (str(alias),)


def read_settings(config_file: Path | None = None, **options: Any) -> Settings:
    """The settings of this command: options that are not None, the environment, the file, defaults.

    Without `config_file`, `tidelog.toml` of the current folder is read if there is one. BadSettings for what
    cannot be used.
    """
    file = _read_file(config_file)

    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (init_settings, env_settings) if file is None else (init_settings, env_settings, file)

    given = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**Sourced(**given).model_dump())
    except ValidationError as fault:
        first = fault.errors()[0]
        raise BadSettings(f"{first['loc'][0]} cannot be used: {first['msg']}.") from None


def cache_folder() -> Path:
    """Where compiled engine code is kept: derived, safe to delete, owned by this user."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "tidelog"


# --- the file -----------------------------------------------------------------------------------------


def _read_file(named: Path | None) -> TomlSource | None:
    """A named file must be there; the one of the current folder need not."""
    path = named or CONFIG_FILE_DEFAULT
    try:
        if named is None and not path.exists():
            return None
        mode = path.stat().st_mode
        source = TomlSource(Settings, toml_file=path)
    except (OSError, UnicodeDecodeError) as failure:
        raise BadSettings(f"The file of settings {path} cannot be read: {failure}.") from None
    except tomllib.TOMLDecodeError as fault:
        raise BadSettings(f"{path} is no TOML: {fault}.") from None
    _check_keys(path, source.toml_data)
    _check_secrets(path, mode, source.toml_data)
    return source


def _check_keys(path: Path, values: dict[str, Any]) -> None:
    """Strictly: a misspelt key, or a number in quotes, is nobody's intention. (What is set in the environment
    is text, and other programs have their variables there too.)"""
    for key, value in values.items():
        field = Settings.model_fields.get(key)
        if field is None:
            raise BadSettings(
                f"{path} has the key {key!r}, which is no setting. docs/reference/settings.md lists them."
            )
        bounded: Any = field.annotation
        for bound in field.metadata:
            bounded = Annotated[bounded, bound]
        try:
            TypeAdapter(bounded).validate_json(orjson.dumps(value), strict=True)
        except ValidationError as fault:
            raise BadSettings(f"{key} in {path} cannot be used: {fault.errors()[0]['msg']}.") from None


def _check_secrets(path: Path, mode: int, values: dict[str, Any]) -> None:
    if not mode & _READABLE_BY_OTHERS:
        return
    for key, secret in (("instance_secret", _ANYTHING), ("log_url", _PASSWORD)):
        if secret.search(values.get(key, "")):
            raise BadSettings(f"{path} holds a secret ({key}) and others can read it. Run: chmod 600 {path}")
