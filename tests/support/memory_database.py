"""A whole database in memory: view, committer and catalog, without actors, files or waiting.

`transact` runs Python code in a transaction and commits it; `maintain` does, all at once, what the
maintenance of the core does in steps: it fills new indexes and validates a pending schema.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, TypeVar

from actors.projections.documents import MemoryView
from functions.catalog import BACKFILLING, Catalog, Index, Table, load_catalog
from functions.indexes import BACKFILLED
from functions.system.bootstrap import bootstrap_body
from functions.system.tables import CATALOG_TABLETS
from functions.transaction import Transaction
from log import values
from log.committer import Admitted, CommitRequest, Committer, LogEnd
from log.keys import index_key
from log.read_set import ReadSet
from log.record import CallTrace, CommitBody, DocumentWrite

Result = TypeVar("Result")
START_NS = 1_700_000_000_000_000_000
MINUTE_NS = 60_000_000_000


class MemoryDatabase:
    """One database; its clock moves by a millisecond per commit, its randomness comes from the seed."""

    def __init__(self, seed: int = 0) -> None:
        self.now_ns = START_NS
        self.view = MemoryView(CATALOG_TABLETS)
        self.committer = Committer(LogEnd(), 1, CATALOG_TABLETS, self.now_ns)
        self._random = random.Random(seed)
        self._publish()
        reads = ReadSet()
        reads.reads_catalog = True
        self._commit(reads, bootstrap_body(self.committer.published_ts, self.now_ns / 1e6))

    def random_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    # --- reading ------------------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog:
        return load_catalog(self.view.snapshot(self.committer.published_ts))

    def begin(self, *, is_read_only: bool = False) -> Transaction:
        snapshot = self.view.snapshot(self.committer.published_ts)
        return Transaction(
            snapshot,
            load_catalog(snapshot),
            now_ms=self.now_ns / 1e6,
            random_bytes=self.random_bytes,
            is_read_only=is_read_only,
        )

    def documents(self, table_name: str) -> list[dict[str, Any]]:
        """Every document of a table; [] when there is no such table."""
        transaction = self.begin(is_read_only=True)
        table = transaction.catalog.tables.get(table_name)
        return transaction.all_documents(table) if table is not None else []

    # --- writing ------------------------------------------------------------------------------------

    def transact(self, run: Callable[[Transaction], Result]) -> Result:
        """Run and commit; what `run` raises is raised and nothing is written."""
        transaction = self.begin()
        result = run(transaction)
        self.commit(transaction)
        return result

    def commit(self, transaction: Transaction) -> None:
        """Commit; a conflict fails the test that caused it."""
        if transaction.has_writes:
            body = transaction.commit_body(self.random_bytes(16), CallTrace(path="test"))
            self._commit(transaction.reads, body)

    def insert(self, table_name: str, fields: dict[str, Any]) -> str:
        return self.transact(lambda transaction: transaction.insert(table_name, fields))

    def _commit(self, reads: ReadSet, body: CommitBody) -> None:
        outcome = self.committer.propose(CommitRequest(reads, body, body.encode()), self.now_ns)
        assert isinstance(outcome, Admitted), outcome
        self._publish()
        self.now_ns += 1_000_000

    def _publish(self) -> None:
        while (batch := self.committer.ready()) is not None:
            for commit in self.committer.advance(batch):
                self.view.apply(commit.ts, commit.body.writes)

    # --- maintenance --------------------------------------------------------------------------------

    def maintain(self) -> None:
        """Fill every Backfilling index and settle the pending schemas."""
        for table in self.catalog.every_table():
            for index in table.indexes:
                if index.state == BACKFILLING:
                    self._fill(table, index)
        for catalog in self.catalog.everywhere():
            self._settle_schema_of(catalog.component.path)

    def _settle_schema_of(self, component: str) -> None:
        def settle(transaction: Transaction) -> None:
            transaction.enter_component(component)
            self._settle_schema(transaction)

        self.transact(settle)

    def _fill(self, table: Table, index: Index) -> None:
        snapshot = self.view.snapshot(self.view.applied_ts)
        rows = snapshot.scan(table.by_id.index_id, b"", None, descending=False, limit=1 << 30)
        for row in rows:
            document: Any = values.loads_canonical(row.document)
            key = index_key(index.fields, document, document["_id"])
            keys = ((index.index_id, None, key),)
            write = DocumentWrite(table.tablet_id, document["_id"], 0, row.size_bytes, row.document, keys)
            self.view.apply(self.view.applied_ts, [write])
        state = {"type": BACKFILLED, "staged": index.is_staged}
        config = {"type": "database", "fields": list(index.field_names), "onDiskState": state}

        def mark(transaction: Transaction) -> None:
            transaction.patch(transaction.catalog.tables["_index"], index.row_id, {"config": config})

        self.transact(mark)

    def _settle_schema(self, transaction: Transaction) -> None:
        catalog = transaction.catalog
        pending = catalog.pending_schema
        if pending is None or pending.state != "pending":
            return
        for table in catalog.user_tables():
            for document in transaction.all_documents(table):
                fields = {name: value for name, value in document.items() if not name.startswith("_")}
                why = pending.schema.check_document(table.name, fields, catalog)
                if why is not None:
                    text = (
                        f'Document with ID "{document["_id"]}" in table "{table.name}" '
                        f"does not match the schema: {why}"
                    )
                    transaction.fail_pending_schema(table.name, text)
                    return
        state = {"state": {"state": "validated"}}
        transaction.patch(catalog.tables["_schemas"], pending.row_id, state)
