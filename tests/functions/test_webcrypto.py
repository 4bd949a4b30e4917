"""`crypto.subtle`: what Node.js computes and refuses, the isolate does too (spec 03 3.2, 3.4)."""

from __future__ import annotations

import functools
import json
import random
from base64 import urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from functions.host_imports import Refusal
from functions.isolate import Returned, Thrown
from functions.webcrypto import OPERATIONS, perform
from functions.webcrypto_keys import write_private, write_public
from log.limits import RSA_BITS_MAX

from ..support.javascript import Run
from ..support.twin import assert_like_node, cases, helpers, in_isolate, in_node

HELPERS = helpers("subtle") + "\n"
HASHES = ("SHA-1", "SHA-256", "SHA-384", "SHA-512")


def alike(snippets: list[str], about: str = "") -> None:
    assert_like_node([HELPERS + snippet for snippet in snippets], about)


def random_hex(generator: random.Random, sizes: list[int]) -> str:
    return generator.randbytes(generator.choice(sizes)).hex()


@functools.cache
def rsa_key() -> tuple[str, str]:
    """A pair as (pkcs8, spki), in hexadecimal."""
    key = rsa.generate_private_key(65537, 2048)
    return write_private(key).hex(), write_public(key.public_key()).hex()


# --- hashes, secret keys, derivation -------------------------------------------------------------------


def test_hashes_and_message_codes_of_random_data_are_those_of_node() -> None:
    generator = random.Random(51)
    snippets = []
    for _ in range(24):
        name, data = generator.choice(HASHES), random_hex(generator, [0, 1, 63, 64, 65, 1000])
        key = random_hex(generator, [1, 20, 64, 129])
        snippets.append(f"return hex(await subtle.digest('{name.lower()}', unhex('{data}')));")
        snippets.append(f"return await signedBySecret('{name}', '{key}', '{data}');")
    alike(snippets, "seed 51")


def cipher_parameters(generator: random.Random) -> list[str]:
    counter = generator.choice([generator.randbytes(16), bytes([255]) * 16, bytes(15) + b"\xff"]).hex()
    bits = generator.choice([3, 8, 64, 127, 128])
    more = f", additionalData: unhex('{generator.randbytes(5).hex()}')" if generator.random() < 0.5 else ""
    tag = f", tagLength: {generator.choice([32, 64, 96, 104, 128])}" if generator.random() < 0.5 else ""
    return [
        f"{{ name: 'AES-CBC', iv: unhex('{generator.randbytes(16).hex()}') }}",
        f"{{ name: 'AES-CTR', counter: unhex('{counter}'), length: {bits} }}",
        f"{{ name: 'AES-GCM', iv: unhex('{random_hex(generator, [12, 12, 16, 60])}'){more}{tag} }}",
    ]


def test_ciphertexts_of_random_data_are_those_of_node() -> None:
    generator = random.Random(53)
    snippets = []
    for _ in range(12):
        for parameters in cipher_parameters(generator):
            key, data = random_hex(generator, [16, 32, 24]), random_hex(generator, [0, 1, 16, 33, 100])
            snippets.append(f"return await enciphered({parameters}, '{key}', '{data}');")
    alike(snippets, "seed 53")


def test_derived_bits_and_keys_are_those_of_node() -> None:
    generator = random.Random(57)
    snippets = []
    for _ in range(10):
        salt = f"hash: '{generator.choice(HASHES)}', salt: unhex('{random_hex(generator, [1, 8, 40])}')"
        info, rounds = random_hex(generator, [0, 9]), generator.choice([1, 2, 1000])
        password, length = random_hex(generator, [1, 16, 70]), generator.choice([8, 128, 256, 520, 1024])
        for parameters in (
            f"{{ name: 'HKDF', {salt}, info: unhex('{info}') }}",
            f"{{ name: 'PBKDF2', {salt}, iterations: {rounds} }}",
        ):
            snippets.append(f"return await derived({parameters}, '{password}', {length});")
    alike(snippets, "seed 57")


