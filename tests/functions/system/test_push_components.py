"""Pushes of apps with components: what is made at the start, activated, unmounted and mounted again."""

from __future__ import annotations

from typing import Any

import pytest

from functions.catalog import ENABLED
from functions.components import owner_of
from functions.function_handles import create_handle
from functions.transaction import Transaction
from log.errors import BackendError

from ...support.deployment import (
    Deployment,
    functions_module,
    module,
    push_body,
    schema_module,
    string_fields,
    table,
)
from .push_cases import MESSAGES, stored_hashes
from .test_component_definitions import component, config

PATH = "../c"
CODE = functions_module("lib.js", "export const f = mutation(); export const g = query();")
CRONS = module(
    "crons.js",
    "export default { isCrons: true, export: () => JSON.stringify({ nightly: "
    '{ name: "lib:f", args: [{}], schedule: { type: "daily", hourUTC: 1, minuteUTC: 2 } } }) };',
)
NOTES = schema_module(table("notes", string_fields("text"), by_text=["text"]))


def pushed(*names: str, schema: Any = NOTES, code: Any = CODE, **top: Any) -> Any:
    """The body of a push of an app that mounts one component under each of the names."""
    uses = [{"name": name, "path": PATH, "args": [], "env": []} for name in names]
    app = config("app", uses=(PATH,), childComponents=uses)
    child = {**component(PATH, config("childComponent", "c")), "schema": schema, "functions": [code, CRONS]}
    body = push_body(MESSAGES, app=app, componentDefinitions=[child], **top)
    body["appDefinition"]["dependencies"] = [PATH]
    return body


def push(deployment: Deployment, body: Any) -> Any:
    """The diffs by component path."""
    started = deployment.operate("start_push", body)
    deployment.database.maintain()
    assert deployment.wait(started) == {"type": "complete"}
    return deployment.finish(started)["componentDiffs"]


def component_of(deployment: Deployment, path: str) -> Any:
    found = deployment.database.catalog.of_component(path)
    assert found is not None
    return found


def insert_note(deployment: Deployment, path: str, text: Any) -> str:
    def work(transaction: Transaction) -> str:
        transaction.enter_component(path)
        return transaction.insert("notes", {"text": text})

    return deployment.database.transact(work)


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


def test_a_component_exists_from_the_start_and_is_mounted_at_the_finish(deployment: Deployment) -> None:
    started = deployment.operate("start_push", pushed("a", "b"))
    assert started["schemaChange"]["schemaIds"].keys() == {"", "a", "b"}
    assert started["app"]["childComponents"]["a"]["exports"]["lib"]["children"].keys() == {"f", "g"}
    before = component_of(deployment, "a")
    assert not before.component.is_mounted and before.modules == {} and "notes" in before.tables
    deployment.database.maintain()
    diffs = deployment.finish(started)["componentDiffs"]
    assert {path: diff["diffType"]["type"] for path, diff in diffs.items()} == {
        "": "modify",
        "a": "create",
        "b": "create",
    }
    assert diffs["a"]["moduleDiff"]["added"] == ["crons.js", "lib.js"]
    assert diffs["a"]["cronDiff"]["added"] == ["nightly"]
    after = component_of(deployment, "a")
    assert after.component.is_mounted and set(after.modules) == {"crons.js", "lib.js"}
    assert after.tables["notes"].index("by_text").state == ENABLED
    assert "notes" not in deployment.database.catalog.tables


def test_an_unchanged_push_changes_nothing(deployment: Deployment) -> None:
    push(deployment, pushed("a"))
    diffs = push(deployment, pushed("a"))
    assert diffs["a"]["diffType"] == {"type": "modify"}
    assert diffs["a"]["moduleDiff"] == {"added": [], "removed": []}
    assert diffs["a"]["indexDiff"]["added_indexes"] == [] and diffs["a"]["schemaDiff"] is None


def test_each_instance_enforces_its_own_schema(deployment: Deployment) -> None:
    push(deployment, pushed("a", "b"))
    insert_note(deployment, "a", "fine")
    with pytest.raises(BackendError) as raised:
        insert_note(deployment, "b", 7.0)
    assert raised.value.code == "SchemaEnforcementError"
    deployment.database.insert("notes", {"text": 7.0})  # the app has no such rule


