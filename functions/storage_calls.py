"""System calls of `ctx.storage` in queries and mutations (spec 03 2.1, 2.8): argument checks, JSON answers.

What a file is, and what happens to it, is in `functions/system/files.py`. A query may only look: to it, the
others are calls that do not exist. `storageStore` makes the bytes durable BEFORE it answers; when the
mutation fails or runs again, they stay behind without a row and are collected.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson

from functions import errors
from functions import syscall_arguments as arguments
from functions.system import files
from functions.system.files import FileAccess
from log.blob_store import BlobMissing, BlobStore, put_bytes, read_bytes
from log.errors import internal_server_error
from log.file_errors import file_bytes_missing, file_too_large_for_mutation, sha256_mismatch
from log.limits import MUTATION_FILE_BYTES_MAX

if TYPE_CHECKING:
    from functions.syscalls import CallContext, Handler

_NULL = b"null"


def _get_url(context: CallContext, args: dict[str, Any]) -> bytes:
    return orjson.dumps(files.get_url(context.transaction, _access(context), args.get("storageId")))


def _get_metadata(context: CallContext, args: dict[str, Any]) -> bytes:
    return orjson.dumps(files.get_metadata(context.transaction, args.get("storageId")))


def _generate_upload_url(context: CallContext, _args: dict[str, Any]) -> bytes:
    return orjson.dumps(files.create_upload_url(context.transaction, _access(context)))


def _delete(context: CallContext, args: dict[str, Any]) -> bytes:
    files.delete_file(context.transaction, args.get("storageId"))
    return _NULL


def _store(context: CallContext, args: dict[str, Any]) -> bytes:
    content = _content(args)
    digest = arguments.optional_text(args, "sha256", "storage.store")
    if digest is not None and digest != base64.b64encode(hashlib.sha256(content).digest()).decode():
        raise sha256_mismatch()
    content_type = arguments.optional_text(args, "contentType", "storage.store")
    blob = put_bytes(_blobs(context), content)
    return orjson.dumps(files.insert_file(context.transaction, blob, content_type))


def _get(context: CallContext, args: dict[str, Any]) -> bytes:
    row = files.find_file(context.transaction, args.get("storageId"), "storage.get")
    if row is None:
        return _NULL
    if row["size"] > MUTATION_FILE_BYTES_MAX:
        raise file_too_large_for_mutation(row["size"], MUTATION_FILE_BYTES_MAX)
    try:
        content = read_bytes(_blobs(context), row["storageKey"])
    except BlobMissing:
        raise file_bytes_missing(row["storageId"]) from None
    blob = base64.b64encode(content).decode()
    return orjson.dumps({"blob": blob, "contentType": row["contentType"]})


def _content(args: dict[str, Any]) -> bytes:
    try:
        content = base64.b64decode(arguments.text(args, "blob", "storage.store"), validate=True)
    except (binascii.Error, ValueError) as failure:
        raise errors.invalid_argument("blob", "storage.store", f"must be base64: {failure}") from failure
    if len(content) > MUTATION_FILE_BYTES_MAX:
        raise file_too_large_for_mutation(len(content), MUTATION_FILE_BYTES_MAX)
    return content


def _access(context: CallContext) -> FileAccess:
    if context.files is None:
        raise internal_server_error()  # whoever made the runner has forgotten it
    return context.files


def _blobs(context: CallContext) -> BlobStore:
    blobs = _access(context).blobs
    if blobs is None:
        raise internal_server_error()  # a runner without a data folder, as tests make it
    return blobs


def _in_mutations(name: str, handler: Handler) -> Handler:
    def answer(context: CallContext, args: dict[str, Any]) -> bytes:
        if context.udf_type != "Mutation":
            raise errors.unknown_async_operation(name)
        return handler(context, args)

    return answer


_IN_MUTATIONS: dict[str, Callable[[Any, dict[str, Any]], bytes]] = {
    "1.0/storageGenerateUploadUrl": _generate_upload_url,
    "1.0/storageDelete": _delete,
    "1.0/storageStore": _store,
    "1.0/storageGet": _get,
}

STORAGE_HANDLERS: dict[str, Callable[[Any, dict[str, Any]], bytes]] = {
    "1.0/storageGetUrl": _get_url,
    "1.0/storageGetMetadata": _get_metadata,
    **{name: _in_mutations(name, handler) for name, handler in _IN_MUTATIONS.items()},
}
"""To be merged into the table of `functions/syscalls.py`, whose context the handlers take."""
