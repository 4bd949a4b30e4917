"""Environment variables of the deployment: set, unset, listed (spec 02 15, spec 03 5.8).

A change is one commit that also holds what the auth config says under the new values. Every query reads
the environment through the catalog, so each change re-runs them all, as specified.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from functions.catalog import Catalog
from functions.images import read_module
from functions.system import errors
from functions.system.analysis import Evaluator
from functions.system.auth_config import AuthInfo, evaluate_auth, replace_auth
from functions.system.deployment_events import (
    VARIABLE_CREATED,
    VARIABLE_DELETED,
    VARIABLE_UPDATED,
    record_event,
)
from functions.system.env_declarations import active_declarations, check_declared_values, missing_variables
from functions.system.operation import Evaluation, SystemContext
from functions.system.push_request import AUTH_PATH, PushedModule
from functions.transaction import Transaction
from log import limits
from log.errors import bad_json_body

_NAME = re.compile(r"[a-zA-Z_]+[a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class PreparedChange:
    """The auth config as it evaluates under `variables`, built-in ones too; `auth_sha256` None = there is
    none."""

    variables: dict[str, str]
    auth_sha256: str | None
    auth: list[AuthInfo]


def prepare_update(transaction: Transaction, body: dict[str, Any], context: SystemContext) -> Evaluation:
    """Check the change; evaluating the stored auth config under its outcome makes a PreparedChange."""
    catalog = transaction.catalog
    environment = _changed_environment(catalog, body, context)
    return prepare_change(transaction, _seen(catalog, environment, context), context)


def prepare_change(transaction: Transaction, variables: dict[str, str], context: SystemContext) -> Evaluation:
    """To be asked what the stored auth config says once functions see these variables."""
    catalog = transaction.catalog
    module = catalog.modules.get(AUTH_PATH)
    if module is None:
        return lambda: PreparedChange(variables, None, [])
    text = read_module(transaction.snapshot, module.sha256)
    if text is None:
        raise errors.missing_existing_module_source(AUTH_PATH)
    evaluator = Evaluator(context.engine, variables, catalog.udf_config or {})
    pushed = PushedModule(AUTH_PATH, text.source, text.source_map, module.environment)
    return lambda: PreparedChange(variables, module.sha256, evaluate_auth(evaluator, pushed))


def apply_prepared(transaction: Transaction, variables: dict[str, str], prepared: PreparedChange) -> None:
    """Let the providers be those that were prepared; refused when they were for other variables, or another
    auth config, than are there by now."""
    module = transaction.catalog.modules.get(AUTH_PATH)
    auth_sha256 = module.sha256 if module is not None else None
    if (variables, auth_sha256) != (prepared.variables, prepared.auth_sha256):
        raise errors.deployment_changed()
    if auth_sha256 is not None:
        replace_auth(transaction, prepared.auth)


def _seen(catalog: Catalog, environment: dict[str, str], context: SystemContext) -> dict[str, str]:
    """What functions see when the variables that users set are these."""
    return {**catalog.built_in_variables(context.system_environment), **environment}


def update_environment_variables(
    transaction: Transaction, body: dict[str, Any], prepared: PreparedChange, context: SystemContext
) -> None:
    """Apply the changes, deletions first; the answer is empty."""
    catalog = transaction.catalog
    environment = _changed_environment(catalog, body, context)
    apply_prepared(transaction, _seen(catalog, environment, context), prepared)
    table = catalog.tables["_environment_variables"]
    rows = {row["name"]: row for row in transaction.all_documents(table)}
    for name in sorted(rows.keys() - environment.keys()):
        transaction.delete(table, rows[name]["_id"])
        _record(transaction, VARIABLE_DELETED, name)
    for name, value in sorted(environment.items()):
        if name not in rows:
            transaction.insert("_environment_variables", {"name": name, "value": value})
            _record(transaction, VARIABLE_CREATED, name)
        elif rows[name]["value"] != value:
            transaction.patch(table, rows[name]["_id"], {"value": value})
            _record(transaction, VARIABLE_UPDATED, name)


def _record(transaction: Transaction, action: str, name: str) -> None:
    record_event(transaction, action, {"variable_name": name})


def list_environment_variables(
    transaction: Transaction, _body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    return {"environmentVariables": dict(sorted(transaction.catalog.environment.items()))}


# --- rules ------------------------------------------------------------------------------------------


def _changed_environment(catalog: Catalog, body: dict[str, Any], context: SystemContext) -> dict[str, str]:
    """The variables after the request's changes, every rule of spec 02 15 checked."""
    changes = _parse_changes(body)
    environment = dict(catalog.environment)
    for name in (name for name, value in changes if value is None):
        environment.pop(name, None)
    for name, value in changes:
        if value is not None:
            _check_variable(name, value, context)
            environment[name] = value
    if len(environment) > limits.ENVIRONMENT_VARIABLES_MAX:
        raise errors.environment_too_many()
    size_bytes = sum(len(name.encode()) + len(value.encode()) for name, value in environment.items())
    if size_bytes > limits.ENVIRONMENT_TOTAL_BYTES_MAX:
        raise errors.environment_total_too_large()
    _check_declared(catalog, environment)
    return environment


def _check_declared(catalog: Catalog, environment: dict[str, str]) -> None:
    """What the active app requires stays set, and set to what it accepts."""
    declarations = active_declarations(catalog)
    deleted = [name for name in missing_variables(declarations, environment) if name in catalog.environment]
    if deleted:
        raise errors.required_variables_deleted(deleted)
    check_declared_values(declarations, environment, catalog)


def _check_variable(name: str, value: str, context: SystemContext) -> None:
    if not _NAME.fullmatch(name):
        raise errors.environment_name_invalid(name)
    if len(name) > limits.ENVIRONMENT_NAME_LENGTH_MAX:
        raise errors.environment_name_too_long(name)
    if name in context.system_environment:
        raise errors.environment_name_forbidden(name)
    if len(value.encode()) > limits.ENVIRONMENT_VALUE_BYTES_MAX:
        raise errors.environment_value_too_large(name)


def _parse_changes(body: dict[str, Any]) -> list[tuple[str, str | None]]:
    changes = body.get("changes")
    if not isinstance(changes, list):
        raise bad_json_body("`changes` must be a list")
    parsed: list[tuple[str, str | None]] = []
    for change in changes:
        name = change.get("name") if isinstance(change, dict) else None
        value = change.get("value") if isinstance(change, dict) else None
        if not isinstance(name, str) or not isinstance(value, str | None):
            raise bad_json_body("a change is {name: string, value: string or null}")
        parsed.append((name, value))
    return parsed
