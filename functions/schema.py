"""Reads pushed and stored schemas. The door to the files beside this one.

`parse_schema` is lenient about what is absent and strict about what is there: every rule of spec 04 4.1 and
4.6 refuses with its code and text. What a failing push prints before it ("Hit an error while evaluating
your schema:") is added by the push. The server appends `_creationTime` to the fields of each database index.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

import orjson

from functions.schema_definition import (
    CREATION_TIME,
    AnyIndexDefinition,
    IndexDefinition,
    Schema,
    SearchIndexDefinition,
    TableDefinition,
    VectorIndexDefinition,
)
from functions.schema_rules import check_schema
from functions.validators import AnyValue, Object, Union, Validator, parse_validator
from log.errors import BackendError, bad_request, invalid_schema
from log.ids import check_index_name, check_table_name, is_identifier
from log.limits import (
    INDEX_FIELDS_MAX,
    INDEX_FILTER_FIELDS_MAX,
    VECTOR_DIMENSIONS_MAX,
    VECTOR_DIMENSIONS_MIN,
)

__all__ = [
    "AnyIndexDefinition",
    "IndexDefinition",
    "Schema",
    "SearchIndexDefinition",
    "TableDefinition",
    "VectorIndexDefinition",
    "parse_schema",
]

_Definition = TypeVar("_Definition", IndexDefinition, SearchIndexDefinition, VectorIndexDefinition)
_IndexParser: TypeAlias = Callable[[Any, str, str, bool], _Definition]
_ID: Final = "_id"


def parse_schema(text: str) -> Schema:
    """The schema a JSON text declares, as `defineSchema(..).export()` or `Schema.to_json` wrote it."""
    try:
        tree = orjson.loads(text)
    except orjson.JSONDecodeError as failure:
        raise invalid_schema(f"The schema is not valid JSON: {failure}") from None
    if type(tree) is not dict:
        raise invalid_schema("The schema must be a JSON object")
    tables: dict[str, TableDefinition] = {}
    for table in map(_parse_table, _members(tree, "tables")):
        if table.name in tables:
            raise invalid_schema(f'The schema defines table "{table.name}" twice')
        tables[table.name] = table
    schema = Schema(tables, tree.get("schemaValidation") is True)
    check_schema(schema)
    return schema


# --- one table --------------------------------------------------------------------------------------


def _parse_table(tree: Any) -> TableDefinition:
    name = _string(tree, "tableName")
    check_table_name(name)
    return TableDefinition(
        name=name,
        indexes=_parse_indexes(tree, name, "indexes", "stagedDbIndexes", _parse_index),
        search_indexes=_parse_indexes(
            tree, name, "searchIndexes", "stagedSearchIndexes", _parse_search_index
        ),
        vector_indexes=_parse_indexes(
            tree, name, "vectorIndexes", "stagedVectorIndexes", _parse_vector_index
        ),
        document_type=_parse_document_type(tree.get("documentType"), name),
    )


def _parse_document_type(tree: Any, table: str) -> Validator:
    if tree is None:
        return AnyValue()
    try:
        validator = parse_validator(tree)
    except BackendError as failure:
        raise _within(f'In table "{table}": ', failure) from None
    if not _describes_documents(validator):
        raise bad_request(
            "InvalidTopLevelTypeInSchemaError",
            f'In table "{table}": a document must be an object, a union of objects or `v.any()`, '
            f"found `{validator.text}`.",
        )
    return validator


def _describes_documents(validator: Validator) -> bool:
    if isinstance(validator, Union):
        return all(map(_describes_documents, validator.members))
    return isinstance(validator, Object | AnyValue)


def _parse_indexes(
    tree: Any, table: str, enabled_list: str, staged_list: str, parse: _IndexParser[_Definition]
) -> tuple[_Definition, ...]:
    """The enabled and the staged indexes of one kind, sorted by name."""
    enabled = [_parse_named(item, table, False, parse) for item in _members(tree, enabled_list)]
    staged = [_parse_named(item, table, True, parse) for item in _members(tree, staged_list)]
    return tuple(sorted(enabled + staged, key=lambda index: index.name))


def _parse_named(tree: Any, table: str, staged: bool, parse: _IndexParser[_Definition]) -> _Definition:
    """One index; refusals say where, except those whose text does so itself."""
    name = _string(tree, "indexDescriptor")
    try:
        check_index_name(table, name)
    except BackendError as failure:
        raise _within(f'In table "{table}": ', failure, unless="IndexNameReserved") from None
    try:
        return parse(tree, table, name, staged)
    except BackendError as failure:
        raise _within(f'In table "{table}": In index "{name}": ', failure, unless="EmptyIndex") from None


# --- one index --------------------------------------------------------------------------------------


def _parse_index(tree: Any, table: str, name: str, staged: bool) -> IndexDefinition:
    declared = _field_paths(tree, "fields")
    if not declared:
        kind = "staged index" if staged else "index"
        raise bad_request("EmptyIndex", f'In table "{table}" {kind} "{name}" must have at least one field.')
    for position, field in enumerate(declared):
        _check_indexed_field(field)
        if field in declared[:position]:
            raise bad_request(
                "FieldsNotUniqueWithinIndex",
                f"Duplicate field {field}. Index fields must be unique within an index.",
            )
    if len(declared) + 1 > INDEX_FIELDS_MAX:  # the appended field counts
        raise bad_request("IndexTooManyFields", f"Indexes may have up to {INDEX_FIELDS_MAX} fields.")
    return IndexDefinition(name, (*declared, CREATION_TIME), staged)


def _check_indexed_field(field: str) -> None:
    if field == _ID:
        raise bad_request(
            "IndexFieldsContainId",
            "`_id` is not a valid index field. To load documents by ID, use `db.get(id)`.",
        )
    if field == CREATION_TIME:
        raise bad_request(
            "IndexFieldsContainCreationTime",
            "`_creationTime` is automatically added to the end of each index. It should not be added "
            "explicitly in the index definition. See https://docs.convex.dev/using/indexes for more details.",
        )
    if field.startswith("_"):
        raise bad_request(
            "IndexFieldNameReserved", "Reserved fields (starting with `_`) are not allowed in indexes."
        )


def _parse_search_index(tree: Any, table: str, name: str, staged: bool) -> SearchIndexDefinition:
    search_field = _field_path(_string(tree, "searchField"))
    return SearchIndexDefinition(name, search_field, _filter_fields(tree), staged)


def _parse_vector_index(tree: Any, table: str, name: str, staged: bool) -> VectorIndexDefinition:
    vector_field = _field_path(_string(tree, "vectorField"))
    dimensions = tree.get("dimensions", tree.get("dimension"))
    if type(dimensions) not in (int, float) or dimensions != int(dimensions):
        raise invalid_schema(f"Dimensions must be a whole number, received {dimensions}")
    if not VECTOR_DIMENSIONS_MIN <= dimensions <= VECTOR_DIMENSIONS_MAX:
        raise bad_request(
            "InvalidVectorDimensionError",
            f"Dimensions {int(dimensions)} must be between "
            f"{VECTOR_DIMENSIONS_MIN} and {VECTOR_DIMENSIONS_MAX}.",
        )
    return VectorIndexDefinition(name, vector_field, int(dimensions), _filter_fields(tree), staged)


def _filter_fields(tree: Any) -> tuple[str, ...]:
    fields = _field_paths(tree, "filterFields")
    if len(fields) > INDEX_FILTER_FIELDS_MAX:
        raise bad_request(
            "IndexTooManyFilterFields",
            f"Search indexes may have up to {INDEX_FILTER_FIELDS_MAX} filter fields.",
        )
    return fields


# --- JSON -------------------------------------------------------------------------------------------


def _field_paths(tree: Any, name: str) -> tuple[str, ...]:
    return tuple(map(_field_path, _members(tree, name)))


def _field_path(field: Any) -> str:
    """A dotted path of identifiers."""
    if type(field) is not str or not all(map(is_identifier, field.split("."))):
        raise bad_request("InvalidIndexField", f'Invalid index field: "{field}"')
    return field


def _members(tree: Any, name: str) -> list[Any]:
    """A list that may be absent or null, which means empty."""
    members = tree.get(name)
    if members is None:
        return []
    if type(members) is not list:
        raise invalid_schema(f"`{name}` must be a list")
    return members


def _string(tree: Any, name: str) -> str:
    found = tree.get(name) if type(tree) is dict else None
    if type(found) is not str:
        raise invalid_schema(f"A definition is missing its `{name}`, or it is not a string")
    return found


def _within(prefix: str, failure: BackendError, unless: str | None = None) -> BackendError:
    """The same refusal, saying where; `unless` is a code whose text says it already."""
    message = failure.message if failure.code == unless else prefix + failure.message
    return BackendError(failure.kind, failure.code, message)
