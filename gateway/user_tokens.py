"""Proves a user's token with the keys of its provider (spec 01 4.2; design D21).

Law 1: no network and no clock here. Keys and time arrive as arguments.
Law 2: whoever is answered was signed for: by a key of the chosen provider, with an algorithm this file
names, over exactly the claims the identity is made of.

Time and audience are checked here and not by the library, because it would ask the clock itself and
knows one leeway for all. Importing it costs a process up to a second and, with the HTTP client, 13 MiB:
only the first token that has a provider does.

Read in this order: prove, find_key, parse_key_set.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from jwt import PyJWK
from jwt.api_jws import PyJWS
from jwt.exceptions import PyJWTError

from gateway import token_errors
from gateway.auth_providers import CustomJwtProvider, Provider, UnprovenToken, audiences_of
from gateway.claims import custom_identity, oidc_identity
from log.identity import Identity
from log.limits import CUSTOM_TOKEN_LEEWAY_SECONDS, SIGNATURES_REMEMBERED_MAX

Claims = dict[str, Any]

_OIDC_ALGORITHMS = ("RS256", "EdDSA")
_ALGORITHM_OF_KEY = {("RSA", ""): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
_PUBLIC_PARTS = frozenset({"kty", "crv", "n", "e", "x", "y"})
_KEY_ID_SHOWN_LENGTH_MAX = 200
_SIGNATURES = PyJWS(options={"verify_signature": True, "enforce_minimum_key_length": True})


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One public key, bound to the one algorithm it is used with."""

    key_id: str | None
    algorithm: str
    public: PyJWK


KeySet = tuple[SigningKey, ...]


@dataclass(frozen=True, slots=True)
class ProvenUser:
    """Who a token proved, and until when it does."""

    identity: Identity
    expires_seconds: float


def prove(provider: Provider, token: UnprovenToken, key: SigningKey | None, now_seconds: float) -> ProvenUser:
    """The user `token` proves, or a raised refusal. `key` is what `find_key` found."""
    try:
        if isinstance(provider, CustomJwtProvider):
            return _prove_custom(provider, token, key, now_seconds)
        return _prove_oidc(token, key, now_seconds)
    except orjson.JSONEncodeError:  # claims nested deeper than an identity can be written
        raise token_errors.token_not_a_jwt() from None


def find_key(provider: Provider, token: UnprovenToken, keys: KeySet) -> SigningKey | None:
    """The key a token says it was signed with; None: the key set may have changed, or the token is wrong."""
    is_custom = isinstance(provider, CustomJwtProvider)
    algorithms = (provider.algorithm,) if isinstance(provider, CustomJwtProvider) else _OIDC_ALGORITHMS
    if token.algorithm not in algorithms or (is_custom and token.key_id is None):
        return None
    fitting = [key for key in keys if key.algorithm == token.algorithm]
    if token.key_id is not None:
        fitting = [key for key in fitting if key.key_id == token.key_id]
    return fitting[0] if len(fitting) == 1 else None


# --- OpenID Connect ---------------------------------------------------------------------------------


def _prove_oidc(token: UnprovenToken, key: SigningKey | None, now_seconds: float) -> ProvenUser:
    """Every fault has the same answer: it tells a forger nothing, and a user to log in again."""
    claims = _signed_claims(token, key) if key is not None else None
    if claims is None or not isinstance(claims.get("sub"), str):
        raise token_errors.oidc_token_refused()
    expires = _seconds(claims, "exp")
    if expires is None or now_seconds >= expires or _seconds(claims, "iat") is None:
        raise token_errors.oidc_token_refused()
    # The provider was chosen by one audience; a token that is also for others might come from them.
    if claims["iss"] != token.issuer or len(audiences_of(claims)) != 1:
        raise token_errors.oidc_token_refused()
    return ProvenUser(oidc_identity(claims), expires)


# --- other signed tokens ----------------------------------------------------------------------------


