"""The app of the simulated world, in Python over real transactions. Its dumber twin is model.py.

Each function answers everything it read, so that what it answered says what it saw. Between them they
read and write keys, move keys in an index, read a range and write into it, search words and write them,
write without reading, refuse.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import orjson

from actors.projections.documents import MemoryView
from functions.call_checks import Invocation
from functions.catalog import BY_CREATION_TIME, BY_ID, Index, index_fields, load_catalog
from functions.indexes import SEARCH
from functions.invocation import RunOutcome
from functions.outcome import JsError
from functions.search.search_query import SearchQuery
from functions.search.search_scan import SearchScan
from functions.syscalls import Observed
from functions.system.bootstrap import bootstrap_body
from functions.system.tables import CATALOG_TABLETS, index_row_id
from functions.transaction import Transaction
from log import values
from log.committer import CommitRequest, Committer, LogEnd
from log.keys import encode_item
from log.read_set import ReadSet
from log.record import CallTrace, CommitBody, Record

from .model import COUNTERS, LISTS, START_COUNT, Refused
from .virtual_loop import START_NS

_RELEASE = "RELEASE"
_BY_COUNT = Index(b"simulated-count-", "by_count", (("count",), ("_creationTime",)))
_BY_WORD = Index(b"simulated-words-", "by_word", (("word",),), kind=SEARCH)


def add(transaction: Transaction, args: dict[str, Any]) -> Any:
    return _change(transaction, args["name"], args["by"])


def transfer(transaction: Transaction, args: dict[str, Any]) -> Any:
    held = _counter(transaction, args["giver"])["count"]
    if held < args["amount"]:
        raise Refused(args["giver"], held)
    taken = _change(transaction, args["giver"], -args["amount"])
    return [taken, _change(transaction, args["taker"], args["amount"])]


def demote(transaction: Transaction, args: dict[str, Any]) -> Any:
    """Take from whoever leads: a read of the end of an index, and a key moved away from there."""
    name = leader(transaction, args)[0]
    return [name, _change(transaction, name, -args["by"])]


def append(transaction: Transaction, args: dict[str, Any]) -> Any:
    """Count a whole table, then write into it."""
    before = len(_operations(transaction, args["list"]))
    transaction.insert(args["list"], {"operation": args["operation"]})
    return before


def drop(transaction: Transaction, args: dict[str, Any]) -> Any:
    transaction.insert(args["list"], {"operation": args["operation"]})


def tag(transaction: Transaction, args: dict[str, Any]) -> Any:
    """Search for a word, then write it."""
    before = [note["operation"] for note in _notes(transaction, args["word"])]
    transaction.insert("notes", {"operation": args["operation"], "word": args["word"]})
    return before


def retag(transaction: Transaction, args: dict[str, Any]) -> Any:
    """Search for a word, and give the first note that has it another one; without such a note, write one."""
    found = _notes(transaction, args["word"])
    fields = {"operation": args["operation"], "word": args["to"]}
    if found:
        transaction.patch(transaction.catalog.tables["notes"], found[0]["_id"], fields)
    else:
        transaction.insert("notes", fields)
    return [note["operation"] for note in found]


def tagged(transaction: Transaction, args: dict[str, Any]) -> Any:
    return [note["operation"] for note in _notes(transaction, args["word"])]


def count(transaction: Transaction, args: dict[str, Any]) -> Any:
    return _counter(transaction, args["name"])["count"]


def counts(transaction: Transaction, args: dict[str, Any]) -> Any:
    return [_counter(transaction, name)["count"] for name in COUNTERS]


def operations(transaction: Transaction, args: dict[str, Any]) -> Any:
    return _operations(transaction, args["list"])


def leader(transaction: Transaction, args: dict[str, Any]) -> Any:
    table = transaction.catalog.tables["counters"]
    index = table.index(_BY_COUNT.name)
    assert index is not None
    row = transaction.scan(index, table, b"", None, descending=True).next()
    assert row is not None
    document: Any = values.loads_canonical(row.document)
    return [document["name"], document["count"]]


def release(transaction: Transaction, args: dict[str, Any]) -> Any:
    """A read of the catalog and nothing else."""
    return transaction.catalog.environment.get(_RELEASE, "")


def set_release(transaction: Transaction, name: str) -> None:
    """What an operator's command does: a write to a metadata table."""
    table = transaction.catalog.tables["_environment_variables"]
    row = transaction.first(table, "by_name", encode_item(_RELEASE))
    if row is None:
        transaction.insert("_environment_variables", {"name": _RELEASE, "value": name})
    else:
        transaction.patch(table, row["_id"], {"value": name})


