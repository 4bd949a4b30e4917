"""Exports and imports over a real view: one moment, all or nothing, nothing left behind."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from actors.frozen_view import frozen_folder
from actors.transfer_worker import TransferWorker
from functions.catalog import index_fields
from functions.indexes import SEARCH, Index
from functions.system import exports, imports
from functions.system.blobs import blobs_in_use
from functions.system.files import FILES, insert_file
from functions.transaction import Transaction
from functions.transfer import export_archive
from log import values
from log.blob_store import put_bytes, read_bytes
from log.errors import BackendError
from log.ids import decode_id, encode_id
from log.limits import EXPORT_ROWS_PER_STEP, IMPORT_DOCUMENTS_PER_COMMIT
from log.proven_log import ProvenLog
from log.record import CommitBody, DocumentWrite
from log.sqlite_reader import SqliteReader

from ..support.transfer_site import TransferSite, lines, run_site, zipped

INTERRUPTED = "The server was restarted during the import. Import the data again."
CATALOG_TABLES = "_tables", "_index"


def documents_in(site: TransferSite, row: dict[str, Any], table: str) -> list[Any]:
    text = site.zip_of(row).read(f"{table}/documents.jsonl")
    return [values.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("bytes_per_step", [1, 1 << 20])
def test_an_export_shows_one_moment_however_much_is_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_per_step: int
) -> None:
    monkeypatch.setattr(export_archive, "VIEW_READ_BYTES_PER_STEP", bytes_per_step)

    async def scenario(site: TransferSite) -> None:
        await site.insert("a", *({"n": float(n)} for n in range(EXPORT_ROWS_PER_STEP + 1)))
        before = await site.documents("a")

        async def write_on(source: str) -> None:
            if source in ("_system/begin_export", "_system/complete_export"):
                await site.insert("a", {"n": -1.0})
                await site.insert("b", {"n": -1.0})

        await site.operate(exports.request_export, includeStorage=False)
        site.before_commit = write_on
        assert await site.exporting.run_next()
        (row,) = await site.documents("_exports")
        assert row["state"] == "completed" and row["size"] == site.blobs.size_of(row["zip_object_key"])
        assert documents_in(site, row, "a") == before
        assert not [name for name in site.zip_of(row).namelist() if name.startswith("b/")]
        assert not list(frozen_folder(site.core.core.view_reader().folder).iterdir())

    run_site(tmp_path, scenario)


def test_an_export_that_is_cancelled_or_fails_leaves_no_bytes_and_the_next_one_works(tmp_path: Path) -> None:
    async def scenario(site: TransferSite) -> None:
        await site.insert("a", {"n": 1.0})
        export_id = (await site.operate(exports.request_export))["id"]

        async def cancel(source: str) -> None:
            if source == "_system/begin_export":
                site.before_commit = None
                await site.operate(exports.cancel_export, id=export_id)

        site.before_commit = cancel
        assert await site.exporting.run_next()
        missing = put_bytes(site.blobs, b"bytes that are taken away")
        await site.core.transact(lambda tx: insert_file(tx, missing, None) and None)
        site.blobs.delete(missing.key)
        await site.export(files=True)
        states = sorted(row["state"] for row in await site.documents("_exports"))
        assert states == ["canceled", "failed"]
        assert [path.name for path in site.blobs.folder.iterdir() if path.name != "guard"] == []
        await site.operate(exports.request_export)
        assert await site.exporting.run_next()
        states = sorted(row["state"] for row in await site.documents("_exports"))
        assert states == ["canceled", "completed", "failed"]
        assert not await site.exporting.run_next()

    run_site(tmp_path, scenario)


def test_a_second_export_waits_for_the_first(tmp_path: Path) -> None:
    async def scenario(site: TransferSite) -> None:
        await site.operate(exports.request_export)
        with pytest.raises(BackendError) as raised:
            await site.operate(exports.request_export)
        assert raised.value.code == "ExportInProgress"

    run_site(tmp_path, scenario)


def test_what_a_lost_process_had_begun_ends_as_failed(tmp_path: Path) -> None:
    async def scenario(site: TransferSite) -> None:
        export_id = (await site.operate(exports.request_export))["id"]
        await site.core.transact(lambda tx: exports.begin_export(tx, export_id, 17) and None)
        import_id = await site.upload(zipped(a__documents=lines({"n": 1.0})))

        async def lose(source: str) -> None:
            if source == "_system/import_batch":
                raise KeyboardInterrupt

        await site.importing.run_next()
        await site.operate(imports.perform_import, importId=import_id)
        site.before_commit = lose
        with pytest.raises(KeyboardInterrupt):
            await site.importing.run_next()
        hidden = (await site.transactions.begin()).transaction.catalog.hidden_tables
        assert [table.name for table in hidden.values()] == ["a"]

        await site.core.transact(site.exporting.fail_interrupted)
        await site.core.transact(site.importing.fail_interrupted)
        (row,) = await site.documents("_exports")
        assert (row["state"], row["start_ts"]) == ("failed", 17)
        state = await site.state(import_id)
        assert state["error_message"] == f"Hit an error while importing:\n{INTERRUPTED}"
        catalog = (await site.transactions.begin()).transaction.catalog
        assert not catalog.hidden_tables and "a" not in catalog.tables
        assert len(await site.documents("_tables")) == len(catalog.tables)

    run_site(tmp_path, scenario)


def test_random_databases_come_back_identical(tmp_path: Path) -> None:
    seed = 11
    rng = random.Random(seed)

    async def scenario(site: TransferSite) -> None:
        def fill(transaction: Transaction) -> None:
            scalars: list[Any] = [None, 1.5, -0.0, 7, b"\xff", "ä", [], {"x": 1}]
            for _ in range(rng.randrange(60, 200)):
                transaction.insert(rng.choice("abc"), {name: rng.choice(scalars) for name in "xyz"})
            blob = put_bytes(site.blobs, rng.randbytes(1_000))
            insert_file(transaction, blob, rng.choice([None, "image/png"]))

        await site.core.transact(fill)
        names = ["a", "b", "c", FILES]
        before = {name: await site.documents(name) for name in names}
        archive = read_bytes(site.blobs, (await site.export(files=True))["zip_object_key"])
        await site.core.transact(fill)
        await site.insert("d", {"n": 1.0})
        state = await site.run_import(archive, "replaceAll")
        assert state["state"] == "completed", state
        after = {name: await site.documents(name) for name in names}
        assert all(values.same(after[name], before[name]) for name in names), f"seed {seed}"
        assert await site.documents("d") == []
        assert state["num_rows_written"] == sum(map(len, before.values())), f"seed {seed}"

    run_site(tmp_path, scenario)


def add_search_index(transaction: Transaction) -> None:
    table = transaction.catalog.tables["a"]
    transaction.insert("_index", index_fields(table, Index(b"", "by_body", (("body",),), kind=SEARCH)))


def writes_of_batches(site: TransferSite) -> list[DocumentWrite]:
    """What imports wrote of documents, as the log has it."""
    reader = SqliteReader(site.core.folder / "log")
    try:
        bodies = [CommitBody.decode(record.body) for record in ProvenLog(reader).read_from(1) if record.body]
    finally:
        reader.close()
    batches = [body for body in bodies if body.trace.path == "_system/import_batch"]
    return [write for body in batches for write in body.writes if b'"body"' in (write.document or b"")]


@pytest.mark.parametrize(("mode", "words"), [("append", (b"\x10fox\x00", b"\x10red\x00")), ("replace", None)])
def test_an_import_names_its_words_where_it_writes_into_a_table_that_serves(
    tmp_path: Path, mode: str, words: tuple[bytes, ...] | None
) -> None:
    """A hidden table serves nobody: who searches it read the catalog that its activation changed."""

    async def scenario(site: TransferSite) -> None:
        await site.insert("a", {"body": "old"})
        await site.core.transact(add_search_index)
        state = await site.run_import(lines({"body": "red fox"}), mode, format="jsonLines", tableName="a")
        assert state["state"] == "completed", state
        (write,) = writes_of_batches(site)
        assert [named for _index_id, named in write.words] == ([words] if words is not None else [])
        table = (await site.transactions.begin()).transaction.catalog.tables["a"]
        assert [index.name for index in table.kept_indexes] == ["by_body"]

    run_site(tmp_path, scenario)


def test_a_replaced_table_is_seen_whole_at_every_moment(tmp_path: Path) -> None:
    async def scenario(site: TransferSite) -> None:
        await site.insert("a", {"n": 0.0})
        old = await site.documents("a")
        count = 2 * IMPORT_DOCUMENTS_PER_COMMIT + 1
        rows = [{"n": float(n)} for n in range(count)]
        seen: list[int] = []

        async def look(source: str) -> None:
            if source in ("_system/import_batch", "_system/complete_import"):
                seen.append(len(await site.documents("a")))
                assert await site.documents("a") == old

        site.before_commit = look
        state = await site.run_import(lines(*rows), format="jsonLines", tableName="a")
        assert state["num_rows_written"] == count and len(seen) == 4
        found = sorted(await site.documents("a"), key=lambda document: document["_creationTime"])
        assert [document["n"] for document in found] == [float(n) for n in range(count)]

    run_site(tmp_path, scenario)


OURS, OTHERS, FILE = (encode_id(number, bytes(16)) for number in (10_001, 10_002, 540))
LINES = {"format": "jsonLines", "tableName": "a"}
FAILING = {
    "twice": ("replace", lines({"_id": OURS}, {"_id": OURS}), LINES, f"The _id {OURS} is in table"),
    "foreign": ("append", lines({"_id": OTHERS}), LINES, "The ids in the import are not those of"),
    "mixed": ("replace", lines({"_id": OURS}, {"_id": OTHERS}), LINES, "Row 2 has an _id of another table"),
    "exists": ("requireEmpty", lines({}), LINES, "Table a already exists."),
    "no zip": ("replace", b"PK, but no ZIP", {}, "The upload is not a ZIP that can be read"),
    "no file": (
        "replace",
        zipped(_storage__documents=lines({"_id": FILE})),
        {},
        f"The ZIP lists the file {FILE}",
    ),
    "other": (
        "replace",
        zipped(b__documents=lines({"_id": OURS})),
        {},
        "New table `b` has IDs that conflict",
    ),
}


@pytest.mark.parametrize("name", FAILING)
def test_an_import_that_fails_says_why_and_changes_nothing(tmp_path: Path, name: str) -> None:
    mode, content, request, text = FAILING[name]

    async def scenario(site: TransferSite) -> None:
        await site.insert("a", {"n": 0.0})
        before = [await site.documents(table) for table in ("a", *CATALOG_TABLES)]
        state = await site.run_import(content, mode, **request)
        assert state["error_message"].startswith(f"Hit an error while importing:\n{text}")
        assert [await site.documents(table) for table in ("a", *CATALOG_TABLES)] == before

    run_site(tmp_path, scenario)


def test_a_cancelled_import_writes_no_further_and_leaves_no_table(tmp_path: Path) -> None:
    async def scenario(site: TransferSite) -> None:
        import_id = await site.upload(lines({"n": 1.0}), format="jsonLines", tableName="a")
        await site.importing.run_next()
        await site.operate(imports.perform_import, importId=import_id)
        await site.operate(imports.perform_import, importId=import_id)  # again: changes nothing

        async def cancel(source: str) -> None:
            if source == "_system/complete_import":
                site.before_commit = None
                await site.operate(imports.cancel_import, importId=import_id)

        site.before_commit = cancel
        assert await site.importing.run_next()
        state = await site.state(import_id)
        assert state == {"state": "failed", "error_message": "Import canceled"}
        catalog = (await site.transactions.begin()).transaction.catalog
        assert not catalog.hidden_tables and "a" not in catalog.tables
        with pytest.raises(BackendError) as raised:
            await site.operate(imports.cancel_import, importId=import_id)
        assert raised.value.code == "CannotCancelImport"

    run_site(tmp_path, scenario)


def test_a_table_made_during_an_import_does_not_take_its_number(tmp_path: Path) -> None:
    async def scenario(site: TransferSite) -> None:
        async def create(source: str) -> None:
            if source == "_system/import_batch":
                site.before_commit = None
                await site.insert("meanwhile", {"n": 1.0})

        site.before_commit = create
        state = await site.run_import(lines({"n": 1.0}), format="jsonLines", tableName="a")
        assert state["state"] == "completed", state
        (imported,), (other,) = await site.documents("a"), await site.documents("meanwhile")
        numbers = {decode_id(document["_id"]).table_number for document in (imported, other)}
        assert len(numbers) == 2

    run_site(tmp_path, scenario)


def test_documents_that_came_into_an_empty_table_meanwhile_are_not_lost(tmp_path: Path) -> None:
    async def scenario(site: TransferSite) -> None:
        async def insert(source: str) -> None:
            if source == "_system/complete_import":
                site.before_commit = None
                await site.insert("a", {"n": 2.0})

        site.before_commit = insert
        state = await site.run_import(lines({"n": 1.0}), "requireEmpty", format="jsonLines", tableName="a")
        assert "Table a already exists." in state["error_message"]
        assert [document["n"] for document in await site.documents("a")] == [2.0]

    run_site(tmp_path, scenario)


def test_bytes_of_exports_and_of_imports_under_way_count_as_used(tmp_path: Path) -> None:
    async def scenario(site: TransferSite) -> None:
        unused = put_bytes(site.blobs, b"nobody names this").key

        async def used() -> set[str]:
            transaction = (await site.transactions.begin()).transaction
            return blobs_in_use(transaction, [unused, *zips, *uploads])

        row = await site.export()
        zips, uploads = [row["zip_object_key"]], list[str]()
        assert await used() == set(zips)
        import_id = await site.upload(lines({}), format="jsonLines", tableName="a")
        rows = await site.documents("_snapshot_imports")
        uploads.append(rows[0]["object_key"])
        assert await used() == {*zips, *uploads}
        await site.operate(imports.cancel_import, importId=import_id)
        assert await used() == set(zips)
        await site.operate(exports.set_export_expiration, id=row["_id"], expirationTsNs=1)
        assert await used() == set()
        await site.operate(exports.request_export)
        assert await used() == {unused, *zips, *uploads}, "an export reads files that are gone by now"

    run_site(tmp_path, scenario)


class CountingJob:
    """actors.transfer_worker.Job; `waiting` jobs are there to be done."""

    name = "count"

    def __init__(self) -> None:
        self.waiting, self.done, self.refusals = 0, 0, 1
        self.interrupted = 0
        self.idle = asyncio.Event()

    def fail_interrupted(self, transaction: Transaction) -> None:
        self.interrupted += 1
        if self.interrupted <= self.refusals:
            self.idle.set()
            raise OSError("not now")

    async def run_next(self) -> bool:
        if self.waiting == 0:
            self.idle.set()
            return False
        self.waiting, self.done = self.waiting - 1, self.done + 1
        return True


def test_a_worker_ends_what_was_interrupted_before_it_begins_however_often_that_takes(tmp_path: Path) -> None:
    async def scenario(site: TransferSite) -> None:
        job = CountingJob()
        worker = TransferWorker(job, site.transactions)
        job.waiting = 2
        worker.start()
        await job.idle.wait()
        assert (job.interrupted, job.done) == (1, 0)
        for expected in (2, 3):
            job.idle.clear()
            worker.wake()
            await job.idle.wait()
            assert (job.interrupted, job.done) == (2, expected)
            job.waiting = 1
        await worker.stop()

    run_site(tmp_path, scenario)
