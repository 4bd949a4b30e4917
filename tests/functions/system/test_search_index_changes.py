"""Search indexes in pushes: ready at the end of the push that declares them, swapped, staged and dropped."""

from __future__ import annotations

from typing import Any

import pytest

from functions.query import QueryStream, plan_query
from functions.system.import_tables import activate, create_hidden
from functions.transaction import Transaction
from log import values
from log.errors import BackendError

from ...support.deployment import Deployment, schema_module, table


def pushed_schema(*filters: str, field: str = "body", staged: bool = False) -> Any:
    index = {"indexDescriptor": "by_text", "searchField": field, "filterFields": list(filters)}
    return schema_module({**table("notes"), "stagedSearchIndexes" if staged else "searchIndexes": [index]})


def push(deployment: Deployment, schema: Any) -> dict[str, list[Any]]:
    """A whole push; returns the difference of indexes that it showed."""
    started = deployment.start(schema=schema)
    deployment.database.maintain()
    deployment.finish(started)
    return {kind: entries for kind, entries in _diff(started).items() if entries}


def _diff(started: Any) -> dict[str, list[Any]]:
    return started["schemaChange"]["indexDiffs"][""]


def found(deployment: Deployment, text: str, field: str = "body") -> list[Any]:
    filters = [{"type": "Search", "fieldPath": field, "value": text}]
    source = {"type": "Search", "indexName": "notes.by_text", "filters": filters}
    transaction = deployment.database.begin()
    stream = QueryStream(plan_query({"source": source}, transaction.catalog), transaction)
    rows = iter(stream.next, None)
    return [values.loads(row.document)[field] for row in rows]  # type: ignore[index,call-overload]


def test_a_vector_index_is_pushed_like_a_search_index(deployment: Deployment) -> None:
    def pushed(dimensions: int) -> Any:
        index = {"indexDescriptor": "by_vector", "vectorField": "v", "filterFields": ["b", "a"]}
        return schema_module({**table("notes"), "vectorIndexes": [{**index, "dimensions": dimensions}]})

    entry = {"name": "notes.by_vector", "type": "vector", "vectorField": "v", "filterFields": ["a", "b"]}
    assert push(deployment, pushed(4)) == {"added_indexes": [{**entry, "dimensions": 4}]}
    assert push(deployment, pushed(4)) == {}
    rows = deployment.database.documents("_index")
    config = next(row["config"] for row in rows if row["descriptor"] == "by_vector")
    assert type(config["dimensions"]) is int, "an int64, as specified"
    diff = push(deployment, pushed(5))
    assert diff["added_indexes"] == [{**entry, "dimensions": 5}]
    assert diff["removed_indexes"] == [{**entry, "dimensions": 4}]
    shown = deployment.query("_system/frontend/indexes.js:default", tableName="notes", tableNamespace=None)
    assert shown[0]["fields"] == {"vectorField": "v", "dimensions": 5.0, "filterFields": ["a", "b"]}


ENTRY = {"name": "notes.by_text", "type": "search", "searchField": "body", "filterFields": ["a", "b"]}


@pytest.fixture
def deployment() -> Deployment:
    deployment = Deployment()
    deployment.database.insert("notes", {"body": "first word", "title": "the title"})
    return deployment


def test_an_index_of_a_full_table_answers_once_its_push_is_finished(deployment: Deployment) -> None:
    started = deployment.start(schema=pushed_schema("a", "b"))
    assert _diff(started)["added_indexes"] == [ENTRY]
    with pytest.raises(BackendError, match=r"Index notes\.by_text is currently backfilling"):
        found(deployment, "word")
    deployment.database.maintain()
    deployment.finish(started)
    assert found(deployment, "word") == ["first word"]


def test_the_row_of_an_index_is_as_specified(deployment: Deployment) -> None:
    def config_of() -> Any:
        rows = deployment.database.documents("_index")
        return next(row["config"] for row in rows if row["descriptor"] == "by_text")

    expected = {key: ENTRY[key] for key in ("type", "searchField", "filterFields")}
    push(deployment, pushed_schema("a", "b"))
    snapshotted = {"state": "snapshotted", "data": {"data_type": "MultiSegment", "segments": []}}
    assert config_of() == {**expected, "onDiskState": snapshotted}
    push(deployment, pushed_schema("a", "b", staged=True))
    assert config_of() == {**expected, "onDiskState": {"state": "backfilled2", "staged": True}}


def test_the_order_of_filter_fields_makes_no_other_index(deployment: Deployment) -> None:
    assert push(deployment, pushed_schema("b", "a")) == {"added_indexes": [ENTRY]}
    assert push(deployment, pushed_schema("a", "b")) == {}


def test_the_old_definition_answers_until_the_new_one_is_in_its_place(deployment: Deployment) -> None:
    push(deployment, pushed_schema())
    started = deployment.start(schema=pushed_schema(field="title"))
    assert found(deployment, "word") == ["first word"]
    deployment.database.maintain()
    deployment.finish(started)
    assert found(deployment, "title", field="title") == ["the title"]
    assert [len(_diff(started)[kind]) for kind in ("added_indexes", "removed_indexes")] == [1, 1]


def test_a_staged_index_is_no_use_until_it_is_enabled(deployment: Deployment) -> None:
    entry = {**ENTRY, "filterFields": []}
    assert push(deployment, pushed_schema(staged=True)) == {"added_indexes": [{**entry, "staged": True}]}
    with pytest.raises(BackendError, match=r"Index notes\.by_text is currently staged"):
        found(deployment, "word")
    assert push(deployment, pushed_schema()) == {"enabled_indexes": [entry]}
    assert found(deployment, "word") == ["first word"]
    assert push(deployment, pushed_schema(staged=True)) == {"disabled_indexes": [{**entry, "staged": True}]}


def test_a_dropped_index_is_unknown(deployment: Deployment) -> None:
    push(deployment, pushed_schema())
    assert push(deployment, schema_module(table("notes"))) == {
        "removed_indexes": [{**ENTRY, "filterFields": []}]
    }
    with pytest.raises(BackendError, match=r"Index notes\.by_text not found\."):
        found(deployment, "word")


def test_the_dashboard_is_shown_the_fields_by_their_names(deployment: Deployment) -> None:
    push(deployment, pushed_schema("a"))
    shown = deployment.query("_system/frontend/indexes.js:default", tableName="notes", tableNamespace=None)
    fields = {"searchField": "body", "filterFields": ["a"]}
    assert shown == [{"name": "by_text", "staged": False, "fields": fields, "backfill": {"state": "done"}}]


def test_a_table_that_an_import_puts_in_the_place_of_another_is_searched_like_it(
    deployment: Deployment,
) -> None:
    push(deployment, pushed_schema())

    def replace_table(transaction: Transaction) -> None:
        fresh = create_hidden(transaction, "notes", transaction.catalog.tables["notes"].number)
        transaction.restore(fresh, {"body": "another word"})

    deployment.database.transact(replace_table)
    assert found(deployment, "word") == ["first word"], "nobody sees it yet"
    hidden = frozenset(deployment.database.catalog.hidden_tables)
    deployment.database.transact(lambda transaction: activate(transaction, hidden, must_be_empty=False))
    assert found(deployment, "word") == ["another word"]
    assert len(deployment.database.catalog.tables["notes"].kept_indexes) == 1
