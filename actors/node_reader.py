"""What an executor knows of the database on its node: the view, the published ts, decoded catalogs."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from pathlib import Path

from actors.view_reader import ViewReader
from functions.catalog import Catalog, load_catalog
from functions.snapshot import SnapshotReader
from log import limits


class NodeReader:
    """Follows the ordered stream of one core. `published_ts` never decreases while connected; the view
    has folded everything up to it (the core folds before it tells)."""

    def __init__(self) -> None:
        self.published_ts = 0
        self._view: ViewReader | None = None
        self._folder: Path | None = None
        self._catalogs: OrderedDict[int, Catalog] = OrderedDict()
        self._advanced = asyncio.Event()

    def attach(self, published_ts: int, view_folder: Path) -> None:
        """A core answered `listen`; after its restart the view may be another generation."""
        if self._folder != view_folder:
            if self._view is not None:
                self._view.close()
            self._view, self._folder = ViewReader(view_folder), view_folder
            self._catalogs.clear()
        self.advance(published_ts)

    def advance(self, published_ts: int) -> None:
        if published_ts > self.published_ts:
            self.published_ts = published_ts
            self._advanced.set()
            self._advanced = asyncio.Event()

    async def wait_published(self, ts: int) -> None:
        while self.published_ts < ts:
            await self._advanced.wait()

    def snapshot(self, ts: int) -> SnapshotReader:
        assert self._view is not None, "attach comes first"
        return self._view.snapshot(ts)

    def catalog(self, snapshot: SnapshotReader) -> Catalog:
        """The decoded catalog of a snapshot; the newest few are kept."""
        catalog_ts = snapshot.catalog_ts
        catalog = self._catalogs.get(catalog_ts)
        if catalog is None:
            catalog = self._catalogs[catalog_ts] = load_catalog(snapshot)
            if len(self._catalogs) > limits.CATALOGS_HELD_MAX:
                self._catalogs.popitem(last=False)
        return catalog

    def close(self) -> None:
        if self._view is not None:
            self._view.close()
