"""A deployment that is paused: what is refused, what goes on, and what becomes of its crons (spec 02 22)."""

from __future__ import annotations

from typing import Any

import pytest

from functions import cron_jobs
from functions.call_checks import Invocation, Refused, resolve
from functions.path import parse_function_path
from log.errors import BackendError
from log.identity import ADMIN

from ...support.deployment import Deployment, functions_module, module
from ..test_crons import MINUTELY, SECOND_NS, crons_module, next_runs

APP = functions_module("m.js", "export const f = mutation();")
CALL = Invocation(parse_function_path("m:f"), "Mutation", b"[{}]", ADMIN, may_call_internal=True)
STATE = "_system/frontend/deploymentState.js:deploymentState"
STATES = "_system/frontend/backendState.js:backendState"


@pytest.fixture
def deployment() -> Deployment:
    deployment = Deployment()
    deployment.push(APP, crons_module(job=("m:f", {}, MINUTELY)))
    return deployment


def refusal(run: Any, *arguments: Any) -> tuple[str, str]:
    with pytest.raises(BackendError) as refused:
        run(*arguments)
    return refused.value.code, refused.value.message


def test_no_function_is_entered_while_it_is_paused_not_even_an_admins(deployment: Deployment) -> None:
    resolve(deployment.database.catalog, CALL)
    deployment.operate("pause_deployment")
    with pytest.raises(Refused, match="Cannot run functions while this deployment is paused"):
        resolve(deployment.database.catalog, CALL)
    deployment.operate("unpause_deployment")
    resolve(deployment.database.catalog, CALL)


def test_components_stop_with_the_app() -> None:
    deployment = Deployment()
    deployment.operate("pause_deployment")
    assert all(catalog.is_paused for catalog in deployment.database.catalog.everywhere())


def test_the_dashboard_sees_the_state(deployment: Deployment) -> None:
    running = {"system": "none", "usage_limit": "none", "user": "none"}
    assert deployment.query(STATE) == {"state": "running"} and deployment.query(STATES) == running
    deployment.operate("pause_deployment")
    assert deployment.query(STATE) == {"state": "paused"}
    assert deployment.query(STATES) == {**running, "user": "paused"}
    deployment.operate("unpause_deployment")
    assert deployment.query(STATE) == {"state": "running"} and deployment.query(STATES) == running


def test_pausing_twice_is_one_pause_and_resuming_twice_is_refused(deployment: Deployment) -> None:
    deployment.operate("pause_deployment")
    deployment.operate("pause_deployment")
    deployment.operate("unpause_deployment")
    expected = ("UnpauseDeploymentFailed", "Deployment is not currently paused.")
    assert refusal(deployment.operate, "unpause_deployment") == expected


def test_a_push_goes_through_and_counts_when_functions_run_again(deployment: Deployment) -> None:
    deployment.operate("pause_deployment")
    deployment.push(functions_module("n.js", "export const g = mutation();"), module("x.js", "export {};"))
    deployment.operate("unpause_deployment")
    assert sorted(deployment.database.catalog.modules) == ["n.js", "x.js"]


def test_files_are_neither_taken_nor_given(deployment: Deployment) -> None:
    deployment.operate("pause_deployment")
    text = "Cannot perform this operation when the backend is not running"
    for name in ("store_file", "locate_file"):
        body = {"component": "", "storageId": "", "storageKey": "", "sha256": "", "size": 0}
        assert refusal(deployment.operate, name, body) == ("BackendIsNotRunning", text)


def test_runs_of_crons_that_fall_into_the_pause_are_left_out(deployment: Deployment) -> None:
    database, due_ns = deployment.database, next_runs(deployment)["job"]
    deployment.operate("pause_deployment")
    database.now_ns = due_ns + 150 * SECOND_NS
    deployment.operate("unpause_deployment")
    assert next_runs(deployment)["job"] == due_ns + 180 * SECOND_NS
    statuses = [log["status"] for log in database.documents(cron_jobs.LOGS)]
    assert statuses == [{"type": "canceled", "num_canceled": 3}], "at 0, 60 and 120 seconds"


def test_a_cron_that_is_due_after_the_pause_keeps_its_time(deployment: Deployment) -> None:
    database = deployment.database
    (row,) = database.documents(cron_jobs.NEXT_RUNS)
    later_ns = database.now_ns + 40 * SECOND_NS
    table = database.catalog.tables[cron_jobs.NEXT_RUNS]
    database.transact(lambda transaction: transaction.patch(table, row["_id"], {"nextTs": later_ns}))
    deployment.operate("pause_deployment")
    deployment.operate("unpause_deployment")
    assert next_runs(deployment)["job"] == later_ns
    assert database.documents(cron_jobs.LOGS) == []