def test_secret_keys_travel_as_in_node() -> None:
    key = "00112233445566778899aabbccddeeff"
    aes = [("encrypt", f"'{name}'") for name in ("AES-CBC", "AES-CTR", "AES-GCM")]
    others = [("wrapKey", "'AES-KW'"), ("sign", "{ name: 'HMAC', hash: 'SHA-512' }")]
    snippets = [
        f"return sorted(await subtle.exportKey('jwk', await load('raw', '{key}', {algorithm}, '{usage}')));"
        for usage, algorithm in [*aes, *others]
    ]
    jwk = {"kty": "oct", "k": "AAEC", "alg": "HS256", "key_ops": ["sign"], "ext": True}
    snippets.append(f"""
      const k = await load('jwk', {json.dumps(jwk)}, {{ name: 'HMAC', hash: 'SHA-256' }}, 'sign');
      return [hex(await subtle.exportKey('raw', k)), shown(k)];""")
    alike(snippets)


def test_what_node_refuses_is_refused_with_the_same_name() -> None:
    assert_like_node(cases("subtle"))


POINT = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


@pytest.mark.parametrize(
    ("key_format", "name", "extractable", "usage", "error"),
    [
        ("raw", "AES-GCM", False, "encrypt", "InvalidAccessError"),
        ("spki", "AES-GCM", True, "encrypt", "NotSupportedError"),
        ("raw", "HKDF", False, "deriveBits", "NotSupportedError"),
        ("pkcs8", "Ed25519", True, "verify", "InvalidAccessError"),
    ],
)
def test_keys_leave_only_in_formats_that_are_theirs(
    key_format: str, name: str, extractable: bool, usage: str, error: str
) -> None:
    """The names of the standard; those of Node.js 20 are others here."""
    key = f"await subtle.importKey('raw', unhex('{POINT}'), '{name}', {json.dumps(extractable)}, ['{usage}'])"
    assert in_isolate([f"{HELPERS}return await subtle.exportKey('{key_format}', {key});"]) == [
        {"error": error}
    ]


# --- key pairs -----------------------------------------------------------------------------------------


def test_rsa_signatures_and_keys_are_those_of_node() -> None:
    private, public = rsa_key()
    snippets = []
    for name in ("RSASSA-PKCS1-v1_5", "RSA-PSS", "RSA-OAEP"):
        use, other = ("decrypt", "encrypt") if name == "RSA-OAEP" else ("sign", "verify")
        for digest in HASHES:
            both = f"""const a = {{ name: '{name}', hash: '{digest}' }};
              const k = await load('pkcs8', '{private}', a, '{use}');
              const p = await load('spki', '{public}', a, '{other}');"""
            snippets.append(f"{both} return [await exported(k), await exported(p)];")
            snippets.append(f"""{both} const jwk = await subtle.exportKey('jwk', k);
              return await exported(await load('jwk', jwk, a, '{use}'));""")
            if name == "RSASSA-PKCS1-v1_5":
                snippets.append(
                    f"""{both} const s = await subtle.sign(name, k, text('data'));
                  const check = (of) => subtle.verify(name, p, s, text(of));
                  return [hex(s), await check('data'), await check('x')];""".replace("(name", "(a.name")
                )
    alike(snippets)


RSA_FACTS = "modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1])"
EXCHANGES = [
    # what the keys are, for generateKey; the same for importKey; how they are used
    ("{ name: 'ECDSA', namedCurve: 'P-256' }", "", "{ name: 'ECDSA', hash: 'SHA-256' }", "sign"),
    ("{ name: 'ECDSA', namedCurve: 'P-384' }", "", "{ name: 'ECDSA', hash: 'SHA-512' }", "sign"),
    ("{ name: 'ECDSA', namedCurve: 'P-521' }", "", "{ name: 'ECDSA', hash: 'SHA-384' }", "sign"),
    ("{ name: 'Ed25519' }", "", "{ name: 'Ed25519' }", "sign"),
    ("{ name: 'HMAC', hash: 'SHA-256' }", "", "{ name: 'HMAC' }", "sign"),
    ("{ name: 'RSA-PSS', hash: 'SHA-256' }", RSA_FACTS, "{ name: 'RSA-PSS', saltLength: 32 }", "sign"),
    ("{ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-1' }", RSA_FACTS, "{ name: 'RSASSA-PKCS1-v1_5' }", "sign"),
    ("{ name: 'RSA-OAEP', hash: 'SHA-256' }", RSA_FACTS, "{ name: 'RSA-OAEP', label: text('l') }", "encrypt"),
    ("{ name: 'AES-GCM', length: 256 }", "", "{ name: 'AES-GCM', iv: new Uint8Array(12) }", "encrypt"),
]