_FUNCTIONS: dict[str, Callable[[Transaction, dict[str, Any]], Any]] = {
    f"app.js:{function.__name__}": function
    for function in (
        *(add, transfer, demote, append, drop, tag, retag),
        *(count, counts, operations, tagged, leader, release),
    )
}


class AppRunner:
    """In the place of functions.invocation.Runner: runs the functions above."""

    def run(self, transaction: Transaction, call: Invocation, seed: bytes, now_ms: float) -> RunOutcome:
        args = orjson.loads(call.args)[0]
        kind = "Mutation" if call.udf_type == "Mutation" else "Query"
        try:
            value = orjson.dumps(_FUNCTIONS[call.path.canonical](transaction, args))
        except Refused as refusal:
            return RunOutcome(None, JsError(f"Uncaught Error: {refusal}\n"), kind, observed=Observed())
        return RunOutcome(value, None, kind, observed=Observed())


def _counter(transaction: Transaction, name: str) -> dict[str, Any]:
    row = transaction.get(transaction.catalog.tables["counters"], first_records().ids[name])
    assert row is not None
    return values.loads_canonical(row.document)  # type: ignore[return-value]


def _change(transaction: Transaction, name: str, by: float) -> float:
    changed = _counter(transaction, name)["count"] + by
    table = transaction.catalog.tables["counters"]
    transaction.patch(table, first_records().ids[name], {"count": changed})
    return float(changed)


def _operations(transaction: Transaction, table_name: str) -> list[str]:
    documents = transaction.all_documents(transaction.catalog.tables[table_name])
    return sorted(document["operation"] for document in documents)


def _notes(transaction: Transaction, word: str) -> list[dict[str, Any]]:
    """Those with a word that begins so, by their operations: the order of results depends on all notes."""
    table = transaction.catalog.tables["notes"]
    index = table.index(_BY_WORD.name)
    assert index is not None
    scan = SearchScan(transaction, table, index, SearchQuery((word,), ()), b"", None)
    notes: list[dict[str, Any]] = []
    while (row := scan.next()) is not None:
        notes.append(values.loads_canonical(row.document))  # type: ignore[arg-type]
    return sorted(notes, key=lambda note: note["operation"])


# --- how every history begins -----------------------------------------------------------------------


class FirstRecords:
    """The log of a new deployment with the app's tables. The same for every seed, hence made once."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.ids: dict[str, str] = {}
        self._chance = random.Random(0)
        self._now_ns = START_NS - 10**9
        self._view = MemoryView(CATALOG_TABLETS)
        self._committer = Committer(LogEnd(), 0, CATALOG_TABLETS, self._now_ns)
        reads = ReadSet()
        reads.reads_catalog = True
        self._commit(reads, bootstrap_body(self._committer.published_ts, self._now_ns / 1e6))
        self._write(self._make_tables)
        self._write(self._make_counters)

    def _make_tables(self, transaction: Transaction) -> None:
        for name in ("counters", *LISTS, "notes"):
            transaction.create_table(name)
        rows = transaction.catalog.tables["_index"]
        for name, index in (("counters", _BY_COUNT), ("notes", _BY_WORD)):
            table = transaction.catalog.tables[name]
            assert [built_in.name for built_in in table.indexes] == [BY_ID, BY_CREATION_TIME]
            transaction.insert_with_id(rows, index_row_id(index.index_id), index_fields(table, index))

    def _make_counters(self, transaction: Transaction) -> None:
        for name in COUNTERS:
            self.ids[name] = transaction.insert("counters", {"name": name, "count": START_COUNT})

    def _write(self, work: Callable[[Transaction], None]) -> None:
        snapshot = self._view.snapshot(self._committer.published_ts)
        transaction = Transaction(
            snapshot,
            load_catalog(snapshot),
            now_ms=self._now_ns / 1e6,
            random_bytes=self._chance.randbytes,
        )
        work(transaction)
        call_id = self._chance.randbytes(16)
        self._commit(transaction.reads, transaction.commit_body(call_id, CallTrace(path="_system/setup")))

    def _commit(self, reads: ReadSet, body: CommitBody) -> None:
        self._committer.propose(CommitRequest(reads, body, body.encode()), self._now_ns)
        self._now_ns += 1_000_000
        while (batch := self._committer.ready()) is not None:
            for commit in self._committer.advance(batch):
                self.records.append(commit.record)
                self._view.apply(commit.ts, commit.body.writes)


@functools.cache
def first_records() -> FirstRecords:
    return FirstRecords()
