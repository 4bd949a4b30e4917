"""The computations behind `crypto.subtle`: bytes in, bytes out (spec 03 3.2, 3.4). `cryptography` lives here
and in webcrypto_keys.py.

The prelude (engine/prelude/subtle/) knows algorithms by their web names, checks arguments, usages and who
may draw randomness; a request names one computation and its parameters, bytes in base64, keys as DER.

Promises:
  - without randomness an answer follows from request and data alone, so a replay computes the same;
  - randomness is refused where the call does not allow it, whatever the prelude has checked;
  - nothing but `Refusal` tells of a failure, with the name of the DOMException it becomes.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.padding import PKCS7

from functions.host_imports import Refusal
from functions.webcrypto_keys import (
    CURVES,
    export_key,
    import_key,
    private_of,
    public_of,
    write_private,
    write_public,
)
from log.limits import KEY_DERIVATION_ROUNDS_MAX, RSA_GENERATED_BITS_MAX

HASHES: dict[str, hashes.HashAlgorithm] = {
    "SHA-1": hashes.SHA1(),
    "SHA-256": hashes.SHA256(),
    "SHA-384": hashes.SHA384(),
    "SHA-512": hashes.SHA512(),
}
AES_BLOCK_BYTES = 16
GCM_TAG_BYTES_MIN = 4
_EXPECTED = (ValueError, TypeError, OverflowError, InvalidTag, UnsupportedAlgorithm)
"""What the library raises for keys, lengths and ciphertexts that are wrong."""

Parameters = dict[str, Any]
Operation = Callable[[Parameters, bytes], bytes]


def perform(request: bytes, data: bytes, *, entropy_allowed: bool) -> bytes | Refusal:
    """Do what the prelude asks."""
    parameters: Parameters = json.loads(request)
    name = parameters["do"]
    if _draws_entropy(name, parameters) and not entropy_allowed:
        return _refusal("OperationError", "No randomness here.")
    try:
        return OPERATIONS[name](parameters, data)
    except _EXPECTED:
        # The library's own text may tell more about a key than the caller may know.
        return _refusal(
            "DataError" if name == "importKey" else "OperationError", f"The {name} operation failed."
        )


def _refusal(name: str, message: str) -> Refusal:
    return Refusal(json.dumps({"message": message, "data": {"name": name}}).encode())


def _draws_entropy(name: str, parameters: Parameters) -> bool:
    encrypts = name == "rsaOaep" and parameters["encrypt"]
    return (
        encrypts
        or name in ("random", "generateKey", "ecSign")
        or (name == "rsaSign" and "saltBytes" in parameters)
    )


def _bytes(parameters: Parameters, name: str) -> bytes:
    return b64decode(parameters[name])


def _truth(value: bool) -> bytes:
    return b"\1" if value else b""


# --- hashes and secret keys ------------------------------------------------------------------------------


def _digest(parameters: Parameters, data: bytes) -> bytes:
    digest = hashes.Hash(HASHES[parameters["hash"]])
    digest.update(data)
    return digest.finalize()


def _hmac_sign(parameters: Parameters, data: bytes) -> bytes:
    mac = hmac.HMAC(_bytes(parameters, "key"), HASHES[parameters["hash"]])
    mac.update(data)
    return mac.finalize()


def _hmac_verify(parameters: Parameters, data: bytes) -> bytes:
    return _truth(bytes_eq(_hmac_sign(parameters, data), _bytes(parameters, "signature")))


def _aes_cbc(parameters: Parameters, data: bytes) -> bytes:
    cipher = Cipher(algorithms.AES(_bytes(parameters, "key")), modes.CBC(_bytes(parameters, "iv")))
    pad = PKCS7(AES_BLOCK_BYTES * 8)
    if parameters["encrypt"]:
        padder, encryptor = pad.padder(), cipher.encryptor()
        return encryptor.update(padder.update(data) + padder.finalize()) + encryptor.finalize()
    decryptor, unpadder = cipher.decryptor(), pad.unpadder()
    return unpadder.update(decryptor.update(data) + decryptor.finalize()) + unpadder.finalize()


def _aes_ctr(parameters: Parameters, data: bytes) -> bytes:
    """Only the low bits of the block count, the others stay; the library counts in all 128."""
    start, bits = int.from_bytes(_bytes(parameters, "counter"), "big"), parameters["counterBits"]
    period = 1 << bits
    if -(-len(data) // AES_BLOCK_BYTES) > period:
        raise ValueError("the counter would repeat")
    until_wrap = (period - start % period) * AES_BLOCK_BYTES
    wrapped = start - start % period
    key = _bytes(parameters, "key")
    return _ctr(key, start, data[:until_wrap]) + _ctr(key, wrapped, data[until_wrap:])


def _ctr(key: bytes, counter: int, data: bytes) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CTR(counter.to_bytes(AES_BLOCK_BYTES, "big"))).encryptor()
    return cipher.update(data) + cipher.finalize()


def _aes_gcm(parameters: Parameters, data: bytes) -> bytes:
    key, iv = algorithms.AES(_bytes(parameters, "key")), _bytes(parameters, "iv")
    more, tag_bytes = _bytes(parameters, "additionalData"), parameters["tagBytes"]
    if parameters["encrypt"]:
        encryptor = Cipher(key, modes.GCM(iv)).encryptor()
        encryptor.authenticate_additional_data(more)
        return encryptor.update(data) + encryptor.finalize() + encryptor.tag[:tag_bytes]
    if len(data) < tag_bytes:
        raise ValueError("shorter than its tag")
    tag = data[-tag_bytes:]
    decryptor = Cipher(key, modes.GCM(iv, tag, min_tag_length=GCM_TAG_BYTES_MIN)).decryptor()
    decryptor.authenticate_additional_data(more)
    return decryptor.update(data[:-tag_bytes]) + decryptor.finalize()


# --- derivation ------------------------------------------------------------------------------------------


def _pbkdf2(parameters: Parameters, data: bytes) -> bytes:
    algorithm, length, rounds = HASHES[parameters["hash"]], parameters["bytes"], parameters["iterations"]
    if rounds * -(-length // algorithm.digest_size) > KEY_DERIVATION_ROUNDS_MAX:
        # Nothing can interrupt the library: this is what bounds its time.
        raise ValueError("too many rounds")
    return PBKDF2HMAC(algorithm, length, _bytes(parameters, "salt"), rounds).derive(data)


def _hkdf(parameters: Parameters, data: bytes) -> bytes:
    algorithm, length = HASHES[parameters["hash"]], parameters["bytes"]
    return HKDF(algorithm, length, _bytes(parameters, "salt"), _bytes(parameters, "info")).derive(data)


def _agree(parameters: Parameters, data: bytes) -> bytes:
    """The whole shared secret of a private key and another's public key."""
    private, public = private_of(_bytes(parameters, "key")), public_of(_bytes(parameters, "public"))
    if isinstance(private, x25519.X25519PrivateKey) and isinstance(public, x25519.X25519PublicKey):
        return private.exchange(public)
    if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(public, ec.EllipticCurvePublicKey):
        return private.exchange(ec.ECDH(), public)
    raise TypeError("keys of different kinds")


