"""Refusals of the function runtime: one constructor per code, texts as spec 03 fixes them.

The error type and the codes that the log and the gateway need are in log/errors.py.
"""

from __future__ import annotations

from log import limits
from log.errors import BackendError, ErrorKind, bad_request, size_text

READ_LESS = (
    "Consider using smaller limits in your queries, paginating your queries, or using indexed queries "
    "with a selective index range expressions."
)


def component_deleted(path: str) -> BackendError:
    """Also of one whose deletion is under way."""
    return bad_request("ComponentNotFound", f"The component '{path}' was deleted.")


# --- limits of one transaction (spec 03 4) ---------------------------------------------------------


def _pagination_limit(code: str, message: str) -> BackendError:
    return BackendError(ErrorKind.PAGINATION_LIMIT, code, message)


def too_many_documents_read(limit: int) -> BackendError:
    return _pagination_limit(
        "TooManyDocumentsRead",
        f"Too many documents read in a single function execution (limit: {limit}). {READ_LESS}",
    )


def too_many_bytes_read(limit_bytes: int) -> BackendError:
    return _pagination_limit(
        "TooManyBytesRead",
        f"Too many bytes read in a single function execution (limit: {limit_bytes} bytes). {READ_LESS}",
    )


def too_many_reads(limit: int) -> BackendError:
    return _pagination_limit(
        "TooManyReads", f"Too many reads in a single function execution (limit: {limit}). {READ_LESS}"
    )


def too_many_writes(limit: int) -> BackendError:
    return _pagination_limit(
        "TooManyWrites", f"Too many writes in a single function execution (limit: {limit})"
    )


def too_many_bytes_written(limit_bytes: int) -> BackendError:
    return _pagination_limit(
        "TooManyBytesWritten",
        f"Too many bytes written in a single function execution (limit: {size_text(limit_bytes)})",
    )


# --- documents (spec 03 2.2, 2.4) -------------------------------------------------------------------


def document_exists(document_id: str) -> BackendError:
    return bad_request(
        "DocumentExists",
        f"Cannot create document with _id {document_id} that already exists. "
        "Try to update it with `db.patch` or `db.replace`.",
    )


def nonexistent_document(verb: str, document_id: str) -> BackendError:
    """`verb` is Update, Replace or Delete."""
    return bad_request("NonexistentDocument", f"{verb} on nonexistent document ID {document_id}")


def system_field_supplied(name: str) -> BackendError:
    return bad_request("InvalidDocumentError", f"The field `{name}` is set by the database on insert.")


def system_field_changed(name: str) -> BackendError:
    return bad_request("InvalidDocumentError", f"The system field `{name}` of a document cannot be changed.")


def read_only_transaction() -> BackendError:
    return bad_request("UnknownAsyncOperation", "A query cannot write to the database.")


def system_table_without_system(is_system_call: bool) -> BackendError:
    if is_system_call:
        text = "User tables cannot be accessed with db.system."
    else:
        text = "System tables can only be accessed with db.system."
    return bad_request("SystemTableError", text)


def scheduled_too_far(*, is_future: bool) -> BackendError:
    where = "in the future" if is_future else "in the past"
    text = f"The requested time of the scheduled function is more than 5 years {where}"
    return bad_request("InvalidScheduledFunctionDelay", text)


def scheduled_module_missing(module: str) -> BackendError:
    text = f"Attempted to schedule function at nonexistent path: {module}"
    return bad_request("InvalidScheduledFunction", text)


def scheduled_function_missing(function: str, module: str) -> BackendError:
    text = (
        f"Attempted to schedule function, but no exported function {function} found in the file: {module}. "
        "Did you forget to export it?"
    )
    return bad_request("InvalidScheduledFunction", text)


def no_scheduled_function_id() -> BackendError:
    text = "Invalid scheduled function ID. The ID must be an ID on the '_scheduled_functions' table."
    return bad_request("InvalidScheduledFunctionID", text)


def too_many_functions_scheduled(limit: int) -> BackendError:
    text = f"Too many functions scheduled by this mutation (limit: {limit})"
    return bad_request("TooManyFunctionsScheduled", text)


