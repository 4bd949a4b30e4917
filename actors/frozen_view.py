"""A copy of the view as one moment shows it, for reads that take longer than the undo window.

Exports read for as long as they must; a snapshot of the view itself is answered for a minute only, and a read
transaction kept open for longer would keep the writer from reusing pages (design D6). The copy is made beside
the views, belongs to one process, and is gone when it is closed; what a killed process left is removed by the
next one that asks for the folder.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from actors.view_environment import DATA_FILE
from actors.view_reader import ViewReader
from functions.catalog import Catalog, load_catalog
from functions.snapshot import SnapshotReader
from log.file_errors import disk_nearly_full
from log.limits import BLOB_DISK_FREE_BYTES_MIN

_FOLDER = "frozen"


def frozen_folder(view_folder: Path) -> Path:
    """Where the copies of this view and its successors are."""
    return view_folder.parent / _FOLDER


def remove_leftovers(view_folder: Path) -> None:
    shutil.rmtree(frozen_folder(view_folder), ignore_errors=True)


class FrozenView:
    """A snapshot that stays. Made and closed on the thread that owns the process's views;
    copied and read on any one thread."""

    def __init__(self, view_folder: Path) -> None:
        self._source = ViewReader(view_folder)  # held, so that it is not closed while it is copied
        self._path = frozen_folder(view_folder) / uuid.uuid4().hex
        self._reader: ViewReader | None = None

    def copy(self) -> None:
        """Blocks for as long as the disk takes; OSError when it refuses."""
        self._check_room(self._source.folder)
        self._path.mkdir(parents=True, mode=0o700)
        self._source.copy_to(self._path)

    def open(self) -> tuple[SnapshotReader, Catalog]:
        """The newest state the copy holds."""
        self._reader = ViewReader(self._path)
        snapshot = self._reader.snapshot(self._reader.state().applied_ts)
        return snapshot, load_catalog(snapshot)

    def close(self) -> None:
        self._source.close()
        if self._reader is not None:
            self._reader.close()
        shutil.rmtree(self._path, ignore_errors=True)

    def _check_room(self, view_folder: Path) -> None:
        """The log is on the same disk as a rule, and must never be what finds it full."""
        found = os.statvfs(view_folder)
        needed_bytes = (view_folder / DATA_FILE).stat().st_size + BLOB_DISK_FREE_BYTES_MIN
        if found.f_bavail * found.f_frsize < needed_bytes:
            raise disk_nearly_full(BLOB_DISK_FREE_BYTES_MIN)
