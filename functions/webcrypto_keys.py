"""Keys of `crypto.subtle` in the formats of the web: pkcs8, spki, raw and jwk, for the key pairs.

Inside, a private key is PKCS #8 and a public key SubjectPublicKeyInfo, both DER, whatever it was read from.
"""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from log.limits import RSA_BITS_MAX

CURVES: dict[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
_CURVE_NAMES = {curve.name: name for name, curve in CURVES.items()}
_OKP: dict[str, tuple[Any, Any]] = {
    "Ed25519": (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey),
    "X25519": (x25519.X25519PrivateKey, x25519.X25519PublicKey),
}

PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey
)
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | x25519.X25519PublicKey
Key = PrivateKey | PublicKey
_PRIVATE = (
    rsa.RSAPrivateKey,
    ec.EllipticCurvePrivateKey,
    ed25519.Ed25519PrivateKey,
    x25519.X25519PrivateKey,
)


def private_of(der: bytes) -> Any:
    """Whether an RSA key's primes are primes is not asked: the answer takes longer than a call may, and who
    signs with a key that is none harms himself."""
    return load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)


def public_of(der: bytes) -> Any:
    return load_der_public_key(der)


def write_private(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def write_public(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def import_key(parameters: dict[str, Any], data: bytes) -> bytes:
    """JSON of what `facts_of` says of the key; ValueError for what is no such key."""
    kind, key_format = parameters["kind"], parameters["format"]
    key: Key
    if key_format == "jwk":
        key = _read_jwk(kind, parameters["jwk"])
    elif key_format == "raw":
        key = _read_raw(kind, parameters.get("curve"), data)
    else:
        key = private_of(data) if key_format == "pkcs8" else public_of(data)
    facts = facts_of(key)
    if facts.get("modulusLength", 0) > RSA_BITS_MAX:
        raise ValueError("too large to compute with")
    if facts["kind"] != kind or facts.get("curve") != parameters.get("curve"):
        raise ValueError("a key of another kind")
    return json.dumps(facts).encode()


def facts_of(key: Key) -> dict[str, Any]:
    """What a CryptoKey says of itself, and the key as it is kept."""
    is_private = isinstance(key, _PRIVATE)
    der = write_private(key) if isinstance(key, _PRIVATE) else write_public(key)
    facts: dict[str, Any] = {"type": "private" if is_private else "public", "key": b64encode(der).decode()}
    if isinstance(key, rsa.RSAPrivateKey | rsa.RSAPublicKey):
        public = key.public_key() if isinstance(key, rsa.RSAPrivateKey) else key
        exponent = public.public_numbers().e
        size = {"modulusLength": public.key_size, "publicExponent": b64encode(_big(exponent)).decode()}
        return {**facts, "kind": "RSA", **size}
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return {**facts, "kind": "EC", "curve": _CURVE_NAMES.get(key.curve.name, key.curve.name)}
    kinds = [kind for kind, classes in _OKP.items() if isinstance(key, classes)]
    return {**facts, "kind": kinds[0] if kinds else "unknown"}


def export_key(parameters: dict[str, Any], data: bytes) -> bytes:
    """A kept key (`data`) in another format: DER as it is, "raw" of a public key, or the members of a JWK."""
    key: Any = private_of(data) if parameters["type"] == "private" else public_of(data)
    if parameters["format"] == "jwk":
        return json.dumps(_jwk_of(key)).encode()
    if parameters["format"] != "raw":
        return data
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return bytes(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


# --- raw ---------------------------------------------------------------------------------------------------


def _read_raw(kind: str, curve: str | None, data: bytes) -> PublicKey:
    if kind == "EC":
        return ec.EllipticCurvePublicKey.from_encoded_point(CURVES[curve or ""], data)
    if kind not in _OKP:
        raise ValueError("a kind without a raw form")
    key: PublicKey = _OKP[kind][1].from_public_bytes(data)
    return key


# --- JSON Web Keys (RFC 7517, 7518, 8037) ------------------------------------------------------------------


def _big(number: int) -> bytes:
    return number.to_bytes(-(-number.bit_length() // 8) or 1, "big")


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _field(jwk: dict[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str) or not value.isascii():
        raise ValueError(f"no {name}")
    if set(value) & set("+/="):
        raise ValueError(f"{name} is not base64url")
    return urlsafe_b64decode(value + "=" * (-len(value) % 4))


def _number(jwk: dict[str, Any], name: str) -> int:
    return int.from_bytes(_field(jwk, name), "big")


def _read_jwk(kind: str, jwk: object) -> Key:
    if not isinstance(jwk, dict):
        raise ValueError("no object")
    if jwk.get("kty") != {"RSA": "RSA", "EC": "EC"}.get(kind, "OKP"):
        raise ValueError("a key of another kind")
    if kind == "RSA":
        return _read_rsa(jwk)
    return _read_ec(jwk) if kind == "EC" else _read_okp(kind, jwk)


def _read_rsa(jwk: dict[str, Any]) -> rsa.RSAPrivateKey | rsa.RSAPublicKey:
    public = rsa.RSAPublicNumbers(_number(jwk, "e"), _number(jwk, "n"))
    if "d" not in jwk:
        return public.public_key()
    p, q, d, dp, dq, qi = (_number(jwk, name) for name in ("p", "q", "d", "dp", "dq", "qi"))
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, public).private_key(unsafe_skip_rsa_key_validation=True)


def _read_ec(jwk: dict[str, Any]) -> ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey:
    curve = CURVES[jwk["crv"]] if jwk.get("crv") in CURVES else None
    if curve is None:
        raise ValueError("an unknown curve")
    public = ec.EllipticCurvePublicNumbers(_number(jwk, "x"), _number(jwk, "y"), curve)
    if "d" not in jwk:
        return public.public_key()
    return ec.EllipticCurvePrivateNumbers(_number(jwk, "d"), public).private_key()


def _read_okp(kind: str, jwk: dict[str, Any]) -> Key:
    if jwk.get("crv") != kind:
        raise ValueError("another curve")
    private_class, public_class = _OKP[kind]
    public: PublicKey = public_class.from_public_bytes(_field(jwk, "x"))
    if "d" not in jwk:
        return public
    private: PrivateKey = private_class.from_private_bytes(_field(jwk, "d"))
    if write_public(private.public_key()) != write_public(public):
        raise ValueError("the two halves do not belong together")
    return private


def _jwk_of(key: Key) -> dict[str, str]:
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        names = {"d": numbers.d, "p": numbers.p, "q": numbers.q}
        names |= {"dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp}
        return {**_jwk_of(key.public_key()), **{name: _text(_big(value)) for name, value in names.items()}}
    if isinstance(key, rsa.RSAPublicKey):
        public = key.public_numbers()
        return {"kty": "RSA", "n": _text(_big(public.n)), "e": _text(_big(public.e))}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        width = -(-key.curve.key_size // 8)
        secret = _text(key.private_numbers().private_value.to_bytes(width, "big"))
        return {**_jwk_of(key.public_key()), "d": secret}
    if isinstance(key, ec.EllipticCurvePublicKey):
        width, point = -(-key.curve.key_size // 8), key.public_numbers()
        x, y = (_text(value.to_bytes(width, "big")) for value in (point.x, point.y))
        return {"kty": "EC", "crv": _CURVE_NAMES[key.curve.name], "x": x, "y": y}
    if isinstance(key, ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey):
        secret = _text(key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
        return {**_jwk_of(key.public_key()), "d": secret}
    name = "Ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else "X25519"
    return {"kty": "OKP", "crv": name, "x": _text(key.public_bytes(Encoding.Raw, PublicFormat.Raw))}
