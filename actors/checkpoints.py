"""Copies of the view that a start can go on from when the view itself cannot be trusted (design D6).

`views/checkpoints/<applied seq>/` holds a compacted copy of the environment and is complete by its name:
it is written beside, synced, and then renamed. A checkpoint is derived like the view; deleting it costs
only time. Never taken while an index is being filled: what is missing in the copy would not be known.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from actors.index_view import IndexView
from actors.view_environment import DATA_FILE, ViewState, state_of_copy
from actors.view_reader import ViewReader
from functions.catalog import load_catalog
from log.limits import CHECKPOINTS_HELD_MAX

_logger = logging.getLogger(__name__)
_FOLDER = "checkpoints"
_UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete copy and how far it had folded the log."""

    path: Path
    state: ViewState


class Checkpoints:
    """The checkpoints of one views folder."""

    def __init__(self, views_folder: Path) -> None:
        self._folder = views_folder / _FOLDER

    def newest_first(self) -> Iterator[Checkpoint]:
        """Those that can be read."""
        for path in sorted(self._paths(), reverse=True):
            try:
                yield Checkpoint(path, state_of_copy(path))
            except Exception as failure:  # derived data: an older one, or the log, will do
                _logger.warning("the checkpoint %s cannot be read: %s", path, failure)

    def covered_seq(self) -> int:
        """How far the newest one that can be read had folded the log; 0 when there is none."""
        newest = next(self.newest_first(), None)
        return newest.state.applied_seq if newest is not None else 0

    def take(self, view: IndexView) -> Checkpoint | None:
        """Copy the view as it is, while its writer goes on; None if the disk refused, or an index was being
        filled. Blocks for as long as the disk takes. Derived data costs nobody the server: no failure."""
        unfinished = self._folder / _UNFINISHED
        try:
            return self._take(view, unfinished)
        except OSError as failure:
            _logger.warning("no checkpoint was taken: %s", failure)
            shutil.rmtree(unfinished, ignore_errors=True)
            return None

    def _take(self, view: IndexView, unfinished: Path) -> Checkpoint | None:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True, mode=0o700)
        view.copy_to(unfinished)
        state = state_of_copy(unfinished)
        if _is_filling(unfinished, state):
            shutil.rmtree(unfinished)
            return None
        _sync(unfinished / DATA_FILE)
        path = self._folder / f"{state.applied_seq:016d}"
        shutil.rmtree(path, ignore_errors=True)
        unfinished.rename(path)
        _sync(self._folder)
        for old in sorted(self._paths())[:-CHECKPOINTS_HELD_MAX]:
            shutil.rmtree(old)
        return Checkpoint(path, state)

    def restore(self, checkpoint: Checkpoint, view_folder: Path) -> None:
        """Make a view folder that holds what the checkpoint holds: whole by its name, like a checkpoint."""
        unfinished = self._folder / _UNFINISHED
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        shutil.copyfile(checkpoint.path / DATA_FILE, unfinished / DATA_FILE)
        unfinished.rename(view_folder)

    def drop(self, checkpoint: Checkpoint) -> None:
        shutil.rmtree(checkpoint.path)

    def _paths(self) -> list[Path]:
        if not self._folder.exists():
            return []
        return [path for path in self._folder.iterdir() if path.name.isdigit()]


def _is_filling(folder: Path, state: ViewState) -> bool:
    reader = ViewReader(folder)
    try:
        return load_catalog(reader.snapshot(state.applied_ts)).is_filling
    finally:
        reader.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
