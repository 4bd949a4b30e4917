"""What the dashboard's pages ask of an app: modules, crons, scheduled functions, files."""

from __future__ import annotations

from typing import Any

import pytest

from functions import scheduled_jobs
from functions.function_address import FunctionAddress
from functions.path import parse_function_path
from functions.system.files import insert_file
from log.blob_store import StoredBlob

from ...support.deployment import Deployment, functions_module, module

FOLDER = "_system/frontend"
CRONS = """
export default {
  isCrons: true,
  export: () => JSON.stringify({
    nightly: { name: "m:f", args: [{}], schedule: { type: "daily", hourUTC: 3, minuteUTC: 0 } },
  }),
};
"""


@pytest.fixture
def deployment() -> Deployment:
    deployment = Deployment()
    code = 'export const f = mutation(\'{"type":"object","value":{}}\'); export const g = internalAction();'
    deployment.push(functions_module("m.js", code), module("crons.js", CRONS))
    return deployment


def schedule(deployment: Deployment, path: str, in_seconds: float) -> str:
    at_seconds = deployment.database.now_ns / 1e9 + in_seconds

    def work(transaction: Any) -> str:
        return scheduled_jobs.schedule(
            transaction, FunctionAddress("", parse_function_path(path)), {}, at_seconds
        )

    return deployment.database.transact(work)


def jobs_page(deployment: Deployment, cursor: str | None, count: float, **args: Any) -> Any:
    options = {"cursor": cursor, "numItems": count}
    return deployment.query(f"{FOLDER}/paginatedScheduledJobs.js:default", paginationOpts=options, **args)


def test_modules_are_listed_with_their_functions(deployment: Deployment) -> None:
    listed = deployment.query(f"{FOLDER}/modules.js:list")
    assert [path for path, _ in listed] == ["crons.js", "m.js"]
    assert listed[1][1]["functions"] == [
        {"name": "f", "udfType": "Mutation", "visibility": {"kind": "public"}},
        {"name": "g", "udfType": "Action", "visibility": {"kind": "internal"}},
    ]
    assert deployment.query(f"{FOLDER}/modules.js:listForAllComponents") == [[None, listed]]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("m.js:f", '{"type":"object","value":{}}'),
        ("m:g", '{"type":"any"}'),
        ("m:nope", None),
        ("nowhere:f", None),
    ],
)
def test_the_validator_of_a_function_is_given_as_pushed(
    deployment: Deployment, function: str, expected: str | None
) -> None:
    assert deployment.query(f"{FOLDER}/modules.js:argsValidator", function=function) == expected


def test_crons_are_shown_with_their_next_run(deployment: Deployment) -> None:
    [cron] = deployment.query(f"{FOLDER}/listCronJobs.js:default")
    assert (cron["name"], cron["cronSpec"]["udfPath"]) == ("nightly", "m.js:f")
    assert cron["nextRun"]["cronJobId"] == cron["_id"] and cron["nextRun"]["state"] == {"type": "pending"}
    assert cron["lastRun"] is None
    assert deployment.query(f"{FOLDER}/listCronJobRuns.js:default") == []


def test_pages_of_pending_jobs_give_each_once_in_the_order_they_are_due(deployment: Deployment) -> None:
    ids = {seconds: schedule(deployment, "m:f", seconds) for seconds in (30, 10, 20)}
    ended = schedule(deployment, "m:f", 5)
    deployment.operate("cancel_job", {"id": ended})
    found, cursor, is_done = [], None, False
    while not is_done:
        page = jobs_page(deployment, cursor, 2.0)
        found += page["page"]
        cursor, is_done = page["continueCursor"], page["isDone"]
    assert [job["_id"] for job in found] == [ids[10], ids[20], ids[30]]
    assert found[0]["udfArgs"] == b"[{}]" and found[0]["state"] == {"type": "pending"}
    assert jobs_page(deployment, cursor, 2.0)["page"] == []


def test_pending_jobs_of_one_function_are_found_behind_those_of_others(deployment: Deployment) -> None:
    for seconds in range(4):
        schedule(deployment, "m:f", seconds)
    wanted = schedule(deployment, "m:g", 9)
    page = jobs_page(deployment, None, 1.0, udfPath="m:g")
    assert [job["_id"] for job in page["page"]] == [wanted]


def test_files_are_counted_listed_and_found_with_their_addresses(deployment: Deployment) -> None:
    ids = [
        deployment.database.transact(
            lambda transaction, n=n: insert_file(transaction, StoredBlob(f"k{n}", bytes(32), n), "text/plain")
        )
        for n in range(3)
    ]
    assert deployment.query(f"{FOLDER}/fileStorageV2.js:numFiles") == 3.0
    options = {"cursor": None, "numItems": 2.0}
    page = deployment.query(f"{FOLDER}/fileStorageV2.js:fileMetadata", paginationOpts=options)
    assert [row["_id"] for row in page["page"]] == [ids[2], ids[1]] and not page["isDone"]
    row = deployment.query(f"{FOLDER}/fileStorageV2.js:getFile", storageId=ids[2])
    assert row == page["page"][0] and row["url"].startswith("http://cloud.test/api/storage/")
    oldest = {"paginationOpts": options, "filters": {"order": "asc", "minCreationTime": None}}
    found = deployment.query(f"{FOLDER}/fileStorageV2.js:fileMetadata", **oldest)
    assert found["page"][0]["_id"] == ids[0]
    time_ms = row["_creationTime"]
    for filters, expected in (
        ({"minCreationTime": time_ms}, [ids[2]]),
        ({"maxCreationTime": time_ms - 0.001, "order": "asc"}, ids[:2]),
        ({"minCreationTime": time_ms + 1, "maxCreationTime": time_ms + 2}, []),
    ):
        args = {"paginationOpts": options, "filters": filters}
        found = deployment.query(f"{FOLDER}/fileStorageV2.js:fileMetadata", **args)
        assert [each["_id"] for each in found["page"]] == expected
