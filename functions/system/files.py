"""Stored files as rows: written, found, shown and deleted in transactions (spec 03 2.8, 5.3; design D13).

A file is a row of `_file_storage` that names a blob. The blob is durable BEFORE the row is written
(`log/blob_store.py`), so a committed row is never without its bytes; a deleted row leaves them behind, and
whoever collects garbage asks `system/blobs.py`. Two files may share a blob, as equal bytes do.

A file has two names: the id of its row, which user code keeps, and a random UUID, which its URL holds and
which therefore is as good as a key. Both are accepted wherever a storage id is asked for.

System calls of queries and mutations come through `functions/storage_calls.py`, uploads and downloads as the
operations at the end; actions may call the same functions over a transaction of their own.
"""

from __future__ import annotations

import base64
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from functions.components import is_owned_by
from functions.errors import component_deleted, invalid_argument
from functions.system.errors import backend_is_not_running
from functions.transaction import Transaction
from log import values
from log.blob_store import BlobStore, StoredBlob
from log.file_errors import invalid_storage_id, storage_id_not_found, storage_id_of_another_table
from log.ids import InvalidId, decode_id
from log.keys import encode_item
from log.limits import UPLOAD_TOKEN_SECONDS_MAX
from log.secrets import issue_upload_token

if TYPE_CHECKING:
    from functions.system.operation import SystemContext

FILES = "_file_storage"
BY_STORAGE_ID, BY_STORAGE_KEY = "by_storage_id", "by_storage_key"

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NANOSECONDS = 1_000_000_000

FileRow = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FileAccess:
    """What files need beside a transaction. `blobs` None: whoever runs has no data folder, so that bytes can
    be neither read nor stored."""

    cloud_origin: str
    instance_secret: bytes = field(repr=False)
    blobs: BlobStore | None = None


# --- what functions may do ----------------------------------------------------------------------------


def create_upload_url(transaction: Transaction, access: FileAccess) -> str:
    """Where whoever has it may upload files of this component for an hour. Equal for equal times, so that a
    replay agrees."""
    expires_seconds = transaction.now_ns // _NANOSECONDS + UPLOAD_TOKEN_SECONDS_MAX
    namespace = transaction.component.namespace
    token = issue_upload_token(access.instance_secret, expires_seconds, namespace or "")
    return f"{transaction.catalog.cloud_url(access.cloud_origin)}/api/storage/upload?token={token}"


def insert_file(
    transaction: Transaction, blob: StoredBlob, content_type: str | None, storage_id: str | None = None
) -> str:
    """A file of this durable blob; returns the id of its row. `storage_id`: its UUID, if it has one."""
    if transaction.component.is_being_deleted:
        raise component_deleted(transaction.component.path)
    if storage_id is None:
        storage_id = str(uuid.UUID(bytes=transaction.random_bytes(16), version=4))
    fields = {
        "storageId": storage_id,
        "owner": transaction.component.path,
        "storageKey": blob.key,
        "sha256": blob.sha256,
        "size": blob.size_bytes,
        "contentType": content_type or None,
    }
    return transaction.insert(FILES, fields)


def get_url(transaction: Transaction, access: FileAccess, storage_id: Any) -> str | None:
    row = find_file(transaction, storage_id, "storage.getUrl")
    return url_of(transaction, access.cloud_origin, row) if row is not None else None


def url_of(transaction: Transaction, cloud_origin: str, row: FileRow) -> str:
    namespace = transaction.component.namespace
    suffix = f"?component={namespace}" if namespace is not None else ""
    return f"{transaction.catalog.cloud_url(cloud_origin)}/api/storage/{row['storageId']}{suffix}"


def get_metadata(transaction: Transaction, storage_id: Any) -> dict[str, Any] | None:
    """The deprecated view: hexadecimal digest, UUID, size as a number of JavaScript."""
    row = find_file(transaction, storage_id, "storage.getMetadata")
    if row is None:
        return None
    return {
        "storageId": row["storageId"],
        "sha256": row["sha256"].hex(),
        "size": float(row["size"]),
        "contentType": row["contentType"],
    }


