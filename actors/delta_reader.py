"""Reads deltas for connectors out of the log, beside the commits (functions/transfer/deltas.py).

One page at a time, on a thread, from a source of its own: nobody's commit waits for it. Records are proven as
they are read, wherever they are kept. The archive is asked only for what is no longer in the log; where it
lacks that, a new snapshot is the way on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager

import orjson

from functions.catalog import Catalog
from functions.system.transfer_errors import snapshot_too_old, timestamp_not_reached
from functions.transfer.deltas import DeltaPage, DeltaRequest, read_page
from log import limits
from log.archived_log import HeldRecords
from log.errors import internal_server_error
from log.proven_log import ProvenLog
from log.store import LogDamaged

_logger = logging.getLogger(__name__)

OpenLog = Callable[[], AbstractContextManager[HeldRecords]]
"""Opens the log for one reading, on the thread that reads; whoever appends goes on meanwhile."""


class DeltaReader:
    """Of the core."""

    def __init__(self, open_log: OpenLog) -> None:
        self._open_log = open_log
        self._one_at_a_time = asyncio.Lock()
        self._seqs: OrderedDict[int, int] = OrderedDict()  # of the cursors that were answered last

    async def page(self, body: bytes, catalog: Catalog, published_ts: int) -> bytes:
        """JSON in, JSON out. `catalog` and `published_ts` are the newest."""
        request = DeltaRequest(orjson.loads(body), catalog)
        if request.cursor > published_ts:
            raise timestamp_not_reached(request.cursor)
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._read, request, published_ts)

    def _read(self, request: DeltaRequest, published_ts: int) -> bytes:
        """On a thread."""
        is_archived = False
        try:
            with self._open_log() as source:
                base = source.base()
                is_archived = request.cursor < base.ts
                page = self._page(ProvenLog(source, None if is_archived else base), request, published_ts)
        except LogDamaged as failure:
            _logger.error("deltas after %d cannot be read: %s", request.cursor, failure)
            raise (snapshot_too_old() if is_archived else internal_server_error()) from failure
        self._remember(page)
        return page.to_json()

    def _page(self, records: ProvenLog, request: DeltaRequest, published_ts: int) -> DeltaPage:
        seq = self._seqs.get(request.cursor)
        if seq is None:
            seq = records.seq_at(request.cursor)
        return read_page(request, records.read_from(seq + 1), published_ts)

    def _remember(self, page: DeltaPage) -> None:
        """Its reader comes back with its cursor; then nothing has to be searched."""
        if page.seq > 0:
            self._seqs[page.cursor] = page.seq
            if len(self._seqs) > limits.DELTA_CURSORS_HELD_MAX:
                self._seqs.popitem(last=False)
