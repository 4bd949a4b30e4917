"""How often providers are asked, how long they are believed, and what their failures mean (spec 01 4.2)."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from gateway.auth_providers import CustomJwtProvider, OidcProvider, Provider, read_token
from gateway.provider_answers import Fetched, FetchFailed
from gateway.provider_keys import ProviderKeys
from gateway.user_tokens import KeySet
from log.errors import BackendError, ErrorKind
from log.limits import (
    PROVIDER_DOCUMENT_SECONDS_MAX,
    PROVIDER_DOCUMENT_SECONDS_MIN,
    PROVIDER_DOCUMENTS_HELD_MAX,
    PROVIDER_FAILURE_SECONDS,
    PROVIDER_RENEWAL_SECONDS,
)

from ..support.identity_provider import APPLICATION, ISSUER, claims, key_set, public_jwk, sign

OIDC = OidcProvider(ISSUER, APPLICATION)
DISCOVERY_URL = f"{ISSUER}/.well-known/openid-configuration"
KEYS_URL = "https://keys.test/all"
CUSTOM = CustomJwtProvider(ISSUER, KEYS_URL, "RS256", None)
TOKEN = read_token(sign(claims()))
SLASHED_TOKEN = read_token(sign(claims(iss=f"{ISSUER}/")))
JSON_TYPE = {"content-type": "application/json"}


class World:
    """A clock that only jumps, and a web of documents that counts who is asked."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.asked: Counter[str] = Counter()
        self.pages: dict[str, Fetched | FetchFailed] = {}
        self.publish("key-1")
        discovery = {"issuer": ISSUER, "jwks_uri": KEYS_URL}
        self.pages[DISCOVERY_URL] = Fetched(200, {"cache-control": "max-age=3600"}, orjson.dumps(discovery))
        self.keys = ProviderKeys(self.fetch, lambda: self.now)

    def publish(self, *key_ids: str, **headers: str) -> None:
        told = {**JSON_TYPE, "cache-control": "public, max-age=60"}
        told.update({name.replace("_", "-"): value for name, value in headers.items()})
        body = key_set(*(public_jwk("RS256", key_id) for key_id in key_ids))
        self.pages[KEYS_URL] = Fetched(200, told, body)

    async def fetch(self, url: str) -> Fetched | FetchFailed:
        self.asked[url] += 1
        await asyncio.sleep(0)
        return self.pages[url]

    async def key_ids(self, provider: Provider = CUSTOM) -> list[str | None]:
        return ids(await self.keys.key_set(provider, TOKEN))

    async def renewed_ids(self) -> list[str | None]:
        return ids(await self.keys.renewed_key_set(CUSTOM, TOKEN))


def ids(keys: KeySet) -> list[str | None]:
    return [key.key_id for key in keys]


def run(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def body() -> None:
        await scenario(World())

    asyncio.run(body())


async def refusal(world: World, provider: Provider = CUSTOM) -> BackendError:
    with pytest.raises(BackendError) as raised:
        await world.key_ids(provider)
    return raised.value


def test_an_oidc_provider_is_asked_for_the_address_of_its_keys() -> None:
    async def scenario(world: World) -> None:
        assert await world.key_ids(OIDC) == ["key-1"]
        assert world.asked == {DISCOVERY_URL: 1, KEYS_URL: 1}

    run(scenario)


def test_a_thousand_tokens_at_once_ask_once() -> None:
    async def scenario(world: World) -> None:
        found = await asyncio.gather(*(world.key_ids(OIDC) for _ in range(1000)))
        assert found == [["key-1"]] * 1000
        assert world.asked == {DISCOVERY_URL: 1, KEYS_URL: 1}

    run(scenario)


def test_whoever_goes_away_while_asking_takes_the_answer_from_nobody() -> None:
    async def scenario(world: World) -> None:
        first = asyncio.ensure_future(world.key_ids())
        second = asyncio.ensure_future(world.key_ids())
        await asyncio.sleep(0)
        first.cancel()
        assert await second == ["key-1"] and world.asked[KEYS_URL] == 1

    run(scenario)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"cache_control": "max-age=60"}, 60),
        ({"cache_control": "public, max-age=60", "age": "20"}, 40),
        ({"cache_control": "s-maxage=60"}, PROVIDER_DOCUMENT_SECONDS_MIN),
        ({"cache_control": "no-store, max-age=60"}, PROVIDER_DOCUMENT_SECONDS_MIN),
        ({"cache_control": "max-age=9999999999"}, PROVIDER_DOCUMENT_SECONDS_MAX),
        ({"cache_control": "max-age=x"}, PROVIDER_DOCUMENT_SECONDS_MIN),
        ({"cache_control": ""}, PROVIDER_DOCUMENT_SECONDS_MIN),
        (
            {
                "cache_control": "",
                "date": "Thu, 01 Jan 2026 00:00:00 GMT",
                "expires": "Thu, 01 Jan 2026 00:01:40 GMT",
            },
            100,
        ),
        (
            {"cache_control": "", "date": "Thu, 01 Jan 2026 00:00:00 GMT", "expires": "0"},
            PROVIDER_DOCUMENT_SECONDS_MIN,
        ),
    ],
)
def test_keys_are_believed_as_long_as_their_headers_say(headers: dict[str, str], seconds: int) -> None:
    async def scenario(world: World) -> None:
        world.publish("key-1", **headers)
        await world.key_ids()
        world.publish("key-2", **headers)
        world.now += seconds - 0.1
        assert await world.key_ids() == ["key-1"]
        world.now += 0.1
        assert await world.key_ids() == ["key-2"] and world.asked[KEYS_URL] == 2

    run(scenario)


