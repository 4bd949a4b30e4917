"""One transaction: a snapshot, what was read from it, and what shall be written over it.

Knows documents, tables and indexes; knows no JavaScript, socket or store. All reads go through a
`SnapshotReader` and are answered at once.

Promises:
  - reads see the snapshot overlaid with the transaction's own writes, in key order;
  - the read set holds every interval consumed, to the last row returned and no further;
  - rolling back to a savepoint removes writes and audit lines made since, keeps reads, and never reuses ids;
  - `commit_body()` names each written document once, with every index key before and after.

Read in this order: get, insert, _put, _move, commit_body; then functions/scan.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from functions.budget import Budget
from functions.catalog import BY_CREATION_TIME, BY_ID, Catalog, Index, Table, index_fields
from functions.components import Component
from functions.errors import (
    document_exists,
    nonexistent_document,
    read_only_transaction,
    system_field_changed,
    system_field_supplied,
)
from functions.scan import Overlay, Scan
from functions.snapshot import Row, SnapshotReader, TableSize
from functions.system.tables import index_row_id, table_row_id
from functions.written import Written, document_write, keys_of, original_of, row_of
from log import limits, values
from log.commit_ts import holds_placeholder, leave_blanks
from log.errors import schema_enforcement, too_many_tables
from log.ids import check_table_name, encode_id, new_internal_id
from log.intervals import IntervalSet
from log.keys import commit_ts_offsets, encode_item
from log.read_set import Place, ReadSet
from log.record import CallTrace, CommitBody, DocumentWrite, in_application_order

RandomBytes = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Savepoint:
    """A place in the history of a transaction's writes to roll back to."""

    position: int
    catalog: Catalog
    left: Mapping[str, Catalog]
    audited: tuple[bytes, ...]


