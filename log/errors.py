"""The one error that may cross rooms, and one constructor per code.

`kind` decides what happens (status, close code, retry, catchable in JavaScript); `code` is what clients
and tests match and never changes; `message` is what a developer reads. Texts exist here and only here.
Expected outcomes on hot paths (a conflict, a JavaScript error) are returned values, not exceptions.
The table kind -> HTTP status / close code lives in `gateway/status.py`.
"""

from __future__ import annotations

from enum import Enum
from typing import Any


class ErrorKind(Enum):
    """Whose fault it is and what the caller can do (spec 03 0)."""

    BAD_REQUEST = "bad request"
    PAGINATION_LIMIT = "pagination limit"
    CONFLICT = "conflict"
    UNAUTHENTICATED = "unauthenticated"
    AUTH_UPDATE_FAILED = "auth update failed"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not found"
    CLIENT_DISCONNECT = "client disconnect"
    RATE_LIMITED = "rate limited"
    OCC = "optimistic concurrency control failure"
    OVERLOADED = "overloaded"
    OUT_OF_RETENTION = "out of retention"
    FEATURE_UNAVAILABLE = "feature temporarily unavailable"
    REJECTED = "rejected before execution"
    OPERATIONAL = "operational internal server error"
    INTERNAL = "internal"


CATCHABLE_KINDS = frozenset(
    {
        ErrorKind.BAD_REQUEST,
        ErrorKind.PAGINATION_LIMIT,
        ErrorKind.CONFLICT,
        ErrorKind.UNAUTHENTICATED,
        ErrorKind.AUTH_UPDATE_FAILED,
        ErrorKind.FORBIDDEN,
    }
)
"""Kinds a syscall may throw into JavaScript; every other kind ends the whole call (spec 03 0)."""


class BackendError(Exception):
    """A refusal or a failure with a stable code. Positional facts only, so that it survives pickling.

    `data` is a Convex value (decoded) a client may match on, or None when there is none.
    """

    def __init__(self, kind: ErrorKind, code: str, message: str, data: Any = None) -> None:
        super().__init__(kind, code, message, data)
        self.kind, self.code, self.message, self.data = kind, code, message, data

    def __str__(self) -> str:
        return self.message


def bad_request(code: str, message: str) -> BackendError:
    """A caller's mistake whose text is composed where it is found (validators, parsers)."""
    return BackendError(ErrorKind.BAD_REQUEST, code, message)


def internal_server_error() -> BackendError:
    return BackendError(
        ErrorKind.INTERNAL,
        "InternalServerError",
        "Your request couldn't be completed. Try again later.",
    )


def not_supported_yet(what: str) -> BackendError:
    """Something Convex has and Tidelog has not built: said clearly, listed in docs/status.md."""
    return BackendError(
        ErrorKind.BAD_REQUEST, "NotSupportedYet", f"{what} is not supported by this Tidelog version yet."
    )


# --- the writer -------------------------------------------------------------------------------------


def commit_queue_full() -> BackendError:
    return BackendError(
        ErrorKind.OVERLOADED,
        "CommitterFullError",
        "Too many concurrent commits in a short period of time. "
        "Spread your writes out over time or throttle them to avoid errors.",
    )


def out_of_retention() -> BackendError:
    return BackendError(
        ErrorKind.OUT_OF_RETENTION,
        "InternalServerError",
        "Your request couldn't be completed. Try again later.",
    )


def view_behind(applied_ts: int, asked_ts: int) -> BackendError:
    """A view was read before it had folded the commit; the caller waits and asks again."""
    return BackendError(
        ErrorKind.OVERLOADED,
        "ViewBehind",
        f"The view has applied {applied_ts} and was asked for {asked_ts}. Try again.",
    )


def unknown_outcome() -> BackendError:
    """Whoever ran or judged the call is gone, and nobody can tell any more what came of it."""
    return BackendError(
        ErrorKind.OPERATIONAL,
        "InternalServerError",
        "The server restarted while this call was running; whether it took effect is unknown.",
    )


def mutation_conflict(table: str | None, who: str | None, *, is_system: bool = False) -> BackendError:
    """Every attempt met a newer write (spec 04 1.9); `who` names the writer, when known. `is_system`: it was
    to tables of the system's own."""
    where = f'the "{table}" table' if table is not None else "some table"
    by = f"{who} " if who else ""
    text = (
        f"Documents read from or written to {where} changed while this mutation was being run and on "
        f"every subsequent retry. {by}See https://docs.convex.dev/error#1"
    )
    if is_system:
        text = (
            "Data read or written in this mutation changed while it was being run. Consider reducing the "
            "amount of data read by using indexed queries with selective index range expressions "
            "(https://docs.convex.dev/database/indexes/)."
        )
    return BackendError(ErrorKind.OCC, "OptimisticConcurrencyControlFailure", text)


