"""An opened view: the LMDB environment, its four tables and its state record.

The only file that imports lmdb. A process opens an environment once (LMDB refuses a second time), hence
the registry. Nothing is synced: a view is derived from the log (design D6).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias

import lmdb

from log.limits import VIEW_MAP_BYTES_MAX

DATA_FILE = "data.mdb"  # LMDB's name for it
STATE_KEY, TRUST_KEY = b"state", b"trust"
CATALOG_KEY = b"catalog:"
ViewTransaction: TypeAlias = lmdb.Transaction
ViewCursor: TypeAlias = lmdb.Cursor
_STATE = struct.Struct(">QQIQ")
CATALOG_TS = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class ViewState:
    """How far the view has folded the log, and from where on it can answer."""

    applied_seq: int = 0
    applied_ts: int = 0
    applied_crc: int = 0
    min_ts: int = 0

    def pack(self) -> bytes:
        return _STATE.pack(self.applied_seq, self.applied_ts, self.applied_crc, self.min_ts)

    @classmethod
    def unpack(cls, stored: bytes | None) -> ViewState:
        """The state of a view that has none stored yet is the start of the log."""
        return cls(*_STATE.unpack(stored)) if stored else cls()


class OpenedView:
    """An opened environment. LMDB refuses to open one twice in a process, hence the registry."""

    registry: ClassVar[dict[Path, OpenedView]] = {}

    def __init__(self, folder: Path, *, writable: bool) -> None:
        self.folder, self.users = folder, 0
        self.environment = lmdb.open(
            str(folder),
            map_size=VIEW_MAP_BYTES_MAX,
            max_dbs=4,
            max_readers=1024,
            readonly=not writable,
            create=writable,
            sync=False,
            metasync=False,
            readahead=False,
        )
        self.current = self.environment.open_db(b"current", create=writable)
        self.undo = self.environment.open_db(b"undo", create=writable)
        self.pieces = self.environment.open_db(b"pieces", create=writable)
        self.meta = self.environment.open_db(b"meta", create=writable)


def open_shared(folder: Path, *, writable: bool) -> OpenedView:
    folder = folder.resolve()
    opened = OpenedView.registry.get(folder)
    if opened is None:
        opened = OpenedView.registry[folder] = OpenedView(folder, writable=writable)
    opened.users += 1
    return opened


def close_shared(opened: OpenedView) -> None:
    opened.users -= 1
    if opened.users == 0:
        del OpenedView.registry[opened.folder]
        opened.environment.close()


def used_bytes(opened: OpenedView) -> int:
    """Of the data file: all pages that were ever written, free ones included."""
    environment = opened.environment
    return int((environment.info()["last_pgno"] + 1) * environment.stat()["psize"])


def copy_compacted(opened: OpenedView, target: Path) -> None:
    """Copy what one moment shows, without free pages, into an empty folder. OSError when that fails."""
    try:
        opened.environment.copy(str(target), compact=True)
    except lmdb.Error as failure:
        raise OSError(f"the view cannot be copied to {target}: {failure}") from failure


def state_of_copy(folder: Path) -> ViewState:
    """The state of an environment that nobody has opened."""
    copy = OpenedView(folder, writable=False)
    try:
        with copy.environment.begin(db=copy.meta) as transaction:
            return read_state(transaction, copy)
    finally:
        copy.environment.close()


def read_state(transaction: ViewTransaction, opened: OpenedView) -> ViewState:
    stored = transaction.get(STATE_KEY, db=opened.meta)
    return ViewState.unpack(stored)


def iterate_prefix(
    transaction: ViewTransaction, database: object, prefix: bytes
) -> Iterator[tuple[bytes, bytes]]:
    with transaction.cursor(db=database) as cursor:
        found = cursor.set_range(prefix)
        while found and cursor.key().startswith(prefix):
            yield cursor.item()
            found = cursor.next()
