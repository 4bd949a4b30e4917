"""Users of a real gateway: a provider on the loopback, tokens over HTTP and over sync sockets (spec 01 4)."""

from __future__ import annotations

import asyncio
import base64
import logging
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from gateway.http_client import fetch
from gateway.provider_answers import Fetched, FetchFailed
from gateway.server import GatewayServer
from log.limits import PROVIDER_ANSWER_BYTES_MAX
from log.secrets import issue_admin_key

from ..support import running_gateway
from ..support.fake_backend import SETTINGS, FakeBackend
from ..support.identity_provider import (
    ISSUER,
    IdentityProvider,
    claims,
    key_set,
    public_jwk,
    running_provider,
    sign,
)
from ..support.tree import ROOT


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with running_provider() as running:
        yield running


@dataclass
class Site:
    backend: FakeBackend
    port: int
    http: httpx.AsyncClient

    async def query(self, path: str, authorization: str) -> httpx.Response:
        body = {"path": path, "args": {}}
        return await self.http.post("/api/query", json=body, headers={"Authorization": authorization})

    async def who(self, token: str) -> Any:
        answer = await self.query("m:who", f"Bearer {token}")
        return answer.json()["value"] if answer.status_code == 200 else answer.json()["code"]

    async def socket(self) -> ClientConnection:
        return await connect(f"ws://127.0.0.1:{self.port}/api/1.48.0/sync", max_size=None, compression=None)


def run(scenario: Callable[[Site], Awaitable[None]]) -> None:
    async def with_site(backend: FakeBackend, server: GatewayServer, http: httpx.AsyncClient) -> None:
        await scenario(Site(backend, server.port, http))

    running_gateway.run(with_site)


async def send(socket: ClientConnection, **message: Any) -> None:
    await socket.send(orjson.dumps(message).decode())


async def authenticate(socket: ClientConnection, base: int, token: str) -> None:
    await send(socket, type="Authenticate", baseVersion=base, tokenType="User", value=token)


async def subscribe(socket: ClientConnection, *paths: str) -> None:
    queries = [{"type": "Add", "queryId": n, "udfPath": path, "args": [{}]} for n, path in enumerate(paths)]
    await send(socket, type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=queries)


