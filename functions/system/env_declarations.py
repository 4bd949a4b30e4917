"""The environment variables that a `convex.config.js` declares: an app's, a component's (spec 02 9.6, 11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from functions.catalog import Catalog
from functions.system import errors
from functions.validators import Literal, Scalar, Union, Validator, parse_validator
from log.errors import BackendError

Definition = dict[str, Any]
"""ComponentDefinition of spec 02 7, of the app or of a component."""


@dataclass(frozen=True, slots=True)
class EnvDeclaration:
    """A declared variable; its validator accepts strings only."""

    name: str
    validator: Validator
    is_optional: bool


def env_declarations(definition: Definition) -> list[EnvDeclaration]:
    """The declared variables of a definition."""
    return [_declaration(name, tree) for name, tree in definition.get("envVars") or ()]


def _declaration(name: str, tree: dict[str, Any]) -> EnvDeclaration:
    try:
        validator = parse_validator(orjson.loads(tree["value"]))
    except (BackendError, orjson.JSONDecodeError, KeyError, TypeError) as failure:
        raise errors.invalid_env_declaration(name, f"has no valid validator ({failure})") from None
    if not _accepts_strings_only(validator):
        raise errors.invalid_env_declaration(
            name, "must be a string, a string literal or a union of string literals"
        )
    return EnvDeclaration(name, validator, tree.get("optional") is True)


def _accepts_strings_only(validator: Validator) -> bool:
    match validator:
        case Union(members):
            return all(map(_accepts_strings_only, members))
        case Literal(value):
            return isinstance(value, str)
    return validator == Scalar("string")


def active_declarations(catalog: Catalog) -> list[EnvDeclaration]:
    """What the active app declares; stored beside the udf config (see push.finish)."""
    text = (catalog.udf_config or {}).get("definition")
    return env_declarations(orjson.loads(text)) if text else []


def check_environment(
    declarations: list[EnvDeclaration], environment: Mapping[str, str], catalog: Catalog
) -> None:
    """Refuse missing required variables, then values that their declaration does not accept."""
    missing = missing_variables(declarations, environment)
    if missing:
        raise errors.required_variables_missing(missing)
    check_declared_values(declarations, environment, catalog)


def missing_variables(declarations: list[EnvDeclaration], environment: Mapping[str, str]) -> list[str]:
    return [each.name for each in declarations if not each.is_optional and each.name not in environment]


def check_declared_values(
    declarations: list[EnvDeclaration], environment: Mapping[str, str], catalog: Catalog
) -> None:
    for each in declarations:
        value = environment.get(each.name)
        why = each.validator.check(value, catalog) if value is not None else None
        if why is not None:
            raise errors.environment_value_invalid(each.name, why)
