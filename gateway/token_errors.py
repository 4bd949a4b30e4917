"""Refusals of user tokens: one constructor per cause (spec 01 4.2, 1.10).

The kind decides what a client does: 401 makes it fetch another token and, at last, go on as anonymous;
other kinds are its provider's trouble, and it tries again.
"""

from __future__ import annotations

from collections.abc import Sequence

from log.errors import BackendError, ErrorKind


def _invalid_token(message: str) -> BackendError:
    return BackendError(ErrorKind.UNAUTHENTICATED, "InvalidAuthHeader", message)


def token_not_a_jwt() -> BackendError:
    return _invalid_token(
        "Could not parse JWT payload. Check that the token is a valid JWT format with three base64-encoded "
        "parts separated by dots."
    )


def token_without_issuer() -> BackendError:
    return _invalid_token("Missing issuer claim ('iss') in JWT payload. The token must name who issued it.")


def no_auth_provider(configured: Sequence[str] | None) -> BackendError:
    """`configured` describes the providers; None where clients are not told of them (redaction)."""
    if configured is None:
        hint = ""
    elif not configured:
        hint = " (no providers configured). Check convex/auth.config.ts."
    else:
        hint = (
            ". Check that your JWT's issuer and audience match one of your configured providers: "
            f"[{', '.join(configured)}]"
        )
    return BackendError(
        ErrorKind.UNAUTHENTICATED,
        "NoAuthProvider",
        f"No auth provider found matching the given token{hint}",
    )


def token_undecodable(why: str) -> BackendError:
    """A customJwt token that no key of its provider has signed."""
    return _invalid_token(f"Could not decode token. {why}")


def token_not_valid(why: str) -> BackendError:
    """A customJwt token that was signed, but for other times or without a subject."""
    return _invalid_token(f"Could not validate token: {why}")


def key_set_unavailable(url: str, why: str) -> BackendError:
    return _invalid_token(f"Could not fetch the JWKS from '{url}': {why}")


def key_set_unreadable(url: str) -> BackendError:
    return _invalid_token(
        f"Invalid JWKS response body from '{url}'. The response is not valid JSON or doesn't match the "
        "expected JWKS format."
    )


def oidc_token_refused() -> BackendError:
    return BackendError(
        ErrorKind.UNAUTHENTICATED,
        "Unauthenticated",
        "Could not verify OIDC token claim. Check that the token signature is valid and the token hasn't "
        "expired.",
    )


def provider_discovery_failed(kind: ErrorKind, url: str, why: str) -> BackendError:
    """`kind` follows what the provider answered: some faults are its, and pass."""
    return BackendError(
        kind, "AuthProviderDiscoveryFailed", f"The auth provider at {url} could not be used: {why}"
    )


def identity_expired() -> BackendError:
    """A token that was valid when its socket showed it, and is so no more."""
    return BackendError(ErrorKind.UNAUTHENTICATED, "TokenExpired", "Convex token identity expired")
