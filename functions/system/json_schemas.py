"""What connectors learn of tables before they read them: JSON Schemas, and names of columns (spec 02 20).

Where the active schema is enforced, its validators say what documents look like. Of any other table only the
system fields are known; the names of its columns are those of a few documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from functions.catalog import Catalog, Table
from functions.snapshot import SnapshotReader
from functions.system.operation import SystemContext
from functions.transaction import Transaction
from functions.validator_kinds import (
    AnyValue,
    Array,
    Literal,
    Object,
    Record,
    Scalar,
    Union,
    Validator,
)
from log import limits, values
from log.errors import bad_json_body
from log.result_formats import CLEAN, ENCODED, EXPORT, converted, format_of

JsonSchema = dict[str, Any]

_DRAFT = "http://json-schema.org/draft-07/schema#"
_STRING: JsonSchema = {"type": "string"}
_SYSTEM_FIELDS: Mapping[str, JsonSchema] = {"_id": _STRING, "_creationTime": {"type": "number"}}
_PLACE_FIELDS: Mapping[str, JsonSchema] = {
    "_component": _STRING,
    "_table": _STRING,
    "_ts": {"type": "integer"},
}
_DELETED = {"_deleted": {"type": "boolean"}}
_TAGS = {"bigint": "$integer", "commitTs": "$integer", "bytes": "$bytes"}
"""What the value of an object stands for in Convex JSON, by the type of a Scalar."""


class Fields(NamedTuple):
    """What a schema says of the documents of a table: the validators of each field, one or another of which
    it matches, and which fields are always there. System fields are left out."""

    validators: dict[str, tuple[Validator, ...]]
    required: frozenset[str]


# --- what is asked --------------------------------------------------------------------------------------


def json_schemas(
    transaction: Transaction, body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    """A schema of each table of the app, or of all components by their paths."""
    output = format_of(body.get("format") or ENCODED)
    is_delta, by_component = _flag(body, "deltaSchema"), _flag(body, "byComponent")

    def of(catalog: Catalog) -> dict[str, JsonSchema]:
        return {
            name: table_schema(_declared(catalog, name), output, is_delta=is_delta)
            for name in _table_names(catalog)
        }

    catalogs = sorted(transaction.catalog.everywhere(), key=lambda each: each.component.path)
    return {each.component.path: of(each) for each in catalogs} if by_component else of(catalogs[0])


def table_column_names(
    transaction: Transaction, _body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    """The columns of the tables of all components, by their paths."""
    catalogs = sorted(transaction.catalog.everywhere(), key=lambda each: each.component.path)
    columns = {
        each.component.path: [
            {"name": name, "columns": _columns(transaction.snapshot, each, name)}
            for name in _table_names(each)
        ]
        for each in catalogs
    }
    return {"byComponent": columns}


def _flag(body: Mapping[str, Any], name: str) -> bool:
    found = body.get(name)
    if found is not None and not isinstance(found, bool):
        raise bad_json_body(f"`{name}` must be true or false")
    return bool(found)


# --- tables ---------------------------------------------------------------------------------------------


def table_schema(fields: Fields | None, output: str, *, is_delta: bool) -> JsonSchema:
    """The schema of what is told of a table; `is_delta`: also of its deletions, which have an id only."""
    declared = fields.validators if fields is not None else {}
    properties = {name: _any_of(validators, output) for name, validators in sorted(declared.items())}
    required = {*_SYSTEM_FIELDS, *(fields.required if fields is not None else ())}
    if is_delta:
        required = {"_id", *_PLACE_FIELDS}
        properties.update({**_PLACE_FIELDS, **_DELETED})
    return {
        "$schema": _DRAFT,
        "type": "object",
        "properties": {**_SYSTEM_FIELDS, **properties},
        "required": sorted(required),
        "additionalProperties": fields is None,
    }


def fields_of(validator: Validator) -> Fields | None:
    """None: documents may have any fields."""
    if isinstance(validator, Object):
        required = frozenset(field.name for field in validator.fields if not field.is_optional)
        return Fields({field.name: (field.validator,) for field in validator.fields}, required)
    if not isinstance(validator, Union) or not validator.members:
        return None
    merged: dict[str, tuple[Validator, ...]] = {}
    always: list[frozenset[str]] = []
    for member in validator.members:
        fields = fields_of(member)
        if fields is None:
            return None
        always.append(fields.required)
        for name, found in fields.validators.items():
            merged[name] = tuple(dict.fromkeys((*merged.get(name, ()), *found)))
    return Fields(merged, frozenset.intersection(*always))


def _declared(catalog: Catalog, table_name: str) -> Fields | None:
    """None: nothing is enforced."""
    schema = catalog.schema
    definition = schema.tables.get(table_name) if schema is not None and schema.schema_validation else None
    return fields_of(definition.document_type) if definition is not None else None


def _table_names(catalog: Catalog) -> list[str]:
    """Those that are there, and those that the schema declares."""
    declared = catalog.schema.tables if catalog.schema is not None else {}
    return sorted({*declared, *(table.name for table in catalog.user_tables())})


def _columns(snapshot: SnapshotReader, catalog: Catalog, table_name: str) -> list[str]:
    fields, table = _declared(catalog, table_name), catalog.tables.get(table_name)
    if fields is not None:
        return sorted({*_SYSTEM_FIELDS, *fields.validators})
    return sorted({*_SYSTEM_FIELDS, *(_sampled(snapshot, table) if table is not None else ())})


def _sampled(snapshot: SnapshotReader, table: Table) -> Iterator[str]:
    """Read beside the transaction's read set: a later document may have others all the same."""
    count = limits.COLUMN_SAMPLE_ROWS
    for row in snapshot.scan(table.by_id.index_id, b"", None, descending=False, limit=count):
        yield from orjson.loads(row.document)


# --- validators -----------------------------------------------------------------------------------------


def json_schema(validator: Validator, output: str) -> JsonSchema:
    """The schema of a value in this format. NaN, the infinities and -0.0 are numbers that JSON has no number
    for: what stands for them is not described."""
    match validator:
        case AnyValue():
            return {}
        case Scalar(kind):
            return _scalar_schema(kind, output)
        case Literal(value):
            return {"const": orjson.loads(converted(values.dumps(value), output))}
        case Array(item):
            return {"type": "array", "items": json_schema(item, output)}
        case Record(_, item):
            return {"type": "object", "additionalProperties": json_schema(item, output)}
        case Object(fields):
            return {
                "type": "object",
                "properties": {field.name: json_schema(field.validator, output) for field in fields},
                "required": [field.name for field in fields if not field.is_optional],
                "additionalProperties": False,
            }
        case Union(members):
            return _any_of(members, output)
        case _:  # an id
            return dict(_STRING)


def _any_of(validators: tuple[Validator, ...], output: str) -> JsonSchema:
    if len(validators) == 1:
        return json_schema(validators[0], output)
    return {"anyOf": [json_schema(each, output) for each in validators]} if validators else {"not": {}}


def _scalar_schema(kind: str, output: str) -> JsonSchema:
    tag = _TAGS.get(kind)
    if tag is None:
        return {"type": kind}  # null, number, boolean, string: as JSON calls them
    if output == CLEAN:
        return dict(_STRING)
    if output == EXPORT and tag == "$integer":
        return {"type": "integer"}
    return {
        "type": "object",
        "properties": {tag: _STRING},
        "required": [tag],
        "additionalProperties": False,
    }