# --- key pairs -------------------------------------------------------------------------------------------


def _rsa_padding(parameters: Parameters) -> padding.AsymmetricPadding:
    if "saltBytes" not in parameters:
        return padding.PKCS1v15()
    return padding.PSS(padding.MGF1(HASHES[parameters["hash"]]), parameters["saltBytes"])


def _rsa_sign(parameters: Parameters, data: bytes) -> bytes:
    key = private_of(_bytes(parameters, "key"))
    assert isinstance(key, rsa.RSAPrivateKey)
    return key.sign(data, _rsa_padding(parameters), HASHES[parameters["hash"]])


def _rsa_verify(parameters: Parameters, data: bytes) -> bytes:
    key = public_of(_bytes(parameters, "key"))
    assert isinstance(key, rsa.RSAPublicKey)
    signature, algorithm = _bytes(parameters, "signature"), HASHES[parameters["hash"]]
    return _verified(lambda: key.verify(signature, data, _rsa_padding(parameters), algorithm))


def _verified(check: Callable[[], None]) -> bytes:
    try:
        check()
    except InvalidSignature:
        return _truth(False)
    return _truth(True)


def _rsa_oaep(parameters: Parameters, data: bytes) -> bytes:
    algorithm = HASHES[parameters["hash"]]
    scheme = padding.OAEP(padding.MGF1(algorithm), algorithm, _bytes(parameters, "label") or None)
    if parameters["encrypt"]:
        public = public_of(_bytes(parameters, "key"))
        assert isinstance(public, rsa.RSAPublicKey)
        return public.encrypt(data, scheme)
    private = private_of(_bytes(parameters, "key"))
    assert isinstance(private, rsa.RSAPrivateKey)
    return private.decrypt(data, scheme)


