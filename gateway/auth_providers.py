"""Who may sign user tokens, and which of them a token claims to come from (spec 01 4.1, 4.2). Pure.

Nothing here is proven yet: a token is read without its signature, only to choose whose keys to check it
with. What follows is in `user_tokens.py`.

Promises:
  - a token chooses among the configured providers, it never names an address of its own: its issuer is
    one of them, but for one trailing slash;
  - neither a token nor a part of it is in the `repr` of anything.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway import token_errors
from log.limits import USER_TOKEN_BYTES_MAX


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """A provider that says itself where its keys are."""

    issuer: str
    application_id: str

    def __str__(self) -> str:
        return f"OIDC(domain={self.issuer}, app_id={self.application_id})"


@dataclass(frozen=True, slots=True)
class CustomJwtProvider:
    """A provider whose key set has a fixed address (or is one: a `data:` URI)."""

    issuer: str
    key_set_url: str
    algorithm: str  # "RS256" | "ES256"
    application_id: str | None  # None: tokens for any audience

    def __str__(self) -> str:
        return f"CustomJWT(issuer={self.issuer}, app_id={self.application_id or 'none'})"


Provider = OidcProvider | CustomJwtProvider


@dataclass(frozen=True, slots=True)
class UnprovenToken:
    """What a token says of itself before anybody checked its signature."""

    text: str = field(repr=False)
    header: dict[str, Any] = field(repr=False)  # empty when it cannot be read
    issuer: str
    audiences: tuple[str, ...]

    @property
    def algorithm(self) -> Any:
        return self.header.get("alg")

    @property
    def key_id(self) -> str | None:
        found = self.header.get("kid")
        return found if isinstance(found, str) else None


def read_providers(rows: bytes) -> tuple[Provider, ...]:
    """The providers in the order of `auth.config.ts`, from the JSON of the rows of `_auth`."""
    in_order = sorted(orjson.loads(rows), key=lambda row: row["_creationTime"])
    return tuple(_provider(row) for row in in_order)


def _provider(row: dict[str, Any]) -> Provider:
    if row.get("type") == "customJwt":
        issuer = with_scheme(row["issuer"])
        return CustomJwtProvider(issuer, row["jwks"], row["algorithm"], row["applicationID"])
    return OidcProvider(with_scheme(row["domain"]), row["applicationID"])


def with_scheme(address: str) -> str:
    """Issuers may be written without `https://` (spec 01 4.1)."""
    return address if "://" in address else f"https://{address}"


def read_token(text: str) -> UnprovenToken:
    """Header, issuer and audiences of a token; raises when it is no JWT or names no issuer."""
    parts = text.split(".")
    if len(parts) != 3 or len(text) > USER_TOKEN_BYTES_MAX:
        raise token_errors.token_not_a_jwt()
    header, claims = _json_object(parts[0]), _json_object(parts[1])
    if claims is None:
        raise token_errors.token_not_a_jwt()
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        raise token_errors.token_without_issuer()
    return UnprovenToken(text, header or {}, issuer, audiences_of(claims))


def _json_object(part: str) -> dict[str, Any] | None:
    try:
        padded = part.encode() + b"=" * (-len(part) % 4)
        found = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def audiences_of(claims: dict[str, Any]) -> tuple[str, ...]:
    """`aud` is a string or a list of strings."""
    found = claims.get("aud")
    listed = found if isinstance(found, list) else [found]
    return tuple(audience for audience in listed if isinstance(audience, str))


def choose_provider(providers: Sequence[Provider], token: UnprovenToken, *, redact: bool) -> Provider:
    """The first provider with the token's issuer and, where it has an application id, its audience."""
    for provider in providers:
        is_for_it = provider.application_id is None or provider.application_id in token.audiences
        if is_for_it and _is_same_issuer(provider.issuer, token.issuer):
            return provider
    raise token_errors.no_auth_provider(None if redact else [str(provider) for provider in providers])


def _is_same_issuer(configured: str, claimed: str) -> bool:
    # More slashes would make endless addresses out of one issuer, each asked for its keys.
    if claimed.endswith("//"):
        return False
    return configured.rstrip("/") == with_scheme(claimed).rstrip("/")