def test_a_rotated_key_is_found_at_once_and_made_up_ids_ask_seldom() -> None:
    async def scenario(world: World) -> None:
        await world.key_ids()
        world.publish("key-2")
        assert await world.renewed_ids() == ["key-2"]
        for _ in range(100):
            assert await world.renewed_ids() == ["key-2"]
        assert world.asked[KEYS_URL] == 2
        world.now += PROVIDER_RENEWAL_SECONDS
        await asyncio.gather(*(world.renewed_ids() for _ in range(100)))
        assert world.asked[KEYS_URL] == 3

    run(scenario)


def test_a_renewal_that_fails_takes_no_key_away() -> None:
    async def scenario(world: World) -> None:
        await world.key_ids()
        world.pages[KEYS_URL] = FetchFailed("no route")
        assert await world.renewed_ids() == ["key-1"] == await world.key_ids()
        world.now += 60
        assert (await refusal(world)).code == "InvalidAuthHeader", "but they are not believed for longer"

    run(scenario)


def test_a_failure_is_remembered_for_a_moment_only() -> None:
    async def scenario(world: World) -> None:
        good, world.pages[KEYS_URL] = world.pages[KEYS_URL], FetchFailed("no route")
        for _ in range(10):
            assert "no route" in (await refusal(world)).message
        assert world.asked[KEYS_URL] == 1
        world.pages[KEYS_URL] = good
        world.now += PROVIDER_FAILURE_SECONDS
        assert await world.key_ids() == ["key-1"]

    run(scenario)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, ErrorKind.UNAUTHENTICATED),
        (403, ErrorKind.FORBIDDEN),
        (404, ErrorKind.NOT_FOUND),
        (429, ErrorKind.RATE_LIMITED),
        (400, ErrorKind.BAD_REQUEST),
        (302, ErrorKind.BAD_REQUEST),
        (500, ErrorKind.OVERLOADED),
        (503, ErrorKind.OVERLOADED),
    ],
)
@pytest.mark.parametrize("url", [DISCOVERY_URL, KEYS_URL])
def test_an_oidc_providers_failure_is_of_the_kind_its_status_has(
    url: str, status: int, kind: ErrorKind
) -> None:
    async def scenario(world: World) -> None:
        world.pages[url] = Fetched(status, JSON_TYPE, b"{}")
        refused = await refusal(world, OIDC)
        assert (refused.code, refused.kind) == ("AuthProviderDiscoveryFailed", kind)
        assert str(status) in refused.message and url in refused.message

    run(scenario)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b'{"issuer":"https://issuer.test"}',
        b'{"jwks_uri":"https://keys.test/all"}',
        b'{"issuer":"https://issuer.test","jwks_uri":7}',
        b'{"issuer":"https://issuer.test","jwks_uri":"file:///etc/passwd"}',
        b'{"issuer":"https://issuer.test/","jwks_uri":"https://keys.test/all"}',
        b'{"issuer":"https://other.test","jwks_uri":"https://keys.test/all"}',
    ],
)
def test_an_oidc_provider_must_name_itself_as_its_tokens_do_and_its_keys(document: bytes) -> None:
    async def scenario(world: World) -> None:
        world.pages[DISCOVERY_URL] = Fetched(200, {}, document)
        refused = await refusal(world, OIDC)
        assert (refused.code, refused.kind) == ("AuthProviderDiscoveryFailed", ErrorKind.BAD_REQUEST)
        assert not world.asked[KEYS_URL]

    run(scenario)


