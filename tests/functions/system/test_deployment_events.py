"""The history of a deployment: what is recorded, what never is, how it is read and forgotten (spec 02 21)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from functions.system.garbage import collect_step
from log.errors import BackendError
from log.limits import EVENT_NAMES_MAX, EVENT_RETENTION_DAYS

from ...support.deployment import Deployment, functions_module, push_body, schema_module, table

APP = functions_module("m.js", "export const f = mutation();")
LAST_PUSH = "_system/frontend/deploymentEvents.js:lastPushEvent"
PAGE = "_system/frontend/paginatedDeploymentEvents.js:default"
SINCE = "_system/frontend/listDeploymentEventsFromTime.js:default"
SECRET = "the value of a secret"


@pytest.fixture
def deployment() -> Deployment:
    deployment = Deployment()
    deployment.push(APP, schema=schema_module(table("notes", by_text=["text"])))
    return deployment


def page(deployment: Deployment, cursor: str | None = None, count: float = 100.0, **filters: Any) -> Any:
    options = {"cursor": cursor, "numItems": count}
    return deployment.query(PAGE, paginationOpts=options, filters=filters)


def told(deployment: Deployment) -> list[tuple[str, Any]]:
    """(action, metadata) of everything, oldest first."""
    return [(row["action"], row["metadata"]) for row in deployment.query(SINCE)]


def set_variable(deployment: Deployment, name: str, value: str | None) -> None:
    changes = [{"name": name, "value": value}]
    deployment.operate("update_environment_variables", {"changes": changes})


def test_a_push_says_what_came_and_went_in_each_component(deployment: Deployment) -> None:
    deployment.push(APP, functions_module("n.js", "export const g = query();"))
    _, (action, metadata) = told(deployment)
    assert action == "push_config_with_components"
    (app,) = metadata["components"]
    assert (app["path"], app["type"], app["schemaChanged"]) == ("", "modify", True)
    assert app["moduleDiff"] == {"added": 1.0, "removed": 0.0}
    assert app["indexDiff"]["removed_indexes"] == 1.0
    assert deployment.query(LAST_PUSH)["metadata"] == metadata


def test_the_message_of_a_push_is_kept(deployment: Deployment) -> None:
    started = deployment.operate("start_push", push_body(APP))
    deployment.operate("wait_for_schema", {"schemaChange": started["schemaChange"]})
    deployment.operate("finish_push", {"startPush": started, "dryRun": False, "message": "for the fair"})
    assert deployment.query(LAST_PUSH)["metadata"]["message"] == "for the fair"


def test_before_the_first_push_there_is_none() -> None:
    assert Deployment().query(LAST_PUSH) is None


def test_a_dry_run_leaves_no_trace(deployment: Deployment) -> None:
    started = deployment.operate("start_push", {**push_body(APP), "dryRun": True})
    deployment.operate("finish_push", {"startPush": started, "dryRun": True, "message": None})
    assert len(told(deployment)) == 1


def test_variables_are_named_and_their_values_are_not_told(deployment: Deployment) -> None:
    set_variable(deployment, "KEY", SECRET)
    set_variable(deployment, "KEY", SECRET + "!")
    set_variable(deployment, "KEY", SECRET + "!")
    set_variable(deployment, "KEY", None)
    actions = ("create", "update", "delete")
    assert told(deployment)[1:] == [
        (f"{action}_environment_variable", {"variable_name": "KEY"}) for action in actions
    ], "setting it to what it was is no change"
    assert SECRET not in orjson.dumps(told(deployment)).decode()


def test_what_is_refused_is_not_recorded(deployment: Deployment) -> None:
    with pytest.raises(BackendError):
        set_variable(deployment, "not a name", "x")
    with pytest.raises(BackendError):
        deployment.operate("delete_tables", {"tableNames": ["notes"]})  # the schema declares it
    deployment.operate("delete_tables", {"tableNames": ["nowhere"]})
    assert len(told(deployment)) == 1


def test_pauses_and_deletions_are_told(deployment: Deployment) -> None:
    deployment.mutate("_system/frontend/addDocument.js:default", table="other", documents=[{"n": 1.0}])
    deployment.operate("pause_deployment")
    deployment.operate("pause_deployment")
    deployment.operate("unpause_deployment")
    deployment.mutate("_system/frontend/clearTablePage.js:default", tableName="other", cursor=None)
    deployment.operate("delete_tables", {"tableNames": ["other"]})
    deployment.operate("cancel_all_jobs")
    deployment.operate("delete_scheduled_functions")
    deployment.operate("revoke_admin_keys", {"keyId": "k"})
    assert told(deployment)[1:] == [
        ("change_deployment_state", {"old_state": "running", "new_state": "paused"}),
        ("change_deployment_state", {"old_state": "paused", "new_state": "running"}),
        ("clear_tables", {"table_names": ["other"], "component": ""}),
        ("delete_tables", {"table_names": ["other"], "component": ""}),
        ("cancel_all_scheduled_functions", {"udf_path": None, "component": None}),
        ("delete_scheduled_jobs_table", {"component": ""}),
        ("revoke_admin_keys", {"key_id": "k"}),
    ]


def test_an_event_names_no_more_tables_than_it_has_room_for(deployment: Deployment) -> None:
    names = [f"t{number:03}" for number in range(EVENT_NAMES_MAX + 1)]
    for name in names:
        deployment.mutate("_system/frontend/createTable.js:default", table=name)
    deployment.operate("delete_tables", {"tableNames": names})
    _, metadata = told(deployment)[-1]
    assert len(metadata["table_names"]) == EVENT_NAMES_MAX


def test_pages_go_back_in_time_and_filters_narrow_them(deployment: Deployment) -> None:
    for number in range(5):
        set_variable(deployment, f"V{number}", "x")
    rows = deployment.query(SINCE)
    first = page(deployment, count=4.0)
    second = page(deployment, first["continueCursor"], 4.0)
    assert [*first["page"], *second["page"]] == rows[::-1]
    assert second["isDone"]
    bounds = {"minDate": rows[2]["_creationTime"], "maxDate": rows[4]["_creationTime"]}
    assert page(deployment, **bounds)["page"] == rows[4:1:-1]
    pushes = page(deployment, actions=["push_config_with_components"])["page"]
    assert pushes == rows[:1] == [deployment.query(LAST_PUSH)]
    assert deployment.query(SINCE, fromTimestamp=rows[3]["_creationTime"]) == rows[3:]


def test_history_is_kept_for_its_time_and_not_longer(deployment: Deployment) -> None:
    made_ms = deployment.query(SINCE)[0]["_creationTime"]
    kept_ms = made_ms + EVENT_RETENTION_DAYS * 24 * 3_600_000
    deployment.database.transact(lambda transaction: collect_step(transaction, kept_ms))
    assert len(told(deployment)) == 1
    deployment.database.transact(lambda transaction: collect_step(transaction, kept_ms + 1))
    assert told(deployment) == []