class HotPlaceMet(Exception):
    """The transaction read what it was told to watch for; it goes no further."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.place = place


class Transaction:
    """See the module text. `now_ms` is the base of creation times, `random_bytes` the source of ids. A read
    of what is `watched` raises HotPlaceMet."""

    def __init__(
        self,
        snapshot: SnapshotReader,
        catalog: Catalog,
        *,
        now_ms: float,
        random_bytes: RandomBytes,
        is_read_only: bool = False,
        watched: ReadSet | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.catalog = self.catalog_at_begin = catalog
        self._left: Mapping[str, Catalog] = {}  # of components that were entered and left again
        self.reads = ReadSet()
        self.reads.reads_catalog = True  # the function itself was found through the catalog
        self.budget = Budget()
        self.is_read_only = is_read_only
        self._watched = watched
        self._counted_intervals: dict[bytes, IntervalSet] = {}
        self._interval_count = 0
        self.random_bytes = random_bytes
        self.audited: tuple[bytes, ...] = ()  # audit lines, their variables unresolved (functions/audit.py)
        self._next_creation_time = now_ms
        self.now_ns = int(now_ms * 1e6)
        self.now_seconds = int(now_ms // 1000)
        self._written: dict[str, Written] = {}
        self._history: list[tuple[str, Written | None]] = []
        self._overlays: dict[bytes, Overlay] = {}

    @property
    def begin_ts(self) -> int:
        return self.snapshot.ts

    @property
    def has_writes(self) -> bool:
        return bool(self._written)

    # --- components -------------------------------------------------------------------------------

    @property
    def component(self) -> Component:
        """Whose tables are seen now."""
        return self.catalog.component

    def enter_component(self, path: str) -> None:
        """From now on `catalog` is that of another component, as this transaction left it."""
        here = self.catalog
        if here.component.path != path:
            self._left = {**self._left, here.component.path: here}
            self.catalog = self._left.get(path) or here.components[path]

    def catalog_of(self, path: str) -> Catalog | None:
        """The catalog of a component path, as this transaction left it; None when there is none."""
        return self._left.get(path) or self.catalog.of_component(path)

    def component_of(self, namespace: str | None) -> Component | None:
        """The component whose rows have this namespace (None: the app)."""
        known = (catalog.component for catalog in (*self.catalog.everywhere(), *self._left.values()))
        return next((component for component in known if component.namespace == namespace), None)

    def add_component(self, component: Component) -> None:
        """One whose row this transaction wrote: it has the system tables and nothing else."""
        self._left = {**self._left, component.path: self.catalog.of_new_component(component)}

    # --- reading ----------------------------------------------------------------------------------

    def get(self, table: Table, document_id: str) -> Row | None:
        """The document, or None; its id is read either way."""
        row = self._lookup(table, document_id)
        if row is not None:
            self.budget.read_document(table.tablet_id, row.size_bytes, is_system=table.is_system)
        return row

    def scan(self, index: Index, table: Table, start: bytes, end: bytes | None, *, descending: bool) -> Scan:
        """A scan of [start, end) of an index; nothing is read before its first `next`."""
        return Scan(self, index, table, start, end, descending=descending)

    def first(self, table: Table, index_name: str, prefix: bytes) -> dict[str, Any] | None:
        """The first document whose key begins with `prefix`, decoded; for system code."""
        index = table.index(index_name)
        assert index is not None
        row = self.scan(index, table, prefix, prefix + b"\xff", descending=False).next()
        return values.loads_canonical(row.document) if row is not None else None  # type: ignore[return-value]

    def all_documents(self, table: Table) -> list[dict[str, Any]]:
        """Every document of a (small, system) table, decoded, in id order."""
        scan = self.scan(table.by_id, table, b"", None, descending=False)
        documents = []
        while (row := scan.next()) is not None:
            documents.append(values.loads_canonical(row.document))
        return documents  # type: ignore[return-value]

    def table_size(self, table: Table) -> TableSize:
        """How much the table holds, as this transaction left it. That is to have read all of it."""
        self.record_read(table.by_id, b"", None)
        size = self.snapshot.table_size(table.by_id.index_id)
        for written in self._written.values():
            if written.table.tablet_id == table.tablet_id:
                size = written.counted(size)
        return size

    def record_read(self, index: Index, start: bytes, end: bytes | None) -> None:
        """Add a consumed interval, within the limit on distinct ones (spec 03 6.2)."""
        if self._watched is not None and self._watched.overlaps(index.index_id, start, end):
            raise HotPlaceMet((index.index_id, start, end))
        held = self._counted_intervals.setdefault(index.index_id, IntervalSet())
        before = len(held)
        held.add(start, end)
        self._interval_count += len(held) - before
        self.reads.add(index.index_id, start, end)
        self.budget.check_intervals(self._interval_count)

    def overlay_of(self, index: Index) -> Overlay | None:
        return self._overlays.get(index.index_id)

    def _lookup(self, table: Table, document_id: str) -> Row | None:
        key = encode_item(document_id)
        self.record_read(table.by_id, key, key + b"\x00")
        return self._revision(table, document_id, key)

    def _revision(self, table: Table, document_id: str, key: bytes) -> Row | None:
        written = self._written.get(document_id)
        if written is not None and written.table.tablet_id == table.tablet_id:
            return row_of(written, key) if written.encoded is not None else None
        return self.snapshot.get(table.by_id.index_id, key)

    # --- writing ----------------------------------------------------------------------------------

    def insert(self, table_name: str, fields: dict[str, Any]) -> str:
        """A new document with a new id; the table is created by its first document."""
        table = self.catalog.tables.get(table_name) or self.create_table(table_name)
        return self.insert_with_id(table, encode_id(table.number, self.new_internal_id()), fields)

    def insert_with_id(self, table: Table, document_id: str, fields: dict[str, Any]) -> str:
        if "_id" in fields or "_creationTime" in fields:
            raise system_field_supplied("_id" if "_id" in fields else "_creationTime")
        return self.restore(table, {**fields, "_id": document_id})

    def restore(self, table: Table, fields: dict[str, Any]) -> str:
        """A document with the id and the time of creation it brings along, or with new ones."""
        self._check_writable()
        document_id: str = fields.get("_id") or encode_id(table.number, self.new_internal_id())
        key = encode_item(document_id)
        self.reads.add_key(table.by_id.index_id, key)  # a guard: it is none of the reads that are limited
        if self._revision(table, document_id, key) is not None:
            raise document_exists(document_id)
        created_ms = fields["_creationTime"] if "_creationTime" in fields else self._take_creation_time()
        self._put(table, document_id, {**fields, "_id": document_id, "_creationTime": created_ms})
        return document_id

    def patch(self, table: Table, document_id: str, changes: dict[str, Any], method: str = "Update") -> bytes:
        """Set the given top-level fields; UNDEFINED removes one. Returns the new document's bytes."""
        document = self._require(table, document_id, method)
        changed = {**document, **changes}
        removed = [name for name, value in changes.items() if value is values.UNDEFINED]
        for name in removed:
            del changed[name]
        return self._overwrite(table, document_id, document, changed)

    def replace(self, table: Table, document_id: str, fields: dict[str, Any]) -> bytes:
        document = self._require(table, document_id, "Replace")
        changed = {**fields}
        changed.setdefault("_id", document_id)
        changed.setdefault("_creationTime", document["_creationTime"])
        return self._overwrite(table, document_id, document, changed)

    def delete(self, table: Table, document_id: str) -> bytes:
        """Returns the bytes of the document that was there."""
        self._require(table, document_id, "Delete")
        row = self._revision(table, document_id, encode_item(document_id))
        assert row is not None
        self._put(table, document_id, None)
        return row.document

    def create_table(self, name: str, number: int | None = None) -> Table:
        """A user table with its two built-in indexes; `number` is that of the ids it will be given."""
        check_table_name(name)
        if len(self.catalog.user_tables()) >= limits.USER_TABLES_MAX:
            raise too_many_tables(limits.USER_TABLES_MAX)
        tablet_id = self.new_internal_id()
        indexes = (
            Index(self.new_internal_id(), BY_ID, ()),
            Index(self.new_internal_id(), BY_CREATION_TIME, (("_creationTime",),)),
        )
        table = Table(name, number or self.catalog.next_user_table_number(), tablet_id, indexes)
        self.insert_table(table, "active")
        self.catalog = self.catalog.with_table(table)
        return table

    def insert_table(self, table: Table, state: str) -> None:
        """The rows of a table and its indexes."""
        rows = self.catalog.tables["_tables"], self.catalog.tables["_index"]
        row: dict[str, Any] = {"name": table.name, "number": table.number, "state": state}
        if self.component.namespace is not None:
            row["namespace"] = {"kind": "byComponent", "id": self.component.namespace}
        self.insert_with_id(rows[0], table_row_id(table.tablet_id), row)
        for index in table.all_indexes:
            self.insert_with_id(rows[1], index_row_id(index.index_id), index_fields(table, index))

    def new_internal_id(self) -> bytes:
        return new_internal_id(self.random_bytes(14), self.now_seconds)

    def _require(self, table: Table, document_id: str, verb: str) -> dict[str, Any]:
        self._check_writable()
        row = self._lookup(table, document_id)
        if row is None:
            raise nonexistent_document(verb, document_id)
        self.budget.read_document(table.tablet_id, row.size_bytes, is_system=table.is_system)
        written = self._written.get(document_id)
        if written is not None and written.document is not None:
            return written.document
        return values.loads_canonical(row.document)  # type: ignore[return-value]

    def _overwrite(
        self, table: Table, document_id: str, before: dict[str, Any], after: dict[str, Any]
    ) -> bytes:
        for name in values.SYSTEM_FIELDS:
            if name not in after or not values.same(after[name], before[name]):
                raise system_field_changed(name)
        if values.same(before, after):  # writes nothing, counts as the read it was (spec 03 2.4)
            return values.dumps(before)
        written = self._put(table, document_id, after)
        assert written.encoded is not None
        return written.encoded

    def _check_writable(self) -> None:
        if self.is_read_only:
            raise read_only_transaction()

    def _take_creation_time(self) -> float:
        """Strictly increasing within the transaction (spec 04 1.1)."""
        taken = self._next_creation_time
        self._next_creation_time = math.nextafter(taken, math.inf)
        return taken

    def _put(self, table: Table, document_id: str, document: dict[str, Any] | None) -> Written:
        """Write or delete (None). All checks come before the first change."""
        encoded: bytes | None = None
        size_bytes = 0
        keys: tuple[bytes, ...] = ()
        if document is not None:
            size_bytes = values.size_of(document)
            if not table.is_system:
                values.check_document(document, size_bytes)
                self._enforce_schema(table, document)
            encoded = values.dumps(document)
            keys = keys_of(table, document, document_id)
        before = self._written.get(document_id)
        if before is not None:
            original, original_keys = before.original, before.original_keys
        else:
            original, original_keys = original_of(self.snapshot, table, document_id)
        self.budget.write_document(document_id, size_bytes, is_system=table.is_system)
        written = Written(table, original, original_keys, document, encoded, size_bytes, keys)
        self._history.append((document_id, before))
        self._move(document_id, before, written)
        return written

    def _move(self, document_id: str, before: Written | None, after: Written | None) -> None:
        """Make the overlays and `_written` show `after` instead of `before` (None = as the snapshot)."""
        shown = after or before
        assert shown is not None
        for position, index in enumerate(shown.table.indexes):
            overlay = self._overlays.setdefault(index.index_id, Overlay())
            original_key = shown.original_keys[position] if shown.original_keys else None
            if before is not None and before.keys:
                overlay.unset(before.keys[position])
            if original_key is not None:
                overlay.set(original_key, None) if after is not None else overlay.unset(original_key)
            if after is not None and after.keys:
                overlay.set(after.keys[position], row_of(after, after.keys[position]))
        if after is None:
            del self._written[document_id]
        else:
            self._written[document_id] = after

    # --- schema -----------------------------------------------------------------------------------

    def _enforce_schema(self, table: Table, document: dict[str, Any]) -> None:
        """The active schema refuses; a pending one is failed by the write instead (spec 04 4.6)."""
        catalog = self.catalog
        if catalog.schema is None and catalog.pending_schema is None:
            return
        fields = {name: value for name, value in document.items() if name not in values.SYSTEM_FIELDS}
        if catalog.schema is not None:
            error = catalog.schema.check_document(table.name, fields, catalog)
            if error is not None:
                raise schema_enforcement(table.name, error)
        pending = catalog.pending_schema
        if pending is not None:
            error = pending.schema.check_document(table.name, fields, catalog)
            if error is not None:
                text = f'New document in table "{table.name}" does not match the schema: {error}'
                self.fail_pending_schema(table.name, text)

    def fail_pending_schema(self, table_name: str, error: str) -> None:
        pending = self.catalog.pending_schema
        assert pending is not None
        state = {"state": "failed", "error": error, "tableName": table_name}
        self.patch(self.catalog.tables["_schemas"], pending.row_id, {"state": state})
        self.catalog = self.catalog.without_pending_schema()

    # --- nesting and the end ----------------------------------------------------------------------

    def savepoint(self) -> Savepoint:
        return Savepoint(len(self._history), self.catalog, self._left, self.audited)

    def roll_back(self, savepoint: Savepoint) -> None:
        """Undo the writes and audit lines since; reads and consumed ids stay (spec 04 1.4)."""
        while len(self._history) > savepoint.position:
            document_id, before = self._history.pop()
            self._move(document_id, self._written[document_id], before)
        self.catalog, self._left = savepoint.catalog, savepoint.left
        self.audited = savepoint.audited

    def commit_body(self, call_id: bytes, trace: CallTrace) -> CommitBody:
        """What to propose to the committer. Documents inserted and deleted here leave no trace."""
        unresolved = {
            name: [commit_ts_offsets(index.fields, found.document) for index in found.table.indexes]
            for name, found in self._written.items()
            if found.encoded is not None and holds_placeholder(found.encoded)
        }
        writes: list[DocumentWrite] = []
        words_left = limits.SEARCH_WORDS_WRITTEN_MAX
        for document_id, written in self._written.items():
            if written.encoded is not None or written.original is not None:
                writes.append(write := document_write(document_id, written, words_left))
                if write.words:
                    words_left -= sum(len(words) for _, words in write.words)
        body = CommitBody(self.begin_ts, call_id, trace, in_application_order(writes))
        return leave_blanks(body, unresolved) if unresolved else body