def test_a_schema_that_one_instance_violates_fails_and_names_it(deployment: Deployment) -> None:
    push(deployment, pushed("a", "b", schema=None))
    insert_note(deployment, "a", "fine")
    insert_note(deployment, "b", 7.0)
    started = deployment.operate("start_push", pushed("a", "b"))
    deployment.database.maintain()
    answer = deployment.wait(started)
    assert (answer["type"], answer["componentPath"], answer["tableName"]) == ("failed", "b", "notes")
    with pytest.raises(BackendError):
        deployment.finish(started)
    assert component_of(deployment, "a").schema is None, "nothing of the push is active"


def test_indexes_of_a_component_are_filled_before_the_push_can_finish(deployment: Deployment) -> None:
    push(deployment, pushed("a", schema=schema_module(table("notes", string_fields("text")))))
    insert_note(deployment, "a", "old")
    started = deployment.operate("start_push", pushed("a"))
    progress = deployment.wait(started)
    assert progress["type"] == "inProgress" and progress["components"]["a"]["indexesTotal"] == 1
    assert progress["components"]["a"]["indexesComplete"] == 0
    deployment.database.maintain()
    assert deployment.wait(started) == {"type": "complete"}


def test_an_unmounted_component_keeps_its_data_and_has_it_again_when_it_is_mounted(
    deployment: Deployment,
) -> None:
    push(deployment, pushed("a", "b"))
    note = insert_note(deployment, "b", "kept")
    handle = deployment.database.transact(
        lambda tx: (tx.enter_component("b"), create_handle(tx, {"name": "lib:f"}))[1]
    )
    diffs = push(deployment, pushed("a"))
    assert diffs["b"]["diffType"] == {"type": "unmount"} and diffs["b"]["cronDiff"]["deleted"] == ["nightly"]
    unmounted = component_of(deployment, "b")
    assert not unmounted.component.is_mounted and unmounted.modules == {} and "notes" in unmounted.tables
    rows = deployment.database.documents("_function_handles")
    (row,) = [row for row in rows if row["_id"] in handle]
    assert row["deletedTs"] is not None
    diffs = push(deployment, pushed("a", "b"))
    assert diffs["b"]["diffType"] == {"type": "remount"}
    transaction = deployment.database.begin()
    transaction.enter_component("b")
    assert transaction.get(transaction.catalog.tables["notes"], note) is not None
    (row,) = [row for row in deployment.database.documents("_function_handles") if row["_id"] in handle]
    assert row["deletedTs"] is None


def test_texts_of_components_are_kept_while_somebody_names_them(deployment: Deployment) -> None:
    push(deployment, pushed("a", "b"))
    with_components = stored_hashes(deployment)
    push(deployment, push_body(MESSAGES))
    assert stored_hashes(deployment) < with_components
    assert len(stored_hashes(deployment)) == 1


def test_code_generation_installs_nothing(deployment: Deployment) -> None:
    started = deployment.operate("start_push", pushed("a", forCodegen=True))
    assert started["schemaChange"]["indexDiffs"]["a"]["added_indexes"]
    assert deployment.database.documents("_components") == []


def test_evaluating_a_schema_answers_for_each_instance(deployment: Deployment) -> None:
    push(deployment, pushed("a"))
    insert_note(deployment, "a", "one")
    narrower = schema_module(table("notes", string_fields("text", "more"), by_text=["text"]))
    answer = deployment.operate("evaluate_schema", pushed("a", "new", schema=narrower))
    evaluations = answer["componentSchemaEvaluations"]
    assert evaluations.keys() == {"", "a", "new"}
    assert [evaluations[path]["tables"][0]["numDocs"] for path in ("a", "new")] == [1, 0]
    assert [evaluations[path]["indexes"][0]["change"] for path in ("a", "new")] == ["identical", "added"]


def test_crons_of_one_name_in_two_instances_are_two(deployment: Deployment) -> None:
    push(deployment, pushed("a", "b"))
    crons = deployment.database.documents("_cron_jobs")
    assert sorted((owner_of(cron), cron["name"]) for cron in crons) == [
        ("a", "nightly"),
        ("b", "nightly"),
    ]
    assert len(deployment.database.documents("_cron_next_run")) == 2


def test_the_dashboard_lists_the_instances_with_their_modules(deployment: Deployment) -> None:
    push(deployment, pushed("a", "b"))
    push(deployment, pushed("a"))
    listed = deployment.query("_system/frontend/components.js:list")
    assert [(each["path"], each["state"]) for each in listed] == [
        ("", "active"),
        ("a", "active"),
        ("b", "unmounted"),
    ]
    modules = dict(deployment.query("_system/frontend/modules.js:listForAllComponents"))
    assert [path for path, _ in modules[listed[1]["id"]]] == ["crons.js", "lib.js"]
