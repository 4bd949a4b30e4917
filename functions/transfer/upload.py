"""An uploaded file as an import reads it: tables, their rows, their numbers, the bytes of files.

The upload is a blob; a ZIP in it is read in place, entry by entry, so that memory does not depend on its
size. Runs on a thread. `reading()` turns what a damaged ZIP raises into a refusal.

Read in this order: open_upload, Upload.survey, Upload.rows.
"""

from __future__ import annotations

import contextlib
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import IO, Any

from functions.components import APP_PATH
from functions.system import transfer_errors as errors
from functions.transfer import rows, zip_layout
from functions.transfer.plan import TablePlace, UploadedTable
from functions.transfer.rows import Row
from functions.transfer.zip_layout import STORAGE, TABLES, UNIFORM_SCHEMA, EntryKind
from log.blob_store import BlobRange, BlobStore
from log.errors import BackendError, not_supported_yet
from log.ids import check_table_name, decode_id, is_identifier
from log.limits import COMPONENT_DEPTH_MAX, COMPONENTS_MAX

Parse = Callable[[IO[bytes]], Iterator[Row]]


class ImportFormat(StrEnum):
    """As requests spell it."""

    CSV = "csv"
    JSON_LINES = "jsonLines"
    JSON_ARRAY = "jsonArray"
    ZIP = "zip"


_PARSERS: dict[ImportFormat, Parse] = {
    ImportFormat.CSV: rows.csv_rows,
    ImportFormat.JSON_LINES: rows.json_lines,
    ImportFormat.JSON_ARRAY: rows.json_array,
}


