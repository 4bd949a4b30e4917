"""Refusals around stored files: one constructor per cause (spec 01 2.8, spec 03 2.8).

They stand apart from `errors.py` because three rooms make them: the store refuses for the disk, functions
for what they are asked for, the gateway for what a request looks like.
"""

from __future__ import annotations

from log.errors import BackendError, ErrorKind, bad_request, size_text

# --- the disk ---------------------------------------------------------------------------------------


def disk_nearly_full(free_bytes_min: int) -> BackendError:
    return BackendError(
        ErrorKind.OPERATIONAL,
        "DiskNearlyFull",
        f"The disk of the data folder has less than {size_text(free_bytes_min)} free: files are not stored "
        "until there is more, so that the log has room.",
    )


# --- function calls ---------------------------------------------------------------------------------


def invalid_storage_id(storage_id: str, method: str) -> BackendError:
    return bad_request(
        "InvalidArgument",
        f'Invalid argument `storageId` for `{method}`: Invalid storage ID: "{storage_id}". '
        "Storage ID should be an Id of '_storage' table, or a UUID string.",
    )


def storage_id_of_another_table() -> BackendError:
    return bad_request(
        "InvalidStorageId",
        "Invalid storage ID. Storage ID cannot be an ID on any table other than '_storage'.",
    )


def storage_id_not_found(storage_id: str) -> BackendError:
    return bad_request("StorageIdNotFound", f"storage id {storage_id} not found")


def file_too_large_for_mutation(size_bytes: int, size_bytes_max: int) -> BackendError:
    return bad_request(
        "FileTooLarge",
        f"A file of {size_text(size_bytes)} is too large for a mutation to read or store "
        f"(limit: {size_text(size_bytes_max)}). Use its URL, an upload URL, or an action.",
    )


def file_bytes_missing(storage_id: str) -> BackendError:
    """The row is there, the bytes are not: they were taken away by hand, or with a lost disk."""
    return BackendError(
        ErrorKind.OPERATIONAL, "FileBytesMissing", f"The bytes of file {storage_id} are not on this server."
    )


def object_store_failed(why: str) -> BackendError:
    """The store that keeps the bytes does not answer, or refuses; its own words say why."""
    return BackendError(
        ErrorKind.OVERLOADED, "FileStoreFailed", f"The store of files cannot be used at the moment: {why}"
    )


# --- uploads and downloads --------------------------------------------------------------------------


def sha256_mismatch() -> BackendError:
    return bad_request("Sha256Mismatch", "The SHA-256 of the file's bytes is not the one that was announced.")


def too_many_open_files(count_max: int) -> BackendError:
    text = f"An action may store and read at most {count_max} files at the same time."
    return bad_request("TooManyOpenFiles", text)


def bad_header(name: str, why: str) -> BackendError:
    return bad_request("BadHeader", f"The {name} header cannot be used: {why}.")


def file_too_large(size_bytes_max: int) -> BackendError:
    return bad_request("FileTooLarge", f"A file may have at most {size_text(size_bytes_max)}.")


def unreadable_upload_token() -> BackendError:
    return BackendError(
        ErrorKind.UNAUTHENTICATED,
        "StorageTokenInvalid",
        "The upload token cannot be read. Ask `ctx.storage.generateUploadUrl()` for a new URL.",
    )


def foreign_upload_token() -> BackendError:
    return BackendError(
        ErrorKind.UNAUTHENTICATED,
        "InvalidStorageToken",
        "The upload token was made by another deployment.",
    )


def upload_token_expired() -> BackendError:
    return BackendError(
        ErrorKind.UNAUTHENTICATED,
        "StorageTokenExpired",
        "The upload URL has expired. Ask `ctx.storage.generateUploadUrl()` for a new one.",
    )


def invalid_storage_path(found: str) -> BackendError:
    return bad_request("InvalidStoragePath", f"Invalid storage path: {found!r} is no UUID.")


def file_not_found(storage_id: str) -> BackendError:
    return BackendError(ErrorKind.NOT_FOUND, "FileNotFound", f"File {storage_id} not found")
