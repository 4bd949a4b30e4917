"""Settings, named as operators know them. The only file that uses pydantic settings (design D26).

Each is a `tidelog dev` option or an environment variable; docs/reference/settings.md lists them and a test
compares. `INSTANCE_NAME`, `INSTANCE_SECRET`, `CONVEX_CLOUD_ORIGIN`, `CONVEX_SITE_ORIGIN` and
`REDACT_LOGS_TO_CLIENT` keep the names self-hosters of Convex know (spec 02 24).
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

DATA_FOLDER_DEFAULT = Path(".tidelog")


class Settings(BaseSettings):
    """How one server is set up. Immutable; passed to every process as its dump."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore")

    data_folder: Path = Field(DATA_FOLDER_DEFAULT, validation_alias="TIDELOG_DATA")
    log_url: str = Field("", validation_alias="TIDELOG_LOG", repr=False)  # it may hold a password
    files_url: str = Field("", validation_alias="TIDELOG_FILES")
    host: str = Field("127.0.0.1", validation_alias="TIDELOG_HOST")
    port: int = Field(3210, validation_alias="TIDELOG_PORT")
    site_port: int = Field(3211, validation_alias="TIDELOG_SITE_PORT")
    executors: int = Field(default_factory=lambda: os.cpu_count() or 1, validation_alias="TIDELOG_EXECUTORS")
    silence_seconds_max: float = Field(15.0, gt=0, validation_alias="TIDELOG_SILENCE_SECONDS_MAX")
    instance_name: str | None = Field(None, validation_alias="INSTANCE_NAME")
    instance_secret: str | None = Field(None, validation_alias="INSTANCE_SECRET")
    cloud_origin: str | None = Field(None, validation_alias="CONVEX_CLOUD_ORIGIN")
    site_origin: str | None = Field(None, validation_alias="CONVEX_SITE_ORIGIN")
    egress_refuse_private: bool = Field(False, validation_alias="TIDELOG_EGRESS_REFUSE_PRIVATE")
    redact_errors: bool = Field(False, validation_alias="REDACT_LOGS_TO_CLIENT")

    @property
    def cloud_origin_in_use(self) -> str:
        return self.cloud_origin or f"http://{self.host}:{self.port}"

    @property
    def site_origin_in_use(self) -> str:
        return self.site_origin or f"http://{self.host}:{self.site_port}"


def cache_folder() -> Path:
    """Where compiled engine code is kept: derived, safe to delete, owned by this user."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "tidelog"
