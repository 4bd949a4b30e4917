"""What the dashboard writes and deletes: documents, tables, components, scheduled functions (spec 02 21)."""

from __future__ import annotations

import base64
import random
from typing import Any

import orjson
import pytest

from functions import scheduled_jobs
from functions.components import COMPONENTS
from functions.function_address import FunctionAddress
from functions.path import parse_function_path
from functions.system.component_rows import install
from functions.system.files import FILES, insert_file
from log.blob_store import StoredBlob
from log.errors import BackendError
from log.limits import DASHBOARD_CLEARED_PER_CALL, DASHBOARD_DOCUMENTS_MAX

from ...support.deployment import Deployment, functions_module, schema_module, string_fields, table

FOLDER = "_system/frontend"
PLACEHOLDER = "__CONVEX_PLACEHOLDER_undefined_4b1c"


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


def edit(deployment: Deployment, name: str, **args: Any) -> Any:
    return deployment.mutate(f"{FOLDER}/{name}.js:default", **args)


def add(deployment: Deployment, *documents: dict[str, Any]) -> list[str]:
    """Ids of new documents of the table `t`, in their order."""
    assert edit(deployment, "addDocument", table="t", documents=list(documents)) == {"success": True}
    rows = sorted(deployment.database.documents("t"), key=lambda row: float(row["_creationTime"]))
    return [row["_id"] for row in rows][-len(documents) :]


def bodies(deployment: Deployment) -> list[dict[str, Any]]:
    rows = sorted(deployment.database.documents("t"), key=lambda row: float(row["_creationTime"]))
    return [{name: row[name] for name in row if not name.startswith("_")} for row in rows]


# --- documents --------------------------------------------------------------------------------------


def test_documents_are_added_replaced_patched_and_deleted(deployment: Deployment) -> None:
    first, second, third = add(deployment, {"n": 1.0, "s": "x"}, {"n": 2.0}, {"n": 3.0})
    assert edit(deployment, "replaceDocument", id=first, document={"m": 1.0}) == {"success": True}
    patch = {"n": 9.0, "s": PLACEHOLDER}
    assert edit(deployment, "patchDocumentsFields", table="t", ids=[second], fields=patch) == {
        "success": True
    }
    assert bodies(deployment) == [{"m": 1.0}, {"n": 9.0}, {"n": 3.0}]
    assert edit(deployment, "patchDocumentsFields", table="t", fields={"n": PLACEHOLDER, "all": True})
    assert bodies(deployment) == [{"m": 1.0, "all": True}, {"all": True}, {"all": True}]
    doomed = [{"id": each, "tableName": "t"} for each in (first, third, third)]
    assert edit(deployment, "deleteDocuments", toDelete=doomed) == {"success": True}
    assert [row["_id"] for row in deployment.database.documents("t")] == [second]


def test_a_document_that_is_gone_is_an_answer(deployment: Deployment) -> None:
    (gone,) = add(deployment, {"n": 1.0})
    edit(deployment, "deleteDocuments", toDelete=[{"id": gone, "tableName": "t"}])
    for document_id in (gone, "nonsense", deployment.database.documents("_tables")[0]["_id"]):
        answer = edit(deployment, "replaceDocument", id=document_id, document={})
        assert answer == {"success": False, "error": "Document does not exist."}


def test_more_than_may_be_at_once_is_an_answer_and_nothing_is_done(deployment: Deployment) -> None:
    too_many = [{}] * (DASHBOARD_DOCUMENTS_MAX + 1)
    assert not edit(deployment, "addDocument", table="t", documents=too_many)["success"]
    assert not edit(deployment, "deleteDocuments", toDelete=too_many)["success"]
    assert deployment.database.documents("t") == []
    assert edit(deployment, "addDocument", table="t", documents=too_many[1:]) == {"success": True}
    assert edit(deployment, "patchDocumentsFields", table="t", fields={"n": 1.0}) == {"success": True}
    add(deployment, {})
    assert not edit(deployment, "patchDocumentsFields", table="t", fields={"n": 2.0})["success"]


