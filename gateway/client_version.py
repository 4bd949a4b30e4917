"""Which client speaks: the `Convex-Client` header or the version in the address (spec 01 1.1, 2.1). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from log import errors

Version = tuple[int, int, int]

_SEMVER = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:[-+].*)?")
_UNSUPPORTED_MAX: dict[str, Version] = {
    "npm": (0, 19, 1),
    "npm-cli": (0, 19, 1),
    "actions": (0, 19, 1),
    "python": (0, 0, 2),
    "rust": (0, 0, 1),
}
_UPGRADE_MAX: dict[str, Version] = {"python": (0, 2, 0)}
_CHUNKS_MIN: Version = (1, 28, 0)
_JSON_BY_DEFAULT_MIN: dict[str, Version] = {
    "npm": (1, 4, 1),
    "npm-cli": (1, 4, 1),
    "actions": (1, 4, 1),
    "python": (0, 5, 0),
}


@dataclass(frozen=True, slots=True)
class ClientVersion:
    """`header` is the text as sent ("" when unknown); `version` None when it is no semantic version."""

    header: str
    client: str
    version: Version | None

    @property
    def takes_chunks(self) -> bool:
        """Only npm clients from 1.28.0 put TransitionChunks together (spec 01 1.14)."""
        return self.client == "npm" and self.version is not None and self.version >= _CHUNKS_MIN

    @property
    def must_upgrade(self) -> bool:
        newest_old = _UPGRADE_MAX.get(self.client)
        return newest_old is not None and self.version is not None and self.version <= newest_old

    @property
    def default_format(self) -> str:
        """The output format of HTTP calls that name none (spec 01 2.3)."""
        first = _JSON_BY_DEFAULT_MIN.get(self.client)
        is_old = first is not None and self.version is not None and self.version < first
        return "convex_encoded_json" if is_old else "json"

    @property
    def reads_structured_logs(self) -> bool:
        return self.client in ("npm-cli", "dashboard")


NOBODY = ClientVersion("", "", None)


@lru_cache(maxsize=256)
def parse_client_header(header: str) -> ClientVersion:
    """`<client>-<semver>`, refusing what is too old to be served."""
    matched = re.fullmatch(r"(.+?)-(\d+\.\d+\.\d+.*)", header)
    client, text = matched.groups() if matched else header.rpartition("-")[::2]
    if not client:
        raise errors.invalid_client_version(header)
    parsed = parse_semver(text)
    newest_unsupported = _UNSUPPORTED_MAX.get(client)
    if newest_unsupported is not None and (parsed is None or parsed <= newest_unsupported):
        raise errors.client_version_unsupported(client, text)
    return ClientVersion(header, client, parsed)


def parse_path_version(text: str) -> ClientVersion:
    """The `{client_version}` part of the sync address, always an npm version."""
    if parse_semver(text) is None:
        raise errors.invalid_client_version(text)
    return parse_client_header(f"npm-{text}")


def parse_semver(text: str) -> Version | None:
    matched = _SEMVER.fullmatch(text)
    if matched is None:
        return None
    major, minor, patch = matched.groups()
    return int(major), int(minor), int(patch)
