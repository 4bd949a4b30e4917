"""Addresses that an operator sets: what is stored, who sees them, which are refused (spec 02 22)."""

from __future__ import annotations

from typing import Any

import pytest

from functions.components import Component
from functions.images import environment_of
from functions.node_bundle import node_bundle
from log.errors import BackendError
from log.limits import CANONICAL_URL_LENGTH_MAX

from ...support.deployment import Deployment, module
from .push_cases import OTHER

CLOUD, SITE = "https://api.other.example", "https://other.example/site"
CONFIGURED = {"convexCloudUrl": "http://cloud.test", "convexSiteUrl": "http://site.test"}
EVENTS = "_system/frontend/listDeploymentEventsFromTime.js:default"
CLOUD_QUERIES = ("_system/cli/convexUrl.js:cloudUrl", "_system/frontend/convexCloudUrl.js:default")
SITE_QUERY = "_system/frontend/convexSiteUrl.js:default"
VARIABLE = "_system/cli/queryEnvironmentVariables.js:get"
AUTH = module(
    "auth.config.js",
    'export default { providers: [{ domain: process.env.CONVEX_SITE_URL, applicationID: "convex" }] };',
)


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


def update(deployment: Deployment, destination: Any, url: Any = None) -> Any:
    return deployment.operate("update_canonical_url", {"requestDestination": destination, "url": url})


def refusal(deployment: Deployment, *arguments: Any) -> tuple[str, str]:
    before = deployment.database.committer.published_ts
    with pytest.raises(BackendError) as refused:
        update(deployment, *arguments)
    assert deployment.database.committer.published_ts == before, "a refused request changes nothing"
    return refused.value.code, refused.value.message


def told(deployment: Deployment) -> Any:
    return deployment.operate("get_canonical_urls")


def test_each_address_is_set_replaced_and_unset_by_itself(deployment: Deployment) -> None:
    assert told(deployment) == CONFIGURED
    assert update(deployment, "convexCloud", "http://first.example") is None
    update(deployment, "convexSite", SITE)
    update(deployment, "convexCloud", CLOUD)
    assert told(deployment) == {"convexCloudUrl": CLOUD, "convexSiteUrl": SITE}
    assert len(deployment.database.documents("_canonical_urls")) == 2
    update(deployment, "convexCloud")
    assert told(deployment) == {**CONFIGURED, "convexSiteUrl": SITE}
    deployment.operate("update_canonical_url", {"requestDestination": "convexSite"})
    assert told(deployment) == CONFIGURED
    assert deployment.database.documents("_canonical_urls") == []


def test_clients_and_functions_are_told_the_same(deployment: Deployment) -> None:
    system = deployment.context.system_environment
    update(deployment, "convexCloud", CLOUD)
    update(deployment, "convexSite", SITE)
    assert [deployment.query(path) for path in CLOUD_QUERIES] == [CLOUD, CLOUD]
    assert deployment.query(SITE_QUERY) == SITE
    assert deployment.query(VARIABLE, name="CONVEX_CLOUD_URL")["value"] == CLOUD
    catalog = deployment.database.catalog
    seen = {"CONVEX_CLOUD_URL": CLOUD, "CONVEX_SITE_URL": SITE}
    assert environment_of(catalog, system) == node_bundle(catalog, system).environment == seen


def test_the_site_of_a_component_is_below_the_changed_one(deployment: Deployment) -> None:
    update(deployment, "convexSite", SITE)
    mounted = Component(path="ledger", namespace="n", http_prefix="/ledger/")
    catalog = deployment.database.catalog.of_new_component(mounted)
    environment = environment_of(catalog, deployment.context.system_environment)
    assert environment["CONVEX_SITE_URL"] == f"{SITE}/ledger"


def test_slashes_at_the_end_are_left_out(deployment: Deployment) -> None:
    update(deployment, "convexSite", SITE + "//")
    assert told(deployment)["convexSiteUrl"] == SITE


