"""Rows of an upload in the pieces that are written as one transaction each, and the rows of files.

Runs on a thread: what is read here is bounded by one batch.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

from functions.system import transfer_errors as errors
from functions.system.files import is_uuid
from functions.transfer.rows import Row
from functions.transfer.upload import Upload, reading
from log import values
from log.blob_store import BlobStore, StoredBlob
from log.limits import BLOB_CHUNK_BYTES, IMPORT_BYTES_PER_COMMIT, IMPORT_DOCUMENTS_PER_COMMIT

Batch = list[dict[str, Any]]


def batches(rows: Iterator[Row]) -> Iterator[Batch]:
    """Documents in order, as many as one commit takes."""
    batch: Batch = []
    size_bytes = 0
    for _number, document in rows:
        batch.append(document)
        size_bytes += values.size_of(document)
        if len(batch) >= IMPORT_DOCUMENTS_PER_COMMIT or size_bytes >= IMPORT_BYTES_PER_COMMIT:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def file_rows(component: str, rows: Iterator[Row], upload: Upload, blobs: BlobStore) -> Iterator[Row]:
    """`_storage` of a component as rows of the table of files; their bytes are durable BEFORE they are handed
    on."""
    for number, shown in rows:
        file_id = shown.get("_id")
        if not isinstance(file_id, str):
            raise errors.invalid_row_value(number, "a file needs its _id")
        blob = _stored(upload, component, file_id, blobs)
        if _digest(number, shown) not in (None, blob.sha256):
            raise errors.file_differs(file_id)
        document = {
            "_id": file_id,
            "storageId": _storage_id(shown),
            "owner": component,
            "storageKey": blob.key,
            "sha256": blob.sha256,
            "size": blob.size_bytes,
            "contentType": _content_type(number, shown),
        }
        if "_creationTime" in shown:
            document["_creationTime"] = shown["_creationTime"]
        yield number, document


def _stored(upload: Upload, component: str, file_id: str, blobs: BlobStore) -> StoredBlob:
    writer = blobs.begin()
    try:
        with reading(), contextlib.closing(upload.open_file(component, file_id)) as stream:
            while piece := stream.read(BLOB_CHUNK_BYTES):
                writer.write(piece)
        return writer.finish()
    finally:
        writer.discard()


def _digest(number: int, shown: dict[str, Any]) -> bytes | None:
    text = shown.get("sha256")
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise errors.invalid_row_value(number, "sha256 must be base64") from None


def _storage_id(shown: dict[str, Any]) -> str:
    """The UUID of its URL, so that URLs go on working."""
    found = shown.get("internalId")
    return found if isinstance(found, str) and is_uuid(found) else str(uuid.uuid4())


def _content_type(number: int, shown: dict[str, Any]) -> str | None:
    found = shown.get("contentType")
    if found is not None and not isinstance(found, str):
        raise errors.invalid_row_value(number, "contentType must be a string or null")
    return found