def delete_file(transaction: Transaction, storage_id: Any) -> None:
    """The row goes with the transaction; its bytes when nobody has asked for them for a while."""
    row = find_file(transaction, storage_id, "storage.delete")
    if row is None:
        raise storage_id_not_found(storage_id)
    transaction.delete(transaction.catalog.tables[FILES], row["_id"])


def find_file(transaction: Transaction, storage_id: Any, method: str) -> FileRow | None:
    """The row with this id or UUID; what can be neither is refused. `method` is named in the refusal."""
    if not isinstance(storage_id, str):
        raise invalid_argument("storageId", method, "must be a string")
    table = transaction.catalog.tables[FILES]
    try:
        number = decode_id(storage_id).table_number
    except InvalidId:
        if not is_uuid(storage_id.lower()):
            raise invalid_storage_id(storage_id, method) from None
        return _own_file(transaction, storage_id)
    if number != table.number:
        raise storage_id_of_another_table()
    row = transaction.get(table, storage_id)
    file: FileRow | None = values.loads_canonical(row.document) if row is not None else None  # type: ignore[assignment]
    return file if file is not None and is_owned_by(transaction.component, file) else None


def _own_file(transaction: Transaction, uuid_text: str) -> FileRow | None:
    """The file of this component that has this UUID."""
    table = transaction.catalog.tables[FILES]
    row = transaction.first(table, BY_STORAGE_ID, encode_item(uuid_text.lower()))
    return row if row is not None and is_owned_by(transaction.component, row) else None


def user_view(_transaction: Transaction, row: FileRow) -> dict[str, Any]:
    """The row of `_storage` that user code sees (spec 03 5.3)."""
    return shown(row)


def shown(row: FileRow) -> dict[str, Any]:
    """A file as functions and exports show it."""
    return {
        "_id": row["_id"],
        "_creationTime": row["_creationTime"],
        "sha256": base64.b64encode(row["sha256"]).decode(),
        "size": float(row["size"]),
        "contentType": row["contentType"],
    }


def is_uuid(text: str) -> bool:
    """In the one form that URLs and rows hold: lower case, with hyphens."""
    return _UUID.fullmatch(text) is not None


# --- operations of the gateway ------------------------------------------------------------------------


def store_file(
    transaction: Transaction, body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, str]:
    """Insert the row of an uploaded blob. The UUID in the body is fresh, so asking again changes nothing."""
    _check_running(transaction)
    if not _enter(transaction, body["component"]):
        raise component_deleted(body["component"])  # its file would be the app's
    row = _own_file(transaction, body["storageId"])
    if row is not None:
        return {"storageId": row["_id"]}
    blob = StoredBlob(body["storageKey"], bytes.fromhex(body["sha256"]), body["size"])
    return {"storageId": insert_file(transaction, blob, body["contentType"], body["storageId"])}


def locate_file(
    transaction: Transaction, body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any] | None:
    """What the gateway must know to send a file; None: there is no such file (any more)."""
    _check_running(transaction)
    is_there = _enter(transaction, body["component"])
    row = _own_file(transaction, body["storageId"]) if is_there else None
    if row is None:
        return None
    shown = {name: row[name] for name in ("storageKey", "size", "contentType")}
    return {**shown, "sha256": row["sha256"].hex()}


def _check_running(transaction: Transaction) -> None:
    """A deployment that is paused neither takes files nor gives them (spec 02 22)."""
    if transaction.catalog.is_paused:
        raise backend_is_not_running()


def _enter(transaction: Transaction, component_id: str) -> bool:
    """Go into the component of this id, "" is the app; False: there is none."""
    component = transaction.component_of(component_id or None)
    if component is not None:
        transaction.enter_component(component.path)
    return component is not None
