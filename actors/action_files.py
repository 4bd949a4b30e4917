"""`ctx.storage` of an action: rows in transactions of their own, bytes in pieces (spec 03 2.8).

The same functions as for mutations decide (functions/system/files.py). Bytes come and go in pieces, so that
none of them is in our memory twice; a file is durable BEFORE its row is written.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from actors.chain import Attempt
from functions import errors
from functions import syscall_arguments as arguments
from functions.system import files
from functions.system.files import FileAccess
from functions.transaction import Transaction
from log.blob_store import BlobMissing, BlobRange, BlobStore, BlobWriter
from log.errors import internal_server_error
from log.file_errors import file_bytes_missing, sha256_mismatch, too_many_open_files
from log.limits import ACTION_FILES_OPEN_MAX

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Transactions:
    """How an action reaches the database for itself. `begin` gives one that only reads, at the newest ts;
    `transact` takes (source, work) and answers what work did, once what it wrote is durable. `searching` runs
    what may search (NodeReader.searching)."""

    begin: Callable[[], Awaitable[Attempt]]
    transact: Callable[[str, Callable[[Transaction], bytes]], Awaitable[bytes]]
    searching: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]

    def within(self, component: str) -> Transactions:
        """The same, in a component from the beginning. An action may outlive its component: from then on each
        of these is refused (ComponentNotFound)."""

        async def begin() -> Attempt:
            attempt = await self.begin()
            _enter(attempt.transaction, component)
            return attempt

        async def transact(source: str, work: Callable[[Transaction], bytes]) -> bytes:
            def run(transaction: Transaction) -> bytes:
                _enter(transaction, component)
                return work(transaction)

            return await self.transact(source, run)

        return Transactions(begin, transact, self.searching)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """What `work` finds at the newest ts."""
        return work((await self.begin()).transaction)

    async def search(self, work: Callable[[Transaction], bytes]) -> bytes:
        """As `read`, where a search may have to wait for its index."""
        found: bytes = await self.searching(lambda: self.read(work))
        return found


class ActionFiles:
    """The files of one action. `close` ends what it left open."""

    def __init__(self, access: FileAccess, transactions: Transactions) -> None:
        self._access, self._transactions = access, transactions
        self._written: dict[int, BlobWriter] = {}
        self._read: dict[int, BlobRange] = {}

    async def perform(self, name: str, args: dict[str, Any]) -> bytes:
        return await _HANDLERS[name](self, args)

    async def close(self) -> None:
        for writer in self._written.values():
            await asyncio.to_thread(writer.discard)
        for opened in self._read.values():
            await asyncio.to_thread(opened.close)

    # --- rows ---------------------------------------------------------------------------------------

    async def _get_url(self, args: dict[str, Any]) -> bytes:
        found = await self._transactions.read(
            lambda transaction: files.get_url(transaction, self._access, args.get("storageId"))
        )
        return orjson.dumps(found)

    async def _get_metadata(self, args: dict[str, Any]) -> bytes:
        found = await self._transactions.read(
            lambda transaction: files.get_metadata(transaction, args.get("storageId"))
        )
        return orjson.dumps(found)

    async def _generate_upload_url(self, _args: dict[str, Any]) -> bytes:
        url = await self._transactions.read(
            lambda transaction: files.create_upload_url(transaction, self._access)
        )
        return orjson.dumps(url)

    async def _delete(self, args: dict[str, Any]) -> bytes:
        def work(transaction: Transaction) -> bytes:
            files.delete_file(transaction, args.get("storageId"))
            return b"null"

        return await self._transactions.transact("_system/delete_file", work)

    # --- bytes --------------------------------------------------------------------------------------

    async def _write(self, args: dict[str, Any]) -> bytes:
        file_id = arguments.whole_number(args, "id", "storage.store")
        piece = _decoded(arguments.text(args, "piece", "storage.store"))
        writer = await self._writer(file_id)
        await asyncio.to_thread(writer.write, piece)
        return b"null"

    async def _finish(self, args: dict[str, Any]) -> bytes:
        """A file of what was written under this id, which may be nothing; its digest as the caller has it."""
        file_id = arguments.whole_number(args, "id", "storage.store")
        digest = arguments.optional_text(args, "sha256", "storage.store")
        content_type = arguments.optional_text(args, "contentType", "storage.store")
        writer = await self._writer(file_id)
        if digest is not None and digest != base64.b64encode(writer.sha256()).decode():
            raise sha256_mismatch()
        blob = await asyncio.to_thread(writer.finish)
        self._written.pop(file_id, None)

        def work(transaction: Transaction) -> bytes:
            return orjson.dumps(files.insert_file(transaction, blob, content_type))

        return await self._transactions.transact("_system/store_file", work)

    async def _open(self, args: dict[str, Any]) -> bytes:
        file_id = arguments.whole_number(args, "id", "storage.get")
        storage_id = args.get("storageId")
        row = await self._transactions.read(
            lambda transaction: files.find_file(transaction, storage_id, "storage.get")
        )
        if row is None:
            return b"null"
        self._check_room(file_id, self._read)
        try:
            self._read[file_id] = await asyncio.to_thread(self._blobs.open, row["storageKey"])
        except BlobMissing:
            raise file_bytes_missing(row["storageId"]) from None
        return orjson.dumps({"size": row["size"], "contentType": row["contentType"]})

    async def _read_piece(self, args: dict[str, Any]) -> bytes:
        """The next piece; after the last one nothing is left open."""
        file_id = arguments.whole_number(args, "id", "storage.get")
        opened = self._read.get(file_id)
        if opened is None:
            raise errors.invalid_argument("id", "storage.get", "nothing is open")
        piece = await asyncio.to_thread(opened.next_piece)
        return b'"' + base64.b64encode(piece) + b'"'

    async def _writer(self, file_id: int) -> BlobWriter:
        writer = self._written.get(file_id)
        if writer is None:
            self._check_room(file_id, self._written)
            writer = self._written[file_id] = await asyncio.to_thread(self._blobs.begin)
        return writer

    def _check_room(self, file_id: int, opened: dict[int, Any]) -> None:
        if file_id in opened or len(opened) >= ACTION_FILES_OPEN_MAX:
            raise too_many_open_files(ACTION_FILES_OPEN_MAX)

    @property
    def _blobs(self) -> BlobStore:
        if self._access.blobs is None:
            raise internal_server_error()  # an executor without a data folder, as tests make it
        return self._access.blobs


_HANDLERS: dict[str, Callable[[ActionFiles, dict[str, Any]], Awaitable[bytes]]] = {
    "1.0/storageGetUrl": ActionFiles._get_url,
    "1.0/storageGetMetadata": ActionFiles._get_metadata,
    "1.0/storageGenerateUploadUrl": ActionFiles._generate_upload_url,
    "1.0/storageDelete": ActionFiles._delete,
    "host/fileWrite": ActionFiles._write,
    "host/fileFinish": ActionFiles._finish,
    "host/fileOpen": ActionFiles._open,
    "host/fileRead": ActionFiles._read_piece,
}
FILE_CALLS = frozenset(_HANDLERS)


def _enter(transaction: Transaction, component: str) -> None:
    if transaction.catalog_of(component) is None:
        raise errors.component_deleted(component)
    transaction.enter_component(component)


def _decoded(piece: str) -> bytes:
    try:
        return base64.b64decode(piece, validate=True)
    except binascii.Error as failure:
        raise errors.invalid_argument("blob", "storage.store", f"must be base64: {failure}") from failure