def _prove_custom(
    provider: CustomJwtProvider, token: UnprovenToken, key: SigningKey | None, now_seconds: float
) -> ProvenUser:
    if key is None:
        raise token_errors.token_undecodable(_why_no_key(provider, token))
    claims = _signed_claims(token, key)
    if claims is None:
        raise token_errors.token_undecodable("The JWT's signature does not belong to its content.")
    expires = _check_times(claims, now_seconds)
    if not isinstance(claims.get("sub"), str):
        raise token_errors.token_not_valid("The subject claim ('sub') is missing")
    return ProvenUser(custom_identity(claims), expires)


def _why_no_key(provider: CustomJwtProvider, token: UnprovenToken) -> str:
    if token.key_id is None:
        return "The JWT may be missing a 'kid' (key ID) header."
    if token.algorithm != provider.algorithm:
        return f"The JWT's 'alg' (algorithm) header must be '{provider.algorithm}'."
    shown = token.key_id[:_KEY_ID_SHOWN_LENGTH_MAX]
    return (
        f"The JWT's 'kid' (key ID) header is '{shown}', does this key match any key in the provider's JWKS?"
    )


def _check_times(claims: Claims, now_seconds: float) -> float:
    """When the token expires. `iat` and `nbf` may be absent, but not in the future."""
    expires = _seconds(claims, "exp")
    if expires is None:
        raise token_errors.token_not_valid("The expiration claim ('exp') is missing")
    if now_seconds >= expires + CUSTOM_TOKEN_LEEWAY_SECONDS:
        raise token_errors.token_not_valid(f"Token expired {int(now_seconds - expires)} seconds ago")
    for name in ("nbf", "iat"):
        valid_from = _seconds(claims, name)
        if valid_from is None and claims.get(name) is not None:
            raise token_errors.token_not_valid(f"The claim '{name}' must be a number of seconds")
        if valid_from is not None and valid_from > now_seconds + CUSTOM_TOKEN_LEEWAY_SECONDS:
            ahead = int(valid_from - now_seconds)
            raise token_errors.token_not_valid(f"Token will be valid in {ahead} seconds (claim '{name}')")
    return expires


# --- signatures -------------------------------------------------------------------------------------


def _signed_claims(token: UnprovenToken, key: SigningKey) -> Claims | None:
    """The claims that were signed; None when the signature is not the key's."""
    payload = _signed_payload(token.text, key)
    try:
        claims = orjson.loads(payload or b"")
    except ValueError:
        return None
    return claims if isinstance(claims, dict) else None


@lru_cache(maxsize=SIGNATURES_REMEMBERED_MAX)
def _signed_payload(text: str, key: SigningKey) -> bytes | None:
    """Remembered, because it never changes for a text and a key: HTTP clients send one token with each call.
    Whether the key is still its provider's, and the time right, is looked at each time."""
    try:
        return bytes(_SIGNATURES.decode(text, key.public, algorithms=[key.algorithm]))
    except PyJWTError:
        return None


def _seconds(claims: Claims, name: str) -> float | None:
    """A time in a claim; a boolean is a number only for Python."""
    found = claims.get(name)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def parse_key_set(text: bytes) -> KeySet:
    """The keys of a JWKS that one of our algorithms can use; raises ValueError when it is none.

    A key for another purpose or algorithm, or one that cannot be read, is no key of ours: providers
    publish those beside the ones they sign with.
    """
    tree = orjson.loads(text)
    listed = tree.get("keys") if isinstance(tree, dict) else None
    if not isinstance(listed, list):
        raise ValueError("a JWKS is an object with a list `keys`")
    parsed = (_parse_key(entry) for entry in listed if isinstance(entry, dict))
    return tuple(key for key in parsed if key is not None)


def _parse_key(entry: dict[str, Any]) -> SigningKey | None:
    kind, curve = str(entry.get("kty")), str(entry.get("crv", ""))
    algorithm = _ALGORITHM_OF_KEY.get((kind, "" if kind == "RSA" else curve))
    if algorithm is None or entry.get("alg", algorithm) != algorithm or entry.get("use", "sig") != "sig":
        return None
    try:
        public = PyJWK({name: entry[name] for name in _PUBLIC_PARTS & entry.keys()}, algorithm)
    except PyJWTError:
        return None
    key_id = entry.get("kid")
    return SigningKey(key_id if isinstance(key_id, str) else None, algorithm, public)