def making(algorithm: str, facts: str, use: str, verb: str) -> str:
    """Make keys, sign or encrypt, and give away what the other side needs."""
    answer = {"sign": "verify", "encrypt": "decrypt"}[verb]
    mine, theirs = ("privateKey", "publicKey") if verb == "sign" else ("publicKey", "privateKey")
    return f"""{HELPERS}
      const made = await subtle.generateKey({{ ...{algorithm}, {facts} }}, true, ['{verb}', '{answer}']);
      const out = await subtle.{verb}({use}, made.{mine} ?? made, text('data'));
      return [hex(out), await subtle.exportKey('jwk', made.{theirs} ?? made), shown(made.{mine} ?? made)];"""


def answering(algorithm: str, use: str, verb: str, out: str, jwk: object) -> str:
    answer = {"sign": "verify", "encrypt": "decrypt"}[verb]
    result = (
        f"await subtle.verify({use}, k, unhex('{out}'), text('data'))"
        if verb == "sign"
        else f"hex(await subtle.decrypt({use}, k, unhex('{out}'))) === hex(text('data'))"
    )
    return (
        f"{HELPERS} const k = await load('jwk', {json.dumps(jwk)}, {algorithm}, '{answer}'); return {result};"
    )


def test_what_one_side_made_the_other_can_check_and_read() -> None:
    makers = [making(*exchange) for exchange in EXCHANGES]
    ours, nodes = in_isolate(makers), in_node(makers)
    for outcomes, other in ((ours, in_node), (nodes, in_isolate)):
        answers = []
        for (algorithm, _, use, verb), outcome in zip(EXCHANGES, outcomes, strict=True):
            assert "value" in outcome, (algorithm, outcome)
            answers.append(answering(algorithm, use, verb, *outcome["value"][:2]))
        assert other(answers) == [{"value": True}] * len(answers)
    assert [each["value"][2] for each in ours] == [each["value"][2] for each in nodes], (
        "keys describe themselves"
    )


@pytest.mark.parametrize(
    "algorithm",
    ["{ name: 'ECDH', namedCurve: 'P-256' }", "{ name: 'ECDH', namedCurve: 'P-521' }", "{ name: 'X25519' }"],
)
def test_two_sides_agree_on_a_secret(algorithm: str) -> None:
    make = f"""{HELPERS}
      const k = await subtle.generateKey({algorithm}, true, ['deriveBits', 'deriveKey']);
      return [await subtle.exportKey('jwk', k.privateKey), await subtle.exportKey('jwk', k.publicKey),
        hex(await subtle.exportKey('raw', k.publicKey)).length];"""
    (mine,), (theirs,) = in_isolate([make]), in_node([make])
    (my_private, my_public, size), (their_private, their_public, node_size) = mine["value"], theirs["value"]
    assert size == node_size

    def derive(private: object, public: object) -> str:
        halves = f"{json.dumps(private)}, {json.dumps(public)}"
        return f"{HELPERS} return await agreed({algorithm}, {halves});"

    ours, nodes = in_isolate([derive(my_private, their_public)]), in_node([derive(their_private, my_public)])
    assert ours == nodes and "value" in ours[0]


# --- what is particular to functions -------------------------------------------------------------------

EC_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "d": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE",
    "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
    "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
}
"""The private key 1: its public half is the curve's base point."""


@pytest.mark.parametrize("kind", ["query", "mutation"])
@pytest.mark.parametrize(
    "statement",
    [
        "await subtle.generateKey({ name: 'AES-GCM', length: 128 }, true, ['encrypt']);",
        "await subtle.generateKey('Ed25519', true, ['sign']);",
        "const k = await load('jwk', EC, { name: 'ECDSA', namedCurve: 'P-256' }, 'sign');"
        " await subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, k, text(''));",
        "const k = await load('pkcs8', PRIVATE, { name: 'RSA-PSS', hash: 'SHA-256' }, 'sign');"
        " await subtle.sign({ name: 'RSA-PSS', saltLength: 8 }, k, text(''));",
        "const k = await load('spki', PUBLIC, { name: 'RSA-OAEP', hash: 'SHA-256' }, 'encrypt');"
        " await subtle.encrypt('RSA-OAEP', k, text(''));",
    ],
)
def test_what_needs_entropy_is_refused_in_queries_and_mutations(statement: str, kind: str) -> None:
    private, public = rsa_key()
    constants = f"const EC = {json.dumps(EC_KEY)}, PRIVATE = '{private}', PUBLIC = '{public}';"
    run = Run(f"export const f = {kind}(async () => {{ {HELPERS} {constants} {statement} }});")
    settled = run.call("f", kind=kind)
    assert isinstance(settled, Thrown) and settled.message == (
        "Can't use cryptographic randomness in queries and mutations. Please consider using an action. "
        "See https://docs.convex.dev/functions/actions for more details."
    )


