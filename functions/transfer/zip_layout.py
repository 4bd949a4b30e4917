"""Where things are in the ZIP of an export, and what a path in an imported ZIP is (spec 02 19).

    README.md
    _tables/documents.jsonl            {"name", "id": table number} of each user table
    <table>/documents.jsonl            one document per line
    <table>/generated_schema.jsonl     how to read them: plainly
    _storage/documents.jsonl           one file per line
    _storage/<id>.<extension>          the bytes of a file
    _components/<name>/...             the same of a child component, to any depth

On the way in each of them may stand below further folders, as when an export was unpacked and zipped again.
"""

from __future__ import annotations

import mimetypes
import re
from dataclasses import dataclass
from enum import Enum, auto

from functions.components import APP_PATH

README = "README.md"
TABLES = "_tables"
STORAGE = "_storage"
UNIFORM_SCHEMA = b'"uniform"\n'

README_TEXT = """# An export of a deployment

`<table>/documents.jsonl` holds the documents of a table, one per line, in Convex JSON:
`{"$integer": ...}` is an int64, `{"$bytes": ...}` bytes, `{"$float": ...}` a number that JSON cannot say.
`_tables` holds the numbers of the tables, which the ids of documents contain. `_storage` holds the stored
files, if they were asked for. `_components/<name>` holds the same of each component.

`npx convex import <this file>` puts everything into a deployment again, ids and times of creation included.
"""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_NAMELESS = "-"
_DOCUMENTS = re.compile(rf"(?P<folder>.*/)?(?P<name>{_NAME})/documents\.jsonl")
_SCHEMA = re.compile(rf"(?P<folder>.*/)?(?P<name>{_NAME})/generated_schema\.jsonl")
_FILE = re.compile(rf"(?P<folder>.*/)?{STORAGE}/(?P<name>[0-9a-z]+)(?:\.[^/]*)?")
_COMPONENTS = "_components"
_TYPES = mimetypes.MimeTypes()  # Python's own table: the same on every machine


class EntryKind(Enum):
    """What an entry of an uploaded ZIP is."""

    DOCUMENTS = auto()
    SCHEMA = auto()
    FILE = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Entry:
    """`name` is the table of DOCUMENTS and the id of a FILE, `component` the path of whose it is, below the
    one that was exported."""

    kind: EntryKind
    name: str = ""
    component: str = APP_PATH


def documents_path(table_name: str) -> str:
    return f"{table_name}/documents.jsonl"


def schema_path(table_name: str) -> str:
    return f"{table_name}/generated_schema.jsonl"


def file_path(file_id: str, content_type: str | None) -> str:
    """With an extension where the type has one, so that the file can be opened."""
    bare_type = (content_type or "").partition(";")[0].strip().lower()
    return f"{STORAGE}/{file_id}{_TYPES.guess_extension(bare_type) or ''}"


def component_folder(component: str) -> str:
    """What the paths of a component begin with; "" is the one that is exported."""
    return "".join(f"{_COMPONENTS}/{name}/" for name in component.split("/")) if component else ""


def entry_of(path: str) -> Entry:
    """What stands at this path of an uploaded ZIP."""
    for kind, pattern in _PATTERNS:
        if (found := pattern.fullmatch(path)) is not None:
            return Entry(kind, found["name"], _component_of(found["folder"] or ""))
    return Entry(EntryKind.OTHER)


_PATTERNS = (
    (EntryKind.DOCUMENTS, _DOCUMENTS),
    (EntryKind.SCHEMA, _SCHEMA),
    (EntryKind.FILE, _FILE),
)


def _component_of(folder: str) -> str:
    """`x/_components/a/_components/b/` is of "a/b"; folders before the first of them say nothing. A
    component without a name is kept as one that no component can have."""
    *parts, _ = folder.split("/")
    names: list[str] = []
    while len(parts) >= 2 and parts[-2] == _COMPONENTS:
        names.insert(0, parts[-1] or _NAMELESS)
        del parts[-2:]
    return "/".join(names)
