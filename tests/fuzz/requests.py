"""Requests that nobody would send by mistake, drawn from a seed: a number makes always the same request.

A request is for a route of the application (all of them, as the application itself lists them) or for no
route at all. Its body is one that the route takes, made wrong here and there, or rubbish; so are its headers.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import brotli

from functions.system.registry import SYSTEM_FUNCTIONS

Json = Any
Route = tuple[str, str]  # method, path; `*` stands for anything

SYSTEM_PATHS = tuple(sorted(path.replace(".js:", ":") for path in SYSTEM_FUNCTIONS))
ODD_VALUES: tuple[Json, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    -0.0,
    1e308,
    2**53,
    2**63,
    -(2**63),
    2**64,
    10**40,
    "",
    " ",
    "\x00",
    "a" * 5_000,
    "\ud800",
    "ü",
    "__proto__",
    "constructor",
    "messages",
    "shop:count",
    "shop.js:count",
    "../../etc/passwd",
    *SYSTEM_PATHS,
    "a/b/c:d:e",
    ":",
    "m:",
    [],
    {},
    [[]],
    [None] * 20,
    {"a": {"b": {"c": []}}},
    {"$integer": "AQAAAAAAAAA="},
    {"$integer": "x"},
    {"$integer": 5},
    {"$bytes": "%%%"},
    {"$bytes": "AAAA"},
    {"$float": "AAAAAAAA+H8="},
    {"$float": []},
    {"$undefined": None},
    {"$var": "ip"},
    {"$set": []},
    {"": 1},
    {"$": 1},
    {"_id": 5},
    {"é": {"$integer": None}},
)
ODD_HEADERS: dict[str, Sequence[str]] = {
    "content-type": (
        "text/plain",
        "application/json; charset=utf-16",
        "",
        "application/x-www-form-urlencoded",
    ),
    "convex-client": (
        "npm-1.48.0",
        "npm-0.1.0",
        "npm-cli-1.48.0",
        "dashboard-0.0.0",
        "x",
        "",
        "npm-",
        "npm-9e99.x",
    ),
    "origin": ("http://elsewhere", "null", ""),
    "range": ("bytes=0-1", "bytes=-", "bytes=9-1", "bytes=0-1,3-4", "items=1-2", "bytes=" + "9" * 40),
    "digest": ("sha-256=AAAA", "sha-256=%%", "md5=x", ""),
    "traceparent": ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-0-0-0", "\xff"),
    "upgrade": ("websocket", "h2c"),
    "connection": ("upgrade", "close"),
    "content-encoding": ("br", "gzip", "deflate", "zstd", "gzip, br", ""),
    "convex-request-id": ("0123456789abcdef", "x" * 300, ""),
    "access-control-request-method": ("POST",),
    "x-forwarded-proto": ("https", "gopher"),
    "host": ("", "a b", "[::1", "x" * 300),
}
ODD_PATHS = (
    "/",
    "//",
    "/api",
    "/api/",
    "/api/%00",
    "/api/query/",
    "/API/QUERY",
    "/api/1.48.0/sync",
    "/api/sync",
    "/api/../api/query",
    "/%2e%2e/%2e%2e",
    "/api/storage/" + "a" * 2_000,
    "/http",
    "/http/",
    "/http/%zz",
    "/.well-known/jwks.json",
    "/favicon.ico",
    "/api/" + "x/" * 200,
    "/\xff",
    "/api/run/%2F/%2F",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")


@dataclass(frozen=True, slots=True)
class FuzzRequest:
    """What is sent. `target` is path and query as they stand in the request line."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Known:
    """What a request may be made of: routes, a body for each path, names of what there is, keys."""

    routes: Sequence[Route]
    bodies: dict[str, Json]
    parameters: dict[str, dict[str, str]]
    names: Sequence[str]
    admin_key: str
    read_only_key: str


def request_of(seed: int, number: int, known: Known) -> FuzzRequest:
    rng = random.Random(f"{seed}/{number}")
    method, path = rng.choice(known.routes)
    if rng.random() < 0.08:
        path = rng.choice(ODD_PATHS)
    if rng.random() < 0.08:
        method = rng.choice(METHODS)
    headers = {"content-type": "application/json", **_authorization(rng, known)}
    body = _body(rng, path, known, headers)
    for name, found in ODD_HEADERS.items():
        if rng.random() < 0.04:
            headers[name] = rng.choice(found)
    target = _filled(rng, path, known.names) + _query(rng, path, known)
    return FuzzRequest(method, target, tuple(headers.items()), body)


