"""What must hold between the parts of a parsed schema (spec 04 4.1): counts, uniqueness, possible fields.

Each rule refuses with the code and text that the specification fixes; the caller of the push adds its own
first line. The rules of single names and field lists are where they are read, in `functions/schema.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from functions.schema_definition import AnyIndexDefinition, Schema, TableDefinition, VectorIndexDefinition
from functions.validators import AnyValue, Array, Object, Record, Scalar, Union, Validator
from log.errors import BackendError, bad_request, too_many_tables
from log.limits import TABLE_INDEXES_MAX, USER_TABLES_MAX
from log.values import SYSTEM_FIELDS


def check_schema(schema: Schema) -> None:
    """Refuse a schema whose tables do not make sense together."""
    if len(schema.tables) > USER_TABLES_MAX:
        raise too_many_tables(USER_TABLES_MAX)
    for table in schema.tables.values():
        _check_index_names(table)
        _check_indexes_differ(table)
        if schema.schema_validation:
            _check_fields_are_possible(table)


def _check_index_names(table: TableDefinition) -> None:
    names = [index.name for index in table.all_indexes]
    if len(names) > TABLE_INDEXES_MAX:
        raise bad_request(
            "TooManyIndexes", f'Table "{table.name}" cannot have more than {TABLE_INDEXES_MAX} indexes.'
        )
    for name in names:
        if names.count(name) > 1:
            raise bad_request(
                "IndexNamesNotUnique", f'Table "{table.name}" has two or more definitions of index "{name}".'
            )


def _check_indexes_differ(table: TableDefinition) -> None:
    """Two indexes of one kind must not answer the same queries, staged or not."""
    kinds: tuple[tuple[str, str, str, Sequence[AnyIndexDefinition]], ...] = (
        ("IndexNotUnique", "index", "fields", table.indexes),
        ("SearchIndexFieldNotUnique", "search index", "search field", table.search_indexes),
        ("VectorIndexFieldNotUnique", "vector index", "vector field", table.vector_indexes),
    )
    for code, kind, what, indexes in kinds:
        for one, other in combinations(indexes, 2):
            if one.answers == other.answers:
                raise bad_request(
                    code,
                    f'In table "{table.name}" {kind} "{one.name}" and {kind} "{other.name}" have the same '
                    f"{what}. Indexes must be unique within a table.",
                )


def _check_fields_are_possible(table: TableDefinition) -> None:
    """No index over a field that no valid document can have: it is a misspelling."""
    for index in table.indexes:
        _check_possible(table, "index", index, index.fields)
    for search in table.search_indexes:
        _check_possible(table, "search index", search, (search.search_field, *search.filter_fields))
    for vector in table.vector_indexes:
        _check_possible(table, "vector index", vector, (vector.vector_field, *vector.filter_fields))
        _check_vector_field(table, vector)


def _check_possible(
    table: TableDefinition, kind: str, index: AnyIndexDefinition, fields: Sequence[str]
) -> None:
    for field in fields:
        if field not in SYSTEM_FIELDS and not _validators_at(table.document_type, field.split(".")):
            raise _bad_reference(table, kind, index, field, "does not exist")


def _check_vector_field(table: TableDefinition, index: VectorIndexDefinition) -> None:
    found = _validators_at(table.document_type, index.vector_field.split("."))
    if not any(map(_admits_vector, found)):
        fault = "is neither an array of float64 or optional array of float64"
        raise _bad_reference(table, "vector index", index, index.vector_field, fault)


def _bad_reference(
    table: TableDefinition, kind: str, index: AnyIndexDefinition, field: str, fault: str
) -> BackendError:
    return bad_request(
        "SchemaDefinitionError",
        f'In table "{table.name}" the {kind} "{index.name}" is invalid because it references the field '
        f"{field} that {fault}.",
    )


def _validators_at(validator: Validator, path: Sequence[str]) -> list[Validator]:
    """Every validator that a value at `path` may have to satisfy; none if no valid document has one there."""
    match validator:
        case Union(members):
            return [found for member in members for found in _validators_at(member, path)]
        case AnyValue():
            return [validator]
        case _ if not path:
            return [validator]
        case Object():
            field = validator.by_name.get(path[0])
            return [] if field is None else _validators_at(field.validator, path[1:])
        case Record(_, values):
            return _validators_at(values, path[1:])
    return []


def _admits_vector(validator: Validator) -> bool:
    match validator:
        case AnyValue():
            return True
        case Array(item):
            return any(
                isinstance(found, AnyValue) or found == Scalar("number") for found in _validators_at(item, ())
            )
    return False
