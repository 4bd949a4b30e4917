"""Figures of a start from the log alone: `python -m tests.benchmarks.rebuild [DOCUMENTS] [PER_RECORD]`.

Makes a log of inserts into a table of three fields and two indexes, then proves it, reads it, decodes it and
folds it into a new view. Prints CPU time of the process, asserts nothing.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from actors.index_shard import IndexShard
from actors.runtime import Pauses
from actors.view_reader import ViewReader
from functions.catalog import load_catalog
from functions.transaction import Transaction
from log.record import CallTrace, CommitBody, Record, RecordKind, decode_writes, make_record
from log.sqlite_store import SqliteStore

from ..support.core_deployment import CoreDeployment

_STEP_NS = 3_000_000  # between commits: most are older than the undo window, as in a log of some age
_DOCUMENTS_PER_APPEND = 5_000
TRACE = CallTrace(path="messages.js:send", args=b'[{"key":"12345","n":5}]', seed=b"s" * 32)


def make_log(folder: Path, documents: int, per_record: int) -> None:
    """A core makes the table; its further commits are written straight into the log."""
    deployment = CoreDeployment(folder, seed=1)
    rng = deployment.rng

    def insert(transaction: Transaction) -> None:
        for _ in range(per_record):
            fields = {"key": str(rng.randrange(10**6)), "n": float(rng.randrange(1_000))}
            transaction.insert("things", fields)

    async def make_table() -> tuple[int, Path]:
        await deployment.open()
        await deployment.transact(insert)
        made = deployment.core.published_ts, deployment.core._shard.view_folder
        await deployment.close()
        return made

    ts, view_folder = asyncio.run(make_table())
    reader = ViewReader(view_folder)
    snapshot = reader.snapshot(ts)
    catalog = load_catalog(snapshot)
    store = SqliteStore(folder / "log")
    epoch, end = store.claim_epoch(), store.end()
    seq, ts, crc = end.seq, end.ts, end.crc
    records: list[Record] = []
    for _ in range(documents // per_record):
        transaction = Transaction(snapshot, catalog, now_ms=ts / 1e6, random_bytes=rng.randbytes)
        insert(transaction)
        body = transaction.commit_body(rng.randbytes(16), TRACE).encode()
        seq, ts = seq + 1, ts + _STEP_NS
        records.append(make_record(crc, seq, ts, epoch, RecordKind.COMMIT, body))
        crc = records[-1].crc
        if len(records) * per_record >= _DOCUMENTS_PER_APPEND:
            store.append_and_sync(epoch, records)
            records = []
    if records:
        store.append_and_sync(epoch, records)
    store.close()
    reader.close()


def measure(label: str, count: int, unit: str, step: Callable[[], object]) -> None:
    before = time.process_time()
    step()
    seconds = time.process_time() - before
    print(f"{label:<28} {count / seconds:10,.0f} {unit}/s  {seconds / count * 1e6:8.2f} us each", flush=True)


def main() -> None:
    documents = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    per_record = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_log(folder, documents, per_record)
        records = documents // per_record
        stores: list[SqliteStore] = []
        measure("prove (open)", records, "records", lambda: stores.append(SqliteStore(folder / "log")))
        store = stores[0]

        def commits() -> list[bytes]:
            return [record.body for record in store.read_from(1) if record.kind is RecordKind.COMMIT]

        bodies = commits()
        measure("read", records, "records", commits)
        measure("decode the writes", records, "records", lambda: [*map(decode_writes, bodies)])
        measure("decode all", records, "records", lambda: [*map(CommitBody.decode, bodies)])
        shutil.rmtree(folder / "views")
        shard = IndexShard(folder / "views", Pauses())
        measure("rebuild a view", documents, "documents", lambda: shard.catch_up(store))
        print(shard.statistics())
        shard.close(clean=False)
        store.close()


if __name__ == "__main__":
    main()