def _ec_sign(parameters: Parameters, data: bytes) -> bytes:
    """The two numbers of a signature in fixed width, as the web writes them."""
    key = private_of(_bytes(parameters, "key"))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(HASHES[parameters["hash"]])))
    width = -(-key.curve.key_size // 8)
    return r.to_bytes(width, "big") + s.to_bytes(width, "big")


def _ec_verify(parameters: Parameters, data: bytes) -> bytes:
    key, signature = public_of(_bytes(parameters, "key")), _bytes(parameters, "signature")
    assert isinstance(key, ec.EllipticCurvePublicKey)
    width = -(-key.curve.key_size // 8)
    if len(signature) != 2 * width:
        return _truth(False)
    numbers = int.from_bytes(signature[:width], "big"), int.from_bytes(signature[width:], "big")
    encoded = encode_dss_signature(*numbers)
    return _verified(lambda: key.verify(encoded, data, ec.ECDSA(HASHES[parameters["hash"]])))


def _ed_sign(parameters: Parameters, data: bytes) -> bytes:
    key = private_of(_bytes(parameters, "key"))
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    return key.sign(data)


def _ed_verify(parameters: Parameters, data: bytes) -> bytes:
    key = public_of(_bytes(parameters, "key"))
    assert isinstance(key, ed25519.Ed25519PublicKey)
    return _verified(lambda: key.verify(_bytes(parameters, "signature"), data))


# --- randomness ------------------------------------------------------------------------------------------


def _random(parameters: Parameters, data: bytes) -> bytes:
    return os.urandom(parameters["bytes"])


def _generate_key(parameters: Parameters, data: bytes) -> bytes:
    kind = parameters["kind"]
    private: Any
    if kind == "RSA":
        if parameters["modulusLength"] > RSA_GENERATED_BITS_MAX:
            raise ValueError("takes too long")
        private = rsa.generate_private_key(parameters["publicExponent"], parameters["modulusLength"])
    elif kind == "EC":
        private = ec.generate_private_key(CURVES[parameters["curve"]])
    else:
        classes: dict[str, Any] = {"Ed25519": ed25519.Ed25519PrivateKey, "X25519": x25519.X25519PrivateKey}
        private = classes[kind].generate()
    pair = {"private": write_private(private), "public": write_public(private.public_key())}
    return json.dumps({name: b64encode(key).decode() for name, key in pair.items()}).encode()


OPERATIONS: dict[str, Operation] = {
    "digest": _digest,
    "hmacSign": _hmac_sign,
    "hmacVerify": _hmac_verify,
    "aesCbc": _aes_cbc,
    "aesCtr": _aes_ctr,
    "aesGcm": _aes_gcm,
    "pbkdf2": _pbkdf2,
    "hkdf": _hkdf,
    "agree": _agree,
    "rsaSign": _rsa_sign,
    "rsaVerify": _rsa_verify,
    "rsaOaep": _rsa_oaep,
    "ecSign": _ec_sign,
    "ecVerify": _ec_verify,
    "edSign": _ed_sign,
    "edVerify": _ed_verify,
    "importKey": import_key,
    "exportKey": export_key,
    "random": _random,
    "generateKey": _generate_key,
}