def scheduled_arguments_too_large(limit: int) -> BackendError:
    text = (
        "Too large total size of the arguments of scheduled functions from this mutation "
        f"(limit: {limit} bytes)"
    )
    return bad_request("ScheduledFunctionsArgumentsTooLarge", text)


def read_only_table(name: str) -> BackendError:
    return bad_request("ReadOnlyTable", f"{name} is a read-only table")


def invalid_argument(argument: str | None, method: str, cause: str) -> BackendError:
    where = f"Invalid argument `{argument}` for" if argument is not None else "Invalid arguments for"
    return bad_request("InvalidArgument", f"{where} `{method}`: {cause}")


def audit_logs_exceed_limits() -> BackendError:
    return bad_request("AuditLogsExceedLimits", "Audit logs exceed function execution limits")


def no_audit_log_in_actions() -> BackendError:
    return bad_request("NoAuditLogInActions", "Audit logging is not yet supported in actions")


def no_deployment_audit_log() -> BackendError:
    text = "writeDeploymentAuditLog is only available in system UDFs"
    return bad_request("SystemFunctionsOnly", text)


def unknown_operation(name: str) -> BackendError:
    return bad_request("UnknownOperation", f"Unknown operation {name}")


def unknown_async_operation(name: str) -> BackendError:
    return bad_request("UnknownAsyncOperation", f"Unknown async operation {name}")


# --- queries (spec 03 2.2, 2.3) ---------------------------------------------------------------------


def index_not_found(table: str, index: str) -> BackendError:
    return bad_request("IndexNotFoundError", f"Index {table}.{index} not found.")


def index_backfilling(table: str, index: str) -> BackendError:
    return bad_request(
        "IndexBackfillingError",
        f"Index {table}.{index} is currently backfilling and not available to query yet.",
    )


def index_staged(table: str, index: str) -> BackendError:
    return bad_request(
        "IndexStagedError",
        f"Index {table}.{index} is currently staged and not available to query until it is enabled.",
    )


def index_not_a_database_index(name: str) -> BackendError:
    return bad_request("IndexNotADatabaseIndex", f"Index {name} is not a database index")


def invalid_index_range(
    name: str, index_fields: list[str], query_fields: list[str], first_wrong: str
) -> BackendError:
    return bad_request(
        "InvalidIndexRange",
        f"Tried to query index {name} but the query didn't use the index fields in order.\n"
        f"Index fields: [{', '.join(index_fields)}]\n"
        f"Query fields: [{', '.join(query_fields)}]\n"
        f"First incorrect field: {first_wrong}\n"
        "For more information see https://docs.convex.dev/using/indexes.",
    )


def field_not_in_index(field: str, name: str, index_fields: list[str]) -> BackendError:
    return bad_request(
        "FieldNotInIndex",
        f'The index range included a comparison with "{field}", but {name} with fields '
        f"[{', '.join(index_fields)}] doesn't index this field. "
        "For more information see https://docs.convex.dev/using/indexes.",
    )


def already_defined_bound(kind: str, field: str, operator: str, value_text: str) -> BackendError:
    return bad_request(
        "AlreadyDefinedBound",
        f"Already defined {kind} bound in index range. Can't add {field} {operator} {value_text}.",
    )


def bounds_on_multiple_fields() -> BackendError:
    return bad_request(
        "BoundsOnMultipleFields",
        "Upper and lower bounds in `range` can only be applied to a single index field. "
        "For more information see https://docs.convex.dev/using/indexes.",
    )


def too_many_operators(count: int) -> BackendError:
    return bad_request("TooManyOperators", f"Query has too many operators: {count}")


def query_not_found() -> BackendError:
    return bad_request("QueryNotFound", "in-progress query not found")


def evaluation_error(message: str) -> BackendError:
    return bad_request("EvalError", message)


def no_documents_for_pagination() -> BackendError:
    return bad_request("NoDocumentsForPagination", "Must request at least 1 document while paginating")


def page_size_too_large(count: int) -> BackendError:
    return bad_request("PageSizeTooLarge", f"Requested too many items: {count}")