def _filled(rng: random.Random, path: str, names: Sequence[str]) -> str:
    if "*" not in path:
        return path
    odd = ("x", "0", "1795725350236000000", "9" * 30, "a/b", "%00", "k" * 32, "shop/count", "..", "ü")
    part = rng.choice(odd if rng.random() < 0.5 else names)
    return path.replace("*", quote(part, safe="/%"))


def _authorization(rng: random.Random, known: Known) -> dict[str, str]:
    key = rng.choice((known.admin_key, known.admin_key, known.read_only_key))
    acting = base64.b64encode(b'{"issuer":"i","subject":"s"}').decode()
    choice = rng.random()
    if choice < 0.6:
        return {"authorization": f"Convex {key}"}
    if choice < 0.75:
        return {}
    odd = (
        "Bearer a.b.c",
        "Bearer ",
        "Basic YTpi",
        "Convex",
        "Convex x",
        f"Convex {key}x",
        f"Convex {key}:%%",
        f"Convex {key}:{acting}",
        f"Convex prod:{key}",
        "\xff\xfe",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
        "",
    )
    return {"authorization": rng.choice(odd)}


def _query(rng: random.Random, path: str, known: Known) -> str:
    parameters = dict(known.parameters.get(path, {}))
    for name in list(parameters):
        if rng.random() < 0.2:
            parameters[name] = _text(rng.choice(ODD_VALUES))
    if rng.random() < 0.05:
        parameters[rng.choice(("adminKey", "token", "cursor", "component", "path", "args", ""))] = _text(
            rng.choice(ODD_VALUES)
        )
    if not parameters:
        return ""
    return "?" + "&".join(f"{name}={quote(value, errors='replace')}" for name, value in parameters.items())


# --- bodies -----------------------------------------------------------------------------------------


def _body(rng: random.Random, path: str, known: Known, headers: dict[str, str]) -> bytes:
    choice = rng.random()
    if choice < 0.04:
        return rng.randbytes(rng.choice((0, 1, 10, 1_000)))
    if choice < 0.07:
        return rng.choice((b"{", b"[]", b"null", b'{"a":', b"\xff{}", b"[" * 3_000, b'{"a":1e999}', b"{}{}"))
    tree = known.bodies.get(path, {})
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4))):
        tree = mutated(rng, tree)
    body = _text(tree).encode("utf-8", "surrogatepass")
    return _encoded(rng, body, headers)


def _encoded(rng: random.Random, body: bytes, headers: dict[str, str]) -> bytes:
    """Sometimes compressed, sometimes not to the end."""
    if rng.random() > 0.1:
        return body
    compress: dict[str, Callable[[bytes], bytes]] = {
        "br": lambda data: brotli.compress(data, quality=1),
        "gzip": lambda data: gzip.compress(data, 1),
        "deflate": lambda data: zlib.compress(data, 1),
    }
    name = rng.choice(tuple(compress))
    headers["content-encoding"] = name
    packed = compress[name](body)
    return packed[: rng.randrange(len(packed) + 1)] if rng.random() < 0.3 else packed


def mutated(rng: random.Random, tree: Json) -> Json:
    """The tree with one thing wrong in it, at any depth."""
    if isinstance(tree, dict) and tree and rng.random() < 0.8:
        name = rng.choice(list(tree))
        choice = rng.random()
        if choice < 0.5:
            return {**tree, name: mutated(rng, tree[name])}
        if choice < 0.7:
            return {key: value for key, value in tree.items() if key != name}
        if choice < 0.85:
            return {**tree, _text(rng.choice(ODD_VALUES))[:50]: rng.choice(ODD_VALUES)}
        return {**tree, name: _nested(rng, tree[name])}
    if isinstance(tree, list) and tree and rng.random() < 0.8:
        place = rng.randrange(len(tree))
        choice = rng.random()
        if choice < 0.6:
            return [*tree[:place], mutated(rng, tree[place]), *tree[place + 1 :]]
        if choice < 0.8:
            return [*tree[:place], *tree[place + 1 :]]
        return tree * rng.choice((2, 3, 50))
    return rng.choice(ODD_VALUES)


def _nested(rng: random.Random, tree: Json) -> Json:
    for _ in range(rng.choice((1, 10, 70, 200))):
        tree = [tree] if rng.random() < 0.5 else {"a": tree}
    return tree


def _text(tree: Json) -> str:
    return tree if isinstance(tree, str) else json.dumps(tree, ensure_ascii=False)
