"""Writes one snapshot of the database as a ZIP, in constant memory (spec 02 19, spec 04 8).

Stored documents are canonical Convex JSON already, so a line of the export is the bytes of the database. All
rows come from the one snapshot that is handed in. Whoever calls sees to it that the snapshot stays readable
and that the bytes of its files stay, for as long as this takes.

Runs on a thread: it waits for nothing but the disk.
"""

from __future__ import annotations

import contextlib
import time
import zipfile
from collections.abc import Callable, Iterator
from typing import IO, Protocol, cast

import orjson

from functions.catalog import Catalog, Table
from functions.components import is_owned_by
from functions.snapshot import Row, SnapshotReader, pages
from functions.system import files
from functions.transfer import zip_layout
from log import values
from log.blob_store import BlobStore
from log.limits import EXPORT_ROWS_PER_STEP, VIEW_READ_BYTES_PER_STEP

_MODE = 0o644 << 16  # where a ZIP keeps the mode of a Unix file
_NANOSECONDS = 1_000_000_000

Tell = Callable[[str], None]
"""Hears what is being written, again and again; may raise, which ends the export."""


class Sink(Protocol):
    """Where the bytes go."""

    def write(self, piece: bytes) -> object: ...


def write_archive(
    snapshot: SnapshotReader, catalog: Catalog, blobs: BlobStore | None, sink: Sink, tell: Tell
) -> None:
    """The whole ZIP of the component that `catalog` is of, and of those below it. `blobs`: where the bytes of
    files are; None leaves files out."""
    archive = _Archive(sink, snapshot.ts)
    try:
        archive.add(zip_layout.README, zip_layout.README_TEXT.encode())
        for each in _with_children(catalog):
            folder = zip_layout.component_folder(_path_below(catalog, each))
            _fill(archive, folder, snapshot, each, blobs, tell)
        archive.close()
    except BaseException:
        archive.abandon()
        raise


def _with_children(catalog: Catalog) -> list[Catalog]:
    """Parents first; also those that nobody mounts any more."""
    path = catalog.component.path
    below = f"{path}/" if path else ""
    found = [each for each in catalog.everywhere() if each.component.path.startswith(below)]
    children = [each for each in found if each.component.path != path]
    return [catalog, *sorted(children, key=lambda each: each.component.path)]


def _path_below(root: Catalog, catalog: Catalog) -> str:
    return catalog.component.path.removeprefix(root.component.path).removeprefix("/")


def _fill(
    archive: _Archive,
    folder: str,
    snapshot: SnapshotReader,
    catalog: Catalog,
    blobs: BlobStore | None,
    tell: Tell,
) -> None:
    """What one component owns, below its folder."""
    tables = catalog.user_tables()
    archive.add(folder + zip_layout.documents_path(zip_layout.TABLES), _table_numbers(tables))
    for table in _smallest_first(snapshot, tables, tell):
        tell(f"Exporting {table.name}")
        with archive.entry(folder + zip_layout.documents_path(table.name)) as entry:
            for row in _rows(snapshot, table, tell):
                entry.write(row.document + b"\n")
        archive.add(folder + zip_layout.schema_path(table.name), zip_layout.UNIFORM_SCHEMA)
    if blobs is not None:
        _add_files(archive, folder, snapshot, catalog, blobs, tell)


def _add_files(
    archive: _Archive, folder: str, snapshot: SnapshotReader, catalog: Catalog, blobs: BlobStore, tell: Tell
) -> None:
    tell("Exporting _storage")
    with archive.entry(folder + zip_layout.documents_path(zip_layout.STORAGE)) as entry:
        for file in _files_of(snapshot, catalog, tell):
            entry.write(_file_line(file) + b"\n")
    for file in _files_of(snapshot, catalog, tell):
        with (
            contextlib.closing(blobs.open(file["storageKey"])) as opened,
            archive.entry(folder + zip_layout.file_path(file["_id"], file["contentType"])) as entry,
        ):
            while piece := opened.next_piece():
                entry.write(piece)
                tell("Exporting _storage")


def _files_of(snapshot: SnapshotReader, catalog: Catalog, tell: Tell) -> Iterator[files.FileRow]:
    """All components have theirs in one table."""
    for row in _rows(snapshot, catalog.tables[files.FILES], tell):
        file = cast(files.FileRow, values.loads_canonical(row.document))
        if is_owned_by(catalog.component, file):
            yield file


def _file_line(file: files.FileRow) -> bytes:
    return values.dumps({**files.shown(file), "internalId": file["storageId"]})


def _table_numbers(tables: list[Table]) -> bytes:
    by_number = sorted(tables, key=lambda table: table.number)
    return b"".join(orjson.dumps({"name": table.name, "id": table.number}) + b"\n" for table in by_number)


def _smallest_first(snapshot: SnapshotReader, tables: list[Table], tell: Tell) -> list[Table]:
    sizes = {table.name: sum(row.size_bytes for row in _rows(snapshot, table, tell)) for table in tables}
    return sorted(tables, key=lambda table: (sizes[table.name], table.name))


def _rows(snapshot: SnapshotReader, table: Table, tell: Tell) -> Iterator[Row]:
    """Every row by id; few at a time, because each may be as large as a document can be."""
    for rows in pages(snapshot, table.by_id.index_id, EXPORT_ROWS_PER_STEP, VIEW_READ_BYTES_PER_STEP):
        yield from rows
        tell(f"Exporting {table.name}")


class _Archive:
    """A ZIP written from front to back: sizes and checksums follow each entry, so nothing is gone back to."""

    def __init__(self, sink: Sink, ts: int) -> None:
        self._stream = _Stream(sink)
        self._zip = zipfile.ZipFile(cast(IO[bytes], self._stream), "w", zipfile.ZIP_DEFLATED)
        self._date = time.gmtime(ts // _NANOSECONDS)[:6]

    def add(self, path: str, content: bytes) -> None:
        with self.entry(path) as entry:
            entry.write(content)

    def entry(self, path: str) -> IO[bytes]:
        info = zipfile.ZipInfo(path, self._date)
        info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, _MODE
        return self._zip.open(info, "w", force_zip64=True)  # how large it gets is not known before

    def close(self) -> None:
        self._zip.close()

    def abandon(self) -> None:
        """`zipfile` writes an end when it is thrown away, too; nobody wants that one."""
        self._stream.is_wanted = False


class _Stream:
    """A Sink as `zipfile` takes one that cannot go back: it has no `seek` and no `tell`."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self.is_wanted = sink, True

    def write(self, piece: bytes) -> int:
        if self.is_wanted:
            self._sink.write(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Nothing is kept here."""
