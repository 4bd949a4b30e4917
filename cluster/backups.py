"""A deployment copied while it runs, and put back: log, bytes of files, credentials.

A backup has the layout of a data folder, with the whole log in one SQLite file, wherever the original keeps
it and whatever of it was archived. It shows one moment: the end of the log when the copying began. Everything
else follows from the log, so views are not copied.

The order that makes it whole:
  1. where the log ends is read;
  2. THEN the blobs are copied: what a record up to there names is durable, and stays for a day if it is
     deleted meanwhile (actors/blob_collector.py);
  3. the records up to there are copied, each proven to follow the one before;
  4. the folder gets its name only when all of it is there and synced.

Read in this order: back_up, restore, _copy.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cluster.config import Settings
from cluster.data_folder import FORMAT_VERSION, DataFolder, StartRefused
from cluster.stores import open_log_reader, open_log_store
from log.committer import LogEnd
from log.folders import sync_folder
from log.limits import BACKUP_RECORDS_PER_STEP, BLOB_CHUNK_BYTES
from log.proven_log import ProvenLog, RecordSource
from log.record import Record
from log.store import LogStore

_BLOB = re.compile(r"[0-9a-f]{64}")
_UNFINISHED = ".unfinished"


@dataclass(frozen=True, slots=True)
class Copied:
    """What a backup holds. `blobs` None: they are in an object store, and were not copied."""

    end: LogEnd
    blobs: int | None


def back_up(data: Path, target: Path, settings: Settings) -> Copied:
    """Copy the deployment in `data`, running or not, into the new folder `target`."""
    source = DataFolder(data)
    _refuse_existing(target)
    credentials = source.credentials(settings) if (source.path / "credentials").exists() else None
    if credentials is None:
        raise StartRefused(f"There is no deployment in {source.path}: it has no credentials.")
    unfinished = target.with_name(target.name + _UNFINISHED)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True, mode=0o700)
    copied = _copy(source, DataFolder(unfinished), settings, Settings(log_url="", files_url=""))
    _write(unfinished / "credentials" / "instance_name", credentials.instance_name)
    _write(unfinished / "credentials" / "instance_secret", credentials.instance_secret.hex())
    _write(unfinished / "format", str(FORMAT_VERSION))
    _sync_tree(unfinished)
    unfinished.rename(target)
    sync_folder(target.resolve().parent)
    return copied


def restore(backup: Path, data: Path, settings: Settings) -> Copied:
    """Prove a backup whole and copy it into `data`, which must hold no deployment. The log goes where the
    settings say it is kept."""
    source, target = DataFolder(backup), DataFolder(data)
    if not (source.path / "credentials" / "instance_secret").is_file():
        raise StartRefused(f"{source.path} is no backup: it has no credentials.")
    parts = ("log", "files", "credentials", "archive")
    for name in parts:
        if (target.path / name).exists():
            raise StartRefused(
                f"{target.path} holds a deployment already ({name}/). Restore into another folder, or move "
                "this one away."
            )
    target.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        copied = _copy(source, target, Settings(log_url="", files_url=""), settings)
        shutil.copytree(source.path / "credentials", target.path / "credentials")
        shutil.copy(source.path / "format", target.path / "format")
        _sync_tree(target.path)
    except BaseException:  # so that trying again finds nothing half done
        for name in parts:
            shutil.rmtree(target.path / name, ignore_errors=True)
        raise
    return copied


def _copy(source: DataFolder, target: DataFolder, reads: Settings, writes: Settings) -> Copied:
    """Log and blobs of one folder into another, under the settings of each."""
    with closing(open_log_reader(reads.log_url, source.log)) as reader:
        end = reader.end()
        blobs = None if reads.files_url else _copy_blobs(source.files, target.files)
        with closing(open_log_store(writes.log_url, target.log)) as store:
            if store.end().seq:
                raise StartRefused("The log that TIDELOG_LOG names has records already.")
            _copy_records(itertools.takewhile(lambda record: record.seq <= end.seq, _proven(reader)), store)
            if store.end() != end:
                raise StartRefused(f"The log was read up to record {store.end().seq} of {end.seq}.")
    return Copied(end, blobs)


def _proven(source: RecordSource) -> Iterator[Record]:
    return ProvenLog(source).read_from(1)


def _copy_records(records: Iterator[Record], store: LogStore) -> None:
    epoch = store.claim_epoch()
    while step := list(itertools.islice(records, BACKUP_RECORDS_PER_STEP)):
        store.append_and_sync(epoch, step)


def _copy_blobs(source: Path, target: Path) -> int:
    """Every blob, proven to be what its name says; returns how many. One that is deleted meanwhile was named
    by nobody for a day."""
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    names = [path.name for path in source.iterdir()] if source.exists() else []
    count = 0
    for name in sorted(names):
        if _BLOB.fullmatch(name) and _copy_blob(source / name, target / name):
            count += 1
    return count


def _copy_blob(source: Path, target: Path) -> bool:
    digest = hashlib.sha256()
    try:
        with source.open("rb") as file, target.open("wb") as copy:
            while piece := file.read(BLOB_CHUNK_BYTES):
                digest.update(piece)
                copy.write(piece)
            copy.flush()
            os.fsync(copy.fileno())
    except FileNotFoundError:
        return False
    if digest.hexdigest() != source.name:
        raise StartRefused(f"The file {source} is damaged: its bytes are not what its name says.")
    return True


def _refuse_existing(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StartRefused(f"{target} exists already. Give the name of a new folder.")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_tree(folder: Path) -> None:
    for path, _folders, _files in os.walk(folder):
        sync_folder(Path(path))
