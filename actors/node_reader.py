"""What an executor knows of the database on its node: the view, the published ts, decoded catalogs."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from actors.view_reader import ViewReader
from functions.catalog import Catalog, load_catalog
from functions.search.kept_indexes import IndexBehind
from functions.snapshot import SnapshotReader
from log import limits

T = TypeVar("T")
_POLL_SECONDS = 0.001


class NodeReader:
    """Reads a core's view in place. Whatever the view has folded is published (a commit is folded after
    its sync and before anyone is told), so no message is needed to learn of it."""

    def __init__(self, search_rows_max: int | None = None) -> None:
        """With `search_rows_max`, whatever may search is run by `searching`."""
        self._search_rows_max = search_rows_max
        self._view: ViewReader | None = None
        self._folder: Path | None = None
        self._catalogs: OrderedDict[int, Catalog] = OrderedDict()

    def attach(self, view_folder: Path) -> None:
        """Use this view; after a core's restart it may be another generation."""
        if self._folder != view_folder:
            if self._view is not None:
                self._view.close()
            self._view = ViewReader(view_folder, self._search_rows_max)
            self._folder = view_folder
            self._catalogs.clear()

    @property
    def view(self) -> ViewReader | None:
        """The view that is read now; another one after a core was replaced."""
        return self._view

    def view_folder(self) -> Path:
        """Where it is."""
        assert self._folder is not None, "attach comes first"
        return self._folder

    @property
    def published_ts(self) -> int:
        """The newest ts that can be read now."""
        return self._view.state().applied_ts if self._view is not None else 0

    async def wait_published(self, ts: int) -> None:
        """Rarely waits: whoever heard of a ts heard of it after the view had folded it."""
        while self.published_ts < ts:
            await asyncio.sleep(_POLL_SECONDS)

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

    async def searching(self, run: Callable[[], Awaitable[T]]) -> T:
        """Run, and once more from the beginning whenever a search met an index that was not ready."""
        while True:
            try:
                return await run()
            except IndexBehind as behind:
                await self._catch_up(behind)

    async def _catch_up(self, behind: IndexBehind) -> None:
        """Bring a search index to where it can answer; others of this process go on meanwhile."""
        while True:
            newest = self.snapshot(self.published_ts)
            if newest.kept.catch_up(newest, behind):
                return
            await asyncio.sleep(0)

    def close(self) -> None:
        if self._view is not None:
            self._view.close()
