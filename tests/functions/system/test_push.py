"""A push from its bundle to running code: texts, import phase, races (spec 02 4-8)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.images import image_request
from functions.system.push import AnalysedWith
from log.errors import BackendError, ErrorKind

from ...support.deployment import (
    Deployment,
    hash_of,
    module,
    push_body,
    schema_module,
    table,
)
from ...support.javascript import bundle, engine
from .push_cases import HTTP, MESSAGES, OTHER, PUSHING, refusal_of, start_refusal, stored_hashes


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


# --- from bundle to running code -----------------------------------------------------------------------


def test_a_push_is_active_only_after_it_finished(deployment: Deployment) -> None:
    started = deployment.start(MESSAGES)
    assert deployment.database.catalog.modules == {}
    deployment.finish(started)
    functions = deployment.database.catalog.modules["messages.js"].functions
    found = {name: (each.udf_type, each.is_public) for name, each in functions.items()}
    assert found == {"list": ("Query", True), "send": ("Mutation", True), "sweep": ("Action", False)}


def test_the_answer_names_functions_with_their_validators(deployment: Deployment) -> None:
    answer = deployment.start(MESSAGES)
    functions = answer["analysis"][""]["functions"]["messages.js"]["functions"]
    assert functions[0] == {
        "name": "list",
        "pos": None,
        "udfType": "Query",
        "visibility": {"kind": "public"},
        "args": '{"type":"object","value":{}}',
        "returns": '{"type":"string"}',
    }
    assert functions[1]["returns"] is None
    assert functions[2]["visibility"] == {"kind": "internal"}


def test_the_push_id_is_at_both_places_the_cli_echoes(deployment: Deployment) -> None:
    answer = deployment.start(MESSAGES)
    assert answer["pushId"] == answer["schemaChange"]["pushId"] != ""


def test_a_real_bundle_of_the_npm_package_is_analysed_and_runs_nowhere_else(deployment: Deployment) -> None:
    files = {path: module(path, text.decode()) for path, text in bundle("chat").items()}
    schema, app, crons = (files.pop(path) for path in ("schema.js", "convex.config.js", "crons.js"))
    deployment.operate(
        "update_environment_variables", {"changes": [{"name": "ISSUER", "value": "https://i"}]}
    )
    answer = deployment.start(*files.values(), schema=schema, app=app)
    names = [each["name"] for each in answer["analysis"][""]["functions"]["messages.js"]["functions"]]
    assert names == sorted(names) and {"list", "send", "clear", "greet"} <= set(names)
    assert answer["appAuth"] == [{"applicationID": "convex", "domain": "https://i"}]
    with_crons = deployment.start(*files.values(), crons, schema=schema, app=app)
    specs = with_crons["analysis"][""]["functions"]["crons.js"]["cronSpecs"]
    assert [spec["identifier"] for spec in specs] == ["sweep"]


def test_the_analysis_and_later_calls_share_one_image(deployment: Deployment) -> None:
    deployment.push(MESSAGES, OTHER)
    catalog, context = deployment.database.catalog, deployment.context
    sources = {each["path"]: each["source"].encode() for each in (MESSAGES, OTHER)}
    environment = {**context.system_environment, **catalog.environment}
    request = image_request(sources, environment, catalog.udf_config)
    prepared = deployment.prepare("start_push", push_body(MESSAGES, OTHER))
    again = image_request(sources, environment, prepared.udf_config)
    assert engine().build_image(request).key == engine().build_image(again).key


def test_http_routes_are_stored_and_answered(deployment: Deployment) -> None:
    answer = deployment.start(HTTP)
    routes = [{"path": "/hi", "method": "GET"}, {"path": "/files/*", "method": "POST"}]
    assert answer["app"]["httpRoutes"]["httpModuleRoutes"] == routes
    deployment.finish(answer)
    stored = deployment.database.catalog.modules["http.js"].analysis["httpRoutes"]
    assert [each["route"] for each in stored] == routes


def test_an_empty_crons_file_is_accepted(deployment: Deployment) -> None:
    crons = module("crons.js", "export default { isCrons: true, export: () => '{}' };")
    assert deployment.push(crons)["componentDiffs"][""]["moduleDiff"]["added"] == ["crons.js"]


def test_the_diff_of_a_second_push_names_what_came_and_went(deployment: Deployment) -> None:
    deployment.push(MESSAGES, OTHER, schema=schema_module(table("a", x=["f"])))
    diff = deployment.push(MESSAGES, HTTP, version="1.49.0")["componentDiffs"][""]
    assert diff["moduleDiff"] == {"added": ["http.js"], "removed": ["other.js"]}
    assert diff["udfConfigDiff"] == {"previous_version": "1.48.0", "next_version": "1.49.0"}
    assert [each["name"] for each in diff["indexDiff"]["removed_indexes"]] == ["a.x"]
    assert diff["schemaDiff"]["next_schema"] is None
    assert json.loads(diff["schemaDiff"]["previous_schema"])["tables"][0]["tableName"] == "a"
    assert deployment.indexes() == {}
    assert deployment.database.catalog.schema is None


def test_an_identical_second_push_changes_nothing_but_the_push_itself(deployment: Deployment) -> None:
    pushed = (MESSAGES, OTHER)
    deployment.push(*pushed, schema=schema_module(table("a", x=["f"])))
    before = deployment.database.catalog
    diff = deployment.push(unchanged=pushed, schema=schema_module(table("a", x=["f"])))["componentDiffs"][""]
    assert diff["moduleDiff"] == {"added": [], "removed": []}
    assert (diff["udfConfigDiff"], diff["schemaDiff"]) == (None, None)
    after = deployment.database.catalog
    assert AnalysedWith.of(before) == AnalysedWith.of(after)
    assert before.ts == after.ts, "an unchanged push re-runs no query"


# --- module texts --------------------------------------------------------------------------------------


def test_hashes_are_those_of_source_and_map(deployment: Deployment) -> None:
    mapped = module("mapped.js", "export {};", '{"version":3,"sources":[],"mappings":""}')
    assert deployment.operate("get_config_hashes")["moduleHashes"] == []
    deployment.push(mapped, MESSAGES)
    answer = deployment.operate("get_config_hashes")
    assert answer["config"] == {"functions": "convex/"} and answer["udfServerVersion"] == "1.48.0"
    assert answer["moduleHashes"] == [
        {"path": each["path"], "hash": hash_of(each), "environment": "isolate"} for each in (mapped, MESSAGES)
    ]


def test_an_unchanged_module_is_taken_from_the_store(deployment: Deployment) -> None:
    deployment.push(MESSAGES)
    answer = deployment.start(OTHER, unchanged=(MESSAGES,))
    assert set(answer["analysis"][""]["functions"]) == {"messages.js", "other.js"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"path": "gone.js"}, "MissingExistingModule"),
        ({"sha256": "0" * 64}, "ExistingModuleHashConflict"),
    ],
)
def test_an_unchanged_module_we_do_not_have_is_a_409(
    deployment: Deployment, change: dict[str, str], code: str
) -> None:
    deployment.push(MESSAGES)
    body = push_body(unchanged=(MESSAGES,))
    body["appDefinition"]["unchangedModuleHashes"][0] |= change
    refusal = refusal_of(deployment, "start_push", body)
    assert (refusal.code, refusal.kind) == (code, ErrorKind.CONFLICT)


def test_an_unchanged_module_whose_text_is_lost_is_a_409(deployment: Deployment) -> None:
    deployment.push(MESSAGES)

    def lose(transaction: Any) -> None:
        sources = transaction.catalog.tables["_module_sources"]
        for row in transaction.all_documents(sources):
            transaction.delete(sources, row["_id"])

    deployment.database.transact(lose)
    assert start_refusal(deployment, unchanged=(MESSAGES,)).code == "MissingExistingModuleMetadata"


def test_an_unchanged_module_of_another_environment_is_a_409(deployment: Deployment) -> None:
    deployment.push(MESSAGES)

    def change(transaction: Any) -> None:
        modules = transaction.catalog.tables["_modules"]
        for row in transaction.all_documents(modules):
            transaction.patch(modules, row["_id"], {"environment": "node"})

    deployment.database.transact(change)
    assert start_refusal(deployment, unchanged=(MESSAGES,)).code == "ExistingModuleEnvConflict"


def test_texts_are_kept_exactly_while_an_active_or_staged_push_names_them(deployment: Deployment) -> None:
    deployment.push(MESSAGES)
    deployment.start(OTHER)
    assert stored_hashes(deployment) == {hash_of(MESSAGES), hash_of(OTHER)}
    started = deployment.start(HTTP, unchanged=(MESSAGES,))
    assert stored_hashes(deployment) == {hash_of(MESSAGES), hash_of(HTTP)}
    deployment.finish(started)
    assert stored_hashes(deployment) == {hash_of(MESSAGES), hash_of(HTTP)}
    deployment.push(OTHER)
    assert stored_hashes(deployment) == {hash_of(OTHER)}


def test_abandoning_a_push_that_kept_an_active_module_keeps_its_text(deployment: Deployment) -> None:
    deployment.push(MESSAGES)
    deployment.start(OTHER, unchanged=(MESSAGES,))
    deployment.start(HTTP)
    assert stored_hashes(deployment) == {hash_of(MESSAGES), hash_of(HTTP)}


def test_two_modules_of_one_text_share_it(deployment: Deployment) -> None:
    deployment.push(module("a.js", "export {};"), module("b.js", "export {};"))
    assert len(stored_hashes(deployment)) == 1
    deployment.push(unchanged=(module("a.js", "export {};"),))
    assert len(stored_hashes(deployment)) == 1


# --- the import phase ----------------------------------------------------------------------------------


def test_seed_and_time_of_the_import_phase_change_only_with_the_version(deployment: Deployment) -> None:
    def config() -> tuple[bytes, int]:
        stored = deployment.database.catalog.udf_config
        assert stored is not None
        return stored["importPhaseRngSeed"], stored["importPhaseUnixTimestamp"]

    deployment.push(MESSAGES)
    first = config()
    deployment.push(MESSAGES, OTHER)
    assert config() == first
    deployment.push(MESSAGES, version="1.49.0")
    assert config() != first and len(config()[0]) == 32


# --- two pushes, or a push and something else ----------------------------------------------------------


def test_the_later_of_two_pushes_wins(deployment: Deployment) -> None:
    first, second = deployment.start(MESSAGES), deployment.start(OTHER)
    assert deployment.wait(first) == {"type": "raceDetected"}
    refusal = refusal_of(deployment, "finish_push", {"startPush": first})
    assert refusal.code == "RaceDetected" and refusal.message.startswith(PUSHING)
    deployment.finish(second)
    assert set(deployment.database.catalog.modules) == {"other.js"}


def test_a_push_cannot_be_finished_twice(deployment: Deployment) -> None:
    started = deployment.start(MESSAGES)
    deployment.finish(started)
    assert refusal_of(deployment, "finish_push", {"startPush": started}).code == "RaceDetected"


@pytest.mark.parametrize("echoed", [None, {}, {"pushId": 7}, {"pushId": "nonsense"}, []])
def test_only_an_id_of_ours_finishes_a_push(deployment: Deployment, echoed: Any) -> None:
    deployment.start(MESSAGES)
    assert refusal_of(deployment, "finish_push", {"startPush": echoed}).code == "RaceDetected"
    assert deployment.operate("wait_for_schema", {"schemaChange": echoed}) == {"type": "raceDetected"}


def test_what_the_client_echoes_beside_the_id_is_not_looked_at(deployment: Deployment) -> None:
    started = deployment.start(MESSAGES)
    deployment.finish(
        {"pushId": started["pushId"], "analysis": {"": "forged"}, "environmentVariables": {"A": "1"}}
    )
    assert set(deployment.database.catalog.modules) == {"messages.js"}


def test_variables_that_changed_during_the_push_refuse_its_finish(deployment: Deployment) -> None:
    started = deployment.start(MESSAGES)
    deployment.operate("update_environment_variables", {"changes": [{"name": "A", "value": "1"}]})
    refusal = refusal_of(deployment, "finish_push", {"startPush": started})
    assert refusal.code == "RaceDetected"
    assert refusal.message == PUSHING + "Environment variables have changed during push"


@pytest.mark.parametrize("meanwhile", ["variable", "push"])
def test_what_changed_between_analysis_and_staging_is_a_409(deployment: Deployment, meanwhile: str) -> None:
    body = push_body(MESSAGES)
    prepared = deployment.prepare("start_push", body)
    if meanwhile == "variable":
        deployment.operate("update_environment_variables", {"changes": [{"name": "A", "value": "1"}]})
    else:
        deployment.push(OTHER)
    with pytest.raises(BackendError) as raised:
        deployment.apply("start_push", body, prepared)
    assert (raised.value.code, raised.value.kind) == ("ConcurrentPush", ErrorKind.CONFLICT)
