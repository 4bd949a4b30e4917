"""Bytes that no file names any more are deleted, a day after they were last put.

A blob is durable before its row is written, so a blob without a row may be one whose row is on its way. The
order that makes a deletion safe:
  1. the store names a blob that nobody has put for `BLOB_UNUSED_HOURS_MIN`: longer than any call takes, so
     that a row for it has been committed by now, or never will be;
  2. THEN a snapshot is read that has no row for it;
  3. THEN the store deletes it, unless it was put again meanwhile: its row may be on its way.
A download that has begun goes on: it holds the file open.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Callable
from typing import Protocol

from functions.catalog import Catalog
from functions.snapshot import SnapshotReader
from functions.system.blobs import blobs_in_use
from functions.transaction import Transaction
from log.blob_store import BlobStore
from log.limits import BLOB_UNUSED_HOURS_MIN, BLOBS_PER_STEP, GARBAGE_SECONDS

_logger = logging.getLogger(__name__)


class Reads(Protocol):
    """The newest published state of the database."""

    def __call__(self) -> tuple[SnapshotReader, Catalog]: ...


class BlobCollector:
    """Looks through the whole store now and then, a step at a time. The disk is another thread's work."""

    def __init__(self, blobs: BlobStore, reads: Reads, now_ns: Callable[[], int]) -> None:
        self._blobs, self._reads, self._now_ns = blobs, reads, now_ns

    async def run(self) -> None:
        while True:
            await asyncio.sleep(GARBAGE_SECONDS)
            try:
                await self.collect()
            except OSError:  # bytes that stay too long are no reason to stop the writer of the log
                _logger.exception("unused blobs could not be collected")

    async def collect(self) -> int:
        """Returns how many blobs were deleted."""
        before_seconds = self._now_ns() / 1e9 - BLOB_UNUSED_HOURS_MIN * 3_600
        keys = self._blobs.keys_put_before(before_seconds)
        deleted = 0
        while step := await asyncio.to_thread(lambda: list(itertools.islice(keys, BLOBS_PER_STEP))):
            used = blobs_in_use(self._transaction(), step)
            unused = [key for key in step if key not in used]
            deleted += await asyncio.to_thread(self._delete, unused, before_seconds)
        return deleted

    def _delete(self, keys: list[str], before_seconds: float) -> int:
        return sum(self._blobs.delete_unused(key, before_seconds) for key in keys)

    def _transaction(self) -> Transaction:
        snapshot, catalog = self._reads()
        now_ms = self._now_ns() / 1e6
        return Transaction(snapshot, catalog, now_ms=now_ms, random_bytes=os.urandom, is_read_only=True)
