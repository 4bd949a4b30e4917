"""System functions of the CLI and the dashboard: their answers, and that a change re-runs them."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.backend import SLOW_OPERATIONS
from functions.path import parse_function_path
from functions.system.registry import OPERATIONS, SYSTEM_FUNCTIONS
from log.errors import BackendError
from log.record import CallTrace

from ...support.deployment import Deployment, functions_module, module, schema_module, string_fields, table


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


def page_options(count: float, cursor: str | None = None) -> dict[str, Any]:
    return {"cursor": cursor, "numItems": count}


# --- tables ---------------------------------------------------------------------------------------------


def test_user_tables_are_listed_by_name(deployment: Deployment) -> None:
    for name in ("b", "a"):
        deployment.database.insert(name, {})
    answer = deployment.query("_system/cli/tables.js:default", paginationOpts=page_options(10_000.0))
    assert answer == {"page": [{"name": "a"}, {"name": "b"}], "isDone": True, "continueCursor": "end"}


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_of_a_table_give_every_document_once_in_creation_order(
    deployment: Deployment, order: str
) -> None:
    ids = [deployment.database.insert("a", {"n": float(number)}) for number in range(7)]
    found, cursor, is_done = [], None, False
    while not is_done:
        answer = deployment.query(
            "_system/cli/tableData.js:default",
            table="a",
            order=order,
            paginationOpts=page_options(3.0, cursor),
        )
        found += [document["_id"] for document in answer["page"]]
        cursor, is_done = answer["continueCursor"], answer["isDone"]
    assert found == (ids if order == "asc" else ids[::-1])


@pytest.mark.parametrize("name", ["nowhere", "_modules"])
def test_pages_of_unknown_and_of_system_tables_are_empty(deployment: Deployment, name: str) -> None:
    answer = deployment.query(
        "_system/cli/tableData.js:default", table=name, paginationOpts=page_options(3.0)
    )
    assert (answer["page"], answer["isDone"]) == ([], True)


def test_sizes_count_documents_beyond_one_step_of_counting(deployment: Deployment) -> None:
    def fill(transaction: Any) -> None:
        for number in range(2_001):
            transaction.insert("a", {"n": float(number)})

    deployment.database.transact(fill)
    deployment.database.insert("b", {})
    assert deployment.query("_system/cli/tableSize.js:default", tableName="a") == 2_001.0
    assert deployment.query("_system/cli/tableSize.js:default", tableName="nowhere") == 0.0
    assert deployment.query("_system/frontend/tableSize.js:sizeOfAllTables") == 2_002.0


@pytest.mark.parametrize("path", ["_system/cli/queryTable.js:default", "_system/cli/tableSize.js:default"])
def test_a_write_to_the_table_and_no_other_re_runs_what_watches_it(deployment: Deployment, path: str) -> None:
    deployment.database.insert("a", {})
    deployment.database.insert("b", {})
    transaction = deployment.database.begin(is_read_only=True)
    SYSTEM_FUNCTIONS[path].run(transaction, {"tableName": "a"}, deployment.context)
    hits = {}
    for name in ("a", "b"):
        writing = deployment.database.begin()
        writing.insert(name, {})
        keys = [
            (index_id, new)
            for write in writing.commit_body(b"", CallTrace()).writes
            for index_id, _, new in write.keys
        ]
        hits[name] = any(new is not None and transaction.reads.find(index_id, new) for index_id, new in keys)
    assert hits == {"a": True, "b": False}


def test_the_number_of_a_watched_table_is_new_each_time(deployment: Deployment) -> None:
    numbers = {deployment.query("_system/cli/queryTable.js:default", tableName="a") for _ in range(5)}
    assert len(numbers) == 5 and all(0 <= number < 1 for number in numbers)


def test_indexes_show_how_far_they_are_built(deployment: Deployment) -> None:
    deployment.database.insert("a", {"f": "1"})
    deployment.push(schema=schema_module(table("a", x=["f"], staged={"y": ["g"]}), validation=False))
    deployment.start(schema=schema_module(table("a", x=["f"], z=["h"]), validation=False))
    found = deployment.query("_system/frontend/indexes.js:default", tableName="a", tableNamespace=None)
    shown = {each["name"]: (each["staged"], each["fields"], each["backfill"]["state"]) for each in found}
    assert shown == {
        "x": (False, ["f"], "done"),
        "y": (True, ["g"], "backfilled"),
        "z": (False, ["h"], "backfilling"),
    }
    assert deployment.query("_system/frontend/indexes.js:default", tableNamespace=None) is None


def test_the_table_mapping_goes_from_number_to_name(deployment: Deployment) -> None:
    deployment.database.insert("a", {})
    assert deployment.query("_system/frontend/getTableMapping.js:default") == {
        "10001": "a",
        "539": "_scheduled_jobs",
        "540": "_file_storage",
    }


# --- documents ------------------------------------------------------------------------------------------


def test_documents_are_found_by_id_and_only_those_of_users(deployment: Deployment) -> None:
    document_id = deployment.database.insert("a", {"n": 1.0})
    system_id = deployment.database.documents("_tables")[0]["_id"]
    assert deployment.query("_system/frontend/getById.js:default", id=document_id)["n"] == 1.0
    ids = [{"id": each, "tableName": "a"} for each in (document_id, "nonsense", system_id)]
    found = deployment.query("_system/frontend/listById.js:default", ids=ids)
    assert [each and each["_id"] for each in found] == [document_id, None, None]


# --- functions, schemas, environment ------------------------------------------------------------------------


def test_the_api_lists_functions_by_module_and_its_routes_after_them(deployment: Deployment) -> None:
    functions = functions_module(
        "z.js",
        """
