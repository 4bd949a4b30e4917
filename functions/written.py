"""A document as a transaction wrote it, beside what the snapshot holds: what overlays and commits say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from functions.catalog import Table
from functions.search.words import words_touched
from functions.snapshot import Row, SnapshotReader, TableSize, size_of
from log import values
from log.keys import encode_item, index_key
from log.record import DocumentWrite, KeysTouched, KeyWrite


@dataclass(slots=True)
class Written:
    """A document this transaction wrote. `original` is what the snapshot holds, None = nothing."""

    table: Table
    original: Row | None
    original_keys: tuple[bytes, ...]  # by position in table.indexes; () when original is None
    document: dict[str, Any] | None
    encoded: bytes | None
    size_bytes: int
    keys: tuple[bytes, ...]  # () when deleted

    def counted(self, size: TableSize) -> TableSize:
        """The size of its table, with this in the place of the original."""
        return size.replaced(size_of(self.original), self.size_bytes if self.document is not None else None)


def original_of(
    snapshot: SnapshotReader, table: Table, document_id: str
) -> tuple[Row | None, tuple[bytes, ...]]:
    """What the snapshot holds under the id, and its keys."""
    row = snapshot.get(table.by_id.index_id, encode_item(document_id))
    if row is None:
        return None, ()
    document = values.loads_canonical(row.document)
    return row, keys_of(table, document, document_id)  # type: ignore[arg-type]


def keys_of(table: Table, document: dict[str, Any], document_id: str) -> tuple[bytes, ...]:
    return tuple(index_key(index.fields, document, document_id) for index in table.indexes)


def row_of(written: Written, key: bytes) -> Row:
    assert written.encoded is not None
    return Row(key, 0, written.size_bytes, written.encoded)


def document_write(document_id: str, written: Written, words_max: int) -> DocumentWrite:
    """What a commit says of it, with at most so many words (functions/search/words.py)."""
    return DocumentWrite(
        tablet_id=written.table.tablet_id,
        document_id=document_id,
        previous_ts=written.original.revision_ts if written.original is not None else 0,
        size_bytes=written.size_bytes,
        document=written.encoded,
        keys=key_writes(written),
        words=_words(written, words_max) if written.table.kept_indexes else (),
    )


def key_writes(written: Written) -> tuple[KeyWrite, ...]:
    return tuple(
        (
            index.index_id,
            written.original_keys[position] if written.original_keys else None,
            written.keys[position] if written.keys else None,
        )
        for position, index in enumerate(written.table.indexes)
    )


def _words(written: Written, words_max: int) -> tuple[KeysTouched, ...]:
    """The original is decoded a second time here: most writes are of tables without such an index."""
    original = written.original
    before: Any = values.loads_canonical(original.document) if original is not None else None
    return words_touched(written.table.kept_indexes, before, written.document, words_max)
