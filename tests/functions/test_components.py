"""Components: how rows become instances, whose tables a transaction sees, who answers a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from functions.catalog import ISOLATE, Catalog, Module, bootstrap_catalog
from functions.components import APP_PATH, Component, instances
from functions.http_routing import HTTP_MODULE, route
from functions.system.component_rows import install
from functions.transaction import Transaction

from ..support.memory_database import MemoryDatabase

# --- rows -----------------------------------------------------------------------------------------------


def row(row_id: str, parent: str | None, name: str | None, **more: Any) -> dict[str, Any]:
    fields = {"definitionId": None, "env": [], "state": "active", "httpPrefix": None}
    return {"_id": row_id, "parent": parent, "name": name, **fields, **more}


def bound(name: str, value: str | None = None, parent_name: str | None = None) -> dict[str, Any]:
    return {"name": name, "value": value, "parentName": parent_name}


def test_a_database_without_rows_has_the_app_alone() -> None:
    (app,) = instances([], [], {"A": "1"})
    assert (app.path, app.namespace, app.environment) == (APP_PATH, None, {"A": "1"})


def test_instances_come_parents_first_with_what_their_parents_bind() -> None:
    rows = [
        row("c", "b", "audit", env=[bound("FROM_B", parent_name="X"), bound("GONE", parent_name="Y")]),
        row("r", None, None, definitionId="app"),
        row("b", "r", "ledger", env=[bound("X", parent_name="A"), bound("Z", "literal")], state="unmounted"),
    ]
    definitions = [{"_id": "app", "definition": '{"httpMounts":{"/l/":"_reference/childComponent/ledger"}}'}]
    app, ledger, audit = instances(rows, definitions, {"A": "1", "B": "2"})
    assert (app.row_id, app.namespace, app.mounts) == ("r", None, {"/l/": "ledger"})
    assert (ledger.path, ledger.namespace, ledger.is_mounted) == ("ledger", "b", False)
    assert ledger.environment == {"X": "1", "Z": "literal"}
    assert (audit.path, audit.environment) == ("ledger/audit", {"FROM_B": "1"})


# --- transactions -----------------------------------------------------------------------------------------


@pytest.fixture
def database() -> MemoryDatabase:
    found = MemoryDatabase()

    def install_both(transaction: Transaction) -> None:
        install(transaction, "a")
        install(transaction, "a/b")

    found.transact(install_both)
    return found


def insert_in(transaction: Transaction, component: str, table: str, fields: dict[str, Any]) -> str:
    transaction.enter_component(component)
    document_id = transaction.insert(table, fields)
    transaction.enter_component(APP_PATH)
    return document_id


def test_each_component_numbers_its_own_tables(database: MemoryDatabase) -> None:
    def work(transaction: Transaction) -> None:
        for component in (APP_PATH, "a", "a/b"):
            insert_in(transaction, component, "notes", {"of": component})

    database.transact(work)
    catalogs = database.catalog.everywhere()
    tables = [catalog.tables["notes"] for catalog in catalogs]
    assert {table.number for table in tables} == {10_001}
    assert len({table.tablet_id for table in tables}) == 3
    transaction = database.begin(is_read_only=True)
    for catalog in catalogs:
        transaction.enter_component(catalog.component.path)
        (document,) = transaction.all_documents(transaction.catalog.tables["notes"])
        assert document["of"] == catalog.component.path


def test_a_table_is_there_again_when_its_component_is_entered_again(database: MemoryDatabase) -> None:
    transaction = database.begin()
    first = insert_in(transaction, "a", "notes", {"n": 1.0})
    assert "notes" not in transaction.catalog.tables
    insert_in(transaction, "a", "notes", {"n": 2.0})
    transaction.enter_component("a")
    table = transaction.catalog.tables["notes"]
    assert transaction.get(table, first) is not None
    assert len(transaction.all_documents(table)) == 2


def test_rolling_back_forgets_what_other_components_made(database: MemoryDatabase) -> None:
    transaction = database.begin()
    transaction.enter_component("a")
    before = transaction.savepoint()
    transaction.enter_component("a/b")
    transaction.insert("notes", {})
    transaction.roll_back(before)
    assert transaction.component.path == "a"
    transaction.enter_component("a/b")
    assert "notes" not in transaction.catalog.tables
    assert not transaction.has_writes


def test_a_document_of_one_component_is_unknown_in_another(database: MemoryDatabase) -> None:
    transaction = database.begin()
    of_a = insert_in(transaction, "a", "notes", {})
    insert_in(transaction, "a/b", "notes", {})
    transaction.enter_component("a/b")
    assert transaction.get(transaction.catalog.tables["notes"], of_a) is None


# --- requests ---------------------------------------------------------------------------------------------


def site(*routes: tuple[str, str], has_http: bool = True) -> dict[str, Module]:
    analysis = {"httpRoutes": [{"route": {"path": path, "method": method}} for method, path in routes]}
    return {HTTP_MODULE: Module(HTTP_MODULE, "", ISOLATE, {}, analysis)} if has_http else {}


def deployment(app: dict[str, Module], **children: dict[str, Module]) -> Catalog:
    """The app mounts "/x/" -> x and "/x/deep/" -> y; x mounts "/in/" -> x/z."""
    catalogs: dict[str, Catalog] = {}
    mounts = {APP_PATH: {"/x/": "x", "/x/deep/": "y"}, "x": {"/in/": "z"}}
    for path, modules in {
        APP_PATH: app,
        **{name.replace("_", "/"): m for name, m in children.items()},
    }.items():
        component = Component(path, mounts=mounts.get(path, {}))
        catalogs[path] = replace(
            bootstrap_catalog(), modules=modules, component=component, components=catalogs
        )
    return catalogs[APP_PATH]


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/own", ("", "/own")),
        ("HEAD", "/own", ("", "/own")),
        ("GET", "/x/own", ("", "/x/own")),  # exact beats a mount
        ("GET", "/x/a", ("x", "/a")),
        ("GET", "/x/deep/a", ("y", "/a")),  # the longest mount
        ("GET", "/x/in/a", ("x/z", "/a")),
        ("GET", "/x/longer/a", ("", "/x/longer/a")),  # a longer prefix of the app
        ("POST", "/x/longer/a", ("x", "/longer/a")),  # which is of another method
        ("GET", "/nowhere", ("", "/nowhere")),  # the app's router answers 404
    ],
)
def test_a_request_goes_to_who_knows_it_best(method: str, path: str, found: tuple[str, str]) -> None:
    app = site(("GET", "/own"), ("GET", "/x/own"), ("GET", "/x/longer/*"), ("GET", "/x/*"))
    routed = route(deployment(app, x=site(), y=site(), x_z=site()), method, path)
    assert routed is not None
    assert (routed.catalog.component.path, routed.path) == found


def test_nobody_answers_where_there_is_no_router() -> None:
    catalog = deployment(site(has_http=False), x=site(("GET", "/a")), y=site(has_http=False))
    assert route(catalog, "GET", "/own") is None
    assert route(catalog, "GET", "/x/deep/a") is None
    assert route(catalog, "GET", "/x/a") is not None
    assert route(catalog, "GET", "/x/in/a") is None


def test_a_prefix_of_the_app_shifts_its_own_routes_only() -> None:
    catalog = deployment(site(("GET", "/own")), x=site(("GET", "/a")))
    catalog = replace(catalog, component=replace(catalog.component, own_prefix="/api/"))
    for path, found in (("/api/own", ("", "/own")), ("/x/a", ("x", "/a"))):
        routed = route(catalog, "GET", path)
        assert routed is not None and (routed.catalog.component.path, routed.path) == found
