"""Moving old records of a stopped server's log into its archive: refusals first, then actors/archiver.py."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from actors.archiver import Archived, archive_log
from cluster.config import Settings
from cluster.data_folder import DataFolder, StartRefused
from cluster.stores import open_log_store
from log.archived_log import ArchivedStore
from log.committer import NANOSECONDS
from log.sqlite_reader import check_log_exists
from log.sqlite_store import FolderInUse

_SECONDS_OF_UNIT = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class BadAge(Exception):
    """An age that cannot be read. The text says how one is written."""


def parse_age_ns(text: str) -> int:
    """`14d`, `36h`, `90m`, `0s`: a whole number and a unit."""
    found = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if found is None:
        raise BadAge(f"{text} is no age: give a whole number and a unit, such as 14d, 36h, 90m or 0s.")
    return int(found[1]) * _SECONDS_OF_UNIT[found[2]] * NANOSECONDS


def archive_old_records(settings: Settings, age: str) -> Archived:
    """Archive what is older than `age` and may go. Refuses while a server runs."""
    oldest_ts = time.time_ns() - parse_age_ns(age)
    folder = DataFolder(settings.data_folder)
    with _stopped_log(folder, settings) as store:
        archived = archive_log(store, folder.views, oldest_ts)
        if archived.segments:
            store.give_back_space()
        return archived


@contextmanager
def _stopped_log(folder: DataFolder, settings: Settings) -> Iterator[ArchivedStore]:
    """The log of a server that does not run, and will not start meanwhile."""
    if not settings.log_url:
        check_log_exists(folder.log)
    lock_file = folder.try_hold()
    if lock_file is None:
        raise _in_use(folder)
    with lock_file:
        try:
            store = open_log_store(settings.log_url, folder.log)
        except FolderInUse:  # a core that is left of a killed server
            raise _in_use(folder) from None
        with closing(store):
            yield store


def _in_use(folder: DataFolder) -> StartRefused:
    return StartRefused(
        f"A server uses the data folder {folder.path}. Stop it, archive, and start it again: a log is "
        "archived only while nobody writes it."
    )
