"""What a push does to schemas and indexes, dry runs and forecasts included (spec 02 8, 10)."""

from __future__ import annotations

from typing import Any

import pytest

from log.errors import BackendError

from ...support.deployment import (
    Deployment,
    push_body,
    schema_module,
    string_fields,
    table,
)
from ..test_query import collect, index_range
from .push_cases import MESSAGES, OTHER, refusal_of, stored_hashes


@pytest.fixture
def deployment() -> Deployment:
    return Deployment()


# --- schemas -------------------------------------------------------------------------------------------


def test_a_schema_is_enforced_only_from_the_finish_on(deployment: Deployment) -> None:
    started = deployment.start(schema=schema_module(table("a", string_fields("f"))))
    progress = {"schemaValidationComplete": False, "indexesComplete": 0, "indexesTotal": 0}
    assert deployment.wait(started) == {"type": "inProgress", "components": {"": progress}}
    deployment.database.maintain()
    assert deployment.wait(started) == {"type": "complete"}
    assert deployment.database.catalog.schema is None
    deployment.finish(started)
    with pytest.raises(BackendError) as raised:
        deployment.database.insert("a", {"f": 1.0})
    assert raised.value.code == "SchemaEnforcementError"


def test_a_document_that_does_not_match_fails_the_push(deployment: Deployment) -> None:
    document_id = deployment.database.insert("a", {"g": "1"})
    started = deployment.start(schema=schema_module(table("a", string_fields("f"))))
    deployment.database.maintain()
    answer = deployment.wait(started)
    assert (answer["type"], answer["componentPath"], answer["tableName"]) == ("failed", "", "a")
    start = f'Document with ID "{document_id}" in table "a" does not match the schema: Object is missing'
    assert answer["error"].startswith(start)
    refusal = refusal_of(deployment, "finish_push", {"startPush": started})
    assert refusal.code == "SchemaAlreadyFailed"


def test_a_write_that_breaks_a_pending_schema_succeeds_and_fails_the_push(deployment: Deployment) -> None:
    started = deployment.start(schema=schema_module(table("a", string_fields("f"))))
    deployment.database.insert("a", {"g": "1"})
    answer = deployment.wait(started)
    assert answer["type"] == "failed" and answer["error"].startswith('New document in table "a"')


def test_a_push_without_validation_checks_no_document(deployment: Deployment) -> None:
    deployment.database.insert("a", {"g": "1"})
    deployment.push(schema=schema_module(table("a", string_fields("f")), validation=False))
    assert deployment.database.insert("a", {"h": 1.0})


def test_finishing_before_the_schema_is_validated_is_refused(deployment: Deployment) -> None:
    started = deployment.start(schema=schema_module(table("a", string_fields("f"))))
    refusal = refusal_of(deployment, "finish_push", {"startPush": started})
    assert refusal.code == "RaceDetected" and "pending" in refusal.message


def test_an_index_on_existing_documents_is_waited_for_and_then_enabled(deployment: Deployment) -> None:
    deployment.database.insert("a", {"f": "1"})
    started = deployment.start(schema=schema_module(table("a", x=["f"]), validation=False))
    assert deployment.indexes() == {"a.x": "Backfilling"}
    progress = deployment.wait(started)["components"][""]
    assert (progress["indexesComplete"], progress["indexesTotal"]) == (0, 1)
    deployment.database.maintain()
    deployment.finish(started)
    assert deployment.indexes() == {"a.x": "Enabled"}


def test_an_index_that_is_not_filled_refuses_the_finish(deployment: Deployment) -> None:
    deployment.database.insert("a", {"f": "1"})
    started = deployment.start(schema=schema_module(table("a", x=["f"])))
    transaction_state = {"state": {"state": "validated"}}

    def validate(transaction: Any) -> None:
        pending = transaction.catalog.pending_schema
        transaction.patch(transaction.catalog.tables["_schemas"], pending.row_id, transaction_state)

    deployment.database.transact(validate)
    refusal = refusal_of(deployment, "finish_push", {"startPush": started})
    assert refusal.code == "RaceDetected" and "a.x" in refusal.message


def test_tables_of_a_push_have_their_indexes_at_once(deployment: Deployment) -> None:
    deployment.start(schema=schema_module(table("a", x=["f"], staged={"y": ["g"]})))
    assert deployment.indexes() == {"a.x": "Enabled", "a.y": "Backfilled2 staged"}


def test_an_index_that_no_finished_push_declared_is_not_shown_as_removed(deployment: Deployment) -> None:
    deployment.database.insert("a", {"f": "1"})
    deployment.start(schema=schema_module(table("a", x=["f"])))
    assert deployment.indexes() == {"a.x": "Backfilling"}
    started = deployment.start(schema=schema_module(table("a")))
    assert started["schemaChange"]["indexDiffs"][""]["removed_indexes"] == []
    deployment.database.maintain()
    deployment.finish(started)
    assert deployment.indexes() == {}