async def received(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = orjson.loads(await socket.recv())
    return message


async def confirmed(socket: ClientConnection, identity: int) -> dict[int, Any]:
    """Wait for the Transition that confirms an identity version; the values that came until then."""
    values: dict[int, Any] = {}
    while True:
        message = await received(socket)
        assert message["type"] == "Transition", message
        values |= {change["queryId"]: change["value"] for change in message["modifications"]}
        if message["endVersion"]["identity"] >= identity:
            return values


async def closed(socket: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed):
        await socket.recv()
    return socket.close_code


# --- HTTP -------------------------------------------------------------------------------------------


def test_a_token_of_a_real_provider_is_checked_over_http_and_its_keys_are_kept(
    provider: IdentityProvider,
) -> None:
    async def scenario(site: Site) -> None:
        await site.backend.write(auth=[provider.provider_row()])
        for _ in range(3):
            user = await site.who(provider.token(email="a@b.test"))
            assert user == {
                "tokenIdentifier": f"{provider.issuer}|user-1",
                "issuer": provider.issuer,
                "subject": "user-1",
                "email": "a@b.test",
            }
        assert await site.who(provider.token("stranger")) == "Unauthenticated"
        assert provider.asked == {"/.well-known/openid-configuration": 1, "/keys": 1}

    run(scenario)


def test_providers_count_from_the_commit_that_wrote_them(provider: IdentityProvider) -> None:
    async def scenario(site: Site) -> None:
        token = provider.token()
        assert await site.who(token) == "NoAuthProvider"
        await site.backend.write(auth=[provider.provider_row()])
        assert (await site.who(token))["subject"] == "user-1"
        await site.backend.write(auth=[])
        assert await site.who(token) == "NoAuthProvider"

    run(scenario)


def test_the_keys_of_a_custom_provider_may_stand_in_the_config() -> None:
    async def scenario(site: Site) -> None:
        jwks = f"data:application/json,{quote(key_set(public_jwk('ES256', 'k')))}"
        row = {"type": "customJwt", "issuer": ISSUER, "jwks": jwks, "algorithm": "ES256"}
        await site.backend.write(auth=[{**row, "applicationID": None, "_id": "x", "_creationTime": 1.0}])
        user = await site.who(sign(claims(team={"id": "t7"}, aud=None), "ES256", "k"))
        assert user["team.id"] == "t7" and user["issuer"] == ISSUER

    run(scenario)


def test_a_rotated_key_is_found_and_a_made_up_one_asks_once(provider: IdentityProvider) -> None:
    async def scenario(site: Site) -> None:
        await site.backend.write(auth=[provider.provider_row()])
        await site.who(provider.token())
        provider.keys = [public_jwk("RS256", "key-2", "second")]
        assert (await site.who(provider.token("second", "key-2")))["subject"] == "user-1"
        for _ in range(5):
            assert await site.who(provider.token("third", "made-up")) == "Unauthenticated"
        assert provider.asked["/keys"] == 2

    run(scenario)


def test_a_provider_that_fails_gives_its_own_kind_of_failure(provider: IdentityProvider) -> None:
    async def scenario(site: Site) -> None:
        await site.backend.write(auth=[provider.provider_row()])
        provider.status = 503
        answer = await site.query("m:who", f"Bearer {provider.token()}")
        assert (answer.status_code, answer.json()["code"]) == (503, "AuthProviderDiscoveryFailed")

    run(scenario)


def test_an_admin_still_acts_as_a_user_without_any_provider() -> None:
    async def scenario(site: Site) -> None:
        key = issue_admin_key(SETTINGS.instance_secret, SETTINGS.instance_name, 1)
        attributes = {"issuer": ISSUER, "subject": "s", "name": "Zoë"}
        encoded = base64.b64encode(orjson.dumps(attributes)).decode()
        answer = await site.query("m:who", f"Convex {key}:{encoded}")
        assert answer.json()["value"] == {**attributes, "tokenIdentifier": f"{ISSUER}|s"}
        assert (await site.query("m:who", f"Convex {key}")).json()["value"] is None

    run(scenario)


def test_a_user_is_no_admin_and_a_bad_token_is_refused_on_every_route(provider: IdentityProvider) -> None:
    async def scenario(site: Site) -> None:
        await site.backend.write(auth=[provider.provider_row()])
        user = {"Authorization": f"Bearer {provider.token()}"}
        stranger = {"Authorization": f"Bearer {provider.token('stranger')}"}
        assert (await site.http.get("/api/check_admin_key", headers=user)).status_code == 403
        call = {"path": "m:echo", "args": {}}
        for route in ("query", "mutation", "action", "query_at_ts", "function"):
            body = {**call, "ts": "AAAAAAAAAAA="}
            assert (await site.http.post(f"/api/{route}", json=body, headers=stranger)).status_code == 401
        batch = await site.http.post("/api/query_batch", json={"queries": [call]}, headers=stranger)
        assert batch.status_code == 401
        assert not {path for path in site.backend.runs if path.startswith("m.js")}

    run(scenario)


# --- sync sockets -----------------------------------------------------------------------------------


def test_a_new_user_on_a_live_socket_runs_again_only_what_looked_at_the_identity(
    provider: IdentityProvider,
) -> None:
    async def scenario(site: Site) -> None:
        await site.backend.write(auth=[provider.provider_row()])
        socket = await site.socket()
        await subscribe(socket, "m:who", "m:list")
        assert await confirmed(socket, 0) == {0: None, 1: []}
        await authenticate(socket, 0, provider.token(name="Ada"))
        values = await confirmed(socket, 1)
        assert list(values) == [0] and values[0]["name"] == "Ada"
        await authenticate(socket, 1, provider.token(name="Ada", iat=int(time.time()) - 5))
        assert await confirmed(socket, 2) == {}, "a fresh token of the same user changes nothing"
        await authenticate(socket, 2, provider.token(name="Bob"))
        assert (await confirmed(socket, 3))[0]["name"] == "Bob"
        await send(socket, type="Authenticate", baseVersion=3, tokenType="None")
        assert await confirmed(socket, 4) == {0: None}
        runs = site.backend.runs
        assert (runs["m.js:list"], runs["m.js:who"]) == (1, 3), "once for each: nobody, Ada, Bob"
        await socket.close()

    run(scenario)


def test_what_follows_a_token_runs_under_it_however_long_its_provider_takes(
    provider: IdentityProvider,
) -> None:
    async def scenario(site: Site) -> None:
        await site.backend.write(auth=[provider.provider_row()])
        provider.delay_seconds = 0.2
        socket = await site.socket()
        await authenticate(socket, 0, provider.token())
        await send(socket, type="Mutation", requestId=0, udfPath="m:touch", args=[{}])
        while (await received(socket))["type"] != "MutationResponse":
            pass
        (call,) = [call for call in site.backend.calls if call.path == "m.js:touch"]
        assert call.identity.kind == "user"
        await socket.close()

    run(scenario)


def test_a_refused_token_is_answered_with_the_last_version_sent_and_a_close_without_code(
    provider: IdentityProvider,
) -> None:
    async def scenario(site: Site) -> None:
        await site.backend.write(auth=[provider.provider_row()])
        socket = await site.socket()
        await authenticate(socket, 0, provider.token())
        await confirmed(socket, 1)
        await authenticate(socket, 1, provider.token("stranger"))
        assert await received(socket) == {
            "type": "AuthError",
            "error": "Could not verify OIDC token claim. Check that the token signature is valid and the "
            "token hasn't expired.",
            "baseVersion": 1,
            "authUpdateAttempted": True,
        }
        assert await closed(socket) == 1005

    run(scenario)


def test_an_expired_token_ends_its_socket_at_the_next_work(provider: IdentityProvider) -> None:
    async def scenario(site: Site) -> None:
        await site.backend.write(auth=[provider.provider_row()])
        socket = await site.socket()
        await authenticate(socket, 0, provider.token(exp=time.time() + 1.0))
        await subscribe(socket, "m:list")
        await confirmed(socket, 1)
        await asyncio.sleep(1.1)
        await send(socket, type="Mutation", requestId=0, udfPath="m:send", args=[{"body": "late"}])
        message = await received(socket)
        while message["type"] == "Transition":  # of the subscription
            message = await received(socket)
        assert message == {
            "type": "AuthError",
            "error": "Convex token identity expired",
            "baseVersion": 1,
            "authUpdateAttempted": False,
        }
        assert await closed(socket) == 1005 and not site.backend.runs["m.js:send"]

    run(scenario)


@pytest.mark.parametrize(("status", "code"), [(404, 1000), (429, 1013), (503, 1013)])
def test_a_provider_in_trouble_closes_the_socket_without_ending_the_login(
    provider: IdentityProvider, status: int, code: int
) -> None:
    async def scenario(site: Site) -> None:
        await site.backend.write(auth=[provider.provider_row()])
        provider.status = status
        socket = await site.socket()
        await authenticate(socket, 0, provider.token())
        assert await closed(socket) == code
        assert socket.close_reason == "AuthProviderDiscoveryFailed"

    run(scenario)


# --- the HTTP client --------------------------------------------------------------------------------


def test_the_client_brings_status_headers_and_body_and_bounds_what_it_reads(
    provider: IdentityProvider,
) -> None:
    found = asyncio.run(fetch(f"{provider.issuer}/keys"))
    assert isinstance(found, Fetched) and found.status == 200 and found.body == key_set(*provider.keys)
    assert found.headers["cache-control"] == "max-age=600"
    provider.keys = [{"kid": "x" * PROVIDER_ANSWER_BYTES_MAX}]
    assert isinstance(asyncio.run(fetch(f"{provider.issuer}/keys")), FetchFailed)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://", "nonsense", "file:///etc/passwd", "http://[::", "http://a..b/"]
)
def test_an_address_that_cannot_be_asked_is_a_failure_and_no_exception(url: str) -> None:
    found = asyncio.run(fetch(url))
    assert isinstance(found, FetchFailed) and found.why


def test_no_token_and_no_part_of_one_reaches_the_output_of_the_process(
    provider: IdentityProvider, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = [provider.token(), provider.token("stranger"), provider.token(iss="https://other.test")]

    async def scenario(site: Site) -> None:
        await site.backend.write(auth=[provider.provider_row()])
        provider.status = 500
        await site.who(tokens[0])
        provider.status = 200
        for token in tokens:
            await site.who(token)
            socket = await site.socket()
            await authenticate(socket, 0, token)
            await socket.close()

    with caplog.at_level(logging.DEBUG):
        run(scenario)
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("gateway"))
    assert "auth provider" in ours
    assert not [part for token in tokens for part in token.split(".")[1:] if part in ours]


def test_a_deployment_without_users_never_loads_what_checks_tokens() -> None:
    """The two libraries would cost each process 13 MiB and most of a second of its start."""
    look = "import sys, gateway.server; print(sorted({'jwt', 'cryptography', 'aiohttp'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
