"""What a function sees of a user: attributes of the two kinds of providers (spec 01 4.3)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.claims import custom_identity, oidc_identity

ABOUT_TOKEN: dict[str, Any] = {"iss": "https://i.test/", "sub": "s", "aud": "a", "exp": 2, "iat": 1}
IDENTIFIED = {"tokenIdentifier": "https://i.test/|s", "issuer": "https://i.test/", "subject": "s"}
STANDARD = {
    "name": "Ada",
    "given_name": "A",
    "family_name": "L",
    "nickname": "al",
    "preferred_username": "ada",
    "profile": "https://p",
    "picture": "https://pic",
    "website": "https://w",
    "email": "a@b.test",
    "email_verified": True,
    "gender": "f",
    "birthdate": "1815-12-10",
    "zoneinfo": "Europe/London",
    "locale": "en",
    "phone_number": "+44",
    "phone_number_verified": False,
    "address": {"formatted": "London", "country": "UK"},
    "updated_at": 1_700_000_000,
}


def seen(make: Any, **more: Any) -> dict[str, Any]:
    identity = make({**ABOUT_TOKEN, **more})
    assert identity.kind == "user"
    found: dict[str, Any] = orjson.loads(identity.attributes_json)
    assert found == {**found, **IDENTIFIED}, "who it is comes from iss and sub alone"
    return {name: value for name, value in found.items() if name not in IDENTIFIED}


def test_an_oidc_user_has_the_standard_attributes_under_their_names_in_convex() -> None:
    assert seen(oidc_identity, **STANDARD) == {
        "name": "Ada",
        "givenName": "A",
        "familyName": "L",
        "nickname": "al",
        "preferredUsername": "ada",
        "profileUrl": "https://p",
        "pictureUrl": "https://pic",
        "websiteUrl": "https://w",
        "email": "a@b.test",
        "emailVerified": True,
        "gender": "f",
        "birthday": "1815-12-10",
        "timezone": "Europe/London",
        "language": "en",
        "phoneNumber": "+44",
        "phoneNumberVerified": False,
        "address": "London",
        "updatedAt": "2023-11-14T22:13:20+00:00",
    }


def test_an_oidc_user_keeps_other_claims_as_they_are_and_none_about_the_token() -> None:
    about_login = dict.fromkeys(("nonce", "azp", "amr", "acr", "auth_time", "at_hash", "c_hash"), "x")
    more = {"jti": "j", "nbf": 1, "fva": [1], "role": {"a": [1, None]}, "https://x.test/y": 1.5}
    assert seen(oidc_identity, **about_login, **more) == {"role": {"a": [1, None]}, "https://x.test/y": 1.5}


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"email_verified": "true"}, {"emailVerified": True}),
        ({"email_verified": "perhaps"}, {}),
        ({"name": None, "email": 7}, {}),
        ({"address": "London"}, {}),
        ({"updated_at": "2023-11-14T22:13:20.000Z"}, {"updatedAt": "2023-11-14T22:13:20+00:00"}),
        ({"updated_at": "yesterday"}, {}),
        ({"updated_at": 1e30}, {}),
    ],
)
def test_a_standard_claim_of_an_odd_type_is_understood_or_left_out(
    more: dict[str, Any], found: dict[str, Any]
) -> None:
    assert seen(oidc_identity, **more) == found


def test_a_custom_user_has_every_claim_under_its_own_name_objects_flattened() -> None:
    more = {
        "email_verified": True,
        "jti": "j",
        "fva": 1,
        "org": {"id": 1, "of": {"x": [{"y": 2}]}, "none": {}},
    }
    found = {"email_verified": True, "org.id": 1, "org.of.x": [{"y": 2}]}
    assert seen(custom_identity, **more) == found


@pytest.mark.parametrize("make", [oidc_identity, custom_identity])
def test_no_claim_can_take_the_place_of_who_it_is(make: Any) -> None:
    fake = {"tokenIdentifier": "https://i.test/|root", "issuer": "other", "subject": "root"}
    assert seen(make, **fake) == {}


def test_the_order_of_claims_does_not_make_another_identity() -> None:
    turned = dict(reversed(list({**ABOUT_TOKEN, **STANDARD}.items())))
    assert oidc_identity(turned) == oidc_identity({**ABOUT_TOKEN, **STANDARD})
