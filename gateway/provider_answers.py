"""What the answers of providers mean: addresses, keys, refusals, and how long to believe them. Pure.

Spec 01 4.2 says which failure is answered how: an OIDC provider's as `AuthProviderDiscoveryFailed` of the
kind the provider's status has, any of a customJwt provider as 401.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import unquote_to_bytes

import orjson

from gateway import token_errors
from gateway.user_tokens import KeySet, parse_key_set
from log.errors import BackendError, ErrorKind
from log.limits import (
    PROVIDER_DOCUMENT_SECONDS_MAX,
    PROVIDER_DOCUMENT_SECONDS_MIN,
    PROVIDER_FAILURE_SECONDS,
)

_KEY_SET_TYPES = frozenset({"application/json", "application/jwk-set+json"})
_MAX_AGE = re.compile(r'max-age="?(\d{1,10})')
_KIND_OF_STATUS = {
    401: ErrorKind.UNAUTHENTICATED,
    403: ErrorKind.FORBIDDEN,
    404: ErrorKind.NOT_FOUND,
    429: ErrorKind.RATE_LIMITED,
}


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer of whatever status; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """There was no answer, or not a whole one."""

    why: str


@dataclass(frozen=True, slots=True)
class Discovery:
    """What an OIDC provider says of itself."""

    issuer: str
    key_set_url: str


def read_discovery(url: str, fetched: Fetched | FetchFailed) -> Discovery:
    try:
        tree = orjson.loads(_ok_body(url, fetched))
    except ValueError:
        tree = None
    if not isinstance(tree, dict):
        raise _unusable(url, "its answer is no JSON object")
    issuer, key_set_url = tree.get("issuer"), tree.get("jwks_uri")
    if not (isinstance(issuer, str) and isinstance(key_set_url, str)):
        raise _unusable(url, "its answer lacks `issuer` or `jwks_uri`")
    if not key_set_url.startswith(("https://", "http://")):
        raise _unusable(url, "its `jwks_uri` is no address")
    return Discovery(issuer, key_set_url)


def check_discovered_issuer(url: str, discovery: Discovery, issuer: str) -> None:
    """A provider must name itself as its tokens do (spec 01 4.2)."""
    if discovery.issuer != issuer:
        raise _unusable(url, f"it names itself '{discovery.issuer}', the token says '{issuer}'")


def read_oidc_key_set(url: str, fetched: Fetched | FetchFailed) -> KeySet:
    try:
        return parse_key_set(_ok_body(url, fetched))
    except ValueError:
        raise _unusable(url, "its answer is no set of keys") from None


def _ok_body(url: str, fetched: Fetched | FetchFailed) -> bytes:
    """The body of a 200; other answers are refused with the provider's own kind of failure."""
    if isinstance(fetched, FetchFailed):
        raise _unusable(url, fetched.why)
    if fetched.status == 200:
        return fetched.body
    other = ErrorKind.OVERLOADED if fetched.status >= 500 else ErrorKind.BAD_REQUEST
    kind = _KIND_OF_STATUS.get(fetched.status, other)
    raise token_errors.provider_discovery_failed(kind, url, f"it answered with status {fetched.status}")


def _unusable(url: str, why: str) -> BackendError:
    return token_errors.provider_discovery_failed(ErrorKind.BAD_REQUEST, url, why)


def read_custom_key_set(url: str, fetched: Fetched | FetchFailed) -> KeySet:
    shown = "data:..." if url.startswith("data:") else url
    if isinstance(fetched, FetchFailed):
        raise token_errors.key_set_unavailable(shown, fetched.why)
    if fetched.status != 200:
        raise token_errors.key_set_unavailable(shown, f"the answer has status {fetched.status}")
    if not url.startswith("data:"):
        _check_key_set_type(url, fetched.headers.get("content-type", ""))
    try:
        return parse_key_set(fetched.body)
    except ValueError:
        raise token_errors.key_set_unreadable(shown) from None


def _check_key_set_type(url: str, content_type: str) -> None:
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [part.partition("=")[2].strip('"') for part in parameters if part.startswith("charset=")]
    if media_type not in _KEY_SET_TYPES or any(charset != "utf-8" for charset in charsets):
        raise token_errors.key_set_unavailable(url, f"the answer has the content type '{content_type}'")


def inline_answer(url: str) -> Fetched | FetchFailed:
    """A `data:` URI is its own answer, for ever. Its media type is not looked at (spec 01 4.2)."""
    head, comma, data = url.removeprefix("data:").partition(",")
    forever = {"cache-control": f"max-age={PROVIDER_DOCUMENT_SECONDS_MAX}"}
    body = unquote_to_bytes(data)
    if head.endswith(";base64"):
        try:
            body = base64.b64decode(body)
        except ValueError:
            body = b""
    return Fetched(200, forever, body) if comma else FetchFailed("the data: URI has no comma")


def believed_seconds(fetched: Fetched | FetchFailed) -> float:
    """How long an answer is taken for true, by its cache headers (RFC 9111) and our bounds."""
    if isinstance(fetched, FetchFailed):
        return PROVIDER_FAILURE_SECONDS
    told = _told_seconds(fetched.headers)
    return min(max(told, PROVIDER_DOCUMENT_SECONDS_MIN), PROVIDER_DOCUMENT_SECONDS_MAX)


def _told_seconds(headers: Mapping[str, str]) -> float:
    control = headers.get("cache-control", "").lower()
    if "no-store" in control or "no-cache" in control:
        return 0
    if (max_age := _MAX_AGE.search(control)) is not None:
        age = headers.get("age", "0")
        return int(max_age[1]) - (int(age) if age.isdecimal() else 0)
    try:
        return (
            parsedate_to_datetime(headers["expires"]) - parsedate_to_datetime(headers["date"])
        ).total_seconds()
    except (KeyError, TypeError, ValueError):
        return 0
