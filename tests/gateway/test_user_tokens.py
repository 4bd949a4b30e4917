"""User tokens against generated keys: who is proven, and how everything else is refused (spec 01 4.2)."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import orjson
import pytest

from gateway.auth_providers import CustomJwtProvider, OidcProvider, Provider, read_token
from gateway.user_tokens import ProvenUser, find_key, parse_key_set, prove
from log.errors import BackendError
from log.limits import CUSTOM_TOKEN_LEEWAY_SECONDS

from ..support.identity_provider import APPLICATION, ISSUER, claims, key_set, public_jwk, sign

NOW = 1_800_000_000
OIDC = OidcProvider(ISSUER, APPLICATION)
CUSTOM = CustomJwtProvider(ISSUER, "https://keys.test", "ES256", None)
KEYS = parse_key_set(
    key_set(
        public_jwk("RS256", "key-1", use="sig", alg="RS256"),
        public_jwk("ES256", "key-1"),
        public_jwk("EdDSA", "key-1"),
        public_jwk("RS256", "key-2", "second"),
    )
)


def check(provider: Provider, text: str, now: float = NOW) -> ProvenUser:
    token = read_token(text)
    return prove(provider, token, find_key(provider, token, KEYS), now)


def refusal(provider: Provider, text: str, now: float = NOW) -> tuple[str, str]:
    with pytest.raises(BackendError) as raised:
        check(provider, text, now)
    assert text not in raised.value.message
    return raised.value.code, raised.value.message


def custom(**more: Any) -> str:
    return sign(claims(NOW, **more), "ES256")


def forged(header: dict[str, Any], content: dict[str, Any], signature: bytes = b"x" * 64) -> str:
    parts = (json.dumps(header).encode(), json.dumps(content).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


# --- OpenID Connect ---------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
def test_an_oidc_token_proves_its_subject_until_it_expires(algorithm: str) -> None:
    proven = check(OIDC, sign(claims(NOW, name="Ada"), algorithm))
    assert orjson.loads(proven.identity.attributes_json or b"") == {
        "tokenIdentifier": f"{ISSUER}|user-1",
        "issuer": ISSUER,
        "subject": "user-1",
        "name": "Ada",
    }
    assert proven.identity.kind == "user" and proven.expires_seconds == NOW + 3600


def test_a_token_proven_before_is_refused_once_it_expires_or_its_key_is_gone() -> None:
    text = sign(claims(NOW))
    token = read_token(text)
    assert check(OIDC, text) == check(OIDC, text)
    assert refusal(OIDC, text, NOW + 3600)[0] == "Unauthenticated"
    others = parse_key_set(key_set(public_jwk("RS256", "key-1", "second")))
    with pytest.raises(BackendError):
        prove(OIDC, token, find_key(OIDC, token, others), NOW)
    with pytest.raises(BackendError):
        prove(OIDC, token, find_key(OIDC, token, ()), NOW)


def test_without_a_key_id_the_only_key_of_the_algorithm_is_taken() -> None:
    assert check(OIDC, sign(claims(NOW), "EdDSA", None)).identity.kind == "user"
    assert refusal(OIDC, sign(claims(NOW), "RS256", None))[0] == "Unauthenticated", "two could be meant"


OIDC_FAULTS = {
    "expired": sign(claims(NOW, exp=NOW)),
    "no expiry": sign(claims(NOW, exp=None)),
    "an expiry that is no number": sign(claims(NOW, exp=True)),
    "no moment of issue": sign(claims(NOW, iat=None)),
    "no subject": sign(claims(NOW, sub=None)),
    "a subject that is no text": sign(claims(NOW, sub=7)),
    "for others too": sign(claims(NOW, aud=[APPLICATION, "other-app"])),
    "signed by another key": sign(claims(NOW), "RS256", "key-1", "second"),
    "an unknown key": sign(claims(NOW), "RS256", "key-9"),
    "another algorithm": sign(claims(NOW), "ES256"),
    "no algorithm": forged({"alg": "none", "kid": "key-1"}, claims(NOW), b""),
    "the public key as a secret": forged({"alg": "HS256", "kid": "key-1"}, claims(NOW)),
    "an algorithm that is no text": forged({"alg": ["RS256"], "kid": "key-1"}, claims(NOW)),
    "no header": forged({}, claims(NOW)),
    "an unknown critical header": forged({"alg": "RS256", "kid": "key-1", "crit": ["x"]}, claims(NOW)),
    "a header that is no JSON": "AAAA." + sign(claims(NOW)).partition(".")[2],
}


@pytest.mark.parametrize("fault", OIDC_FAULTS)
def test_every_faulty_oidc_token_is_refused_with_the_same_words(fault: str) -> None:
    assert refusal(OIDC, OIDC_FAULTS[fault]) == (
        "Unauthenticated",
        "Could not verify OIDC token claim. Check that the token signature is valid and the token hasn't "
        "expired.",
    )


def test_an_oidc_token_counts_until_the_second_before_its_expiry() -> None:
    token = sign(claims(NOW))
    assert check(OIDC, token, NOW + 3599.9).expires_seconds == NOW + 3600
    assert refusal(OIDC, token, NOW + 3600)[0] == "Unauthenticated"


# --- other signed tokens ----------------------------------------------------------------------------


def test_a_custom_token_proves_its_subject_under_its_own_claim_names() -> None:
    content = claims(NOW, email_verified=True, role={"name": "admin"}, aud=["any", "body"], iat=None)
    proven = check(CUSTOM, sign(content, "ES256"))
    assert orjson.loads(proven.identity.attributes_json or b"") == {
        "tokenIdentifier": f"{ISSUER}|user-1",
        "issuer": ISSUER,
        "subject": "user-1",
        "email_verified": True,
        "role.name": "admin",
    }


@pytest.mark.parametrize(
    ("token", "text"),
    [
        (sign(claims(NOW), "ES256", None), "Could not decode token. The JWT may be missing a 'kid' (key ID)"),
        (
            sign(claims(NOW), "ES256", "key-9"),
            "Could not decode token. The JWT's 'kid' (key ID) header is 'key-9', does this key match any key "
            "in the provider's JWKS?",
        ),
        (sign(claims(NOW), "RS256"), "Could not decode token. The JWT's 'alg' (algorithm) header must be"),
        (sign(claims(NOW), "ES256", "key-1", "other"), "Could not decode token. The JWT's signature"),
        (
            forged({"alg": "none", "kid": "key-1"}, claims(NOW), b""),
            "Could not decode token. The JWT's 'alg'",
        ),
        (custom(sub=None), "Could not validate token: The subject"),
        (custom(exp=None), "Could not validate token: The expiration"),
        (custom(exp=NOW - 60), "Could not validate token: Token expired 60 seconds ago"),
        (custom(nbf=NOW + 60), "Could not validate token: Token will be valid in 60 seconds"),
        (custom(iat=NOW + 60), "Could not validate token: Token will be valid in 60 seconds"),
        (custom(nbf="soon"), "Could not validate token: The claim 'nbf'"),
    ],
)
def test_a_faulty_custom_token_is_refused_with_what_is_wrong(token: str, text: str) -> None:
    code, message = refusal(CUSTOM, token)
    assert code == "InvalidAuthHeader" and message.startswith(text), message


def test_a_custom_token_is_given_the_specified_leeway_and_not_a_second_more() -> None:
    leeway = CUSTOM_TOKEN_LEEWAY_SECONDS
    assert check(CUSTOM, custom(exp=NOW - leeway + 1)).expires_seconds < NOW
    assert "Token expired" in refusal(CUSTOM, custom(exp=NOW - leeway))[1]
    for name in ("nbf", "iat"):
        assert check(CUSTOM, custom(**{name: NOW + leeway})).identity.kind == "user"
        assert "will be valid in" in refusal(CUSTOM, custom(**{name: NOW + leeway + 1}))[1]


# --- key sets ---------------------------------------------------------------------------------------


def test_keys_for_other_purposes_are_passed_over_and_private_parts_are_not_kept() -> None:
    weird = [
        7,
        {},
        {"kty": "RSA"},
        {"kty": ["RSA"]},
        {"kty": "EC", "crv": {}},
        {"kty": "oct", "k": "c2VjcmV0"},
    ]
    weird += [{"kty": "RSA", "n": 5, "e": "AQAB"}, {"kty": "OKP", "crv": "Ed25519", "x": "AA"}]
    other = [public_jwk("RS256", "e", use="enc"), public_jwk("RS256", "p", alg="PS256")]
    found = parse_key_set(key_set(*weird, *other, public_jwk("ES256", "good", d="AAAA")))  # type: ignore[arg-type]
    assert [key.key_id for key in found] == ["good"]
    assert not hasattr(found[0].public.key, "private_numbers")


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{}", b'{"keys":{}}', b"<html>"])
def test_what_is_no_key_set_is_no_empty_one(text: bytes) -> None:
    with pytest.raises(ValueError):
        parse_key_set(text)


# --- garbage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_no_changed_token_is_accepted_and_none_fails_otherwise_than_refused(seed: int) -> None:
    """The twin is equality: a token proves somebody exactly when no bit of it was changed."""
    rng = random.Random(seed)
    provider, good = rng.choice([(OIDC, sign(claims(NOW))), (CUSTOM, custom())])
    for _ in range(50):
        text = bytearray(good.encode())
        for _ in range(rng.randrange(1, 4)):
            text[rng.randrange(len(text))] = rng.choice(b"AZaz09-_.{\x00")
        changed = text.decode()
        try:
            check(provider, changed)
        except BackendError as refused:
            assert refused.code in ("InvalidAuthHeader", "Unauthenticated"), (seed, changed)
        else:
            assert changed == good, (seed, changed)


def test_claims_nested_deeper_than_json_is_written_are_refused() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    assert refusal(OIDC, sign(claims(NOW, deep=deep)))[0] == "InvalidAuthHeader"
