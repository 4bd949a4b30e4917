"""A real server whose addresses an operator changes: clients, files, tokens, the CLI (spec 02 22)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from ..support.app_calls import call, upload
from ..support.server import RunningServer
from .test_admin_keys import new_key

pytestmark = pytest.mark.usefixtures("app")

Update = Callable[..., httpx.Response]
CLOUD, SITE = "https://api.other.example/deployment", "https://other.example:8443"


@pytest.fixture
def update(server: RunningServer) -> Iterator[Update]:
    """Changes one address; afterwards the configured ones count again."""
    headers = {"Authorization": f"Convex {server.admin_key()}"}

    def update(
        destination: str, url: str | None = None, *, key: str = "", path: str = "v1/"
    ) -> httpx.Response:
        asked = {"Authorization": f"Convex {key}"} if key else headers
        body = {"requestDestination": destination, "url": url}
        address = f"{server.url}/api/{path}update_canonical_url"
        return httpx.post(address, json=body, headers=asked, timeout=30)

    yield update
    for destination in ("convexCloud", "convexSite"):
        assert update(destination).status_code == 200


def told_urls(server: RunningServer) -> dict[str, str]:
    headers = {"Authorization": f"Convex {server.admin_key()}"}
    found: dict[str, str] = httpx.get(f"{server.url}/api/v1/get_canonical_urls", headers=headers).json()
    return found


def test_a_live_query_that_reads_an_address_is_run_again_at_each_change(
    server: RunningServer, update: Update
) -> None:
    seen = server.node(Path(__file__).parent / "addresses.mjs", server.admin_key(), CLOUD, SITE)
    own = [server.url, server.site_url]
    assert seen == [
        ["before", own],
        ["cloud", [CLOUD, server.site_url]],
        ["site", [CLOUD, SITE]],
        ["cloud again", [server.url, SITE]],
        ["site again", own],
    ]


def test_whoever_asks_for_an_address_is_told_the_changed_one(server: RunningServer, update: Update) -> None:
    storage_id = upload(server, b"at home anywhere")
    assert update("convexCloud", CLOUD).status_code == 200
    assert update("convexSite", SITE, path="").status_code == 200
    assert told_urls(server) == {"convexCloudUrl": CLOUD, "convexSiteUrl": SITE}
    key = server.admin_key()
    for path, expected in (("frontend/convexCloudUrl", CLOUD), ("frontend/convexSiteUrl", SITE)):
        assert call(server, "query", f"_system/{path}:default", {}, key=key) == expected
    assert call(server, "query", "_system/cli/convexUrl:cloudUrl", {}, key=key) == CLOUD
    address: Any = call(server, "query", "files:url", {"id": storage_id})
    assert address.startswith(f"{CLOUD}/api/storage/")
    token: Any = call(server, "mutation", "users:issue", {"name": "ann", "seconds": 60})
    assert jwt.decode(token, options={"verify_signature": False})["iss"] == CLOUD


def test_who_may_not_change_anything_does_not_change_an_address(
    server: RunningServer, update: Update
) -> None:
    refused = update("convexCloud", CLOUD, key=new_key(server, "--read-only"))
    assert (refused.status_code, refused.json()["code"]) == (403, "OperationNotPermitted")
    bad = update("convexCloud", "no address")
    assert (bad.status_code, bad.json()["code"]) == (400, "InvalidCanonicalUrl")
    assert told_urls(server) == {"convexCloudUrl": server.url, "convexSiteUrl": server.site_url}
