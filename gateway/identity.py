"""Who is calling: what a request shows, and what an admin key proves (spec 01 2.1, 4.4; spec 02 1).

Inside, only `Identity` travels: no key passes `admin_keys.py`, which knows what was revoked, and no token
passes `authenticator.py`, which may have to ask its provider. Pure: the secret is an argument.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.backend import GatewaySettings
from log import errors
from log.identity import ADMIN, READER, Identity
from log.secrets import AdminKey, read_admin_key

_AUTHORIZATION_LENGTH_MIN = 7
_TYPES_WITHOUT_NAME = ("preview", "project")

READER_OPERATIONS = (
    "ViewEnvironmentVariables",
    "ViewLogs",
    "ViewMetrics",
    "ViewIntegrations",
    "ViewData",
    "ViewBackups",
    "DownloadBackups",
    "RunInternalQueries",
    "RunTestQuery",
    "ViewAuditLog",
    "ViewUsageLimits",
    "ViewUsage",
)
"""What a read-only key may do, in the dashboard's words (spec 02 21)."""


@dataclass(frozen=True, slots=True)
class UserToken:
    """A token that came with a request, still to be checked."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AdminCredentials:
    """An admin key that came with a request, and maybe on whose behalf; still to be checked."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class GivenAdminKey:
    """A key that this instance has issued, and who shows it. Whether it was revoked is known elsewhere."""

    key: AdminKey
    identity: Identity


def read_credentials(
    authorization: str | None, admin_key_parameter: str | None = None
) -> AdminCredentials | UserToken | None:
    """What a request shows by its Authorization header, or by `adminKey=` without one; None: nothing."""
    if authorization is None:
        return AdminCredentials(admin_key_parameter) if admin_key_parameter else None
    if len(authorization) < _AUTHORIZATION_LENGTH_MIN:
        raise errors.invalid_header_failure()
    scheme, _, credentials = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return UserToken(credentials.strip())
        case "convex":
            return AdminCredentials(credentials.strip())
        case _:
            raise errors.invalid_admin_key_scheme()


def read_given_key(settings: GatewaySettings, credentials: str) -> GivenAdminKey:
    """Check `<key>` or `<key>:<base64 of acting-as attributes>`; a deployment-type prefix is dropped."""
    name, bar, rest = credentials.partition("|")
    if bar and ":" in name:
        kind, _, name = name.partition(":")
        if kind in _TYPES_WITHOUT_NAME:
            name, bar = "", ""
    # Only now may a colon be the acting-as separator: the type prefix has one of its own.
    text, colon, attributes = f"{name}{bar}{rest}".partition(":")
    key = read_admin_key(settings.instance_secret, settings.instance_name, text)
    if key is None:
        raise errors.bad_admin_key()
    identity = READER if key.is_read_only else ADMIN
    return GivenAdminKey(key, acting_as(identity, _decode_attributes(attributes)) if colon else identity)


def acting_as(admin: Identity, attributes: dict[str, Any]) -> Identity:
    """An admin in a user's place; attributes need `tokenIdentifier`, or issuer and subject (spec 01 1.4)."""
    require_writer(admin, "ActAsUser")
    identifier = attributes.get("tokenIdentifier")
    if not isinstance(identifier, str):
        issuer, subject = attributes.get("issuer"), attributes.get("subject")
        if not (isinstance(issuer, str) and isinstance(subject, str)):
            raise errors.header_parse_failure("acting-as needs tokenIdentifier, or issuer and subject")
        identifier = f"{issuer}|{subject}"
    shown = {name: value for name, value in attributes.items() if value is not None}
    shown["tokenIdentifier"] = identifier
    return Identity("acting", orjson.dumps(shown, option=orjson.OPT_SORT_KEYS))


def require_admin(settings: GatewaySettings, identity: Identity, writes: str | None = None) -> Identity:
    """The identity again, if it may use admin routes; a user or nobody is refused (spec 02 1), and a
    read-only key where `writes` names an operation that changes something."""
    if not identity.is_admin:
        raise errors.bad_deploy_key(settings.instance_name)
    if writes is not None:
        require_writer(identity, writes)
    return identity


def require_writer(identity: Identity, operation: str) -> None:
    """Refuse whoever came with a read-only key."""
    if not identity.may_write:
        raise errors.operation_not_permitted(operation)


def _decode_attributes(encoded: str) -> dict[str, Any]:
    try:
        attributes = orjson.loads(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError):
        raise errors.header_parse_failure("acting-as is base64 of a JSON object") from None
    if not isinstance(attributes, dict):
        raise errors.header_parse_failure("acting-as is base64 of a JSON object")
    return attributes
