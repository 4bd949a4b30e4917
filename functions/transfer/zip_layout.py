"""Where things are in the ZIP of an export, and what a path in an imported ZIP is (spec 02 19).

    README.md
    _tables/documents.jsonl            {"name", "id": table number} of each user table
    <table>/documents.jsonl            one document per line
    <table>/generated_schema.jsonl     how to read them: plainly
    _storage/documents.jsonl           one file per line
    _storage/<id>.<extension>          the bytes of a file

On the way in each of them may stand below further folders, as when an export was unpacked and zipped again.
"""

from __future__ import annotations

import mimetypes
import re
from dataclasses import dataclass
from enum import Enum, auto

README = "README.md"
TABLES = "_tables"
STORAGE = "_storage"
UNIFORM_SCHEMA = b'"uniform"\n'

README_TEXT = """# An export of a deployment

`<table>/documents.jsonl` holds the documents of a table, one per line, in Convex JSON:
`{"$integer": ...}` is an int64, `{"$bytes": ...}` bytes, `{"$float": ...}` a number that JSON cannot say.
`_tables` holds the numbers of the tables, which the ids of documents contain. `_storage` holds the stored
files, if they were asked for.

`npx convex import <this file>` puts everything into a deployment again, ids and times of creation included.
"""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_DOCUMENTS = re.compile(rf"(?:.*/)?({_NAME})/documents\.jsonl")
_SCHEMA = re.compile(rf"(?:.*/)?{_NAME}/generated_schema\.jsonl")
_FILE = re.compile(rf"(?:.*/)?{STORAGE}/([0-9a-z]+)(?:\.[^/]*)?")
_COMPONENT = re.compile(r"(?:.*/)?_components/[^/]+/.*")
_TYPES = mimetypes.MimeTypes()  # Python's own table: the same on every machine


class EntryKind(Enum):
    """What an entry of an uploaded ZIP is."""

    DOCUMENTS = auto()
    SCHEMA = auto()
    FILE = auto()
    COMPONENT = auto()  # anything that belongs to a component
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Entry:
    """`name` is the table of DOCUMENTS and the id of a FILE."""

    kind: EntryKind
    name: str = ""


def documents_path(table_name: str) -> str:
    return f"{table_name}/documents.jsonl"


def schema_path(table_name: str) -> str:
    return f"{table_name}/generated_schema.jsonl"


def file_path(file_id: str, content_type: str | None) -> str:
    """With an extension where the type has one, so that the file can be opened."""
    bare_type = (content_type or "").partition(";")[0].strip().lower()
    return f"{STORAGE}/{file_id}{_TYPES.guess_extension(bare_type) or ''}"


def entry_of(path: str) -> Entry:
    """What stands at this path of an uploaded ZIP."""
    if _COMPONENT.fullmatch(path):
        return Entry(EntryKind.COMPONENT)
    if (documents := _DOCUMENTS.fullmatch(path)) is not None:
        return Entry(EntryKind.DOCUMENTS, documents[1])
    if _SCHEMA.fullmatch(path) is not None:
        return Entry(EntryKind.SCHEMA)
    if (file := _FILE.fullmatch(path)) is not None:
        return Entry(EntryKind.FILE, file[1])
    return Entry(EntryKind.OTHER)