EMPTY_SHA1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709"


def test_the_other_operations_work_in_queries_and_observe_nothing() -> None:
    run = Run(f"""export const f = query(async () => {{ {HELPERS}
      const a = {{ name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }};
      const k = await load('pkcs8', '{rsa_key()[0]}', a, 'sign');
      const signature = await subtle.sign(k.algorithm.name, k, text('x'));
      return [hex(await subtle.digest('SHA-1', text(''))), hex(signature)]; }});""")
    settled = run.call("f")
    assert isinstance(settled, Returned) and settled == run.call("f")
    assert json.loads(settled.json)[0] == EMPTY_SHA1
    assert run.host.observations == []


def test_digests_may_be_computed_while_a_module_is_evaluated() -> None:
    run = Run(f"""{HELPERS} const early = subtle.digest('SHA-1', text(''));
      export const f = query(async () => hex(await early));""")
    assert run.call("f") == Returned(f'"{EMPTY_SHA1}"'.encode())


def test_the_host_refuses_entropy_whatever_the_prelude_asks() -> None:
    for request in ({"do": "random", "bytes": 1}, {"do": "generateKey", "kind": "Ed25519"}, {"do": "ecSign"}):
        assert isinstance(perform(json.dumps(request).encode(), b"", entropy_allowed=False), Refusal)
    assert len(perform(b'{"do": "random", "bytes": 5}', b"", entropy_allowed=True)) == 5


@pytest.mark.parametrize(("iterations", "refused"), [(5_000_001, True), (10, False)])
def test_a_derivation_that_would_take_too_long_is_refused(iterations: int, refused: bool) -> None:
    request = {"do": "pbkdf2", "hash": "SHA-256", "bytes": 64, "salt": "", "iterations": iterations}
    answer = perform(json.dumps(request).encode(), b"", entropy_allowed=False)
    assert isinstance(answer, Refusal) == refused


DAMAGED = {
    **dict.fromkeys(("key", "public", "signature", "iv", "counter"), "AAAA"),
    **dict.fromkeys(("additionalData", "salt", "info", "label"), ""),
    **{"hash": "SHA-256", "counterBits": 8, "tagBytes": 16, "bytes": 8, "iterations": 1, "encrypt": False},
    **{"kind": "RSA", "format": "raw", "curve": "P-256", "type": "public"},
    **{"modulusLength": 1, "publicExponent": 2},
}
TAKE_ANYTHING = {"random", "digest", "hmacSign", "hmacVerify", "pbkdf2", "hkdf"}


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - TAKE_ANYTHING))
def test_damaged_requests_are_refused_without_a_word_about_keys(name: str) -> None:
    generator = random.Random(59)
    for _ in range(5):
        request = json.dumps({"do": name, **DAMAGED}).encode()
        answer = perform(request, generator.randbytes(40), entropy_allowed=True)
        assert isinstance(answer, Refusal), "seed 59"
        assert json.loads(answer)["message"] == f"The {name} operation failed.", "seed 59"


def test_what_is_no_key_or_too_large_to_compute_with_is_refused() -> None:
    modulus = urlsafe_b64encode((1 << RSA_BITS_MAX | 1).to_bytes(RSA_BITS_MAX // 8 + 1, "big")).rstrip(b"=")
    jwk: object
    for jwk in (
        {"kty": "RSA", "n": modulus.decode(), "e": "AQAB"},
        [],
        "text",
        {"kty": "RSA", "n": [], "e": {}},
    ):
        request = {"do": "importKey", "kind": "RSA", "format": "jwk", "jwk": jwk}
        answer = perform(json.dumps(request).encode(), b"", entropy_allowed=False)
        assert isinstance(answer, Refusal) and json.loads(answer)["data"] == {"name": "DataError"}, jwk