class Upload:
    """What is for the component `root` and those below it. `close` when done."""

    def __init__(self, file: IO[bytes], parse: Parse, archive: zipfile.ZipFile | None, root: str) -> None:
        self._file, self._parse, self._archive, self._root = file, parse, archive, root
        self._entries: dict[TablePlace, str | None] = {}  # table -> its entry; None: the whole file
        self._components: set[str] = set()  # below `root`
        self._files: dict[tuple[str, str], str] = {}  # (component, file id) -> its entry

    @property
    def tables(self) -> list[TablePlace]:
        return sorted(self._entries)

    def rows(self, table: TablePlace) -> Iterator[Row]:
        with reading(), self._opened(self._entries[table]) as stream:
            yield from self._parse(stream)

    def open_file(self, component: str, file_id: str) -> IO[bytes]:
        """The bytes of a file that `_storage` lists."""
        path = self._files.get((component, file_id))
        if path is None:
            raise errors.file_not_in_zip(file_id)
        return self._entry(path)

    def survey(self) -> dict[TablePlace, UploadedTable]:
        """Every table, read through once: how many rows, and which number their ids have."""
        numbers = self._declared_numbers()
        return {table: self._survey_table(table, numbers.get(table)) for table in self.tables}

    def close(self) -> None:
        if self._archive is not None:
            self._archive.close()
        self._file.close()

    # --- what is in it ------------------------------------------------------------------------------

    def add_whole(self, table: str) -> None:
        """The file is one table."""
        self._entries[TablePlace(self._root, table)] = None

    def add_entries(self) -> None:
        """The file is a ZIP; system tables other than `_storage` are left out."""
        assert self._archive is not None
        for path in self._archive.namelist():
            entry = zip_layout.entry_of(path)
            component = self._component(entry.component)
            if entry.kind is EntryKind.FILE:
                self._files[component, entry.name] = path
            elif entry.kind is EntryKind.DOCUMENTS:
                self._add_table(TablePlace(component, entry.name), path)
            elif entry.kind is EntryKind.SCHEMA:
                self._check_schema(path)

    def _component(self, path_below: str) -> str:
        """What the catalog can hold: a push checks the same of the components it installs."""
        component = below(self._root, path_below)
        if component == self._root or component in self._components:
            return component
        names = component.split("/")
        if not all(map(is_identifier, names)):
            raise errors.invalid_import(f'The ZIP has data of "{component[:200]}", which names no component.')
        if len(names) > COMPONENT_DEPTH_MAX:
            raise errors.invalid_import(
                f"Components are nested deeper than {COMPONENT_DEPTH_MAX} in the ZIP."
            )
        if len(self._components) == COMPONENTS_MAX:
            raise errors.invalid_import(f"The ZIP has data of more than {COMPONENTS_MAX} components.")
        self._components.add(component)
        return component

    def _add_table(self, table: TablePlace, path: str) -> None:
        if table in self._entries:
            raise errors.invalid_import(f"The ZIP has the table {table.name} twice.")
        if table.name in (TABLES, STORAGE) or not table.name.startswith("_"):
            self._entries[table] = path
            if table.name not in (TABLES, STORAGE):
                check_import_table(table.name)

    def _check_schema(self, path: str) -> None:
        """Lines are read plainly; a schema that wants them read otherwise is one of old exports."""
        with self._entry(path) as stream:
            if stream.read(len(UNIFORM_SCHEMA) + 1).strip() != UNIFORM_SCHEMA.strip():
                raise not_supported_yet("Importing an export with a generated schema")

    def _declared_numbers(self) -> dict[TablePlace, int]:
        """What each `_tables` says, which is no table of the import itself."""
        declared = {}
        for listing in [table for table in self.tables if table.name == TABLES]:
            for number, row in self.rows(listing):
                name, table_number = row.get("name"), row.get("id")
                if not isinstance(name, str) or not isinstance(table_number, float):
                    raise errors.invalid_row_value(number, "_tables has rows of `name` and `id`")
                declared[TablePlace(listing.component, name)] = int(table_number)
            del self._entries[listing]
        return declared

    def _survey_table(self, table: TablePlace, table_number: int | None) -> UploadedTable:
        count = 0
        for number, document in self.rows(table):
            count += 1
            document_id = rows.id_of(number, document)
            if document_id is not None:
                found = decode_id(document_id).table_number
                table_number = table_number or found
                if found != table_number:
                    raise errors.id_of_another_table(number, document_id)
        return UploadedTable(table.name, count, table_number)

    def _opened(self, path: str | None) -> AbstractContextManager[IO[bytes]]:
        if path is not None:
            return self._entry(path)
        self._file.seek(0)
        return contextlib.nullcontext(self._file)

    def _entry(self, path: str) -> IO[bytes]:
        assert self._archive is not None
        return self._archive.open(path)


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """What a file that is no proper ZIP raises, as a refusal."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as failure:
        if isinstance(failure, BackendError):
            raise
        raise errors.import_not_a_zip(str(failure)) from None


def open_upload(
    blobs: BlobStore, key: str, kind: ImportFormat, table: str | None, root: str = APP_PATH
) -> Upload:
    """The blob `key`, for the component `root`; `table` is None for a ZIP, which says itself what it has."""
    file: IO[bytes] = io.BufferedReader(BlobFile(blobs, key))
    if kind is not ImportFormat.ZIP:
        upload = Upload(file, _PARSERS[kind], None, root)
        upload.add_whole(table or "")
        return upload
    with reading():
        upload = Upload(file, rows.json_lines, zipfile.ZipFile(file), root)
        upload.add_entries()
    return upload


def below(root: str, component: str) -> str:
    """The path of what is `component` to `root`."""
    return "/".join(part for part in (root, component) if part)


def check_import_table(name: str) -> None:
    """Refuse what cannot name a user's table."""
    try:
        check_table_name(name)
    except BackendError as refusal:
        raise errors.invalid_import_table(name, refusal.message) from None


class BlobFile(io.RawIOBase):
    """A blob as a file that can be read from anywhere."""

    def __init__(self, blobs: BlobStore, key: str) -> None:
        self._blobs, self._key = blobs, key
        self._size_bytes = blobs.size_of(key) or 0
        self._opened: BlobRange = blobs.open(key)
        self._position = 0
        self._left = b""  # of the piece that was read last

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        target = max(0, base + offset)
        if target != self._position:
            self._opened.close()
            self._opened = self._blobs.open(self._key, min(target, self._size_bytes))
            self._position, self._left = target, b""
        return target

    def readinto(self, buffer: Any) -> int:
        piece = self._left or self._opened.next_piece()
        count = min(len(piece), len(buffer))
        buffer[:count], self._left = piece[:count], piece[count:]
        self._position += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._opened.close()
        super().close()
