"""Who may sign tokens for this deployment: `auth.config.js` read into rows of `_auth` (spec 02 9.5).

The rows are what the CLI calls AuthInfo; their creation times keep the order of the file, because a
token belongs to the first provider that fits. Validating tokens is the gateway's business.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import orjson

from functions.system import errors
from functions.system.analysis import EvaluationFailed, Evaluator
from functions.system.push_request import PushedModule
from functions.transaction import Transaction
from log.errors import BackendError

AuthInfo = dict[str, Any]
_ALGORITHMS = ("RS256", "ES256")
_MISSING_VARIABLE = "Environment variable "
_MISSING_EXPORT = "auth config file is missing default export"
_TOP_LEVEL_DOMAIN = re.compile(r"[^.]\.(?:[a-z]{2,}|xn--[a-z0-9-]+)\.?$")


def evaluate_auth(evaluator: Evaluator, module: PushedModule | None) -> list[AuthInfo]:
    """The providers an auth config declares under the evaluator's environment; none without a file."""
    if module is None:
        return []
    try:
        exported = evaluator.default_export(module, "auth")
    except EvaluationFailed as failure:
        raise _refusal(failure) from None
    return parse_auth_config(exported)


def _refusal(failure: EvaluationFailed) -> BackendError:
    if failure.message.startswith(_MISSING_VARIABLE):
        return errors.auth_config_missing_variable(failure.message)
    if failure.message.startswith(_MISSING_EXPORT):
        return errors.auth_config_missing_export(failure.message)
    return errors.auth_config_invalid(failure.text)


def parse_auth_config(exported: bytes) -> list[AuthInfo]:
    """The AuthInfo rows of the JSON of a config's default export."""
    try:
        tree = orjson.loads(exported)
    except orjson.JSONDecodeError:
        raise errors.auth_config_mismatch("the default export cannot be written as JSON") from None
    providers = tree.get("providers") if isinstance(tree, dict) else None
    if not isinstance(providers, list):
        raise errors.auth_config_mismatch("`providers` must be a list")
    return [_parse_provider(provider) for provider in providers]


def _parse_provider(provider: Any) -> AuthInfo:
    if not isinstance(provider, dict):
        raise errors.auth_config_mismatch("a provider must be an object")
    for name in provider:
        if name != "applicationID" and name.lower() == "applicationid":
            raise errors.auth_config_mismatch(f'write "applicationID" instead of "{name}"')
    kind = provider.get("type", "oidc")
    if kind == "oidc":
        return _parse_oidc(provider)
    if kind == "customJwt":
        return _parse_custom_jwt(provider)
    raise errors.auth_config_mismatch(f"unexpected `type` {kind!r}")


def _parse_oidc(provider: dict[str, Any]) -> AuthInfo:
    if "issuer" in provider:
        raise errors.auth_config_mismatch("an OIDC provider has a `domain`, not an `issuer`")
    return {
        "applicationID": _string(provider, "applicationID"),
        "domain": _issuer(provider, "domain"),
    }


def _parse_custom_jwt(provider: dict[str, Any]) -> AuthInfo:
    if "domain" in provider:
        raise errors.auth_config_mismatch("a customJwt provider has an `issuer`, not a `domain`")
    algorithm = _string(provider, "algorithm")
    if algorithm not in _ALGORITHMS:
        raise errors.auth_config_mismatch(f"`algorithm` must be one of {', '.join(_ALGORITHMS)}")
    has_application = provider.get("applicationID") is not None
    return {
        "type": "customJwt",
        "applicationID": _string(provider, "applicationID") if has_application else None,
        "issuer": _issuer(provider, "issuer"),
        "jwks": _string(provider, "jwks"),
        "algorithm": algorithm,
    }


def _string(provider: dict[str, Any], name: str) -> str:
    found = provider.get(name)
    if not isinstance(found, str):
        raise errors.auth_config_mismatch(f"`{name}` must be a string")
    return found


def _issuer(provider: dict[str, Any], name: str) -> str:
    """An address of http or https, whose scheme may be left out (spec 01 4.1)."""
    address = _string(provider, name)
    if address.startswith('"'):
        raise errors.invalid_provider_domain(address, "it begins with a quotation mark")
    has_scheme = "://" in address
    try:
        parts = urlsplit(address if has_scheme else f"https://{address}")
        host, _ = parts.hostname, parts.port
    except ValueError as failure:
        raise errors.invalid_provider_domain(address, str(failure)) from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise errors.invalid_provider_domain(address, "it is no address of http or https")
    # A list of the real top-level domains would be outdated soon: letters after a dot count as one.
    if not (has_scheme or host == "localhost" or _TOP_LEVEL_DOMAIN.search(host)):
        raise errors.invalid_provider_domain(address, "without https:// it must end in a top-level domain")
    return address


def replace_auth(transaction: Transaction, infos: list[AuthInfo]) -> dict[str, list[str]]:
    """Make `infos` the providers; the JSON texts that came and went (spec 02 8, authDiff)."""
    table = transaction.catalog.tables["_auth"]
    in_order = sorted(transaction.all_documents(table), key=lambda row: row["_creationTime"])
    rows = {_text(_info_of(row)): row["_id"] for row in in_order}
    wanted = {_text(info): info for info in infos}
    kept = [text for text in rows if text in wanted]
    added = [text for text in wanted if text not in rows]
    if [*kept, *added] != list(wanted):  # the order changed: only new rows can be later ones
        kept, added = [], list(wanted)
    for text in rows.keys() - kept:
        transaction.delete(table, rows[text])
    for text in added:
        transaction.insert("_auth", wanted[text])
    return {"added": sorted(wanted.keys() - rows.keys()), "removed": sorted(rows.keys() - wanted.keys())}


def _info_of(row: dict[str, Any]) -> AuthInfo:
    return {name: value for name, value in row.items() if name not in ("_id", "_creationTime")}


def _text(info: AuthInfo) -> str:
    return orjson.dumps(info, option=orjson.OPT_SORT_KEYS).decode()
