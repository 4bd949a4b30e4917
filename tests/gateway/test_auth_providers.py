"""Which provider a token belongs to, before anything of it is proven (spec 01 4.2, step 1 and 2)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.auth_providers import (
    CustomJwtProvider,
    OidcProvider,
    Provider,
    choose_provider,
    read_providers,
    read_token,
)
from log.errors import BackendError
from log.limits import USER_TOKEN_BYTES_MAX

from ..support.identity_provider import claims, sign

FIRST = OidcProvider("https://one.test", "app")
CUSTOM = CustomJwtProvider("https://two.test", "https://two.test/keys", "RS256", None)
LAST = OidcProvider("https://one.test", "other-app")
PROVIDERS = (FIRST, CUSTOM, LAST)


def chosen(providers: tuple[Provider, ...] = PROVIDERS, redact: bool = False, **more: Any) -> Provider:
    return choose_provider(providers, read_token(sign(claims(**more))), redact=redact)


def test_rows_are_read_in_the_order_of_their_creation() -> None:
    rows = [
        {"domain": "late.test", "applicationID": "a", "_id": "1", "_creationTime": 2.0},
        {
            "type": "customJwt",
            "issuer": "https://i.test/",
            "jwks": "data:,{}",
            "algorithm": "ES256",
            "applicationID": None,
            "_id": "2",
            "_creationTime": 1.0,
        },
    ]
    assert read_providers(orjson.dumps(rows)) == (
        CustomJwtProvider("https://i.test/", "data:,{}", "ES256", None),
        OidcProvider("https://late.test", "a"),
    )


def test_the_first_provider_with_issuer_and_audience_is_chosen() -> None:
    assert chosen(iss="https://one.test", aud="app") is FIRST
    assert chosen(iss="https://one.test", aud=["x", "other-app"]) is LAST
    assert chosen(iss="https://two.test", aud="anything") is CUSTOM
    assert chosen(iss="https://two.test", aud=None) is CUSTOM


@pytest.mark.parametrize("issuer", ["https://one.test", "https://one.test/", "one.test", "one.test/"])
def test_scheme_and_a_trailing_slash_of_an_issuer_do_not_matter(issuer: str) -> None:
    assert chosen(iss=issuer, aud="app") is FIRST
    slashed = OidcProvider("https://one.test/", "app")
    assert chosen((slashed,), iss=issuer, aud="app") is slashed


@pytest.mark.parametrize(
    "more",
    [
        {"iss": "https://three.test", "aud": "app"},
        {"iss": "http://one.test", "aud": "app"},
        {"iss": "https://one.test//", "aud": "app"},
        {"iss": "https://one.test/x", "aud": "app"},
        {"iss": "https://one.test.evil.test", "aud": "app"},
        {"iss": "https://one.test", "aud": "ap"},
        {"iss": "https://one.test", "aud": None},
        {"iss": "https://one.test", "aud": {"app": 1}},
        {"iss": "", "aud": "app"},
    ],
)
def test_any_other_token_has_no_provider_and_is_told_which_there_are(more: dict[str, Any]) -> None:
    with pytest.raises(BackendError) as raised:
        chosen(**more)
    assert raised.value.code == "NoAuthProvider"
    assert raised.value.message == (
        "No auth provider found matching the given token. Check that your JWT's issuer and audience match "
        "one of your configured providers: [OIDC(domain=https://one.test, app_id=app), "
        "CustomJWT(issuer=https://two.test, app_id=none), OIDC(domain=https://one.test, app_id=other-app)]"
    )


def test_without_providers_or_redacted_the_refusal_names_none() -> None:
    with pytest.raises(BackendError) as raised:
        chosen(())
    assert raised.value.message.endswith("(no providers configured). Check convex/auth.config.ts.")
    with pytest.raises(BackendError) as raised:
        chosen(redact=True)
    assert raised.value.message == "No auth provider found matching the given token"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "three base64-encoded parts"),
        ("a.b", "three base64-encoded parts"),
        ("a.W10.c", "three base64-encoded parts"),
        ("a.e30.c.d", "three base64-encoded parts"),
        ("é.é.é", "three base64-encoded parts"),
        ("a.e30.c", "Missing issuer claim ('iss')"),
        ("a.eyJpc3MiOjd9.c", "Missing issuer claim ('iss')"),
        (f"a.e30.{'c' * USER_TOKEN_BYTES_MAX}", "three base64-encoded parts"),
    ],
)
def test_what_is_no_token_is_refused_as_such(text: str, fault: str) -> None:
    with pytest.raises(BackendError) as raised:
        read_token(text)
    assert raised.value.code == "InvalidAuthHeader" and fault in raised.value.message


def test_a_token_is_not_shown_by_whoever_prints_it() -> None:
    text = sign(claims())
    shown = repr(read_token(text))
    assert not any(part in shown for part in text.split("."))