# --- values and documents (spec 01 3.2, 3.3) ----------------------------------------------------------


def size_text(size_bytes: int) -> str:
    """How texts print sizes: "17 MiB", "1.5 KiB", "12 B"; binary units, at most two decimals."""
    for unit_bytes, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size_bytes >= unit_bytes:
            return f"{size_bytes / unit_bytes:.2f}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{size_bytes} B"


def invalid_value(message: str) -> BackendError:
    """JSON that is no Convex value: a bad tag, a bad field name, a lone surrogate."""
    return bad_request("InvalidValue", message)


def value_too_large(size_bytes: int, size_bytes_max: int) -> BackendError:
    return bad_request(
        "ValueTooLargeError",
        f"Value is too large ({size_text(size_bytes)} > maximum size {size_text(size_bytes_max)})",
    )


def value_too_nested(nesting: int, nesting_max: int) -> BackendError:
    return bad_request(
        "TooNestedError",
        f"Value is too nested (nested {nesting} levels deep > maximum nesting {nesting_max})",
    )


def array_too_long(length: int, length_max: int) -> BackendError:
    return bad_request("ArrayTooLong", f"Array length is too long ({length} > maximum length {length_max})")


def too_many_fields(count: int, count_max: int) -> BackendError:
    return bad_request(
        "TooManyFieldsError", f"Object has too many fields ({count} > maximum number {count_max})"
    )


def invalid_document(document_text: str, reason: str) -> BackendError:
    return bad_request("InvalidDocumentError", f"{document_text} isn't a valid document: {reason}")


# --- names and schemas (spec 04 3.1, 4.1, 4.6) --------------------------------------------------------


def invalid_table_name(name: str) -> BackendError:
    return bad_request(
        "InvalidTableName",
        f'Invalid table name: "{name}". Identifiers must start with a letter and can only contain '
        "letters, digits, and underscores.",
    )


def table_name_reserved(name: str) -> BackendError:
    return bad_request("TableNameReserved", f"{name} is a reserved table name.")


def too_many_tables(count_max: int) -> BackendError:
    return bad_request("TooManyTables", f"Number of tables cannot exceed {count_max}.")


def invalid_index_name(name: str) -> BackendError:
    return bad_request(
        "InvalidIndexName",
        f'Invalid index name: "{name}". Identifiers must be 64 characters or less, start with a letter, '
        "and only contain letters, digits, underscores.",
    )


def index_name_reserved(table: str, name: str) -> BackendError:
    return bad_request(
        "IndexNameReserved",
        f'In table "{table}" cannot name an index "{name}" because the name is reserved. Indexes may not '
        'start with an underscore or be named "by_id" or "by_creation_time".',
    )


def invalid_schema(message: str) -> BackendError:
    return bad_request("InvalidSchema", message)


def schema_enforcement(table: str, why: str) -> BackendError:
    """A write the active schema refuses; `why` comes from the validator."""
    return bad_request(
        "SchemaEnforcementError",
        f'Failed to insert or update a document in table "{table}" '
        f"because it does not match the schema: {why}",
    )


def bad_function_identifier(path: str, reason: str) -> BackendError:
    return bad_request(
        "BadConvexFunctionIdentifier", f"{path} is not a valid path to a Convex function. {reason}"
    )


# --- the gateway ------------------------------------------------------------------------------------


def ws_message_invalid_json(why: str) -> BackendError:
    """A client message that is no JSON, of unknown type or of wrong shape (spec 01 1.12)."""
    return bad_request("WSMessageInvalidJson", f"Received Invalid JSON on websocket: {why}")


def base_version_mismatch(base_version: int, current_version: int) -> BackendError:
    return bad_request(
        "BaseVersionMismatch",
        f"Base version {base_version} passed up doesn't match the current version {current_version}",
    )


def socket_protocol_broken(how: str) -> BackendError:
    """A client message that no correct client sends; the socket closes with 1011 (spec 01 1.4)."""
    return BackendError(ErrorKind.INTERNAL, "InternalServerError", how)


def too_many_concurrent_mutations() -> BackendError:
    return BackendError(
        ErrorKind.RATE_LIMITED,
        "TooManyConcurrentMutations",
        "Too many mutations of one client are waiting. Wait for earlier mutations before sending more.",
    )


def too_many_inflight_actions() -> BackendError:
    return BackendError(
        ErrorKind.RATE_LIMITED,
        "TooManyInflightActionsForSingleClient",
        "Too many actions of one client are running. Wait for earlier actions before sending more.",
    )


