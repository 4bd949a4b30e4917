"""Schemas: lenient reading, every naming and limit rule with its code and text (spec 04 4.1, 4.6)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from functions.schema import (
    IndexDefinition,
    Schema,
    SearchIndexDefinition,
    VectorIndexDefinition,
    parse_schema,
)
from log.errors import BackendError

from ..support.validators import TABLES, tree


def index(name: str, *fields: str) -> dict[str, Any]:
    return {"indexDescriptor": name, "fields": list(fields)}


def search(name: str, field: str, *filters: str) -> dict[str, Any]:
    return {"indexDescriptor": name, "searchField": field, "filterFields": list(filters)}


def vector(name: str, field: str, dimensions: Any = 4, *filters: str) -> dict[str, Any]:
    return {
        "indexDescriptor": name,
        "vectorField": field,
        "dimensions": dimensions,
        "filterFields": list(filters),
    }


def table(name: str = "t", document: Any = None, **lists: Any) -> dict[str, Any]:
    return {"tableName": name, "indexes": [], "documentType": document and tree(document), **lists}


def parse(*tables: dict[str, Any], validation: bool = True) -> Schema:
    return parse_schema(orjson.dumps({"tables": tables, "schemaValidation": validation}).decode())


MESSAGES = {"author": "string", "n": "number", "body": "string", "embedding?": ["array", "number"]}

FULL = table(
    "messages",
    MESSAGES,
    indexes=[index("by_n", "n"), index("by_author", "author", "n")],
    stagedDbIndexes=[index("by_staged", "body")],
    searchIndexes=[search("search_body", "body", "author")],
    stagedSearchIndexes=[search("search_staged", "author")],
    vectorIndexes=[vector("by_embedding", "embedding", 4, "author")],
    stagedVectorIndexes=[vector("by_staged_embedding", "embedding", 8)],
)


def test_a_schema_is_read_completely_and_creation_time_ends_every_database_index() -> None:
    messages = parse(FULL).tables["messages"]
    assert messages.indexes == (
        IndexDefinition("by_author", ("author", "n", "_creationTime")),
        IndexDefinition("by_n", ("n", "_creationTime")),
        IndexDefinition("by_staged", ("body", "_creationTime"), staged=True),
    )
    assert messages.search_indexes == (
        SearchIndexDefinition("search_body", "body", ("author",)),
        SearchIndexDefinition("search_staged", "author", (), staged=True),
    )
    assert messages.vector_indexes == (
        VectorIndexDefinition("by_embedding", "embedding", 4, ("author",)),
        VectorIndexDefinition("by_staged_embedding", "embedding", 8, (), staged=True),
    )


def test_the_stored_text_gives_an_equal_schema_and_does_not_depend_on_the_order_of_definition() -> None:
    schema = parse(table("a"), FULL)
    assert parse_schema(schema.to_json()) == schema
    backwards = {**FULL, "indexes": FULL["indexes"][::-1]}
    assert parse(backwards, table("a")).to_json() == schema.to_json()


def test_what_is_absent_is_read_leniently() -> None:
    schema = parse_schema('{"tables":[{"tableName":"t","vectorIndexes":null}]}')
    assert not schema.schema_validation
    assert schema.tables["t"].document_type.text == "v.any()"
    assert schema.tables["t"].all_indexes == ()
    old_spelling = vector("v", "e")
    old_spelling["dimension"] = old_spelling.pop("dimensions")
    assert parse(table(vectorIndexes=[old_spelling])).tables["t"].vector_indexes[0].dimensions == 4
    assert parse_schema("{}").tables == {}


IN_INDEX = 'In table "t": In index "x": '

REFUSALS: list[tuple[dict[str, Any], str]] = [
    (
        table("1t"),
        'InvalidTableName: Invalid table name: "1t". Identifiers must start with a letter and can only '
        "contain letters, digits, and underscores.",
    ),
    (table("_t"), "TableNameReserved: _t is a reserved table name."),
    (
        table(indexes=[index("a b", "f")]),
        'InvalidIndexName: In table "t": Invalid index name: "a b". Identifiers must be 64 characters or '
        "less, start with a letter, and only contain letters, digits, underscores.",
    ),
    (
        table(searchIndexes=[search("by_id", "f")]),
        'IndexNameReserved: In table "t" cannot name an index "by_id" because the name is reserved. '
        'Indexes may not start with an underscore or be named "by_id" or "by_creation_time".',
    ),
    (
        table(indexes=[index("x", "f")], stagedVectorIndexes=[vector("x", "e")]),
        'IndexNamesNotUnique: Table "t" has two or more definitions of index "x".',
    ),
    (
        table(indexes=[index(f"i{n}", f"f{n}") for n in range(65)]),
        'TooManyIndexes: Table "t" cannot have more than 64 indexes.',
    ),
    (table(indexes=[index("x")]), 'EmptyIndex: In table "t" index "x" must have at least one field.'),
    (
        table(stagedDbIndexes=[index("x")]),
        'EmptyIndex: In table "t" staged index "x" must have at least one field.',
    ),
    (
        table(indexes=[index("x", *(f"f{n}" for n in range(16)))]),
        f"IndexTooManyFields: {IN_INDEX}Indexes may have up to 16 fields.",
    ),
    (
        table(indexes=[index("x", "a", "b", "a")]),
        f"FieldsNotUniqueWithinIndex: {IN_INDEX}Duplicate field a. "
        "Index fields must be unique within an index.",
    ),
    (
        table(indexes=[index("x", "_id")]),
        f"IndexFieldsContainId: {IN_INDEX}`_id` is not a valid index field. To load documents by ID, use "
        "`db.get(id)`.",
    ),
    (
        table(indexes=[index("x", "a", "_creationTime")]),
        f"IndexFieldsContainCreationTime: {IN_INDEX}`_creationTime` is automatically added to the end of "
        "each index. It should not be added explicitly in the index definition. See "
        "https://docs.convex.dev/using/indexes for more details.",
    ),
    (
        table(indexes=[index("x", "_a")]),
        f"IndexFieldNameReserved: {IN_INDEX}Reserved fields (starting with `_`) are not allowed in indexes.",
    ),
    (table(indexes=[index("x", "a..b")]), f'InvalidIndexField: {IN_INDEX}Invalid index field: "a..b"'),
    (
        table(indexes=[index("x", "f")], stagedDbIndexes=[index("y", "f")]),
        'IndexNotUnique: In table "t" index "x" and index "y" have the same fields. '
        "Indexes must be unique within a table.",
    ),
    (
        table(searchIndexes=[search("x", "f", "a", "b"), search("y", "f", "b", "a")]),
        'SearchIndexFieldNotUnique: In table "t" search index "x" and search index "y" have the same search '
        "field. Indexes must be unique within a table.",
    ),
    (
        table(vectorIndexes=[vector("x", "f"), vector("y", "f", 4, "a")]),
        'VectorIndexFieldNotUnique: In table "t" vector index "x" and vector index "y" have the same vector '
        "field. Indexes must be unique within a table.",
    ),
    (
        table(searchIndexes=[search("x", "f", *(f"f{n}" for n in range(17)))]),
        f"IndexTooManyFilterFields: {IN_INDEX}Search indexes may have up to 16 filter fields.",
    ),
    (
        table(vectorIndexes=[vector("x", "f", 1)]),
        f"InvalidVectorDimensionError: {IN_INDEX}Dimensions 1 must be between 2 and 4096.",
    ),
    (
        table(vectorIndexes=[vector("x", "f", 4097)]),
        f"InvalidVectorDimensionError: {IN_INDEX}Dimensions 4097 must be between 2 and 4096.",
    ),
    (
        table(document={"a": "string"}, indexes=[index("x", "b")]),
        'SchemaDefinitionError: In table "t" the index "x" is invalid because it references the field b that '
        "does not exist.",
    ),
    (
        table(document={"e": ["array", "bigint"]}, vectorIndexes=[vector("x", "e")]),
        'SchemaDefinitionError: In table "t" the vector index "x" is invalid because it references the field '
        "e that is neither an array of float64 or optional array of float64.",
    ),
]


@pytest.mark.parametrize(("definition", "refusal"), REFUSALS)
def test_a_broken_rule_is_refused_with_its_code_and_text(definition: dict[str, Any], refusal: str) -> None:
    with pytest.raises(BackendError) as refused:
        parse(definition)
    assert f"{refused.value.code}: {refused.value.message}" == refusal


def test_what_stays_within_the_limits_is_accepted() -> None:
    fifteen = index("x", *(f"f{n}" for n in range(15)))
    assert len(parse(table(indexes=[fifteen])).tables["t"].indexes[0].fields) == 16
    sixty_four = [index(f"i{n}", f"f{n}") for n in range(64)]
    assert len(parse(table(indexes=sixty_four)).tables["t"].indexes) == 64
    sixteen = search("x", "f", *(f"f{n}" for n in range(16)))
    assert len(parse(table(searchIndexes=[sixteen])).tables["t"].search_indexes[0].filter_fields) == 16
    assert parse(table(vectorIndexes=[vector("x", "f", 2), vector("y", "f", 4096.0)]))
    assert parse(table(indexes=[index("_fivetran_x", "f")]))


def test_at_most_ten_thousand_tables_are_accepted() -> None:
    tables = [{"tableName": f"t{n}"} for n in range(10_001)]
    assert len(parse(*tables[:-1]).tables) == 10_000
    with pytest.raises(BackendError) as refused:
        parse(*tables)
    assert refused.value.message == "Number of tables cannot exceed 10000."


@pytest.mark.parametrize("document", ["string", ["record", "string", "any"], ["union", {"a": "any"}, "null"]])
def test_a_document_must_be_an_object(document: Any) -> None:
    with pytest.raises(BackendError) as refused:
        parse(table(document=document))
    assert refused.value.code == "InvalidTopLevelTypeInSchemaError"


def test_a_fault_inside_a_document_type_says_where_it_is() -> None:
    with pytest.raises(BackendError) as refused:
        parse(table(document={"f": ["record", "number", "any"]}))
    assert refused.value.code == "InvalidRecordType"
    assert refused.value.message.startswith('In table "t": Invalid validator for key `f`: Records can only')


@pytest.mark.parametrize("text", ["", "[]", '{"tables":{}}', '{"tables":[1]}', '{"tables":[{}]}', "{"])
def test_a_text_that_is_no_schema_is_refused(text: str) -> None:
    with pytest.raises(BackendError) as refused:
        parse_schema(text)
    assert refused.value.code == "InvalidSchema"


def test_an_indexed_field_may_be_anywhere_a_valid_document_can_have_it() -> None:
    document = [
        "union",
        {"a": {"b?": ["union", "null", {"c": "any"}]}},
        {"r": ["record", "string", {"x": "number"}]},
    ]
    fields = ["a", "a.b", "a.b.c", "a.b.c.deeper", "r.anything.x"]
    schema = parse(
        table(document=document, indexes=[index(f"i{n}", field) for n, field in enumerate(fields)])
    )
    assert len(schema.tables["t"].indexes) == len(fields)
    for field in ("b", "a.c", "a.b.d", "r.anything.y"):
        with pytest.raises(BackendError, match="does not exist"):
            parse(table(document=document, indexes=[index("x", field)]))
        parse(table(document=document, indexes=[index("x", field)]), validation=False)


def test_vectors_may_be_optional_or_one_of_a_union() -> None:
    for shape in (["array", "number"], "any", ["union", "null", ["array", "number"]], ["array", "any"]):
        assert parse(table(document={"e?": shape}, vectorIndexes=[vector("x", "e")]))


def test_documents_are_checked_only_where_the_schema_asks_for_it() -> None:
    strict, loose = (
        parse(table(document={"a": "string"})),
        parse(table(document={"a": "string"}), validation=False),
    )
    assert strict.check_document("t", {"a": "x"}, TABLES) is None
    assert strict.check_document("t", {"a": 1.0}, TABLES) == (
        "Value does not match validator.\nPath: .a\nValue: 1.0\nValidator: v.string()"
    )
    assert strict.check_document("unknown", {"a": 1.0}, TABLES) is None
    assert loose.check_document("t", {"a": 1.0}, TABLES) is None
