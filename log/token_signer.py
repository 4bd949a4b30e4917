"""JSON Web Tokens that this deployment issues itself, and the public key that verifies them (spec 03 2.7).

The key pair is derived from the instance secret, so every process and every restart has the same one and
nothing is stored. Promise: equal claims at an equal time give an equal token (RFC 6979), so that a mutation
executed again from the log signs the same bytes; the library our tokens of others are checked with signs
with fresh randomness instead.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from log.secrets import base64url, derive

ALGORITHM = "ES256"
_CURVE_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_COORDINATE_BYTES = 32


class TokenSigner:
    """Signs for one deployment. `address` is where it is configured to be found."""

    def __init__(self, instance_secret: bytes, address: str) -> None:
        self._key, self.address = _private_key(instance_secret), address
        self._head = _text({"alg": ALGORITHM, "typ": "JWT", "kid": _public_jwk(self._key)["kid"]})

    def sign(self, claims: dict[str, Any], issuer: str, now_seconds: int, valid_seconds: int) -> str:
        """The token with these claims, and `iss`, `iat` and `exp`."""
        own = {"iss": issuer, "iat": now_seconds, "exp": now_seconds + valid_seconds}
        signed = f"{self._head}.{_text({**claims, **own})}"
        signature = self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        numbers = decode_dss_signature(signature)
        return f"{signed}.{base64url(b''.join(map(_coordinate, numbers)))}"


def public_key_set(instance_secret: bytes) -> dict[str, Any]:
    """The JWK Set (RFC 7517) that the deployment publishes."""
    return {"keys": [_public_jwk(_private_key(instance_secret))]}


def _private_key(instance_secret: bytes) -> ec.EllipticCurvePrivateKey:
    """Twice the bytes that are needed: the remainder is as good as evenly distributed."""
    drawn = derive(instance_secret, "token-key/1") + derive(instance_secret, "token-key/2")
    return ec.derive_private_key(int.from_bytes(drawn) % (_CURVE_ORDER - 1) + 1, ec.SECP256R1())


def _public_jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """Named by its thumbprint (RFC 7638)."""
    numbers = key.public_key().public_numbers()
    x, y = (base64url(_coordinate(number)) for number in (numbers.x, numbers.y))
    required = {"crv": "P-256", "kty": "EC", "x": x, "y": y}  # in the order of the thumbprint
    thumbprint = hashlib.sha256(orjson.dumps(required)).digest()
    return {**required, "kid": base64url(thumbprint), "use": "sig", "alg": ALGORITHM}


def _coordinate(number: int) -> bytes:
    return number.to_bytes(_COORDINATE_BYTES)


def _text(fields: dict[str, Any]) -> str:
    return base64url(orjson.dumps(fields))
