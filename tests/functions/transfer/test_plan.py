"""What an import will do: numbers, refusals, and the text that asks for confirmation."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from functions.schema import parse_schema
from functions.transfer.plan import (
    ExistingTable,
    ImportMode,
    TablePlace,
    TablePlan,
    UploadedTable,
    change_summary,
    check_references,
    needs_confirmation,
    plan_components,
    plan_import,
)
from log.errors import BackendError
from log.limits import USER_TABLE_NUMBER_FIRST as FIRST


def tables(*found: Any) -> dict[str, Any]:
    return {table.name: table for table in found}


def refused(*arguments: Any) -> str:
    with pytest.raises(BackendError) as raised:
        plan_import(*arguments)
    return raised.value.code


def test_the_summary_is_the_specified_text() -> None:
    plans = plan_import(tables(UploadedTable("foo", 2)), {}, ImportMode.REQUIRE_EMPTY)
    assert change_summary(plans) == (
        "Import change summary:\n"
        "table | create | delete         |\n"
        "---------------------------------\n"
        "foo   | 2      | 0 of 0         |\n"
        "Once the import has started, it will run in the background.\n"
        "Interrupting `npx convex import` will not cancel it."
    )
    assert not needs_confirmation(plans)


def test_the_summary_grows_with_its_cells_and_counts_files() -> None:
    plans = [
        TablePlan("_storage", 540, 12, 1_234_567, 1_234_567, is_replaced=True),
        TablePlan("a_longer_name", FIRST, 12_345_678, 3, 0, is_replaced=False),
    ]
    lines = change_summary(plans).splitlines()
    assert lines[3] == "_storage      | 12       | 1234567 of 1234567 files |"
    assert lines[4] == "a_longer_name | 12345678 | 0 of 3                   |"
    assert len({len(line) for line in lines[1:5]}) == 1 and set(lines[2]) == {"-"}
    assert needs_confirmation(plans)


def test_the_tables_of_components_stand_below_their_path() -> None:
    uploaded = {
        TablePlace("a/b", "x"): UploadedTable("x", 2),
        TablePlace("", "x"): UploadedTable("x", 1),
        TablePlace("a", "y"): UploadedTable("y", 3),
    }
    plans = plan_components(uploaded, {"a": {}, "a/b": {}, "": {}}, ImportMode.REPLACE)
    assert [(plan.place, plan.number) for plan in plans] == [
        (TablePlace("", "x"), FIRST),
        (TablePlace("a", "y"), FIRST),
        (TablePlace("a/b", "x"), FIRST),
    ], "each component has numbers of its own"
    assert change_summary(plans).splitlines()[3:-2] == [
        "x     | 1      | 0 of 0         |",
        "Component a",
        "y     | 3      | 0 of 0         |",
        "Component a/b",
        "x     | 2      | 0 of 0         |",
    ]


@pytest.mark.parametrize(
    ("mode", "deletes", "is_replaced"),
    [(ImportMode.APPEND, 0, False), (ImportMode.REPLACE, 3, True), (ImportMode.REPLACE_ALL, 3, True)],
)
def test_a_mode_says_what_becomes_of_documents_that_are_there(
    mode: ImportMode, deletes: int, is_replaced: bool
) -> None:
    (plan,) = plan_import(tables(UploadedTable("a", 2)), tables(ExistingTable("a", FIRST, 3)), mode)
    assert plan == TablePlan("a", FIRST, 2, 3, deletes, is_replaced)


def test_only_an_empty_table_may_exist_when_no_mode_is_given() -> None:
    uploaded, mode = tables(UploadedTable("a", 1)), ImportMode.REQUIRE_EMPTY
    assert plan_import(uploaded, tables(ExistingTable("a", FIRST, 0)), mode)[0].number == FIRST
    assert refused(uploaded, tables(ExistingTable("a", FIRST, 1)), mode) == "TableExists"


def test_replace_all_empties_the_tables_that_are_not_in_the_upload() -> None:
    existing = tables(
        ExistingTable("a", FIRST, 1), ExistingTable("b", FIRST + 1, 5), ExistingTable("c", FIRST + 2, 0)
    )
    plans = plan_import(tables(UploadedTable("a", 1)), existing, ImportMode.REPLACE_ALL)
    assert [(plan.name, plan.creates, plan.deletes) for plan in plans] == [("a", 1, 1), ("b", 0, 5)]
    kept = plan_import(tables(UploadedTable("a", 1)), existing, ImportMode.REPLACE)
    assert [plan.name for plan in kept] == ["a"]


def test_ids_bring_their_number_along_and_other_tables_get_the_next_ones() -> None:
    uploaded = tables(UploadedTable("a", 1), UploadedTable("b", 1, FIRST + 7), UploadedTable("c", 1))
    plans = plan_import(uploaded, tables(ExistingTable("z", FIRST, 1)), ImportMode.REPLACE)
    assert [(plan.name, plan.number - FIRST) for plan in plans] == [("a", 8), ("b", 7), ("c", 9)]


def test_two_tables_never_have_one_number() -> None:
    existing = tables(ExistingTable("old", FIRST, 1))
    assert refused(tables(UploadedTable("new", 1, FIRST)), existing, ImportMode.REPLACE) == "TableConflict"
    both = tables(UploadedTable("a", 1, FIRST), UploadedTable("b", 1, FIRST))
    assert refused(both, {}, ImportMode.REPLACE) == "TableConflict"
    swapped = tables(UploadedTable("old", 1, FIRST + 1), UploadedTable("new", 1, FIRST))
    assert len(plan_import(swapped, existing, ImportMode.REPLACE)) == 2


def test_nothing_is_appended_under_another_number() -> None:
    existing = tables(ExistingTable("a", FIRST, 0))
    uploaded = tables(UploadedTable("a", 1, FIRST + 1))
    assert refused(uploaded, existing, ImportMode.APPEND) == "TableNumberConflict"


def test_a_table_that_stays_keeps_what_it_refers_to() -> None:
    reference = {"type": "array", "value": {"type": "id", "tableName": "a"}}
    field = {"fieldType": reference, "optional": False}
    table = {"tableName": "b", "indexes": [], "documentType": {"type": "object", "value": {"a": field}}}
    other = {"tableName": "a", "indexes": [], "documentType": {"type": "any"}}
    schema = parse_schema(orjson.dumps({"tables": [table, other], "schemaValidation": True}).decode())
    existing = tables(ExistingTable("a", FIRST, 1), ExistingTable("b", FIRST + 1, 1))
    same = plan_import(tables(UploadedTable("a", 1)), existing, ImportMode.REPLACE)
    check_references(same, existing, schema)
    renumbered = plan_import(tables(UploadedTable("a", 1, FIRST + 9)), existing, ImportMode.REPLACE)
    with pytest.raises(BackendError) as raised:
        check_references(renumbered, existing, schema)
    assert raised.value.code == "ImportForeignKey"
    check_references(renumbered, existing, None)