def test_a_staged_index_is_not_waited_for(deployment: Deployment) -> None:
    deployment.database.insert("a", {"f": "1"})
    started = deployment.start(schema=schema_module(table("a", staged={"x": ["f"]}), validation=False))

    def validate(transaction: Any) -> None:
        pending = transaction.catalog.pending_schema
        state = {"state": {"state": "validated"}}
        transaction.patch(transaction.catalog.tables["_schemas"], pending.row_id, state)

    deployment.database.transact(validate)
    assert deployment.wait(started) == {"type": "complete"}
    deployment.finish(started)
    assert deployment.indexes() == {"a.x": "Backfilling staged"}


# --- indexes as queries see them (spec 04 11, T8) ------------------------------------------------------


def found(deployment: Deployment, field: str = "f", value: str = "1") -> list[str]:
    """What the index a.x finds, which is on that field."""
    tree = index_range(("Eq", field, value), index="a.x")
    return [document["name"] for document in collect(tree, deployment.database.begin())]


def refusal_text(deployment: Deployment) -> str:
    with pytest.raises(BackendError) as refused:
        found(deployment)
    return f"{refused.value.code}: {refused.value.message}"


STAGED_TEXT = (
    "IndexStagedError: Index a.x is currently staged and not available to query until it is enabled."
)


def test_an_index_that_is_filled_refuses_queries_until_its_push_is_finished(deployment: Deployment) -> None:
    deployment.database.insert("a", {"f": "1", "name": "one"})
    assert refusal_text(deployment) == "IndexNotFoundError: Index a.x not found."
    backfilling = "IndexBackfillingError: Index a.x is currently backfilling and not available to query yet."
    started = deployment.start(schema=schema_module(table("a", x=["f"])))
    assert refusal_text(deployment) == backfilling
    deployment.database.maintain()
    assert refusal_text(deployment) == backfilling, "nothing of a push is there before its finish"
    deployment.finish(started)
    assert found(deployment) == ["one"]


def test_the_old_definition_of_an_index_answers_until_the_push_of_the_new_one_is_finished(
    deployment: Deployment,
) -> None:
    deployment.push(schema=schema_module(table("a", x=["f"])))
    deployment.database.insert("a", {"f": "1", "g": "2", "name": "one"})
    started = deployment.start(schema=schema_module(table("a", x=["g"])))
    assert found(deployment) == ["one"]
    deployment.database.insert("a", {"f": "1", "g": "2", "name": "two"})
    deployment.database.maintain()
    deployment.database.insert("a", {"f": "1", "g": "2", "name": "three"})
    assert found(deployment) == ["one", "two", "three"], "it is still kept up to date"
    deployment.finish(started)
    assert found(deployment, "g", "2") == ["one", "two", "three"]
    with pytest.raises(BackendError, match=r"First incorrect field: f|comparison with"):
        found(deployment)


def test_a_staged_index_is_enabled_as_it_is(deployment: Deployment) -> None:
    """Written to while it was staged, and not built again."""
    deployment.database.insert("a", {"f": "1", "name": "one"})
    deployment.push(schema=schema_module(table("a", staged={"x": ["f"]})))
    assert refusal_text(deployment) == STAGED_TEXT
    before = deployment.database.catalog.tables["a"].index("x")
    deployment.database.insert("a", {"f": "1", "name": "two"})
    started = deployment.start(schema=schema_module(table("a", x=["f"])))
    assert deployment.indexes() == {"a.x": "Backfilled2 staged"}, "there is nothing to fill"
    assert refusal_text(deployment) == STAGED_TEXT
    deployment.database.maintain()  # of the schema
    deployment.finish(started)
    after = deployment.database.catalog.tables["a"].index("x")
    assert before is not None and after is not None and after.index_id == before.index_id
    assert found(deployment) == ["one", "two"]


def test_code_and_schema_become_active_in_one_commit(deployment: Deployment) -> None:
    def active() -> tuple[list[str], bool]:
        catalog = deployment.database.catalog
        assert catalog.schema is not None
        return sorted(catalog.modules), catalog.schema.check_document("a", {"f": "1"}, catalog) is None

    deployment.push(MESSAGES, schema=schema_module(table("a", string_fields("f"))))
    started = deployment.start(OTHER, schema=schema_module(table("a", string_fields("g"))))
    deployment.database.maintain()
    assert active() == (["messages.js"], True)
    view, apply, seen = deployment.database.view, deployment.database.view.apply, []

    def applied(*arguments: Any) -> None:
        apply(*arguments)
        seen.append(active())

    view.apply = applied  # type: ignore[method-assign]
    deployment.finish(started)
    assert seen == [(["other.js"], False)]


