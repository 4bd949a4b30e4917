"""Providers of an auth config: what is stored of them, and which mistakes are named (spec 02 9.5)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from functions.system.auth_config import parse_auth_config, replace_auth
from log.errors import BackendError

from ...support.memory_database import MemoryDatabase

OIDC = {"domain": "https://d", "applicationID": "convex"}
JWT = {"type": "customJwt", "issuer": "https://i", "jwks": "https://k", "algorithm": "ES256"}


def parse(*providers: Any) -> list[Any]:
    return parse_auth_config(orjson.dumps({"providers": list(providers)}))


def test_oidc_providers_keep_domain_and_application() -> None:
    assert parse(OIDC, {**OIDC, "type": "oidc"}) == [OIDC, OIDC]


def test_custom_jwt_providers_may_have_no_application() -> None:
    assert parse(JWT) == [{**JWT, "applicationID": None}]
    assert parse({**JWT, "applicationID": "a"}) == [{**JWT, "applicationID": "a"}]


def test_no_providers_are_a_config_too() -> None:
    assert parse() == []


@pytest.mark.parametrize(
    ("provider", "detail"),
    [
        (7, "must be an object"),
        ({"domain": "d", "applicationId": "a"}, 'write "applicationID" instead of "applicationId"'),
        ({**OIDC, "type": "saml"}, "unexpected `type` 'saml'"),
        ({**OIDC, "issuer": "i"}, "not an `issuer`"),
        ({**JWT, "domain": "d"}, "not a `domain`"),
        ({"domain": "d"}, "`applicationID` must be a string"),
        ({**OIDC, "domain": None}, "`domain` must be a string"),
        ({**JWT, "algorithm": "none"}, "`algorithm` must be one of RS256, ES256"),
    ],
)
def test_mistakes_are_named(provider: Any, detail: str) -> None:
    with pytest.raises(BackendError) as raised:
        parse(provider)
    assert raised.value.code == "AuthConfigNotMatchingSchemaError"
    start = "auth config file must include a list of provider credentials: "
    assert raised.value.message.startswith(start) and detail in raised.value.message


@pytest.mark.parametrize("exported", [b"null", b"7", b"{}", b'{"providers":{}}', b"no json"])
def test_an_export_without_a_list_of_providers_is_refused(exported: bytes) -> None:
    with pytest.raises(BackendError) as raised:
        parse_auth_config(exported)
    assert raised.value.code == "AuthConfigNotMatchingSchemaError"


def test_replacing_providers_reports_and_writes_only_the_difference() -> None:
    database = MemoryDatabase()
    other = {**OIDC, "domain": "https://other"}
    database.transact(lambda transaction: replace_auth(transaction, [OIDC, other]))
    kept = {row["domain"]: row["_id"] for row in database.documents("_auth")}
    diff = database.transact(lambda transaction: replace_auth(transaction, [other, *parse(JWT)]))
    assert [orjson.loads(text).get("domain") for text in diff["removed"]] == ["https://d"]
    assert [orjson.loads(text).get("issuer") for text in diff["added"]] == ["https://i"]
    after = {row.get("domain"): row["_id"] for row in database.documents("_auth")}
    assert after["https://other"] == kept["https://other"]
    assert set(after) == {"https://other", None}


def stored_domains(database: MemoryDatabase) -> list[str]:
    """As the gateway reads them: by creation time."""
    rows = sorted(database.documents("_auth"), key=lambda row: row["_creationTime"])
    return [row["domain"] for row in rows]


def test_the_order_of_the_providers_is_kept_because_the_first_that_fits_is_taken() -> None:
    database = MemoryDatabase()
    one, two, three = ({**OIDC, "domain": f"https://{name}"} for name in ("z", "a", "m"))
    database.transact(lambda transaction: replace_auth(transaction, [one, two]))
    assert stored_domains(database) == ["https://z", "https://a"]
    diff = database.transact(lambda transaction: replace_auth(transaction, [two, three, one]))
    assert stored_domains(database) == ["https://a", "https://m", "https://z"]
    assert len(diff["added"]) == 1 and diff["removed"] == []


@pytest.mark.parametrize(
    "address",
    [
        "https://i.test/",
        "http://localhost:8080",
        "http://10.0.0.7:9",
        "localhost",
        "i.test:8443",
        "xn--p.xn--p1ai",
    ],
)
def test_an_issuer_is_an_address_whose_scheme_may_be_left_out(address: str) -> None:
    assert parse({**OIDC, "domain": address})[0]["domain"] == address
    assert parse({**JWT, "issuer": address})[0]["issuer"] == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        '"https://i.test"',
        "ftp://i.test",
        "https://",
        "issuer",
        "10.0.0.7",
        "https://i:port",
        "mailto:a@b.test",
    ],
)
def test_any_other_issuer_is_refused(address: str) -> None:
    for provider in ({**OIDC, "domain": address}, {**JWT, "issuer": address}):
        with pytest.raises(BackendError) as raised:
            parse(provider)
        assert raised.value.code == "InvalidProviderDomainUrl", address
