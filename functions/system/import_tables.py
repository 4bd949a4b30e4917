"""Hidden tables: filled by an import while the tables of the same name serve, then put in their place.

A hidden table has the name, the number and the indexes that the table will have, and is reached only by its
tablet id. Its documents are checked against the schemas under the catalog as it will be. One commit makes all
hidden tables of an import active and drops what they replace; until then nobody sees any of it, and if it
never comes to that, dropping their rows is enough: the view sweeps the entries of unnamed indexes.
"""

from __future__ import annotations

from dataclasses import replace

from functions.catalog import BACKFILLING, BY_CREATION_TIME, BY_ID, Catalog, Index, Table
from functions.system import transfer_errors as errors
from functions.system.tables import TABLES_TABLET, table_row_id
from functions.transaction import Transaction
from log.invariant import invariant


def create_hidden(transaction: Transaction, name: str, number: int) -> Table:
    """An empty table with the indexes of the one it is to replace."""
    replaced = transaction.catalog.tables.get(name)
    if replaced is not None and any(index.state == BACKFILLING for index in replaced.indexes):
        raise errors.still_backfilling(name)
    indexes = (
        replaced.indexes
        if replaced is not None
        else (Index(b"", BY_ID, ()), Index(b"", BY_CREATION_TIME, (("_creationTime",),)))
    )

    def fresh(found: tuple[Index, ...]) -> tuple[Index, ...]:
        return tuple(replace(index, index_id=transaction.new_internal_id(), row_id="") for index in found)

    kept = fresh(replaced.kept_indexes) if replaced is not None else ()
    table = Table(name, number, transaction.new_internal_id(), fresh(indexes), kept)
    transaction.insert_table(table, "hidden")
    return table


def future_catalog(catalog: Catalog, tablet_ids: frozenset[bytes]) -> Catalog:
    """The catalog as it will be when these hidden tables are active."""
    for tablet_id in tablet_ids:
        catalog = catalog.with_replaced(catalog.hidden_tables[tablet_id])
    return catalog


def activate(transaction: Transaction, tablet_ids: frozenset[bytes], *, must_be_empty: bool) -> None:
    """Put hidden tables into the places of those of their names, whatever these hold; `must_be_empty`: which
    must still hold nothing."""
    catalog = transaction.catalog
    tables = [catalog.hidden_tables[tablet_id] for tablet_id in sorted(tablet_ids)]
    names = {table.name for table in tables}
    for table in tables:
        owner = catalog.tables_by_number.get(table.number)
        if owner is not None and owner.name not in names:
            raise errors.table_conflict(table.name, owner.name)
        replaced = catalog.tables.get(table.name)
        if replaced is not None:
            _check_unchanged(transaction, table, replaced, must_be_empty=must_be_empty)
            drop_table(transaction, replaced)
        transaction.patch(catalog.tables["_tables"], table_row_id(table.tablet_id), {"state": "active"})


def drop_hidden(transaction: Transaction) -> None:
    """All there are: only one import runs at a time, and nothing else makes them."""
    for table in transaction.catalog.hidden_tables.values():
        drop_table(transaction, table)


def _check_unchanged(transaction: Transaction, table: Table, replaced: Table, *, must_be_empty: bool) -> None:
    if _definitions(table) != _definitions(replaced):
        raise errors.import_schema_changed()
    if must_be_empty:
        scan = transaction.scan(replaced.by_id, replaced, b"", None, descending=False)
        if scan.next() is not None:
            raise errors.table_exists(table.name)


def _definitions(table: Table) -> set[tuple[object, ...]]:
    return {(index.name, index.fields, index.state, index.is_staged) for index in table.all_indexes}


def drop_table(transaction: Transaction, table: Table) -> None:
    """Take a table away: its rows in the catalog; what it holds is unreachable then, and swept."""
    catalog = transaction.catalog
    invariant(table.tablet_id != TABLES_TABLET, "the table of tables stays")
    for index in table.all_indexes:
        transaction.delete(catalog.tables["_index"], index.row_id)
    transaction.delete(catalog.tables["_tables"], table_row_id(table.tablet_id))
