"""`ctx.auth.signJwt`: who verifies what was signed, and what is refused."""

from __future__ import annotations

from typing import Any

import jwt
import pytest

from functions.token_calls import issuer_of, sign_token
from log.errors import BackendError
from log.limits import ISSUED_TOKEN_CLAIMS_BYTES_MAX
from log.token_signer import TokenSigner, public_key_set

SECRET, ISSUER, NOW = b"s" * 32, "http://deployment.test", 4_000_000_000
SIGNER = TokenSigner(SECRET, ISSUER)


def verified(token: str) -> dict[str, Any]:
    """As whoever gets it would: by a library of others and the published keys."""
    [key] = public_key_set(SECRET)["keys"]
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "typ": "JWT", "kid": key["kid"]}
    return jwt.decode(token, jwt.PyJWK(key), algorithms=["ES256"], options={"verify_iat": False})


def test_a_token_is_verified_by_the_published_key_and_says_who_issued_it_and_until_when() -> None:
    token = sign_token(
        SIGNER, {"claims": {"sub": "ann", "n": [1, None]}, "expiresInSeconds": 60}, ISSUER, NOW
    )
    own = {"iss": ISSUER, "iat": NOW, "exp": NOW + 60}
    assert verified(token) == {"sub": "ann", "n": [1, None], **own}


def test_a_component_is_another_issuer_than_the_app_and_every_other_component() -> None:
    issuers = [issuer_of(ISSUER, path) for path in ("", "a", "b", "a/b")]
    assert issuers == [ISSUER, *(f"{ISSUER}/components/{path}" for path in ("a", "b", "a/b"))]


def test_another_secret_has_another_key() -> None:
    [key], [other] = (public_key_set(secret)["keys"] for secret in (SECRET, b"t" * 32))
    assert key["kid"] != other["kid"] and (key["x"], key["y"]) != (other["x"], other["y"])


def test_a_changed_token_is_verified_no_more() -> None:
    head, _, signature = SIGNER.sign({"sub": "ann"}, ISSUER, NOW, 1).split(".")
    other = SIGNER.sign({"sub": "eve"}, ISSUER, NOW, 1).split(".")[1]
    with pytest.raises(jwt.InvalidSignatureError):
        verified(f"{head}.{other}.{signature}")


def test_signing_again_gives_the_same_bytes() -> None:
    again = TokenSigner(SECRET, ISSUER)
    assert again.sign({"sub": "ann"}, ISSUER, NOW, 5) == SIGNER.sign({"sub": "ann"}, ISSUER, NOW, 5)


@pytest.mark.parametrize("name", ["iss", "iat", "exp", "nbf", "convexRole", "CVX", "ConvexX"])
def test_claims_of_the_deployment_are_refused_by_name(name: str) -> None:
    with pytest.raises(BackendError, match=f"the claim `{name}` is reserved"):
        sign_token(SIGNER, {"claims": {name: 1}, "expiresInSeconds": 60}, ISSUER, NOW)


@pytest.mark.parametrize("seconds", [None, 0, -1, 0.5, 3_601, "60", True])
def test_a_validity_that_cannot_be_is_refused(seconds: Any) -> None:
    with pytest.raises(BackendError, match=r"`expiresInSeconds` for `auth\.signJwt`"):
        sign_token(SIGNER, {"expiresInSeconds": seconds}, ISSUER, NOW)


@pytest.mark.parametrize("claims", [[], "sub", 1, {"big": "x" * ISSUED_TOKEN_CLAIMS_BYTES_MAX}])
def test_claims_that_are_no_object_or_too_large_are_refused(claims: Any) -> None:
    with pytest.raises(BackendError, match=r"`claims` for `auth\.signJwt`"):
        sign_token(SIGNER, {"claims": claims, "expiresInSeconds": 60}, ISSUER, NOW)
