"""Users log in with the unmodified npm clients: real provider, real `auth.config.ts` (spec 01 4, 1.10)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import pytest

from ..support.app_calls import call
from ..support.identity_provider import (
    APPLICATION,
    ISSUER,
    IdentityProvider,
    key_set,
    public_jwk,
    running_provider,
)
from ..support.server import CONFORMANCE_APP, RunningServer, copy_app

SCRIPT = Path(__file__).parent / "auth.mjs"
CONFIG = f"""
export default {{
  providers: [
    {{ type: "customJwt", issuer: "{ISSUER}", jwks: process.env.AUTH_KEYS!, algorithm: "ES256" }},
    {{ domain: process.env.AUTH_ISSUER!, applicationID: "{APPLICATION}" }},
  ],
}};
"""


@pytest.fixture(scope="module")
def provider(
    server: RunningServer, app: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IdentityProvider]:
    """A provider the deployment trusts while this module runs."""
    project = copy_app(CONFORMANCE_APP, tmp_path_factory.mktemp("users") / "app")
    (project / "convex" / "auth.config.ts").write_text(CONFIG)
    with running_provider() as running:
        keys = f"data:application/json,{quote(key_set(public_jwk('ES256', 'inline')))}"
        for name, value in (("AUTH_ISSUER", running.issuer), ("AUTH_KEYS", keys)):
            assert server.cli(app, "env", "set", name, value).returncode == 0
        pushed = server.cli(project, "dev", "--once")
        assert pushed.returncode == 0, pushed.stdout
        yield running
    pushed = server.cli(app, "deploy", "-y")
    assert pushed.returncode == 0, pushed.stdout


def observe(server: RunningServer, scenario: str, provider: IdentityProvider, *more: str) -> list[list[Any]]:
    observations: list[list[Any]] = server.node(SCRIPT, scenario, provider.issuer, *more)
    return observations


def values_of(observations: list[list[Any]], what: str) -> list[Any]:
    return [value for name, value in observations if name == what]


def test_the_http_client_is_the_user_of_its_token(server: RunningServer, provider: IdentityProvider) -> None:
    seen = observe(server, "http", provider, "auth-http")
    assert values_of(seen, "before") == [None] == values_of(seen, "after")
    identifier = f"{provider.issuer}|user-1"
    assert values_of(seen, "me") == [
        {"tokenIdentifier": identifier, "issuer": provider.issuer, "subject": "user-1", "name": "Ada"}
    ]
    assert values_of(seen, "signed") == [identifier]
    assert values_of(seen, "refused") == ["Unauthenticated"] * 2


def test_a_client_whose_token_is_refused_fetches_another_one(
    server: RunningServer, provider: IdentityProvider
) -> None:
    seen = observe(server, "refused", provider)
    fetched = values_of(seen, "fetched")
    assert fetched[:2] == [[False, "name=Eve&key=stranger"], [True, "name=Ada"]]
    assert values_of(seen, "me") == ["Ada"]
    assert values_of(seen, "authenticated") == [True]


def test_a_client_without_a_good_token_ends_as_nobody_after_four_sockets(
    server: RunningServer, provider: IdentityProvider
) -> None:
    seen = observe(server, "hopeless", provider)
    assert [forced for forced, _ in values_of(seen, "fetched")] == [False, True, True, True]
    assert values_of(seen, "authenticated") == [False] and values_of(seen, "me") == [None]


def test_what_is_sent_under_an_expired_token_is_done_once_under_the_next(
    server: RunningServer, provider: IdentityProvider
) -> None:
    seen = observe(server, "expired", provider, "auth-expired")
    assert [forced for forced, _ in values_of(seen, "fetched")][:3] == [False, True, True]
    assert values_of(seen, "signed") == [f"{provider.issuer}|user-1"]
    assert values_of(seen, "messages") == [1]


def test_the_user_of_a_live_socket_changes_and_leaves(
    server: RunningServer, provider: IdentityProvider
) -> None:
    assert values_of(observe(server, "changes", provider), "me") == ["Ada", "Bob", None]


def test_no_process_writes_a_token_into_its_output(server: RunningServer, provider: IdentityProvider) -> None:
    observe(server, "http", provider, "auth-output")
    outputs = [server.output, *server.data.logs.glob("*.log")]
    assert len(outputs) > 2 and any("gateway" in output.name for output in outputs)
    assert not [output.name for output in outputs if "eyJ" in output.read_text()], "how every token begins"


@pytest.mark.usefixtures("app")
def test_what_a_mutation_signs_is_verified_by_the_published_keys(server: RunningServer) -> None:
    token = call(server, "mutation", "users:issue", {"name": "job-7", "seconds": 60})
    [key] = httpx.get(f"{server.url}/.well-known/jwks.json").json()["keys"]
    claims = jwt.decode(str(token), jwt.PyJWK(key), algorithms=["ES256"], issuer=server.url)
    assert claims == {
        "sub": "job-7",
        "roles": ["reader"],
        "iss": server.url,
        "iat": claims["iat"],
        "exp": claims["iat"] + 60,
    }