const one = '{"type":"literal","value":{"$integer":"AQAAAAAAAAA="}}';
export const f = query('{"type":"object","value":{}}', one);
export const g = internalAction();
""",
    )
    routes = 'export default { isRouter: true, getRoutes: () => [["/hi", "GET", {}]] };'
    deployment.push(functions, module("http.js", routes))
    assert deployment.query("_system/cli/modules.js:apiSpec") == [
        {"functionType": "HttpAction", "path": "/hi", "method": "GET"},
        {
            "identifier": "z.js:f",
            "functionType": "Query",
            "visibility": {"kind": "public"},
            "args": {"type": "object", "value": {}},
            "returns": {"type": "literal", "value": 1},
        },
        {
            "identifier": "z.js:g",
            "functionType": "Action",
            "visibility": {"kind": "internal"},
            "args": {"type": "any"},
            "returns": {"type": "any"},
        },
    ]


def test_schemas_are_shown_active_and_in_progress(deployment: Deployment) -> None:
    path = "_system/frontend/getSchemas.js:default"
    assert deployment.query(path) == {}
    deployment.push(schema=schema_module(table("a", string_fields("f"))))
    assert set(deployment.query(path)) == {"active"}
    deployment.start(schema=schema_module(table("b")))
    assert set(deployment.query(path)) == {"active", "inProgress"}


def test_variables_are_listed_by_name_and_read_with_the_built_in_ones(deployment: Deployment) -> None:
    changes = [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]
    deployment.operate("update_environment_variables", {"changes": changes})
    listed = deployment.query("_system/cli/queryEnvironmentVariables.js:default")
    assert [(each["name"], each["value"]) for each in listed] == [("A", "1"), ("B", "2")]
    get = "_system/cli/queryEnvironmentVariables.js:get"
    assert deployment.query(get, name="A") == {"name": "A", "value": "1"}
    assert deployment.query(get, name="CONVEX_SITE_URL")["value"] == "http://site.test"
    assert deployment.query(get, name="C") is None


def test_the_pushed_version_is_shown(deployment: Deployment) -> None:
    assert deployment.query("_system/frontend/getVersion.js:default") is None
    deployment.push(version="1.48.0")
    assert deployment.query("_system/frontend/getVersion.js:default") == "1.48.0"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("_system/cli/convexUrl.js:cloudUrl", "http://cloud.test"),
        ("_system/frontend/convexCloudUrl.js:default", "http://cloud.test"),
        ("_system/frontend/convexSiteUrl.js:default", "http://site.test"),
        ("_system/cli/exports.js:getLatest", None),
        ("_system/cli/queryImport.js:list", []),
        ("_system/frontend/listAuthProviders.js:default", []),
        ("_system/frontend/deploymentState.js:deploymentState", {"state": "running"}),
        (
            "_system/frontend/backendState.js:backendState",
            {"system": "none", "usage_limit": "none", "user": "none"},
        ),
    ],
)
def test_facts_about_the_deployment(deployment: Deployment, path: str, expected: Any) -> None:
    assert deployment.query(path) == expected


def test_the_app_is_the_only_component(deployment: Deployment) -> None:
    [root] = deployment.query("_system/frontend/components.js:list")
    assert (root["path"], root["state"]) == ("", "active")


def test_canonical_urls_are_the_configured_origins(deployment: Deployment) -> None:
    urls = {"convexCloudUrl": "http://cloud.test", "convexSiteUrl": "http://site.test"}
    assert deployment.operate("get_canonical_urls") == urls


# --- the registry ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(SYSTEM_FUNCTIONS))
def test_every_registered_path_is_canonical_and_a_system_path(path: str) -> None:
    parsed = parse_function_path(path)
    assert parsed.canonical == path and parsed.is_system


@pytest.mark.parametrize(
    "path", sorted(path for path, function in SYSTEM_FUNCTIONS.items() if function.udf_type == "Query")
)
def test_every_query_depends_on_the_catalog(deployment: Deployment, path: str) -> None:
    transaction = deployment.database.begin(is_read_only=True)
    args = {
        "table": "a",
        "tableName": "a",
        "name": "A",
        "id": "x",
        "ids": [],
        "function": "m:f",
        "storageId": "11111111-2222-4333-8444-555555555555",
        "argsId": deployment.database.documents("_tables")[0]["_id"],
        "paginationOpts": page_options(1.0),
    }
    SYSTEM_FUNCTIONS[path].run(transaction, args, deployment.context)
    assert transaction.reads.reads_catalog


@pytest.mark.parametrize("path", ["_system/cli/tableSize.js:default", "_system/cli/tableData.js:default"])
def test_a_missing_argument_is_a_refusal_not_a_defect(deployment: Deployment, path: str) -> None:
    with pytest.raises(BackendError) as raised:
        deployment.query(path)
    assert raised.value.code == "InvalidArgument"


def test_what_evaluates_code_is_asked_of_slow_executors() -> None:
    evaluating = {name for name, operation in OPERATIONS.items() if operation.prepare is not None}
    assert "start_push" in evaluating and evaluating <= SLOW_OPERATIONS <= OPERATIONS.keys()