def too_many_concurrent_queries() -> BackendError:
    return BackendError(
        ErrorKind.OVERLOADED,
        "TooManyConcurrentRequests",
        "Too many queries are waiting to run. Try again later.",
    )


def client_disconnected() -> BackendError:
    return BackendError(ErrorKind.CLIENT_DISCONNECT, "ClientDisconnected", "The client is no longer there.")


def bad_json_body(message: str) -> BackendError:
    return bad_request("BadJsonBody", message)


def bad_query_args(message: str) -> BackendError:
    return bad_request("BadQueryArgs", message)


def invalid_top_k(found: str, functions_max: int) -> BackendError:
    """Spec 02 21."""
    message = f"`k` must be a whole number from 1 to {functions_max}, not {found!r}."
    return bad_request("InvalidTopKParameter", message)


def bad_format(found: str) -> BackendError:
    return bad_request(
        "BadFormat", f"Unknown format {found!r}: use convex_encoded_json, json or export_json."
    )


def missing_identifier() -> BackendError:
    return bad_request("MissingIdentifier", "The address must name a module and a function: module/function.")


def body_too_large(bytes_max: int) -> BackendError:
    return bad_json_body(f"The request body is larger than {bytes_max} bytes.")


def bad_content_encoding(encoding: str) -> BackendError:
    return bad_request("BadContentEncoding", f"The body is not valid {encoding!r} data.")


def bad_upload_token() -> BackendError:
    """Of an import: a token of another upload, another deployment, or parts that are no longer kept."""
    return bad_request("BadUploadToken", "The upload is unknown here, or too old. Start the import again.")


def invalid_client_version(found: str) -> BackendError:
    return bad_request("InvalidClientVersion", f"{found!r} is not a client version such as npm-1.48.0.")


def client_version_unsupported(client: str, version: str) -> BackendError:
    return bad_request(
        "ClientVersionUnsupported",
        f"The {client} client {version} is no longer supported. Update the convex package.",
    )


def invalid_upgrade(code: str) -> BackendError:
    """A sync address met by something that is no WebSocket handshake (spec 01 1.1)."""
    return bad_request(code, "This address speaks WebSocket: the request lacks a valid upgrade handshake.")


def header_parse_failure(why: str) -> BackendError:
    return bad_request("HeaderParseFailure", f"The Authorization header cannot be read: {why}")


def invalid_header_failure() -> BackendError:
    return bad_request("InvalidHeaderFailure", "The Authorization header is too short.")


def invalid_admin_key_scheme() -> BackendError:
    return bad_request("InvalidAdminKey", "The Authorization header must begin with 'Bearer ' or 'Convex '.")


def bad_admin_key() -> BackendError:
    return BackendError(
        ErrorKind.UNAUTHENTICATED,
        "BadAdminKey",
        "The provided admin key was invalid for this instance",
    )


def operation_not_permitted(operation: str) -> BackendError:
    """The CLI recognises the first words of the text (spec 02 1)."""
    return BackendError(ErrorKind.FORBIDDEN, "OperationNotPermitted", operation_not_permitted_text(operation))


def operation_not_permitted_text(operation: str) -> str:
    return f"You do not have permission to perform this operation ({operation}). The admin key is read-only."


def bad_deploy_key(instance_name: str | None) -> BackendError:
    which = f"deployment '{instance_name}'" if instance_name else "this deployment"
    return BackendError(
        ErrorKind.FORBIDDEN,
        "BadDeployKey",
        f"The provided deploy key was invalid for {which}. Double check that the environment this key was "
        "generated for matches the desired deployment.",
    )


def port_taken(host: str, port: int) -> BackendError:
    return BackendError(
        ErrorKind.OPERATIONAL,
        "PortTaken",
        f"Port {port} on {host} is already in use. Stop the other program or choose another port.",
    )


# --- the log in a PostgreSQL server -------------------------------------------------------------------


def log_server_away(where: str, seconds: float, why: str) -> BackendError:
    """`seconds` = how long it was waited for; 0 at a start, which does not wait."""
    waited = f" for {seconds:g} s" if seconds else ""
    return BackendError(
        ErrorKind.OPERATIONAL,
        "LogServerAway",
        f"{where}, which keeps the log, could not be used{waited}: {why}. "
        "Bring it back, or correct TIDELOG_LOG.",
    )


def log_server_unfit(where: str, why: str) -> BackendError:
    return BackendError(ErrorKind.OPERATIONAL, "LogServerUnfit", f"{where} cannot keep the log: {why}.")
