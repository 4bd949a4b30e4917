"""Every way the code and the configuration of a push are refused (spec 02 9, 11, 12)."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from ...support.deployment import (
    Deployment,
    functions_module,
    module,
    schema_module,
    table,
)
from .push_cases import AUTH, MESSAGES, OTHER, PUSHING, refusal_of, start_refusal


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


# --- refusals of code ----------------------------------------------------------------------------------


def analysis_failure(path: str, rest: str) -> str:
    return (
        f"{PUSHING}Loading the pushed modules encountered the following\n    error:\n"
        f"Failed to analyze {path}: {rest}"
    )


def test_a_module_that_throws_is_named_with_its_source_position(deployment: Deployment) -> None:
    # One mapping: bundle line 2 (0-based 1), column 6 -> messages.ts line 10, column 4 (both 0-based).
    source_map = json.dumps({"version": 3, "sources": ["../convex/messages.ts"], "mappings": ";MAUI"})
    broken = module("messages.js", '\nthrow new Error("boom");', source_map)
    refusal = start_refusal(deployment, broken)
    assert refusal.code == "InvalidModules"
    assert refusal.message.startswith(analysis_failure("messages.js", "Uncaught Error: boom\n    at "))
    assert "../convex/messages.ts:" in refusal.message


def test_the_previous_code_still_serves_after_a_failed_push(deployment: Deployment) -> None:
    deployment.push(MESSAGES)
    start_refusal(deployment, module("messages.js", "throw new Error()"))
    assert "list" in deployment.database.catalog.modules["messages.js"].functions


def test_what_modules_printed_follows_their_error(deployment: Deployment) -> None:
    refusal = start_refusal(deployment, module("a.js", 'console.log("so far"); throw new Error("boom");'))
    assert refusal.message == analysis_failure("a.js", "Uncaught Error: boom\n\n[LOG] 'so far'")


def test_a_module_with_a_missing_import_is_named(deployment: Deployment) -> None:
    refusal = start_refusal(deployment, module("a.js", 'import "./gone.js";'))
    assert refusal.code == "InvalidModules" and "gone.js" in refusal.message


MISSHAPEN = {
    "a number for exportArgs": (
        "a.js",
        "export const f = Object.assign(() => {}, {isQuery: true, isPublic: true, exportArgs: () => 7});",
        "Invalid exportArgs return value: a.js:f.exportArgs() didn't return a string.",
    ),
    "no router": ("http.js", "export const routes = [];", "must have a default export of a Router"),
    "an object for the router": ("http.js", "export default {};", "is not a Router"),
    "a number for the routes": (
        "http.js",
        "export default {isRouter: true, getRoutes: () => 7};",
        "did not return the expected type",
    ),
    "no crons": ("crons.js", "export const jobs = [];", "must have a default export of a Crons object"),
    "an object for the crons": ("crons.js", "export default {};", "is not a Crons object"),
}


@pytest.mark.parametrize(("path", "source", "text"), MISSHAPEN.values(), ids=MISSHAPEN.keys())
def test_exports_of_the_wrong_shape_are_refused(
    deployment: Deployment, path: str, source: str, text: str
) -> None:
    refusal = start_refusal(deployment, module(path, source))
    assert refusal.code == "InvalidModules" and text in refusal.message


def test_a_validator_the_catalog_could_not_read_is_refused_at_the_push(deployment: Deployment) -> None:
    refusal = start_refusal(
        deployment, functions_module("a.js", """export const f = query('{"type":"riddle"}');""")
    )
    assert refusal.code == "InvalidModules" and "a.js:f" in refusal.message


def test_modules_that_only_others_import_define_no_functions(deployment: Deployment) -> None:
    shared = functions_module("_deps/SHARED.js", "export const f = query();")
    answer = deployment.start(shared, module("a.js", 'export { f } from "./_deps/SHARED.js";'))
    assert set(answer["analysis"][""]["functions"]) == {"a.js"}


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("export const tables = [];", "MissingSchemaExportError"),
        ("export default 7;", "InvalidSchemaExport"),
        ("export default { export: () => process.env.A };", "NoEnvironmentVariablesInSchema"),
        ('throw new Error("boom");', "InvalidSchema"),
        ("export default { export: () => 'no json' };", "InvalidSchema"),
    ],
)
def test_a_schema_that_cannot_be_evaluated_is_refused(deployment: Deployment, source: str, code: str) -> None:
    refusal = start_refusal(deployment, schema=module("schema.js", source))
    assert refusal.code == code
    assert refusal.message.startswith(PUSHING + "Hit an error while evaluating your schema:\n")


def test_a_schema_that_breaks_a_rule_keeps_the_rules_code(deployment: Deployment) -> None:
    refusal = start_refusal(deployment, schema=schema_module(table("a", x=["f", "f"])))
    assert refusal.code == "FieldsNotUniqueWithinIndex"


@pytest.mark.parametrize("dimensions", [1, 4_097])
def test_a_vector_has_from_2_to_4096_dimensions(deployment: Deployment, dimensions: int) -> None:
    index = {"indexDescriptor": "s", "vectorField": "f", "dimensions": dimensions, "filterFields": []}
    schema = schema_module({**table("a"), "vectorIndexes": [index]})
    refusal = start_refusal(deployment, schema=schema)
    assert refusal.code == "InvalidVectorDimensionError"
    assert f"Dimensions {dimensions} must be between 2 and 4096." in refusal.message


# --- auth config ---------------------------------------------------------------------------------------


def test_an_unset_variable_in_the_auth_config_is_named(deployment: Deployment) -> None:
    refusal = start_refusal(deployment, AUTH)
    text = "Environment variable ISSUER is used in auth config file but its value was not set"
    assert (refusal.code, refusal.message) == ("AuthConfigMissingEnvironmentVariable", PUSHING + text)


def test_providers_are_stored_at_the_finish_and_follow_their_variables(deployment: Deployment) -> None:
    def domains() -> list[str]:
        return [row["domain"] for row in deployment.database.documents("_auth")]

    deployment.operate(
        "update_environment_variables", {"changes": [{"name": "ISSUER", "value": "https://one"}]}
    )
    diff = deployment.push(AUTH)["authDiff"]
    assert [orjson.loads(text)["domain"] for text in diff["added"]] == ["https://one"] == domains()
    deployment.operate(
        "update_environment_variables", {"changes": [{"name": "ISSUER", "value": "https://two"}]}
    )
    assert domains() == ["https://two"]
    removal = {"changes": [{"name": "ISSUER"}]}
    refusal = refusal_of(deployment, "update_environment_variables", removal)
    assert refusal.code == "AuthConfigMissingEnvironmentVariable"
    assert deployment.push(OTHER)["authDiff"]["removed"] and domains() == []


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("export const providers = [];", "AuthConfigMissingExportError"),
        ("export default { providers: 7 };", "AuthConfigNotMatchingSchemaError"),
        ('throw new Error("boom");', "InvalidAuthConfig"),
        ("export default { providers: [], now: Date.now() };", "InvalidAuthConfig"),
    ],
)
def test_an_auth_config_that_says_nothing_is_refused(deployment: Deployment, source: str, code: str) -> None:
    assert start_refusal(deployment, module("auth.config.js", source)).code == code


# --- convex.config.js ----------------------------------------------------------------------------------


def app_module(**definition: Any) -> Any:
    text = json.dumps(
        {"definitionType": {"type": "app"}, "childComponents": [], "httpMounts": {}, **definition}
    )
    return module("convex.config.js", f"export default {{ export: () => ({text}) }};")


def declared(kind: Any, **rest: Any) -> Any:
    return ["KEY", {"type": "value", "value": json.dumps(kind), **rest}]


def test_a_required_variable_must_be_set_before_the_finish(deployment: Deployment) -> None:
    app = app_module(envVars=[declared({"type": "string"})])
    started = deployment.start(app=app)
    refusal = refusal_of(deployment, "finish_push", {"startPush": started})
    assert refusal.code == "MissingEnvironmentVariables" and "are not set: KEY." in refusal.message
    deployment.operate("update_environment_variables", {"changes": [{"name": "KEY", "value": "v"}]})
    deployment.push(app=app)
    refusal = refusal_of(deployment, "update_environment_variables", {"changes": [{"name": "KEY"}]})
    assert refusal.code == "RequiredEnvironmentVariable"


def test_an_optional_variable_need_not_be_set_but_must_match(deployment: Deployment) -> None:
    literal = {"type": "literal", "value": "on"}
    deployment.push(app=app_module(envVars=[declared(literal, optional=True)]))
    change = {"changes": [{"name": "KEY", "value": "off"}]}
    assert refusal_of(deployment, "update_environment_variables", change).code == "InvalidEnvironmentVariable"


@pytest.mark.parametrize(
    ("app", "code"),
    [
        (module("convex.config.js", "export default 7;"), "InvalidDefinition"),
        (module("convex.config.js", 'throw new Error("boom");'), "InvalidConvexConfig"),
        (app_module(definitionType={"type": "childComponent"}), "InvalidDefinition"),
        (app_module(envVars=[declared({"type": "number"})]), "InvalidEnvVarDeclaration"),
        (app_module(envVars=[declared({"type": "riddle"})]), "InvalidEnvVarDeclaration"),
        (app_module(childComponents=[{"name": "c", "path": "c"}]), "InvalidDefinition"),
    ],
)
def test_an_app_config_that_cannot_be_used_is_refused(deployment: Deployment, app: Any, code: str) -> None:
    assert start_refusal(deployment, app=app).code == code


# --- refusals of requests ------------------------------------------------------------------------------


def test_a_message_that_is_too_long_is_refused(deployment: Deployment) -> None:
    started = deployment.start(MESSAGES)
    body = {"startPush": started, "message": "x" * 1025}
    assert refusal_of(deployment, "finish_push", body).code == "PushMessageTooLong"
    deployment.finish(started, message="x" * 1024)


def test_reports_of_finished_pushes_are_dropped(deployment: Deployment) -> None:
    assert deployment.operate("report_push_completed", {"spans": ["AAAA"]}) is None