def test_an_issuer_with_a_slash_is_the_one_that_names_itself_so() -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(BackendError):
            await world.keys.key_set(OIDC, SLASHED_TOKEN)
        document = orjson.dumps({"issuer": f"{ISSUER}/", "jwks_uri": KEYS_URL})
        world.pages[DISCOVERY_URL] = Fetched(200, {}, document)
        world.now += 3600
        assert ids(await world.keys.key_set(OIDC, SLASHED_TOKEN)) == ["key-1"]
        assert (await refusal(world, OIDC)).code == "AuthProviderDiscoveryFailed"

    run(scenario)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (Fetched(500, JSON_TYPE, b"{}"), "status 500"),
        (Fetched(404, JSON_TYPE, b"{}"), "status 404"),
        (Fetched(200, {}, b'{"keys":[]}'), "content type"),
        (Fetched(200, {"content-type": "text/html"}, b'{"keys":[]}'), "content type"),
        (Fetched(200, {"content-type": "application/json; charset=latin1"}, b"{}"), "content type"),
        (
            Fetched(200, JSON_TYPE, b"<html>"),
            f"Invalid JWKS response body from '{KEYS_URL}'. The response is",
        ),
        (FetchFailed("no route"), "no route"),
    ],
)
def test_every_failure_of_a_custom_providers_keys_is_a_401(page: Any, text: str) -> None:
    async def scenario(world: World) -> None:
        world.pages[KEYS_URL] = page
        refused = await refusal(world)
        assert (refused.code, refused.kind) == ("InvalidAuthHeader", ErrorKind.UNAUTHENTICATED)
        assert text in refused.message

    run(scenario)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "APPLICATION/JSON; charset=UTF-8", 'application/jwk-set+json;charset="utf-8"'],
)
def test_keys_come_as_json_in_utf_8(content_type: str) -> None:
    async def scenario(world: World) -> None:
        world.publish("key-1", content_type=content_type)
        assert await world.key_ids() == ["key-1"]

    run(scenario)


def test_a_data_uri_is_its_own_key_set_and_nobody_is_asked() -> None:
    async def scenario(world: World) -> None:
        keys = key_set(public_jwk("RS256", "inline"))
        encoded = base64.b64encode(keys).decode()
        for url in (
            f"data:application/json;base64,{encoded}",
            f"data:text/plain;charset=utf-8,{quote(keys)}",
            f"data:,{quote(keys)}",
        ):
            provider = CustomJwtProvider(ISSUER, url, "RS256", None)
            assert await world.key_ids(provider) == ["inline"], url
        for url in ("data:", "data:,", "data:;base64,é", f"data:;base64,{encoded[:40]}"):
            refused = await refusal(world, CustomJwtProvider(ISSUER, url, "RS256", None))
            assert refused.code == "InvalidAuthHeader" and encoded[:40] not in refused.message
        assert not world.asked

    run(scenario)


def test_what_was_asked_is_forgotten_beyond_a_bound() -> None:
    async def scenario(world: World) -> None:
        await world.key_ids()
        for number in range(PROVIDER_DOCUMENTS_HELD_MAX):
            await world.key_ids(
                CustomJwtProvider(ISSUER, f"data:,{quote(key_set())}{'%20' * number}", "RS256", None)
            )
        await world.key_ids()
        assert world.asked[KEYS_URL] == 2

    run(scenario)


def test_an_operator_reads_in_the_process_output_why_a_provider_is_useless(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(world: World) -> None:
        world.pages[KEYS_URL] = FetchFailed("no route")
        await refusal(world)

    with caplog.at_level(logging.WARNING):
        run(scenario)
    assert "no route" in caplog.text and TOKEN.text not in caplog.text
