"""Every limit of a transaction, a document and a table: held at the number, refused one above (spec 04 T13).

At full size, with the numbers and texts of the specification written out here, not taken from the code.
Those of scheduled functions are in test_scheduled_jobs.py, those of all values in tests/log/test_values.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from functions.pages import CursorCodec, Page, PageRequest, read_page
from functions.query import plan_query
from functions.transaction import Transaction
from log import values
from log.errors import BackendError, ErrorKind
from log.keys import encode_item

from ..support.deployment import Deployment, schema_module, table
from ..support.memory_database import MemoryDatabase

MIB = 1024 * 1024
HELP = (
    "Consider using smaller limits in your queries, paginating your queries, or using indexed queries "
    "with a selective index range expressions."
)


def refusal_of(run: Callable[[], Any]) -> BackendError:
    with pytest.raises(BackendError) as refused:
        run()
    return refused.value


def read_all(transaction: Transaction, name: str, count: int) -> None:
    found = transaction.catalog.tables[name]
    scan = transaction.scan(found.by_id, found, b"", None, descending=False)
    for _ in range(count):
        assert scan.next() is not None


def filled(count: int, text_bytes: int = 0) -> MemoryDatabase:
    """A table `things` of that many documents."""
    database = MemoryDatabase()
    text = "x" * text_bytes
    step = min(16_000, 15 * MIB // (text_bytes + 200))
    for first in range(0, count, step):

        def fill(transaction: Transaction, first: int = first) -> None:
            for _ in range(min(step, count - first)):
                transaction.insert("things", {"text": text})

        database.transact(fill)
    return database


def document_of(size_bytes: int) -> dict[str, Any]:
    """Fields of a document that has that size, its system fields included."""
    smallest = values.size_of({"text": "", "_id": "x" * 32, "_creationTime": 1.0})
    return {"text": "x" * (size_bytes - smallest)}


def sized(*sizes_bytes: int) -> MemoryDatabase:
    """A table `things` of documents of these sizes."""
    database = MemoryDatabase()
    for size_bytes in sizes_bytes:
        database.insert("things", document_of(size_bytes))
    return database


def first_page(transaction: Transaction, page_size: int, *operators: Any) -> Page:
    source = {"type": "FullTableScan", "tableName": "things", "order": "asc"}
    plan = plan_query({"source": source, "operators": list(operators)}, transaction.catalog)
    return read_page(plan, transaction, PageRequest(None, None, page_size), None, CursorCodec(bytes(32)))


# --- reading ----------------------------------------------------------------------------------------


def test_32000_documents_may_be_read_and_the_next_is_refused_or_cuts_the_page() -> None:
    database = filled(32_001)
    transaction = database.begin()
    read_all(transaction, "things", 32_000)
    refused = refusal_of(lambda: read_all(database.begin(), "things", 32_001))
    assert (refused.code, refused.kind) == ("TooManyDocumentsRead", ErrorKind.PAGINATION_LIMIT)
    assert refused.message == (
        f"Too many documents read in a single function execution (limit: 32000). {HELP}"
    )
    # Rows that a filter passes over are read too: the page is cut where the limit is met.
    nothing = {"filter": {"$eq": [{"$field": "text"}, {"$literal": "nothing"}]}}
    page = first_page(database.begin(), 1, nothing)
    assert (page.status, page.documents, page.is_done) == ("SplitRequired", [], False)


def test_16_mib_may_be_read_and_not_a_byte_more() -> None:
    transaction = sized(*[MIB] * 16).begin()
    read_all(transaction, "things", 16)
    assert transaction.budget.bytes_read == 16 * MIB
    database = sized(*[MIB] * 15, MIB // 2, MIB // 2 + 1)
    refused = refusal_of(lambda: read_all(database.begin(), "things", 17))
    assert refused.code == "TooManyBytesRead"
    assert refused.message == (
        f"Too many bytes read in a single function execution (limit: 16777216 bytes). {HELP}"
    )
    page = first_page(database.begin(), 20)
    assert (page.status, len(page.documents), page.is_done) == ("SplitRequired", 16, False)
    assert page.split_cursor is not None


def test_4096_intervals_may_be_read() -> None:
    transaction = filled(1).begin()
    by_id = transaction.catalog.tables["things"].by_id
    for number in range(4_096):
        key = encode_item(f"{number:06}")
        transaction.record_read(by_id, key, key + b"\x00")
    refused = refusal_of(lambda: transaction.record_read(by_id, b"\xf0", b"\xf1"))
    assert (refused.code, refused.kind) == ("TooManyReads", ErrorKind.PAGINATION_LIMIT)
    assert refused.message == f"Too many reads in a single function execution (limit: 4096). {HELP}"


# --- writing ----------------------------------------------------------------------------------------


def test_16000_documents_may_be_written() -> None:
    transaction = MemoryDatabase().begin()
    for _ in range(16_000):
        transaction.insert("things", {})
    refused = refusal_of(lambda: transaction.insert("things", {}))
    assert refused.code == "TooManyWrites"
    assert refused.message == "Too many writes in a single function execution (limit: 16000)"


def test_16_mib_may_be_written_and_not_a_byte_more() -> None:
    transaction = MemoryDatabase().begin()
    for _ in range(15):
        transaction.insert("things", document_of(MIB))
    transaction.insert("things", document_of(MIB // 2))
    beyond = transaction.savepoint()
    refused = refusal_of(lambda: transaction.insert("things", document_of(MIB // 2 + 1)))
    assert refused.code == "TooManyBytesWritten"
    assert refused.message == "Too many bytes written in a single function execution (limit: 16 MiB)"
    transaction.roll_back(beyond)
    transaction.budget.bytes_written -= MIB // 2 + 1  # what was refused was counted before
    transaction.insert("things", document_of(MIB // 2))
    assert transaction.budget.bytes_written == 16 * MIB


def test_a_document_may_have_1_mib_with_its_system_fields() -> None:
    database = sized(MIB)
    refused = refusal_of(lambda: database.insert("things", document_of(MIB + 1)))
    assert refused.code == "ValueTooLargeError"
    assert refused.message == "Value is too large (1 MiB > maximum size 1 MiB)"
    refused = refusal_of(lambda: database.insert("things", document_of(3 * MIB // 2)))
    assert refused.message == "Value is too large (1.5 MiB > maximum size 1 MiB)"


def nested(levels: int) -> Any:
    value: Any = 1.0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("held", "refused", "code", "text"),
    [
        (
            {"a": nested(15)},
            {"a": nested(16)},
            "InvalidDocumentError",
            "Document is too nested (nested 17 levels deep > maximum nesting 16)",
        ),
        (
            {"a": [0.0] * 8192},
            {"a": [0.0] * 8193},
            "ArrayTooLong",
            "Array length is too long (8193 > maximum length 8192)",
        ),
        (
            {"a": {f"f{n}": 0.0 for n in range(1024)}},
            {"a": {f"f{n}": 0.0 for n in range(1025)}},
            "TooManyFieldsError",
            "1025",
        ),
    ],
    ids=["nesting", "array", "fields"],
)
def test_the_shape_of_a_document_is_limited(held: Any, refused: Any, code: str, text: str) -> None:
    def insert(document: Any) -> None:
        values.check_value(document)
        MemoryDatabase().transact(lambda transaction: transaction.insert("things", document))

    insert(held)
    found = refusal_of(lambda: insert(refused))
    assert found.code == code and text in found.message


# --- tables and indexes -----------------------------------------------------------------------------


def test_a_deployment_has_10000_user_tables() -> None:
    database = MemoryDatabase()
    transaction = database.begin()
    known = transaction.catalog.tables["_tables"]
    tables = {f"table{number}": replace(known, number=10_001 + number) for number in range(9_999)}
    transaction.catalog = replace(transaction.catalog, tables={**transaction.catalog.tables, **tables})
    transaction.create_table("the10000th")
    refused = refusal_of(lambda: transaction.insert("onemore", {}))
    assert (refused.code, refused.message) == ("TooManyTables", "Number of tables cannot exceed 10000.")


def test_a_table_has_64_indexes() -> None:
    indexes = {f"i{number}": [f"f{number}"] for number in range(65)}
    first = dict(list(indexes.items())[:64])
    Deployment().push(schema=schema_module(table("things", **first)))
    refused = refusal_of(lambda: Deployment().push(schema=schema_module(table("things", **indexes))))
    assert refused.code == "TooManyIndexes"
    assert 'Table "things" cannot have more than 64 indexes.' in refused.message


def test_an_index_has_16_fields_with_the_creation_time_that_is_added() -> None:
    fields = [f"f{number}" for number in range(16)]
    Deployment().push(schema=schema_module(table("things", i=fields[:15])))
    refused = refusal_of(lambda: Deployment().push(schema=schema_module(table("things", i=fields))))
    assert refused.code == "IndexTooManyFields"
    assert "Indexes may have up to 16 fields." in refused.message


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("t" * 64, None),
        ("t" * 65, "InvalidTableName"),
        ("1things", "InvalidTableName"),
        ("_things", "TableNameReserved"),
    ],
)
def test_table_names_are_identifiers_of_64_characters(name: str, code: str | None) -> None:
    database = MemoryDatabase()
    if code is None:
        database.transact(lambda transaction: transaction.insert(name, {}))
    else:
        refused = refusal_of(lambda: database.transact(lambda transaction: transaction.insert(name, {})))
        assert refused.code == code