@pytest.mark.parametrize("url", [None, SITE])
def test_what_changes_nothing_commits_nothing_and_is_no_event(deployment: Deployment, url: Any) -> None:
    if url is not None:
        update(deployment, "convexSite", url)
    before, events = deployment.database.committer.published_ts, deployment.query(EVENTS)
    update(deployment, "convexSite", url)
    assert deployment.database.committer.published_ts == before and deployment.query(EVENTS) == events


def test_the_history_says_which_address_was_changed(deployment: Deployment) -> None:
    update(deployment, "convexCloud", CLOUD)
    update(deployment, "convexCloud")
    assert [(row["action"], row["metadata"]) for row in deployment.query(EVENTS)] == [
        ("update_canonical_url", {"request_destination": "convexCloud", "url": CLOUD}),
        ("update_canonical_url", {"request_destination": "convexCloud", "url": None}),
    ]


def test_providers_of_users_follow_in_the_same_commit(deployment: Deployment) -> None:
    deployment.push(AUTH)
    before = deployment.database.committer.published_ts

    def domains() -> list[str]:
        return [row["domain"] for row in deployment.database.documents("_auth")]

    assert domains() == ["http://site.test"]
    update(deployment, "convexSite", SITE)
    assert domains() == [SITE] and deployment.database.committer.published_ts > before


def test_an_update_prepared_before_another_is_refused(deployment: Deployment) -> None:
    body = {"requestDestination": "convexCloud", "url": CLOUD}
    variables = {"changes": [{"name": "A", "value": "1"}]}
    early = deployment.prepare("update_canonical_url", body)
    early_variables = deployment.prepare("update_environment_variables", variables)
    update(deployment, "convexSite", SITE)
    for name, asked, prepared in (
        ("update_canonical_url", body, early),
        ("update_environment_variables", variables, early_variables),
    ):
        with pytest.raises(BackendError) as refused:
            deployment.apply(name, asked, prepared)
        assert refused.value.code == "ConcurrentPush"
    assert told(deployment) == {**CONFIGURED, "convexSiteUrl": SITE}


def test_a_push_begun_under_another_address_is_not_finished(deployment: Deployment) -> None:
    started = deployment.start(OTHER)
    update(deployment, "convexSite", SITE)
    with pytest.raises(BackendError) as refused:
        deployment.finish(started)
    assert refused.value.code == "RaceDetected"
    deployment.finish(deployment.start(OTHER))


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "https://[::1]:3210",
        "http://127.0.0.1:3210/a/b",
        "HTTPS://EXAMPLE.COM",
        "http://h/" + "a" * (CANONICAL_URL_LENGTH_MAX - 9),
    ],
)
def test_an_address_of_the_web_is_taken(deployment: Deployment, url: str) -> None:
    update(deployment, "convexCloud", url)
    assert told(deployment)["convexCloudUrl"] == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "does not begin with http"),
        ("example.com", "does not begin with http"),
        ("/api", "does not begin with http"),
        ("//example.com", "does not begin with http"),
        ("ftp://example.com", "does not begin with http"),
        ("http://", "does not begin with http"),
        ("http:///path", "does not begin with http"),
        ("http://:80", "does not begin with http"),
        ("https://example.com?", "a query or a fragment"),
        ("https://example.com/#", "a query or a fragment"),
        ("https://ann@example.com", "a user name"),
        ("https://example.com:port", "Port could not be cast"),
        ("https://example.com:65536", "Port out of range"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("https://exa mple.com", "unencoded"),
        ("https://example.com\n", "unencoded"),
        ("https://bücher.example", "unencoded"),
        ("http://h/" + "a" * (CANONICAL_URL_LENGTH_MAX - 8), "longer than 2048 characters"),
    ],
)
def test_what_is_no_address_of_the_web_is_refused(deployment: Deployment, url: str, why: str) -> None:
    code, message = refusal(deployment, "convexCloud", url)
    assert code == "InvalidCanonicalUrl" and why in message


@pytest.mark.parametrize(
    ("destination", "url"), [("convexcloud", CLOUD), (None, CLOUD), ([], CLOUD), ("convexCloud", 5)]
)
def test_a_body_that_says_something_else_is_refused(
    deployment: Deployment, destination: Any, url: Any
) -> None:
    assert refusal(deployment, destination, url)[0] == "BadJsonBody"
