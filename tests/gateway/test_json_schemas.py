"""JSON Schemas and names of columns: what connectors learn before they read (spec 02 20)."""

from __future__ import annotations

import asyncio
import math
import random
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from functions.system.json_schemas import fields_of, json_schema, table_schema
from functions.transaction import Transaction
from log import limits, values
from log.result_formats import CLEAN, ENCODED, EXPORT, converted

from ..properties.test_values_properties import near_match, random_shape
from ..support.deployment import push_body, schema_module, table
from ..support.stream_site import StreamSite, run_site
from ..support.validators import TABLES, an_id, tree, validator

FORMATS = (ENCODED, CLEAN, EXPORT)
PERSON = {
    "name": "string",
    "age?": "bigint",
    "photo?": "bytes",
    "kind": ["union", ["literal", "a"], ["literal", 2]],
    "tags": ["array", "string"],
    "seen": ["record", "string", "number"],
    "home?": {"street": "string", "floor?": "number"},
    "free": "any",
}
SHAPES = [
    "union",
    {"kind": ["literal", "circle"], "r": "number"},
    {"kind": ["literal", "text"], "text?": "string"},
]


def is_valid(schema: Any, instance: Any) -> bool:
    return bool(jsonschema.Draft7Validator(schema).is_valid(instance))


def is_plain(value: Any) -> bool:
    """Whether JSON has a number for every number in it."""
    if isinstance(value, float):
        return (
            math.isfinite(value) and math.copysign(1, value) * abs(value) == value and repr(value) != "-0.0"
        )
    if isinstance(value, dict | list):
        return all(map(is_plain, value.values() if isinstance(value, dict) else value))
    return True


def test_the_schema_of_a_validator_accepts_what_it_accepts_and_encoded_nothing_else() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    accepted = refused = 0
    for _ in range(3_000):
        shape = random_shape(rng)
        value = near_match(rng, shape)
        if not is_plain(value):
            continue
        is_match = validator(shape).matches(value, TABLES)
        for output in FORMATS:
            schema = json_schema(validator(shape), output)
            jsonschema.Draft7Validator.check_schema(schema)
            instance = orjson.loads(converted(values.dumps(value), output))
            if is_match:
                accepted += 1
                assert is_valid(schema, instance), (shape, value, output)
            elif output == ENCODED and "'id'" not in repr(shape) and "$" not in repr(instance):
                refused += 1
                assert not is_valid(schema, instance), (shape, value)
    assert accepted > 1_000 and refused > 50


def test_a_union_of_objects_is_one_object_with_the_fields_of_all() -> None:
    fields = fields_of(validator(SHAPES))
    schema = table_schema(fields, ENCODED, is_delta=False)
    assert schema["properties"]["kind"] == {"anyOf": [{"const": "circle"}, {"const": "text"}]}
    assert schema["required"] == ["_creationTime", "_id", "kind"] and not schema["additionalProperties"]
    system = {"_id": an_id("users"), "_creationTime": 1.0}
    assert is_valid(schema, {"kind": "circle", "r": 1.5, **system})
    assert not is_valid(schema, {"kind": "square", **system})
    for free in ("any", ["union", "any", {"a": "string"}], ["union"]):
        assert fields_of(validator(free)) is None


def test_required_are_a_documents_own_fields_or_what_a_deletion_has_too() -> None:
    fields = fields_of(validator({"a": "string", "b?": "string"}))
    assert table_schema(fields, ENCODED, is_delta=False)["required"] == ["_creationTime", "_id", "a"]
    deleted = {"_component": "", "_table": "t", "_ts": 5, "_deleted": True, "_id": "x"}
    delta = table_schema(fields, ENCODED, is_delta=True)
    assert is_valid(delta, deleted)
    for name in ("_component", "_table", "_ts", "_id"):
        assert not is_valid(delta, {key: value for key, value in deleted.items() if key != name})


# --- of a deployment ------------------------------------------------------------------------------------


async def push(site: StreamSite, *, validation: bool = True) -> None:
    tables = table("people", tree(PERSON)), table("shapes", tree(SHAPES)), table("anything", tree("any"))
    schema = schema_module(*tables, validation=validation)
    started = await site.operate("start_push", push_body(schema=schema))
    change = {"schemaChange": started["schemaChange"]}
    while (await site.operate("wait_for_schema", change))["type"] != "complete":
        await asyncio.sleep(0)
    await site.finish_push(started)


