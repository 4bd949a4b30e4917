"""An identity provider for tests: keys, tokens, and a real server on the loopback that publishes them."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

APPLICATION = "my-app"
ISSUER = "https://issuer.test"
SUBJECT = "user-1"


@cache
def private_key(algorithm: str, name: str = "") -> Any:
    """One key for each name; made once, because RSA keys take a while."""
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def public_jwk(algorithm: str, key_id: str | None, name: str = "", **more: Any) -> dict[str, Any]:
    """The public half, as a provider publishes it."""
    codec: Any = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm}.get(algorithm, OKPAlgorithm)
    shown: dict[str, Any] = codec.to_jwk(private_key(algorithm, name).public_key(), as_dict=True)
    return {**shown, **({} if key_id is None else {"kid": key_id}), **more}


def key_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def claims(now_seconds: float | None = None, **more: Any) -> dict[str, Any]:
    """Valid claims for an hour; a claim given as None is left out."""
    now = time.time() if now_seconds is None else now_seconds
    usual = {"iss": ISSUER, "sub": SUBJECT, "aud": APPLICATION, "iat": int(now), "exp": int(now) + 3600}
    return {name: value for name, value in {**usual, **more}.items() if value is not None}


def sign(
    content: dict[str, Any], algorithm: str = "RS256", key_id: str | None = "key-1", name: str = ""
) -> str:
    headers = {} if key_id is None else {"kid": key_id}
    return jwt.encode(content, private_key(algorithm, name), algorithm, headers=headers)


class IdentityProvider:
    """A running server: its discovery document, its key set, and what was asked of it.

    `keys` and `status` may be changed while it runs; `cache_control` is sent with each answer.
    """

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.keys = [public_jwk("RS256", "key-1")]
        self.status = 200
        self.cache_control = "max-age=600"
        self.delay_seconds = 0.0
        self.asked: Counter[str] = Counter()

    def provider_row(self, created: float = 1.0) -> dict[str, Any]:
        """This provider as a row of `_auth`."""
        return {"domain": self.issuer, "applicationID": APPLICATION, "_id": "x", "_creationTime": created}

    def token(self, key_name: str = "", key_id: str = "key-1", **more: Any) -> str:
        return sign(claims(**{"iss": self.issuer, **more}), "RS256", key_id, key_name)

    def answer(self, path: str) -> bytes:
        path, _, query = path.partition("?")
        self.asked[path] += 1
        time.sleep(self.delay_seconds)
        if path == "/token":
            return self._minted(dict(parse_qsl(query))).encode()
        if path == "/.well-known/openid-configuration":
            return json.dumps({"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"}).encode()
        return key_set(*self.keys)

    def _minted(self, asked: dict[str, str]) -> str:
        """A login: /token?name=Ada&lived=10&left=20&key=stranger, ages in seconds."""
        now = int(time.time())
        times = {"iat": now - int(asked.get("lived", 0)), "exp": now + int(asked.get("left", 3600))}
        return self.token(asked.get("key", ""), name=asked["name"], **times)


@contextmanager
def running_provider() -> Iterator[IdentityProvider]:
    """Serve on a free port of the loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = provider.answer(self.path)
            self.send_response(provider.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Cache-Control", provider.cache_control)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Silent: what was asked is counted."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = IdentityProvider(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
