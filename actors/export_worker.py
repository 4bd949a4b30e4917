"""Does the exports that were requested: one ZIP from one snapshot, into the blob store (spec 02 19).

  1. the view is copied, so that the snapshot stays for as long as the export takes;
  2. THEN the row says `in_progress` and at which ts, and from here on no stored bytes are collected
     (functions/system/blobs.py);
  3. a thread writes the ZIP; once a second its progress is told, and heard whether it is still wanted;
  4. the ZIP is durable BEFORE the row says `completed`.
Whatever fails ends the export as `failed`, with the reason in the server's own log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from actors.action_files import Transactions
from actors.frozen_view import FrozenView, remove_leftovers
from actors.transfer_worker import decide, transact
from functions.catalog import Catalog
from functions.snapshot import SnapshotReader
from functions.system import exports
from functions.system.exports import ExportRow
from functions.transaction import Transaction
from functions.transfer.export_archive import write_archive
from log.blob_store import BlobStore, StoredBlob
from log.errors import bad_request
from log.limits import TRANSFER_PROGRESS_SECONDS

_logger = logging.getLogger(__name__)


class _NotWanted(Exception):
    """The export was canceled, or its process stops."""


class ExportJob:
    """actors.transfer_worker.Job. `view_folder` says where the node's view is now."""

    name = "export"

    def __init__(
        self,
        transactions: Transactions,
        view_folder: Callable[[], Path],
        blobs: BlobStore,
        now_ns: Callable[[], int],
    ) -> None:
        self._transactions, self._view_folder = transactions, view_folder
        self._blobs, self._now_ns = blobs, now_ns

    def fail_interrupted(self, transaction: Transaction) -> None:
        remove_leftovers(self._view_folder())
        exports.fail_interrupted(transaction, self._now_ns())

    async def run_next(self) -> bool:
        row = await self._transactions.read(exports.next_requested)
        if row is None:
            return False
        try:
            await self._export(row)
        except _NotWanted:
            _logger.info("the export %s was canceled", row["_id"])
        except Exception:
            _logger.exception("the export %s failed", row["_id"])
            await transact(
                self._transactions,
                "_system/fail_export",
                lambda transaction: exports.fail_export(transaction, row["_id"], self._now_ns()),
            )
        return True

    async def _export(self, row: ExportRow) -> None:
        view = FrozenView(self._view_folder())
        try:
            await _finished(asyncio.to_thread(view.copy))
            snapshot, catalog = view.open()
            export_id, start_ts = row["_id"], snapshot.ts
            is_wanted = await decide(
                self._transactions,
                "_system/begin_export",
                lambda transaction: exports.begin_export(transaction, export_id, start_ts),
            )
            if not is_wanted:
                raise _NotWanted
            blob = await self._write(row, snapshot, _root_of(row, catalog))
        finally:
            view.close()
        await transact(
            self._transactions,
            "_system/complete_export",
            lambda transaction: exports.complete_export(transaction, export_id, blob, self._now_ns()),
        )

    async def _write(self, row: ExportRow, snapshot: SnapshotReader, catalog: Catalog) -> StoredBlob:
        progress = _Progress()
        includes_files = row["format"]["include_storage"]
        writing = asyncio.ensure_future(
            asyncio.to_thread(self._write_blob, snapshot, catalog, progress, includes_files=includes_files)
        )
        try:
            while not (await asyncio.wait({writing}, timeout=TRANSFER_PROGRESS_SECONDS))[0]:
                await self._tell(row["_id"], progress)
        finally:
            progress.is_wanted = writing.done()
            await asyncio.wait({writing})  # BEFORE the view is closed under it
        return writing.result()

    def _write_blob(
        self, snapshot: SnapshotReader, catalog: Catalog, progress: _Progress, *, includes_files: bool
    ) -> StoredBlob:
        """On a thread."""
        writer = self._blobs.begin()
        try:
            files_from = self._blobs if includes_files else None
            write_archive(snapshot, catalog, files_from, writer, progress.tell)
            return writer.finish()
        finally:
            writer.discard()

    async def _tell(self, export_id: str, progress: _Progress) -> None:
        message = progress.message
        is_wanted = await decide(
            self._transactions,
            "_system/export_progress",
            lambda transaction: exports.tell_progress(transaction, export_id, message),
        )
        if not is_wanted:
            raise _NotWanted


def _root_of(row: ExportRow, catalog: Catalog) -> Catalog:
    """The component that was asked for; None is the namespace of the app."""
    for each in catalog.everywhere():
        if each.component.namespace == row["component"]:
            return each
    raise bad_request("ComponentNotFound", "The component was deleted before its export began.")


class _Progress:
    """Between the loop and the thread: one writes the message, the other whether it is wanted."""

    def __init__(self) -> None:
        self.message, self.is_wanted = "Exporting", True

    def tell(self, message: str) -> None:
        self.message = message
        if not self.is_wanted:
            raise _NotWanted


async def _finished(work: Coroutine[Any, Any, None]) -> None:
    """The end of work on a thread, also when whoever waits is cancelled: it uses what is closed next."""
    doing = asyncio.create_task(work)
    try:
        await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait({doing})
        raise