def invalid_pagination_limit() -> BackendError:
    return bad_request(
        "InvalidPaginationLimit", "maximumRowsRead and maximumBytesRead must be greater than 0"
    )


def multiple_paginated_queries() -> BackendError:
    return bad_request(
        "MultiplePaginatedDatabaseQueries",
        "This query or mutation function ran multiple paginated queries. "
        "Convex only supports a single paginated query in each function.",
    )


def unparsable_cursor() -> BackendError:
    return bad_request("InvalidCursor", "Failed to parse cursor")


def cursor_of_another_query() -> BackendError:
    """`usePaginatedQuery` restarts from its first page on exactly this data (spec 03 2.3)."""
    return BackendError(
        ErrorKind.BAD_REQUEST,
        "InvalidCursor",
        "InvalidCursor: Tried to run a query starting from a cursor, but it looks like this cursor is "
        "from a different query.",
        {"isConvexSystemError": True, "paginationError": "InvalidCursor"},
    )


# --- calls (spec 03 1.6, 2.5) -----------------------------------------------------------------------


def invalid_function_call(callee_type: str, caller_type: str) -> BackendError:
    return bad_request(
        "InvalidFunctionCall", f"Cannot call a {callee_type} function from a {caller_type} function"
    )


def call_depth_exceeded() -> BackendError:
    return bad_request(
        "MaximumCallDepthExceeded",
        "Cross component call depth limit exceeded. Do you have an infinite loop in your app?",
    )


def invalid_args(message: str) -> BackendError:
    return bad_request("InvalidArgs", message)


def invalid_return_value(message: str) -> BackendError:
    return bad_request("InvalidReturnValue", message)


def system_timeout() -> BackendError:
    return bad_request("SystemTimeoutError", "Your request timed out performing too many system operations.")


def timeout_text(seconds: int) -> str:
    return f"Function execution timed out (maximum duration: {seconds}s)"


def args_too_large_text(path: str, size_bytes: int) -> str:
    return (
        f"Arguments for {path} are too large "
        f"(actual: {size_text(size_bytes)}, limit: {size_text(limits.FUNCTION_ARGS_BYTES_MAX)})"
    )


def result_too_large_text(path: str, size_bytes: int) -> str:
    return (
        f"Function {path} return value is too large "
        f"(actual: {size_text(size_bytes)}, limit: {size_text(limits.FUNCTION_RESULT_BYTES_MAX)})"
    )


def unresolved_result_text(path: str) -> str:
    return f"Function {path} return value invalid: queries cannot return an unresolved commit timestamp"


def no_component_arguments() -> BackendError:
    return bad_request("NoComponentArgs", "Component arguments are not available within the app")


# --- fetch() of actions (spec 03 3.9) -----------------------------------------------------------------


def fetch_failed(why: str) -> BackendError:
    """`why` = what the transport says."""
    return bad_request("FetchFailed", why)


def egress_forbidden() -> BackendError:
    return BackendError(ErrorKind.FORBIDDEN, "EgressForbidden", "Request to URL forbidden")


def too_many_fetches(limit: int) -> BackendError:
    return bad_request(
        "TooManyFetches",
        f"Too many requests of one action are open (limit: {limit}). Read or cancel the bodies of responses.",
    )


def too_many_concurrent_actions(running: int) -> BackendError:
    return BackendError(
        ErrorKind.RATE_LIMITED,
        "TooManyConcurrentRequests",
        f"Too many concurrent requests. Your backend is limited to {running} concurrent actions. "
        "If you need more resources, please contact support.",
    )


def function_handle_not_found() -> BackendError:
    return bad_request("FunctionHandleNotFound", "Function handle not found")


def invalid_reference(text: str) -> BackendError:
    return bad_request("InvalidReference", text)


def no_pages_in_components() -> BackendError:
    return bad_request(
        "PaginationUnsupportedInComponents",
        "paginate() is only supported in the app. "
        "Learn more at https://docs.convex.dev/components/authoring#pagination",
    )


def unresolved_function(display_path: str) -> BackendError:
    name = display_path.replace("/", ".").replace(":", ".")
    return bad_request("InvalidReference", f"Couldn't resolve api.{name}")
