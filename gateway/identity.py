"""Who is calling: admin keys checked at the door, user tokens told apart (spec 01 2.1, 4.4; spec 02 1).

Inside, only `Identity` travels: no key passes this file, and no token passes `authenticator.py`, which
checks those, because it may have to ask their provider. Pure: the secret is an argument.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.backend import GatewaySettings
from log import errors
from log.identity import ADMIN, UNKNOWN, Identity
from log.secrets import check_admin_key

_AUTHORIZATION_LENGTH_MIN = 7
_TYPES_WITHOUT_NAME = ("preview", "project")


@dataclass(frozen=True, slots=True)
class UserToken:
    """A token that came with a request, still to be checked."""

    text: str = field(repr=False)


def identify_request(
    settings: GatewaySettings, authorization: str | None, admin_key_parameter: str | None = None
) -> Identity | UserToken:
    """Who a request is by its Authorization header, or by `adminKey=` without one; a token unchecked."""
    if authorization is None:
        return identify_admin(settings, admin_key_parameter) if admin_key_parameter else UNKNOWN
    if len(authorization) < _AUTHORIZATION_LENGTH_MIN:
        raise errors.invalid_header_failure()
    scheme, _, credentials = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return UserToken(credentials.strip())
        case "convex":
            return identify_admin(settings, credentials.strip())
        case _:
            raise errors.invalid_admin_key_scheme()


def identify_admin(settings: GatewaySettings, credentials: str) -> Identity:
    """Check `<key>` or `<key>:<base64 of acting-as attributes>`; a deployment-type prefix is dropped."""
    name, bar, rest = credentials.partition("|")
    if bar and ":" in name:
        kind, _, name = name.partition(":")
        if kind in _TYPES_WITHOUT_NAME:
            name, bar = "", ""
    # Only now may a colon be the acting-as separator: the type prefix has one of its own.
    key, colon, attributes = f"{name}{bar}{rest}".partition(":")
    if not check_admin_key(settings.instance_secret, settings.instance_name, key):
        raise errors.bad_admin_key()
    return acting_as(_decode_attributes(attributes)) if colon else ADMIN


def acting_as(attributes: dict[str, Any]) -> Identity:
    """An admin in a user's place; attributes need `tokenIdentifier`, or issuer and subject (spec 01 1.4)."""
    identifier = attributes.get("tokenIdentifier")
    if not isinstance(identifier, str):
        issuer, subject = attributes.get("issuer"), attributes.get("subject")
        if not (isinstance(issuer, str) and isinstance(subject, str)):
            raise errors.header_parse_failure("acting-as needs tokenIdentifier, or issuer and subject")
        identifier = f"{issuer}|{subject}"
    shown = {name: value for name, value in attributes.items() if value is not None}
    shown["tokenIdentifier"] = identifier
    return Identity("acting", orjson.dumps(shown, option=orjson.OPT_SORT_KEYS))


def require_admin(settings: GatewaySettings, identity: Identity) -> Identity:
    """The identity again, if it may use admin routes; a user or nobody is refused (spec 02 1)."""
    if not identity.is_admin:
        raise errors.bad_deploy_key(settings.instance_name)
    return identity


def _decode_attributes(encoded: str) -> dict[str, Any]:
    try:
        attributes = orjson.loads(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError):
        raise errors.header_parse_failure("acting-as is base64 of a JSON object") from None
    if not isinstance(attributes, dict):
        raise errors.header_parse_failure("acting-as is base64 of a JSON object")
    return attributes