async def fill(site: StreamSite) -> None:
    (first, _) = await site.insert(
        "people",
        {"name": "Ann", "age": 5, "photo": b"\0", "kind": "a", "tags": [], "seen": {}, "free": None},
        {
            "name": "Bob",
            "kind": 2.0,
            "tags": ["x"],
            "seen": {"a": 1.5},
            "home": {"street": "s"},
            "free": {"x": 1},
        },
    )
    await site.insert("shapes", {"kind": "circle", "r": 0.5}, {"kind": "text"})
    await site.insert("anything", {"w": 1.0}, {"v": [b"1"]})
    await site.insert("free", {"z": 1.0}, {"y": 2})

    def change(transaction: Transaction) -> None:
        people = transaction.catalog.tables["people"]
        transaction.patch(people, first, {"name": "Ann B"})

    await site.write(change)
    await site.write(lambda tx: tx.delete(tx.catalog.tables["people"], first) and None)


@pytest.mark.parametrize("output", FORMATS)
def test_all_that_is_told_of_a_table_is_as_its_schema_says(tmp_path: Path, output: str) -> None:
    async def scenario(site: StreamSite) -> None:
        await push(site)
        await fill(site)
        schemas = await site.ask("json_schemas", format=output)
        deltas = await site.ask("json_schemas", format=output, deltaSchema=True)
        assert set(schemas) == set(deltas) == {"people", "shapes", "anything", "free"}
        assert not is_valid(schemas["people"], {"_id": "x", "_creationTime": 1.0})
        told = (await site.ask("list_snapshot", format=output))["values"]
        assert len(told) == 7
        for shown in told:
            assert is_valid(deltas[shown["_table"]], shown), shown
            own = {name: shown[name] for name in shown if name not in ("_ts", "_table", "_component")}
            assert is_valid(schemas[shown["_table"]], own), own
        told = (await site.ask("document_deltas", cursor=0, format=output))["values"]
        assert sum(shown["_deleted"] for shown in told) == 1 and len(told) == 10
        for shown in told:
            assert is_valid(deltas[shown["_table"]], shown), shown

    run_site(tmp_path, scenario)


def test_what_is_not_enforced_is_not_promised(tmp_path: Path) -> None:
    async def scenario(site: StreamSite) -> None:
        await push(site, validation=False)
        await site.insert("people", {"whatever": 1.0})
        schema = (await site.ask("json_schemas"))["people"]
        assert set(schema["properties"]) == {"_id", "_creationTime"} and schema["additionalProperties"]

    run_site(tmp_path, scenario)


def test_columns_are_those_of_the_schema_or_of_the_first_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "COLUMN_SAMPLE_ROWS", 2)

    async def scenario(site: StreamSite) -> None:
        await push(site)
        await fill(site)
        await site.insert("many", *({f"c{n}": 1.0} for n in range(5)))
        (component, tables), *others = (await site.ask("get_table_column_names"))["byComponent"].items()
        assert component == "" and not others
        columns = {each["name"]: set(each["columns"]) - {"_id", "_creationTime"} for each in tables}
        assert len(columns.pop("many")) == 2
        assert columns == {
            "people": {name.rstrip("?") for name in PERSON},
            "shapes": {"kind", "r", "text"},
            "anything": {"w", "v"},
            "free": {"y", "z"},
        }
        assert all({"_id", "_creationTime"} < set(each["columns"]) for each in tables)

    run_site(tmp_path, scenario)


def test_each_component_has_tables_of_its_own(tmp_path: Path) -> None:
    async def scenario(site: StreamSite) -> None:
        await site.push(ledger=True)
        await site.insert("entries", {"line": 1.0}, component="ledger")
        of_app = await site.ask("json_schemas")
        assert set(of_app) == {"counters", "notes"}
        everywhere = await site.ask("json_schemas", byComponent=True)
        assert everywhere[""] == of_app and set(everywhere["ledger"]) == {"entries"}
        columns = (await site.ask("get_table_column_names"))["byComponent"]["ledger"]
        assert columns == [{"name": "entries", "columns": ["_creationTime", "_id", "line"]}]
        assert await site.refusal("json_schemas", format="xml") == (400, "BadFormat")
        assert await site.refusal("json_schemas", byComponent="maybe") == (400, "BadQueryArgs")
        refused = await site.post("json_schemas", {"deltaSchema": "true"})
        assert (refused.status_code, refused.json()["code"]) == (400, "BadJsonBody")

    run_site(tmp_path, scenario)
