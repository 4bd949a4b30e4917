"""What a pushed schema declares, and the text it is stored as (spec 04 4.1, 4.6).

Definitions are immutable and already valid: only `functions/schema.py` builds them from outside text.
Everything is sorted by name, so that equal schemas have equal texts whatever order they were written in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson

from functions.validators import TableNames, Validator

CREATION_TIME: Final = "_creationTime"


@dataclass(frozen=True)
class IndexDefinition:
    """A database index. `fields` ends with `_creationTime`, which the server appends to what was declared."""

    name: str
    fields: tuple[str, ...]
    staged: bool = False

    @property
    def answers(self) -> tuple[str, ...]:
        """What two indexes of one table may not have in common."""
        return self.fields

    def to_json(self) -> dict[str, Any]:
        """As declared: without the appended field, so that one parser reads pushed and stored schemas."""
        return {"indexDescriptor": self.name, "fields": list(self.fields[:-1])}


@dataclass(frozen=True)
class SearchIndexDefinition:
    """A text index over one field; queries may add equalities on `filter_fields`."""

    name: str
    search_field: str
    filter_fields: tuple[str, ...]
    staged: bool = False

    @property
    def answers(self) -> tuple[str, frozenset[str]]:
        return self.search_field, frozenset(self.filter_fields)

    def to_json(self) -> dict[str, Any]:
        return {
            "indexDescriptor": self.name,
            "searchField": self.search_field,
            "filterFields": list(self.filter_fields),
        }


@dataclass(frozen=True)
class VectorIndexDefinition:
    """An index of arrays of exactly `dimensions` floats; queries may filter by `filter_fields`."""

    name: str
    vector_field: str
    dimensions: int
    filter_fields: tuple[str, ...]
    staged: bool = False

    @property
    def answers(self) -> tuple[str, int]:
        return self.vector_field, self.dimensions

    def to_json(self) -> dict[str, Any]:
        return {
            "indexDescriptor": self.name,
            "vectorField": self.vector_field,
            "dimensions": self.dimensions,
            "filterFields": list(self.filter_fields),
        }


AnyIndexDefinition: TypeAlias = IndexDefinition | SearchIndexDefinition | VectorIndexDefinition


@dataclass(frozen=True)
class TableDefinition:
    """One table. Index names are unique across the three kinds; staged indexes are among the others."""

    name: str
    indexes: tuple[IndexDefinition, ...]
    search_indexes: tuple[SearchIndexDefinition, ...]
    vector_indexes: tuple[VectorIndexDefinition, ...]
    document_type: Validator

    @property
    def all_indexes(self) -> tuple[AnyIndexDefinition, ...]:
        return (*self.indexes, *self.search_indexes, *self.vector_indexes)

    def to_json(self) -> dict[str, Any]:
        return {
            "tableName": self.name,
            "indexes": _listed(self.indexes, staged=False),
            "stagedDbIndexes": _listed(self.indexes, staged=True),
            "searchIndexes": _listed(self.search_indexes, staged=False),
            "stagedSearchIndexes": _listed(self.search_indexes, staged=True),
            "vectorIndexes": _listed(self.vector_indexes, staged=False),
            "stagedVectorIndexes": _listed(self.vector_indexes, staged=True),
            "documentType": self.document_type.to_json(),
        }


@dataclass(frozen=True)
class Schema:
    """All tables of one component. Without `schema_validation` indexes count and documents are free."""

    tables: Mapping[str, TableDefinition]
    schema_validation: bool

    def check_document(self, table: str, document: dict[str, Any], tables: TableNames) -> str | None:
        """Why `document`, without its system fields, breaks the schema; None if it does not (spec 04 4.6)."""
        definition = self.tables.get(table)
        if definition is None or not self.schema_validation:
            return None
        return definition.document_type.check(document, tables)

    def to_json(self) -> str:
        """The canonical text, stored in `_schemas`; `parse_schema` gives an equal schema back."""
        tree = {
            "tables": [self.tables[name].to_json() for name in sorted(self.tables)],
            "schemaValidation": self.schema_validation,
        }
        return orjson.dumps(tree, option=orjson.OPT_SORT_KEYS).decode()


def _listed(indexes: tuple[AnyIndexDefinition, ...], *, staged: bool) -> list[dict[str, Any]]:
    return [index.to_json() for index in indexes if index.staged is staged]
