"""What `ctx.auth.getUserIdentity()` answers for a proven token (spec 01 4.3). Pure.

Law 1: `tokenIdentifier`, `issuer` and `subject` come from `iss` and `sub` and from nothing else; no claim
of a like name can replace them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from log.identity import Identity

Claims = dict[str, Any]

_STANDARD_CLAIMS: dict[str, tuple[str, type]] = {
    "name": ("name", str),
    "given_name": ("givenName", str),
    "family_name": ("familyName", str),
    "nickname": ("nickname", str),
    "preferred_username": ("preferredUsername", str),
    "profile": ("profileUrl", str),
    "picture": ("pictureUrl", str),
    "website": ("websiteUrl", str),
    "email": ("email", str),
    "email_verified": ("emailVerified", bool),
    "gender": ("gender", str),
    "birthdate": ("birthday", str),
    "zoneinfo": ("timezone", str),
    "locale": ("language", str),
    "phone_number": ("phoneNumber", str),
    "phone_number_verified": ("phoneNumberVerified", bool),
    "address": ("address", str),
    "updated_at": ("updatedAt", str),
}
"""OIDC's claims about a person: the attribute they become, and its type."""

_ABOUT_THE_TOKEN = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "fva"})
_ABOUT_THE_LOGIN = frozenset({"nonce", "azp", "amr", "acr", "auth_time", "at_hash", "c_hash"})
_TRUTHS = {"true": True, "false": False}


def oidc_identity(claims: Claims) -> Identity:
    """Standard claims under Convex's names, all others under their own with their value."""
    dropped = _ABOUT_THE_TOKEN | _ABOUT_THE_LOGIN | _STANDARD_CLAIMS.keys()
    own = {name: value for name, value in claims.items() if name not in dropped}
    return _identity(claims, {**own, **dict(_standard_attributes(claims))})


def custom_identity(claims: Claims) -> Identity:
    """Every claim under its own name; objects become dotted names."""
    own = {name: value for name, value in claims.items() if name not in _ABOUT_THE_TOKEN}
    return _identity(claims, dict(_flattened(own)))


def _identity(claims: Claims, attributes: dict[str, Any]) -> Identity:
    issuer, subject = claims["iss"], claims["sub"]
    identified = {
        **attributes,
        "tokenIdentifier": f"{issuer}|{subject}",
        "issuer": issuer,
        "subject": subject,
    }
    # Sorted: the same attributes are the same identity, whatever order a provider writes them in.
    return Identity("user", orjson.dumps(identified, option=orjson.OPT_SORT_KEYS))


def _standard_attributes(claims: Claims) -> Iterator[tuple[str, Any]]:
    """Those present. One of another type than the standard's is left out: readers rely on the types."""
    for name, (attribute, kind) in _STANDARD_CLAIMS.items():
        value = claims.get(name)
        if name == "address":
            value = value.get("formatted") if isinstance(value, dict) else None
        elif name == "updated_at":
            value = _rfc_3339(value)
        elif kind is bool and isinstance(value, str):
            value = _TRUTHS.get(value)  # some providers write booleans as texts
        if isinstance(value, kind):
            yield attribute, value


def _rfc_3339(value: Any) -> str | None:
    """A moment given in seconds (as the standard says) or as a text (as some providers do)."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        else:
            moment = datetime.fromtimestamp(value, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return moment.isoformat()


def _flattened(claims: Claims) -> Iterator[tuple[str, Any]]:
    """`{"a": {"b": 1}}` is `a.b`. A stack of its own: claims may be nested deeper than Python calls."""
    pending = [("", claims)]
    while pending:
        prefix, members = pending.pop()
        for name, value in members.items():
            if isinstance(value, dict):
                pending.append((f"{prefix}{name}.", value))
            else:
                yield f"{prefix}{name}", value
