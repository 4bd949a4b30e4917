"""Does the imports that were uploaded: reads them through, waits for a word, writes them (spec 02 18).

  1. `uploaded`: a thread reads the whole upload and finds its faults; what it would do is summed up for its
     owner, and the import waits for confirmation;
  2. `in_progress`: it is read again. One commit makes the hidden tables, then rows go into them in batches,
     each a transaction that also finds the import still wanted and says how far it is;
  3. where files are replaced, those of other components are copied to them (system/kept_files.py);
  4. one commit puts all hidden tables in their places and says `completed`.
Appended rows are seen batch by batch; everything else is seen at once, or never. Whatever fails ends the
import as `failed` and drops its hidden tables.

Read in this order: ImportJob.run_next, _parse, _perform.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from actors.action_files import Transactions
from actors.import_run import ImportRun, check_unchanged, namespace_of, schema_ids_of
from actors.transfer_worker import decide, transact
from functions.catalog import Catalog, Table
from functions.components import APP_PATH, owner_of
from functions.snapshot import Row, pages
from functions.system import imports
from functions.system import transfer_errors as errors
from functions.system.component_rows import install
from functions.system.files import FILES
from functions.system.import_tables import activate, create_hidden, drop_hidden, future_catalog
from functions.system.imports import ImportRow
from functions.system.kept_files import FileReplacement, Kept
from functions.system.tables import table_row_id
from functions.transaction import Transaction
from functions.transfer.batches import Batch, batches, file_rows
from functions.transfer.plan import (
    ExistingTable,
    ImportMode,
    TablePlace,
    TablePlan,
    check_references,
    plan_components,
)
from functions.transfer.upload import Upload, open_upload
from functions.transfer.zip_layout import STORAGE
from log import values
from log.blob_store import BlobStore
from log.errors import BackendError, ErrorKind, internal_server_error
from log.ids import decode_id
from log.limits import SYSTEM_COUNT_ROWS_PER_STEP

_logger = logging.getLogger(__name__)


class _NotWanted(Exception):
    """The import was canceled."""


class ImportJob:
    """actors.transfer_worker.Job."""

    name = "import"

    def __init__(self, transactions: Transactions, blobs: BlobStore, now_ns: Callable[[], int]) -> None:
        self._transactions, self._blobs, self._now_ns = transactions, blobs, now_ns

    def fail_interrupted(self, transaction: Transaction) -> None:
        imports.fail_interrupted(transaction)
        drop_hidden(transaction)

    async def run_next(self) -> bool:
        row = await self._transactions.read(imports.next_to_do)
        if row is None:
            return False
        try:
            kind, table = imports.format_of(row)
            root = imports.component_of(row)
            upload = await asyncio.to_thread(open_upload, self._blobs, row["object_key"], kind, table, root)
            try:
                await (self._parse if row["state"]["state"] == "uploaded" else self._perform)(row, upload)
            finally:
                upload.close()
        except _NotWanted:
            await transact(self._transactions, "_system/drop_import", drop_hidden)
        except Exception as failure:
            await self._fail(row["_id"], failure)
        return True

    async def _fail(self, import_id: str, failure: Exception) -> None:
        if not isinstance(failure, BackendError) or failure.kind is ErrorKind.INTERNAL:
            _logger.error("the import %s failed", import_id, exc_info=failure)
            failure = internal_server_error()
        text = errors.while_importing(failure)

        def fail(transaction: Transaction) -> None:
            imports.fail_import(transaction, import_id, text)
            drop_hidden(transaction)

        await transact(self._transactions, "_system/fail_import", fail)

    # --- before anything is written -----------------------------------------------------------------

    async def _parse(self, row: ImportRow, upload: Upload) -> None:
        plans = await self._plan(row, upload)
        await transact(
            self._transactions,
            "_system/parse_import",
            lambda transaction: imports.ask_confirmation(transaction, row["_id"], plans),
        )

    async def _plan(self, row: ImportRow, upload: Upload) -> list[TablePlan]:
        uploaded = await asyncio.to_thread(upload.survey)
        mode, catalog, counts = imports.mode_of(row), await self._catalog(), await self._count_files()
        components = {table.component for table in uploaded}
        if mode is ImportMode.REPLACE_ALL:
            components |= {each.component.path for each in catalog.at_or_below(imports.component_of(row))}
        existing = {}
        for component in components:
            own = catalog.of_component(component)
            files = ExistingTable(STORAGE, catalog.tables[FILES].number, counts[component])
            existing[component] = {
                **(await self._count_tables(own) if own is not None else {}),
                STORAGE: files,
            }
        plans = plan_components(uploaded, existing, mode)
        for component, tables in existing.items():
            own = catalog.of_component(component)
            own_plans = [plan for plan in plans if plan.component == component]
            check_references(own_plans, tables, own.schema if own is not None else None)
        return plans

    async def _catalog(self) -> Catalog:
        return (await self._transactions.begin()).transaction.catalog

    async def _count_tables(self, catalog: Catalog) -> dict[str, ExistingTable]:
        """The tables of a component as they are now."""
        transaction = (await self._transactions.begin()).transaction
        return {
            table.name: ExistingTable(table.name, table.number, transaction.table_size(table).documents)
            for table in catalog.user_tables()
        }

    async def _count_files(self) -> Counter[str]:
        """By component path."""
        counted: Counter[str] = Counter()
        async for rows in self._pieces((await self._catalog()).tables[FILES]):
            counted.update(str(owner_of(_document(row))) for row in rows)
        return counted

    async def _pieces(self, table: Table) -> AsyncIterator[Sequence[Row]]:
        """All rows, a piece at a time: calls of actions go on meanwhile."""
        transaction = (await self._transactions.begin()).transaction
        for rows in pages(transaction.snapshot, table.by_id.index_id, SYSTEM_COUNT_ROWS_PER_STEP):
            yield rows
            await asyncio.sleep(0)

    # --- writing ------------------------------------------------------------------------------------

    async def _perform(self, row: ImportRow, upload: Upload) -> None:
        plans = await self._plan(row, upload)
        run = await self._begin(row, plans)
        written = 0
        for plan in plans:
            if plan.creates:
                written += await self._write_table(run, plan, upload)
        kept = await self._keep_files(run, run.files)

        def finish(transaction: Transaction) -> bool:
            if not imports.is_wanted(transaction, run.import_id):
                return False
            check_unchanged(transaction, run)
            _activate_all(transaction, run, kept)
            imports.complete_import(transaction, run.import_id, written, self._now_ns())
            return True

        if not await decide(self._transactions, "_system/complete_import", finish):
            raise _NotWanted

    async def _keep_files(self, run: ImportRun, files: FileReplacement | None) -> Kept:
        kept = following = Kept()

        def copy(transaction: Transaction) -> bool:
            nonlocal following
            if files is None or not imports.is_wanted(transaction, run.import_id):
                return False
            check_unchanged(transaction, run)
            following = files.copy_step(transaction, kept)
            return True

        while files is not None and kept.end is not None:
            if not await decide(self._transactions, "_system/import_files", copy):
                raise _NotWanted
            kept = following
        return kept

    async def _begin(self, row: ImportRow, plans: list[TablePlan]) -> ImportRun:
        """The tables to write into. Those that are appended to are made as if by their first document."""
        run: ImportRun | None = None

        def begin(transaction: Transaction) -> bool:
            nonlocal run
            if not imports.is_wanted(transaction, row["_id"]):
                return False
            root = imports.component_of(row)
            if transaction.catalog_of(root) is None:
                raise errors.import_component_deleted(root)
            tablet_ids = _targets(transaction, plans)
            row_ids = {place: table_row_id(tablet_id) for place, tablet_id in tablet_ids.items()}
            imports.begin_import(transaction, row["_id"], plans, row_ids)
            schema_ids = frozenset(schema_ids_of(transaction.catalog))
            namespaces = {plan.component: namespace_of(transaction, plan.component) for plan in plans}
            run = ImportRun(row["_id"], imports.mode_of(row), plans, tablet_ids, schema_ids, namespaces)
            return True

        if not await decide(self._transactions, "_system/begin_import", begin):
            raise _NotWanted
        assert run is not None
        return run

    async def _write_table(self, run: ImportRun, plan: TablePlan, upload: Upload) -> int:
        """Read a batch on a thread, write it here, and so on; returns how many rows that were."""
        rows = upload.rows(plan.place)
        if plan.name == STORAGE:
            rows = file_rows(plan.component, rows, upload, self._blobs)
        pieces, written = batches(rows), 0
        while (batch := await asyncio.to_thread(_next, pieces)) is not None:
            await self._write_batch(run, plan, batch, written + len(batch))
            written += len(batch)
        return written

    async def _write_batch(self, run: ImportRun, plan: TablePlan, batch: Batch, rows_written: int) -> None:
        def write(transaction: Transaction) -> bool:
            if not imports.is_wanted(transaction, run.import_id):
                return False
            check_unchanged(transaction, run)
            imports.tell_progress(transaction, run.import_id, plan.place, rows_written)
            table = _reached(transaction, run, plan)
            for document in batch:
                _restore(transaction, table, document, plan.name)
            return True

        if not await decide(self._transactions, "_system/import_batch", write):
            raise _NotWanted


def _targets(transaction: Transaction, plans: list[TablePlan]) -> dict[TablePlace, bytes]:
    """The tablet to write into, of each plan. A component that is not installed gets a row, and is mounted by
    the push that has it."""
    tablet_ids: dict[TablePlace, bytes] = {}
    files: Table | None = None
    for plan in plans:
        _install_all(transaction, plan.component)
        if plan.name == STORAGE:
            files = files or _files_target(transaction, plan)
            tablet_ids[plan.place] = files.tablet_id
            continue
        transaction.enter_component(plan.component)
        tablet_ids[plan.place] = _target(transaction, plan).tablet_id
        transaction.enter_component(APP_PATH)
    return tablet_ids


def _install_all(transaction: Transaction, component: str) -> None:
    names = component.split("/") if component else []
    for depth in range(1, len(names) + 1):
        path = "/".join(names[:depth])
        install(transaction, path)
        catalog = transaction.catalog_of(path)
        if catalog is not None and catalog.component.is_being_deleted:
            raise errors.import_component_deleted(path)


def _files_target(transaction: Transaction, plan: TablePlan) -> Table:
    files = transaction.catalog.tables[FILES]
    return create_hidden(transaction, FILES, files.number) if plan.is_replaced else files


def _target(transaction: Transaction, plan: TablePlan) -> Table:
    if plan.is_replaced:
        return create_hidden(transaction, plan.name, plan.number)
    tables = transaction.catalog.tables
    return tables.get(plan.name) or transaction.create_table(plan.name, plan.number)


def _reached(transaction: Transaction, run: ImportRun, plan: TablePlan) -> Table:
    """The table to write into, under the catalog as it will be. The transaction goes into its component."""
    tablet_id = run.tablet_ids[plan.place]
    if plan.name == STORAGE:
        hidden = run.hidden_files
    else:
        hidden = run.hidden_of(plan.component)
        transaction.enter_component(plan.component)
    catalog = transaction.catalog
    tables = catalog.hidden_tables.values() if plan.is_replaced else catalog.tables.values()
    found = next((table for table in tables if table.tablet_id == tablet_id), None)
    if found is None:  # an append, and the table was replaced meanwhile
        raise errors.import_schema_changed()
    transaction.catalog = future_catalog(catalog, hidden)
    # Who searches a replaced table began after its activation, hence after every write of it: no words.
    return replace(found, kept_indexes=()) if plan.is_replaced else found


def _activate_all(transaction: Transaction, run: ImportRun, kept: Kept) -> None:
    """Every hidden table in its place, component by component."""
    must_be_empty = run.mode is ImportMode.REQUIRE_EMPTY
    if run.files is not None:
        run.files.finish(transaction, kept)
    activate(transaction, run.hidden_files, must_be_empty=False)
    for component in run.components:
        transaction.enter_component(component)
        activate(transaction, run.hidden_of(component), must_be_empty=must_be_empty)
    transaction.enter_component(APP_PATH)


def _restore(transaction: Transaction, table: Table, document: dict[str, Any], name: str) -> None:
    document_id = document.get("_id")
    if document_id is not None and decode_id(document_id).table_number != table.number:
        raise errors.table_number_conflict(name)
    try:
        transaction.restore(table, document)
    except BackendError as refusal:
        if refusal.code != "DocumentExists":
            raise
        raise errors.duplicate_id(str(document_id), name) from None


def _next(pieces: Iterator[Batch]) -> Batch | None:
    return next(pieces, None)


def _document(row: Row) -> dict[str, Any]:
    return values.loads_canonical(row.document)  # type: ignore[return-value]
