"""`ctx.auth.signJwt`: what a mutation may have signed (spec 03 2.7)."""

from __future__ import annotations

from typing import Any

import orjson

from functions import errors
from functions import syscall_arguments as arguments
from log.limits import ISSUED_TOKEN_CLAIMS_BYTES_MAX, ISSUED_TOKEN_SECONDS_MAX
from log.token_signer import TokenSigner

METHOD = "auth.signJwt"
_RESERVED = ("iss", "iat", "exp", "nbf")
_RESERVED_PREFIXES = ("convex", "cvx")


def issuer_of(address: str, component: str) -> str:
    """What a token of this component names as its issuer. A component cannot sign as the app."""
    return f"{address}/components/{component}" if component else address


def sign_token(signer: TokenSigner, args: dict[str, Any], issuer: str, now_seconds: int) -> str:
    """A token of this deployment with the caller's claims; refuses those that are not the caller's to set.
    `issuer` is who signs (`issuer_of`); the keys of all are published below the deployment's address."""
    claims = _claims(args.get("claims"))
    seconds = arguments.whole_number(args, "expiresInSeconds", METHOD)
    if not 1 <= seconds <= ISSUED_TOKEN_SECONDS_MAX:
        cause = f"a token is valid for 1 to {ISSUED_TOKEN_SECONDS_MAX} seconds, not {seconds}"
        raise errors.invalid_argument("expiresInSeconds", METHOD, cause)
    return signer.sign(claims, issuer, now_seconds, seconds)


def _claims(given: Any) -> dict[str, Any]:
    claims = {} if given is None else given
    if not isinstance(claims, dict):
        raise errors.invalid_argument("claims", METHOD, "expected an object")
    for name in claims:
        if name in _RESERVED or name.lower().startswith(_RESERVED_PREFIXES):
            raise errors.invalid_argument("claims", METHOD, f"the claim `{name}` is reserved")
    size_bytes = len(orjson.dumps(claims))
    if size_bytes > ISSUED_TOKEN_CLAIMS_BYTES_MAX:
        cause = f"they are {size_bytes} bytes, at most {ISSUED_TOKEN_CLAIMS_BYTES_MAX} are signed"
        raise errors.invalid_argument("claims", METHOD, cause)
    return claims
