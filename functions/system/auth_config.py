"""Who may sign tokens for this deployment: `auth.config.js` read into rows of `_auth` (spec 02 9.5).

The rows are what the CLI calls AuthInfo. Validating tokens against them is the gateway's business.
"""

from __future__ import annotations

from typing import Any

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
        "domain": _string(provider, "domain"),
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
        "issuer": _string(provider, "issuer"),
        "jwks": _string(provider, "jwks"),
        "algorithm": algorithm,
    }


def _string(provider: dict[str, Any], name: str) -> str:
    found = provider.get(name)
    if not isinstance(found, str):
        raise errors.auth_config_mismatch(f"`{name}` must be a string")
    return found


def replace_auth(transaction: Transaction, infos: list[AuthInfo]) -> dict[str, list[str]]:
    """Make `infos` the providers; the JSON texts that came and went (spec 02 8, authDiff)."""
    table = transaction.catalog.tables["_auth"]
    rows = {_text(_info_of(row)): row["_id"] for row in transaction.all_documents(table)}
    wanted = {_text(info): info for info in infos}
    added, removed = sorted(wanted.keys() - rows.keys()), sorted(rows.keys() - wanted.keys())
    for text in removed:
        transaction.delete(table, rows[text])
    for text in added:
        transaction.insert("_auth", wanted[text])
    return {"added": added, "removed": removed}


def _info_of(row: dict[str, Any]) -> AuthInfo:
    return {name: value for name, value in row.items() if name not in ("_id", "_creationTime")}


def _text(info: AuthInfo) -> str:
    return orjson.dumps(info, option=orjson.OPT_SORT_KEYS).decode()
