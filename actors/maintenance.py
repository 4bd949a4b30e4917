"""Work the catalog asks for: filling new indexes, validating pending schemas (spec 04 4.5, 4.6); and what
a database needs to stay as it should be: new system tables, no rows past their time (spec 04 3.2).

What is to do is read from the catalog, and each result is an ordinary commit, so a restart simply starts
again. Steps are small and yield, because they share the process with the writer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from actors.commit_log import CommitLog
from actors.index_shard import IndexShard
from functions.catalog import BACKFILLING, Catalog, Index, PendingSchema, Table
from functions.snapshot import is_exhausted
from functions.system.bootstrap import add_missing_tables
from functions.system.garbage import collect_step
from functions.system.lifecycle import IndexEvent, SchemaEvent, next_index_state, next_schema_state
from functions.transaction import Transaction
from log import limits, values
from log.committer import CommitRequest
from log.errors import BackendError, ErrorKind
from log.record import CallTrace

_Change = Callable[[Transaction], None]


class Maintenance:
    """Runs beside the writer; `wake` after a commit that wrote a metadata table."""

    def __init__(self, shard: IndexShard, log: CommitLog, now_ns: Callable[[], int]) -> None:
        self._shard, self._log, self._now_ns = shard, log, now_ns
        self._wanted = asyncio.Event()
        self._wanted.set()

    def wake(self) -> None:
        self._wanted.set()

    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            app = self._shard.catalog()
            for table in app.every_table():
                for index in table.indexes:
                    if index.state == BACKFILLING:
                        await self._fill(table, index)
            for catalog in app.everywhere():
                pending = catalog.pending_schema
                if pending is not None and pending.state == "pending":
                    await self._validate(catalog, pending)

    async def add_missing_tables(self) -> None:
        """What a log begun by an older version lacks (spec 04 2.3)."""
        await self._commit("_system/new_tables", add_missing_tables)

    async def collect_garbage(self) -> None:
        """Now and then delete what nobody can ask for any more (spec 04 3.2)."""
        while True:
            await asyncio.sleep(limits.GARBAGE_SECONDS)
            deleted = limits.GARBAGE_ROWS_PER_STEP
            while deleted >= limits.GARBAGE_ROWS_PER_STEP:
                deleted = await self._collect_step()

    async def _collect_step(self) -> int:
        deleted = 0

        def collect(transaction: Transaction) -> None:
            nonlocal deleted
            deleted = collect_step(transaction, self._now_ns() / 1e6)

        await self._commit("_system/garbage", collect)
        return deleted

    async def _fill(self, table: Table, index: Index) -> None:
        while not self._shard.fill_step(table, index):
            await asyncio.sleep(0)
        await self._commit("_system/backfill", lambda transaction: _mark_filled(transaction, index))

    async def _validate(self, catalog: Catalog, pending: PendingSchema) -> None:
        """Every document at a snapshot after the schema became pending; later writes check themselves."""
        error = await self._first_violation(catalog, pending)

        def settle(transaction: Transaction) -> None:
            transaction.enter_component(catalog.component.path)
            current = transaction.catalog.pending_schema
            if current is None or current.row_id != pending.row_id or current.state != "pending":
                return  # replaced, failed by a write, or settled meanwhile
            if error is not None:
                transaction.fail_pending_schema(*error)
            else:
                rows = transaction.catalog.tables["_schemas"]
                state = next_schema_state(current.state, SchemaEvent.VALIDATION_COMPLETED)
                transaction.patch(rows, pending.row_id, {"state": {"state": state.value}})

        await self._commit("_system/schema_validation", settle)

    async def _first_violation(self, catalog: Catalog, pending: PendingSchema) -> tuple[str, str] | None:
        """(table, why) of a document that was there before the schema was pushed: later writes are checked as
        they are made. So each step reads the newest there is, and it may take as long as it must."""
        if not pending.schema.schema_validation:
            return None
        count, bytes_max = limits.SCHEMA_VALIDATION_ROWS_PER_STEP, limits.VIEW_READ_BYTES_PER_STEP
        for name in pending.schema.tables:
            table, start = catalog.tables.get(name), b""
            while table is not None:
                snapshot = self._shard.reader().snapshot(self._shard.applied_ts)
                rows = snapshot.scan(
                    table.by_id.index_id, start, None, descending=False, limit=count, bytes_max=bytes_max
                )
                for row in rows:
                    document = values.loads_canonical(row.document)
                    assert isinstance(document, dict)
                    document_id = document.pop("_id")
                    del document["_creationTime"]
                    why = pending.schema.check_document(name, document, catalog)
                    if why is not None:
                        where = f'Document with ID "{document_id}" in table "{name}"'
                        return name, f"{where} does not match the schema: {why}"
                if is_exhausted(rows, count, bytes_max):
                    break
                start = rows[-1].key + b"\x00"
                await asyncio.sleep(0)
        return None

    async def _commit(self, source: str, change: _Change) -> None:
        """Apply `change` in a transaction, again on a conflict."""
        while True:
            begin_ts = self._log.published_ts
            snapshot = self._shard.reader().snapshot(begin_ts)
            now_ms = max(self._now_ns(), begin_ts + 1) / 1e6
            transaction = Transaction(snapshot, self._shard.catalog(), now_ms=now_ms, random_bytes=os.urandom)
            change(transaction)
            if not transaction.has_writes:
                return
            trace = CallTrace(path=source, identity="system", now_ms=now_ms)
            body = transaction.commit_body(os.urandom(16), trace)
            if await self._is_committed(CommitRequest(transaction.reads, body, body.encode())):
                return
            await self._log.flush()

    async def _is_committed(self, request: CommitRequest) -> bool:
        """False: it lost a race, took too long, or there is no room for it now."""
        try:
            return isinstance(await self._log.commit(request), int)
        except BackendError as refusal:
            if refusal.kind is not ErrorKind.OVERLOADED:
                raise
            return False


def _mark_filled(transaction: Transaction, index: Index) -> None:
    rows = transaction.catalog.tables["_index"]
    row = transaction.get(rows, index.row_id)
    if row is None:
        return  # dropped meanwhile
    document = values.loads_canonical(row.document)
    assert isinstance(document, dict)
    on_disk = document["config"]["onDiskState"]
    state = next_index_state(on_disk["type"], IndexEvent.BACKFILL_COMPLETED)
    is_staged = on_disk["backfillState"]["staged"]  # as it is now: a push may have staged it meanwhile
    config = {**document["config"], "onDiskState": {"type": state.value, "staged": is_staged}}
    transaction.patch(rows, index.row_id, {"config": config})
