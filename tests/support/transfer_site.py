"""Exports and imports over a real core and a real store of blobs, without executors, sockets or the CLI."""

from __future__ import annotations

import asyncio
import io
import os
import time
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from actors.action_files import Transactions
from actors.chain import Attempt
from actors.export_worker import ExportJob
from actors.import_worker import ImportJob
from functions.catalog import load_catalog
from functions.determinism import CallClock
from functions.pages import CursorCodec
from functions.system.exports import request_export
from functions.system.imports import create_import, perform_import
from functions.system.operation import SystemContext
from functions.transaction import Transaction
from log import values
from log.blob_store import LocalBlobStore, put_bytes, read_bytes
from log.committer import CommitRequest
from log.record import CallTrace

from .core_deployment import CoreDeployment


class TransferSite:
    """`exporting` and `importing` are the jobs of a slow executor; `transact` is anybody else's."""

    def __init__(self, core: CoreDeployment) -> None:
        self.core = core
        self.blobs = LocalBlobStore(core.folder / "files")
        self.transactions = Transactions(self._begin, self._transact, lambda run: run())
        self.before_commit: Callable[[str], Awaitable[None]] | None = None  # hears the source of each commit
        self.exporting = ExportJob(self.transactions, self._view_folder, self.blobs, time.time_ns)
        self.importing = ImportJob(self.transactions, self.blobs, time.time_ns)

    def _view_folder(self) -> Path:
        return self.core.core.view_reader().folder

    async def _begin(self) -> Attempt:
        ts = self.core.core.published_ts
        snapshot = self.core.core.view_reader().snapshot(ts)
        transaction = Transaction(
            snapshot, load_catalog(snapshot), now_ms=ts / 1e6, random_bytes=os.urandom, is_read_only=True
        )
        return Attempt(transaction, CallClock.at(time.time_ns(), ts), bytes(32))

    async def _transact(self, source: str, work: Callable[[Transaction], bytes]) -> bytes:
        if self.before_commit is not None:
            await self.before_commit(source)
        ts = self.core.core.published_ts
        snapshot = self.core.core.view_reader().snapshot(ts)
        transaction = Transaction(snapshot, load_catalog(snapshot), now_ms=ts / 1e6, random_bytes=os.urandom)
        answer = work(transaction)
        if transaction.has_writes:
            body = transaction.commit_body(os.urandom(16), CallTrace(path=source))
            outcome = await self.core.core.commit(CommitRequest(transaction.reads, body, body.encode()))
            assert isinstance(outcome, int), outcome
        return answer

    async def operate(self, operation: Any, **body: Any) -> Any:
        """An operation as the gateway asks for it."""
        context = SystemContext(
            engine=None,  # type: ignore[arg-type]
            instance_name="test",
            cloud_origin="",
            site_origin="",
            now_ns=time.time_ns(),
            random_bytes=os.urandom,
            codec=CursorCodec(bytes(32)),
        )

        def run(transaction: Transaction) -> bytes:
            return orjson.dumps(operation(transaction, body, None, context))

        return orjson.loads(await self._transact("test", run))

    async def insert(self, table: str, *documents: dict[str, Any]) -> None:
        def insert(transaction: Transaction) -> None:
            for document in documents:
                transaction.insert(table, document)

        await self.core.transact(insert)

    async def documents(self, table: str, component: str = "") -> list[dict[str, Any]]:
        """In the order of ids; [] when there is no such table."""
        transaction = (await self._begin()).transaction
        catalog = transaction.catalog_of(component)
        found = catalog.tables.get(table) if catalog is not None else None
        return transaction.all_documents(found) if found is not None else []

    # --- whole transfers ----------------------------------------------------------------------------

    async def export(self, *, files: bool = False, component_id: str | None = None) -> dict[str, Any]:
        """The row of an export that has ended."""
        await self.operate(request_export, includeStorage=files, component=component_id)
        assert await self.exporting.run_next()
        return (await self.documents("_exports"))[-1]

    def zip_of(self, row: dict[str, Any]) -> zipfile.ZipFile:
        return zipfile.ZipFile(io.BytesIO(read_bytes(self.blobs, row["zip_object_key"])))

    async def upload(self, content: bytes, mode: str = "replace", **request: Any) -> str:
        """The id of an import that is to be parsed."""
        request = {"format": "zip", "mode": mode, **request}
        key = put_bytes(self.blobs, content).key
        answer: dict[str, str] = await self.operate(create_import, objectKey=key, **{"import": request})
        return answer["importId"]

    async def run_import(self, content: bytes, mode: str = "replace", **request: Any) -> dict[str, Any]:
        """The state that an import ends in, confirmed where it asks."""
        import_id = await self.upload(content, mode, **request)
        assert await self.importing.run_next()
        if (await self.state(import_id))["state"] == "waiting_for_confirmation":
            await self.operate(perform_import, importId=import_id)
            assert await self.importing.run_next()
        return await self.state(import_id)

    async def state(self, import_id: str) -> dict[str, Any]:
        rows = {row["_id"]: row for row in await self.documents("_snapshot_imports")}
        state: dict[str, Any] = rows[import_id]["state"]
        return state


def run_site(folder: Path, scenario: Callable[[TransferSite], Awaitable[None]]) -> None:
    async def body() -> None:
        core = CoreDeployment(folder, seed=1)
        await core.open()
        await scenario(TransferSite(core))
        await core.close()

    asyncio.run(body())


def lines(*documents: dict[str, Any]) -> bytes:
    return b"".join(values.dumps(document) + b"\n" for document in documents)


def zipped(**entries: bytes) -> bytes:
    """A ZIP; `__` in a name stands for a folder."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, entry in entries.items():
            archive.writestr(name.replace("__", "/", 1) + ("" if "." in name else ".jsonl"), entry)
    return content.getvalue()