def test_what_the_schema_refuses_is_thrown_with_its_text_as_data(deployment: Deployment) -> None:
    deployment.push(schema=schema_module(table("t", string_fields("s"))))
    (kept,) = add(deployment, {"s": "good"})
    for name, args in (
        ("addDocument", {"table": "t", "documents": [{"s": "good"}, {"s": 1.0}]}),
        ("replaceDocument", {"id": kept, "document": {}}),
        ("patchDocumentsFields", {"table": "t", "fields": {"s": PLACEHOLDER}}),
    ):
        with pytest.raises(BackendError) as raised:
            edit(deployment, name, **args)
        assert (
            raised.value.data == raised.value.message and "does not match the schema" in raised.value.message
        )
    assert bodies(deployment) == [{"s": "good"}]


def test_a_table_is_cleared_in_calls_of_bounded_size(deployment: Deployment) -> None:
    for _ in range(2):
        add(deployment, *({} for _ in range(DASHBOARD_CLEARED_PER_CALL // 2)))
    add(deployment, {"last": True})
    cleared = edit(deployment, "clearTablePage", tableName="t", cursor=None)
    expected = {"deleted": float(DASHBOARD_CLEARED_PER_CALL), "hasMore": True, "continueCursor": ""}
    assert cleared == expected and bodies(deployment) == [{"last": True}]
    assert edit(deployment, "clearTablePage", tableName="t", cursor="")["hasMore"] is False
    assert bodies(deployment) == []


def test_a_table_of_large_documents_is_cleared_in_more_calls_and_changed_in_none(
    deployment: Deployment,
) -> None:
    for _ in range(2):
        add(deployment, *({"text": "x" * 500_000} for _ in range(10)))
    refused = edit(deployment, "patchDocumentsFields", table="t", fields={"n": 1.0})
    assert not refused["success"] and "4 MiB" in refused["error"]
    deleted, calls = 0.0, 0
    while (said := edit(deployment, "clearTablePage", tableName="t", cursor=""))["hasMore"]:
        deleted, calls = deleted + said["deleted"], calls + 1
    assert deleted + said["deleted"] == 20 and calls == 2
    assert bodies(deployment) == []


def test_system_tables_are_not_edited(deployment: Deployment) -> None:
    for name, args in (
        ("addDocument", {"table": "_modules", "documents": [{}]}),
        ("clearTablePage", {"tableName": "_storage", "cursor": None}),
        ("createTable", {"table": "_mine"}),
    ):
        with pytest.raises(BackendError) as raised:
            edit(deployment, name, **args)
        assert raised.value.code == "InvalidArgument"


def test_a_page_goes_on_behind_what_it_looked_through(deployment: Deployment) -> None:
    edit(deployment, "createTable", table="t")
    add(deployment, *({"n": float(n)} for n in range(30)))
    clause = {"op": "lt", "field": "n", "value": 3.0, "enabled": True, "id": "1"}
    filters = base64.b64encode(orjson.dumps({"clauses": [clause], "order": "asc"})).decode()
    found, cursor, is_done = [], None, False
    while not is_done:
        options = {"numItems": 2.0, "cursor": cursor}
        path = f"{FOLDER}/paginatedTableDocuments.js:default"
        page = deployment.query(path, table="t", filters=filters, paginationOpts=options)
        found += [document["n"] for document in page["page"]]
        cursor, is_done = page["continueCursor"], page["isDone"]
    assert found == [0.0, 1.0, 2.0]


# --- whole tables and components --------------------------------------------------------------------


def test_tables_are_deleted_unless_the_schema_declares_them(deployment: Deployment) -> None:
    deployment.push(schema=schema_module(table("declared")))
    add(deployment, {"n": 1.0})
    with pytest.raises(BackendError) as raised:
        deployment.operate("delete_tables", {"tableNames": ["t", "declared"]})
    assert raised.value.code == "TableIsInSchema" and bodies(deployment) == [{"n": 1.0}]
    deployment.operate("delete_tables", {"tableNames": ["t", "unknown"]})
    assert [each.name for each in deployment.database.catalog.user_tables()] == ["declared"]
    assert deployment.operate("table_shapes") == {"declared": {"type": "Never"}}
    add(deployment, {"n": 2.0})
    assert bodies(deployment) == [{"n": 2.0}], "a table of the same name is a new one"
    assert deployment.operate("table_shapes")["t"] == {"type": "Unknown"}


def test_tables_are_named_by_texts(deployment: Deployment) -> None:
    for names in (None, "t", [None], [{"a": []}]):
        with pytest.raises(BackendError) as raised:
            deployment.operate("delete_tables", {"tableNames": names})
        assert raised.value.code == "BadJsonBody"


def test_a_component_that_nobody_mounts_is_deleted_with_all_it_owns(deployment: Deployment) -> None:
    def fill(transaction: Any) -> None:
        for path in ("a", "a/b", "c"):
            install(transaction, path)
        for path in ("", "a", "a/b", "c"):
            transaction.enter_component(path)
            transaction.insert("t", {"of": path})
            insert_file(transaction, StoredBlob("key", b"sha", 1), None)
        transaction.enter_component("")

    deployment.database.transact(fill)
    component = deployment.database.catalog.components["a"].component
    answer = deployment.operate("delete_component", {"componentId": component.namespace})
    assert not answer["isDone"]
    deployment.operate("delete_component", {"componentId": component.namespace, "next": answer["next"]})
    catalog = deployment.database.catalog
    assert sorted(each.component.path for each in catalog.everywhere()) == ["", "c"]
    assert sorted(row["owner"] for row in deployment.database.documents(FILES)) == ["", "c"]
    names = [row["name"] for row in deployment.database.documents("_tables") if row["number"] > 10_000]
    assert names == ["t", "t"]
    assert bodies(deployment) == [{"of": ""}]


def test_a_component_that_is_mounted_stays(deployment: Deployment) -> None:
    def fill(transaction: Any) -> None:
        install(transaction, "a")
        install(transaction, "a/b")
        child = transaction.catalog_of("a/b").component.row_id
        transaction.patch(transaction.catalog.tables[COMPONENTS], child, {"state": "active"})

    deployment.database.transact(fill)
    component = deployment.database.catalog.components["a"].component
    with pytest.raises(BackendError) as raised:
        deployment.operate("delete_component", {"componentId": component.namespace})
    assert raised.value.code == "ComponentMustBeUnmounted"


def test_all_scheduled_functions_are_deleted_with_their_arguments(deployment: Deployment) -> None:
    deployment.push(functions_module("m.js", "export const f = mutation();"))
    callee = FunctionAddress("", parse_function_path("m:f"))
    for _ in range(3):
        deployment.database.transact(lambda tx: scheduled_jobs.schedule(tx, callee, {}, tx.now_ns / 1e9))
    (job, *_) = deployment.database.documents(scheduled_jobs.JOBS)
    path = f"{FOLDER}/scheduler.js:getArgs"
    assert deployment.query(path, argsId=job["argsId"]) == b"[{}]"
    assert deployment.operate("delete_scheduled_functions") == {"isDone": True}
    assert deployment.database.documents(scheduled_jobs.JOBS) == []
    assert deployment.database.documents(scheduled_jobs.ARGUMENTS) == []
    assert deployment.query(path, argsId=job["argsId"]) is None


def test_scheduled_functions_are_deleted_in_steps_that_end_beside_one_that_goes_on_scheduling(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.system.deletions.JOBS_READ_PER_STEP", 3)
    rng = random.Random(seed := 11)
    deployment.push(functions_module("m.js", "export const f = mutation();"))
    deployment.database.transact(lambda transaction: install(transaction, "a"))
    component_id = deployment.database.catalog.components["a"].component.namespace
    callee = FunctionAddress("", parse_function_path("m:f"))

    def schedule(owner: str) -> Any:
        def write(transaction: Any) -> None:
            transaction.enter_component(owner)
            scheduled_jobs.schedule(transaction, callee, {}, transaction.now_ns / 1e9)
            transaction.enter_component("")

        deployment.database.transact(write)
        jobs = deployment.database.documents(scheduled_jobs.JOBS)
        return max(jobs, key=lambda job: float(job["_creationTime"]))["_id"]

    kept = [schedule("") for _ in range(7)]
    for _ in range(10):
        own = rng.random() < 0.5
        job_id = schedule("a" if own else "")
        kept += [] if own else [job_id]
    answer: dict[str, Any] = {"isDone": False}
    steps = 0
    while not answer["isDone"]:
        before = len(deployment.database.documents(scheduled_jobs.JOBS))
        answer = deployment.operate(
            "delete_scheduled_functions", {"componentId": component_id, "next": answer.get("next")}
        )
        assert before - len(deployment.database.documents(scheduled_jobs.JOBS)) <= 3, f"seed {seed}"
        steps += 1
        kept += [schedule("a") for _ in range(4)]
        assert steps <= 6, f"17 jobs are read in six steps, seed {seed}"
    assert steps == 6
    left = {job["_id"] for job in deployment.database.documents(scheduled_jobs.JOBS)}
    assert left == set(kept), f"seed {seed}"
    assert len(deployment.database.documents(scheduled_jobs.ARGUMENTS)) == len(kept)


@pytest.mark.parametrize("place", ["x", {}, {"afterKey": "zz", "createdBeforeMs": 1}, {"afterKey": "00"}, 1])
def test_a_step_of_a_deletion_refuses_a_place_that_no_step_answered(
    deployment: Deployment, place: Any
) -> None:
    with pytest.raises(BackendError, match="`next` is what the step before answered"):
        deployment.operate("delete_scheduled_functions", {"next": place})


@pytest.mark.parametrize(
    ("asked", "cancelled"),
    [
        ({}, {"", "a"}),
        ({"componentId": None}, {""}),
        ({"componentPath": "a"}, {"a"}),
        ({"componentId": "a"}, {"a"}),
    ],
)
def test_all_scheduled_functions_are_cancelled_of_the_component_that_is_named_or_of_all(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], cancelled: set[str]
) -> None:
    monkeypatch.setattr("functions.system.jobs.JOBS_READ_PER_STEP", 2)
    deployment.push(functions_module("m.js", "export const f = mutation();"))
    deployment.database.transact(lambda transaction: install(transaction, "a"))
    if asked.get("componentId"):
        asked = {"componentId": deployment.database.catalog.components["a"].component.namespace}
    callee = FunctionAddress("", parse_function_path("m:f"))

    def write(transaction: Any) -> None:
        for owner in ("", "a", "a", "", "a"):
            transaction.enter_component(owner)
            scheduled_jobs.schedule(transaction, callee, {}, transaction.now_ns / 1e9)
        transaction.enter_component("")

    deployment.database.transact(write)
    answer: dict[str, Any] = {"isDone": False}
    while not answer["isDone"]:
        answer = deployment.operate("cancel_all_jobs", {**asked, "next": answer.get("next")})
    jobs = deployment.database.documents(scheduled_jobs.JOBS)
    found = {job["owner"] for job in jobs if job["state"]["type"] == scheduled_jobs.CANCELED}
    waiting = {job["owner"] for job in jobs if job["state"]["type"] == scheduled_jobs.PENDING}
    assert found == cancelled and not found & waiting


@pytest.mark.parametrize("asked", [{"componentPath": "gone"}, {"componentId": "gone"}, {"componentId": 7}])
def test_scheduled_functions_of_no_component_are_not_cancelled(
    deployment: Deployment, asked: dict[str, Any]
) -> None:
    with pytest.raises(BackendError) as raised:
        deployment.operate("cancel_all_jobs", asked)
    assert raised.value.code == "ComponentNotFound"