def test_a_push_equal_to_the_active_schema_waits_for_nothing(deployment: Deployment) -> None:
    schema = schema_module(table("a", string_fields("f")))
    deployment.push(schema=schema)
    assert deployment.wait(deployment.start(schema=schema)) == {"type": "complete"}


def test_settled_schemas_are_forgotten_by_the_next_push(deployment: Deployment) -> None:
    for name in ("a", "b", "c"):
        deployment.push(schema=schema_module(table(name)))
    states = [row["state"]["state"] for row in deployment.database.documents("_schemas")]
    assert sorted(states) == ["active", "overwritten"]


# --- dry runs, code generation, forecasts --------------------------------------------------------------


def test_a_dry_run_validates_the_schema_and_changes_neither_code_nor_indexes(deployment: Deployment) -> None:
    deployment.database.insert("a", {"g": "1"})
    schema = schema_module(table("a", string_fields("f"), x=["f"]))
    started = deployment.start(MESSAGES, schema=schema, dryRun=True)
    assert started["schemaChange"]["indexDiffs"][""]["added_indexes"][0]["name"] == "a.x"
    assert deployment.indexes() == {} and stored_hashes(deployment) == set()
    deployment.database.maintain()
    assert deployment.wait(started)["type"] == "failed"


def test_finishing_a_dry_run_applies_nothing(deployment: Deployment) -> None:
    started = deployment.start(MESSAGES, schema=schema_module(table("a", x=["f"])), dryRun=True)
    deployment.database.maintain()
    assert deployment.wait(started) == {"type": "complete"}
    before = deployment.database.committer.published_ts
    answer = deployment.finish(started, dryRun=True)
    assert answer == {"authDiff": {"added": [], "removed": []}, "definitionDiffs": {}, "componentDiffs": {}}
    assert deployment.database.committer.published_ts == before


def test_a_push_for_code_generation_builds_nothing_and_cannot_be_finished(deployment: Deployment) -> None:
    started = deployment.start(MESSAGES, schema=schema_module(table("a", x=["f"])), forCodegen=True)
    deployment.database.maintain()
    assert deployment.indexes() == {}
    assert refusal_of(deployment, "finish_push", {"startPush": started}).code == "RaceDetected"


def test_evaluating_a_push_commits_nothing(deployment: Deployment) -> None:
    deployment.push(schema=schema_module(table("a", x=["f"])))
    before = deployment.database.committer.published_ts
    answer = deployment.operate("evaluate_push", push_body(schema=schema_module(table("a", y=["g"]))))
    diff = answer["schemaChange"]["indexDiffs"][""]
    assert [each["name"] for each in diff["removed_indexes"]] == ["a.x"]
    assert deployment.database.committer.published_ts == before


def test_the_forecast_counts_what_the_push_would_read(deployment: Deployment) -> None:
    deployment.push(
        schema=schema_module(table("a", string_fields("f"), x=["f"]), table("kept", string_fields("f")))
    )
    for text in ("1", "2", "3"):
        deployment.database.insert("a", {"f": text})
        deployment.database.insert("kept", {"f": text})
    schema = schema_module(
        table("a", {"type": "object", "value": {}}, y=["f"]), table("kept", string_fields("f")), table("new")
    )
    with pytest.raises(BackendError, match="does not exist"):
        deployment.operate("evaluate_schema", push_body(schema=schema))
    schema = schema_module(
        table("a", string_fields("f", "g"), y=["g"]), table("kept", string_fields("f")), table("new")
    )
    answer = deployment.operate("evaluate_schema", push_body(schema=schema))["componentSchemaEvaluations"][""]
    tables = {each["name"]: (each["outcome"], each["numDocs"]) for each in answer["tables"]}
    assert tables == {"a": ("mustWalk", 3), "kept": ("supersetOfEnforced", 0), "new": ("supersetOfShape", 0)}
    indexes = {
        each["name"]: (each["change"], each["needsBackfill"], each["numDocs"]) for each in answer["indexes"]
    }
    assert indexes == {"a.x": ("dropped", False, 3), "a.y": ("added", True, 3)}


def test_the_forecast_of_an_unvalidated_schema_walks_nothing(deployment: Deployment) -> None:
    schema = schema_module(table("a", string_fields("f")), validation=False)
    answer = deployment.operate("evaluate_schema", push_body(schema=schema))["componentSchemaEvaluations"][""]
    assert (answer["schemaValidation"], answer["tables"][0]["outcome"]) == (False, "notValidated")
