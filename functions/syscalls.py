"""System calls of user code: the table name -> handler, over a `Transaction` (spec 03 2).

Each handler takes the call's context and decoded arguments and answers JSON bytes. Documents pass through
as the bytes they are stored as (design D9). A raised BackendError of a catchable kind is thrown into
JavaScript.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from functions import errors, scheduled_jobs
from functions import syscall_arguments as arguments
from functions.audit import actor_of, add_line
from functions.catalog import Table
from functions.function_handles import callee_of, create_handle
from functions.isolate import AnswerError
from functions.outcome import LogLines
from functions.pages import CursorCodec, PageRequest, read_page
from functions.path import FunctionPath
from functions.query import QueryStream, plan_query
from functions.storage_calls import STORAGE_HANDLERS
from functions.system.files import FileAccess
from functions.system.tables import VIRTUAL_NAME_BY_NUMBER
from functions.token_calls import issuer_of, sign_token
from functions.transaction import Transaction
from functions.virtual_tables import VIRTUAL_TABLES, VirtualTable
from log import values
from log.chains import settled
from log.errors import BackendError
from log.identity import NO_REQUESTER, Identity, Requester
from log.ids import InvalidId, check_table_name, decode_id
from log.token_signer import TokenSigner
from log.values import check_value

_NULL = b"null"
_SELF_CANCELED = (
    "A scheduled mutation canceling itself is deprecated "
    "and will throw an error in a future version of Convex."
)
_END_OF_STREAM = b'{"done":true,"value":null}'


@dataclass(slots=True)
class Observed:
    """What a call tree looked at beside the database; decides who may share its result."""

    identity: bool = False
    time: bool = False
    random: bool = False
    requester: bool = False  # so that a record keeps it


@dataclass(slots=True)
class CallContext:
    """One function run inside a transaction. Nested calls have their own, sharing the transaction,
    the console and what was observed."""

    transaction: Transaction
    path: FunctionPath
    component: str
    udf_type: str  # "Query" | "Mutation"
    identity: Identity
    codec: CursorCodec
    deployment: dict[str, Any]
    logs: LogLines
    observed: Observed
    files: FileAccess | None = None
    signer: TokenSigner | None = None
    now_ms: float = 0.0
    request_id: str = ""
    job_id: str | None = None  # of the scheduled job whose call tree this is
    requester: Requester = NO_REQUESTER
    depth: int = 0
    journal_end: str | None = None  # of the previous run of this subscription
    journal_end_next: str | None = None
    has_paginated: bool = False
    streams: dict[int, QueryStream] = field(default_factory=dict)
    stream_count: int = 0


Handler = Callable[[CallContext, dict[str, Any]], bytes]


def answer_sync(context: CallContext, name: str, args: bytes) -> bytes:
    handler = SYNC_HANDLERS.get(name)
    if handler is None:
        raise errors.unknown_operation(name)
    return handler(context, decode_arguments(args))


def answer_async(context: CallContext, name: str, args: bytes) -> bytes:
    """Every asynchronous call but `1.0/runUdf`, which needs another isolate (invocation.py)."""
    handler = ASYNC_HANDLERS.get(name)
    if handler is None:
        raise errors.unknown_async_operation(name)
    return handler(context, decode_arguments(args))


def rejection(refusal: BackendError) -> AnswerError:
    """The rejected promise of a refused call."""
    data = values.dumps(refusal.data) if refusal.data is not None else None
    return AnswerError(refusal.message, data)


def decode_arguments(args: bytes) -> dict[str, Any]:
    """The arguments of a call by name; what is no object has none."""
    try:
        decoded = orjson.loads(args)
    except orjson.JSONDecodeError as failure:
        raise errors.bad_request("InvalidArgument", f"Received invalid json: {failure}") from failure
    return decoded if isinstance(decoded, dict) else {}


# --- reading ----------------------------------------------------------------------------------------


def _get(context: CallContext, args: dict[str, Any]) -> bytes:
    table = _table_of_id(context, args, "db.get")
    if table is None:
        return _NULL
    row = context.transaction.get(table, args["id"])
    virtual = _virtual_of(table)
    if row is not None and virtual is not None:
        row = virtual.view_of(context.transaction, row)
    return row.document if row is not None else _NULL


def _query_stream(context: CallContext, args: dict[str, Any]) -> bytes:
    plan = plan_query(arguments.query(args, "queryStream"), context.transaction.catalog)
    query_id = context.stream_count
    context.stream_count += 1
    context.streams[query_id] = QueryStream(plan, context.transaction)
    return b'{"queryId":%d}' % query_id


def _query_stream_next(context: CallContext, args: dict[str, Any]) -> bytes:
    query_id = arguments.whole_number(args, "queryId", "queryStreamNext")
    stream = context.streams.get(query_id)
    if stream is None:
        raise errors.query_not_found()
    row = stream.next()
    if row is None:
        del context.streams[query_id]
        return _END_OF_STREAM
    return b'{"done":false,"value":' + row.document + b"}"


def _query_cleanup(context: CallContext, args: dict[str, Any]) -> bytes:
    query_id = arguments.whole_number(args, "queryId", "queryCleanup")
    return b"true" if context.streams.pop(query_id, None) is not None else b"false"


def _query_page(context: CallContext, args: dict[str, Any]) -> bytes:
    method = "queryPage"
    if context.component and context.udf_type == "Query":  # a journal is of the app's query alone
        raise errors.no_pages_in_components()
    plan = plan_query(arguments.query(args, method), context.transaction.catalog)
    request = PageRequest(
        cursor=arguments.optional_text(args, "cursor", method),
        end_cursor=arguments.optional_text(args, "endCursor", method),
        page_size=arguments.whole_number(args, "pageSize", method),
        rows_read_max=arguments.optional_whole_number(args, "maximumRowsRead", method),
        bytes_read_max=arguments.optional_whole_number(args, "maximumBytesRead", method),
    )
    page = read_page(plan, context.transaction, request, context.journal_end, context.codec)
    if context.has_paginated:  # checked after the page was read (spec 03 2.3)
        raise errors.multiple_paginated_queries()
    context.has_paginated = True
    context.journal_end_next = page.continue_cursor
    return page.to_json()


def _count(context: CallContext, args: dict[str, Any]) -> bytes:
    table = context.transaction.catalog.tables.get(arguments.text(args, "table", "db.count"))
    if table is None or table.is_system:
        return b"0"
    return str(float(context.transaction.table_size(table).documents)).encode()


def _normalize_id(context: CallContext, args: dict[str, Any]) -> bytes:
    catalog = context.transaction.catalog
    table_name = arguments.text(args, "table", "db.normalizeId")
    id_string = arguments.text(args, "idString", "db.normalizeId")
    try:
        decoded = decode_id(id_string)
    except InvalidId:
        return b'{"id":null}'
    if catalog.name_of(decoded.table_number) != table_name:
        return b'{"id":null}'
    return orjson.dumps({"id": id_string})


def _table_of_id(context: CallContext, args: dict[str, Any], method: str) -> Table | None:
    """The user table an id argument belongs to; None when no table has its number."""
    try:
        decoded = decode_id(arguments.text(args, "id", method))
    except InvalidId as failure:
        raise errors.invalid_argument("id", method, str(failure)) from failure
    catalog = context.transaction.catalog
    table = catalog.tables_by_number.get(decoded.table_number)
    is_system_call = bool(args.get("isSystem"))
    if table is not None and table.is_system != is_system_call:
        raise errors.system_table_without_system(is_system_call)
    if table is not None and table.is_system and _virtual_of(table) is None:
        return None  # a private system table looks empty
    expected, name = args.get("table"), catalog.name_of(decoded.table_number)
    if expected is not None and table is not None and expected != name:
        cause = f'expected to be an Id<"{expected}">, got Id<"{name}"> instead.'
        raise errors.invalid_argument("id", method, cause)
    return table


def _virtual_of(table: Table) -> VirtualTable | None:
    return VIRTUAL_TABLES.get(VIRTUAL_NAME_BY_NUMBER.get(table.number, ""))


# --- writing ----------------------------------------------------------------------------------------


def _insert(context: CallContext, args: dict[str, Any]) -> bytes:
    name = arguments.text(args, "table", "db.insert")
    if name in VIRTUAL_TABLES:
        raise errors.read_only_table(name)
    try:
        check_table_name(name)
    except BackendError as refusal:
        raise errors.invalid_argument("table", "db.insert", refusal.message) from refusal
    fields = _object_argument(args, "db.insert")
    return orjson.dumps({"_id": context.transaction.insert(name, fields)})


def _patch(context: CallContext, args: dict[str, Any]) -> bytes:
    table = _written_table(context, args, "db.patch")
    if not isinstance(args.get("value"), dict):
        raise errors.invalid_argument("value", "db.patch", "Value must be an Object")
    changes = values.decode_patch(args["value"])
    return context.transaction.patch(table, args["id"], changes)


def _replace(context: CallContext, args: dict[str, Any]) -> bytes:
    table = _written_table(context, args, "db.replace")
    return context.transaction.replace(table, args["id"], _object_argument(args, "db.replace"))


def _remove(context: CallContext, args: dict[str, Any]) -> bytes:
    table = _written_table(context, args, "db.delete")
    return context.transaction.delete(table, args["id"])


def _written_table(context: CallContext, args: dict[str, Any], method: str) -> Table:
    _check_not_virtual(args.get("id"))
    table = _table_of_id(context, args, method)
    if table is None:
        raise errors.invalid_argument("id", method, f'Table for ID "{args["id"]}" not found')
    return table


def _check_not_virtual(document_id: Any) -> None:
    try:
        name = VIRTUAL_NAME_BY_NUMBER.get(decode_id(document_id).table_number)
    except (InvalidId, TypeError, AttributeError):
        return
    if name is not None:
        raise errors.read_only_table(name)


def _object_argument(args: dict[str, Any], method: str) -> dict[str, Any]:
    value = values.decode(args.get("value"), may_hold_commit_ts=True)
    if not isinstance(value, dict):
        raise errors.invalid_argument("value", method, "Value must be an Object")
    check_value(value)
    return value


# --- scheduling -------------------------------------------------------------------------------------


def _schedule(context: CallContext, args: dict[str, Any]) -> bytes:
    callee = callee_of(context.transaction, args, "scheduler")
    at_seconds, parent = args.get("ts"), context.job_id
    return orjson.dumps(
        scheduled_jobs.schedule(context.transaction, callee, args.get("args"), at_seconds, parent)
    )


def _cancel_job(context: CallContext, args: dict[str, Any]) -> bytes:
    if context.job_id is not None and args.get("id") == context.job_id:
        context.logs.add("WARN", [_SELF_CANCELED])
        return _NULL
    scheduled_jobs.cancel(context.transaction, args.get("id"))
    return _NULL


# --- about the call ---------------------------------------------------------------------------------


def _get_user_identity(context: CallContext, _args: dict[str, Any]) -> bytes:
    context.observed.identity = True
    return context.identity.attributes_json or _NULL


def _sign_jwt(context: CallContext, args: dict[str, Any]) -> bytes:
    if context.udf_type == "Query" or context.signer is None:
        raise errors.unknown_async_operation("1.0/signJwt")
    issuer = issuer_of(context.transaction.catalog.cloud_url(context.signer.address), context.component)
    return orjson.dumps(sign_token(context.signer, args, issuer, context.transaction.now_seconds))


def _get_function_metadata(context: CallContext, _args: dict[str, Any]) -> bytes:
    return orjson.dumps({"name": context.path.display, "componentPath": context.component})


def _get_deployment_metadata(context: CallContext, _args: dict[str, Any]) -> bytes:
    return orjson.dumps(context.deployment)


def _get_request_metadata(context: CallContext, _args: dict[str, Any]) -> bytes:
    if context.udf_type == "Query":
        raise errors.bad_request("NoRequestMetadataInQuery", "Cannot get request metadata in a Query")
    context.observed.identity = context.observed.requester = True
    facts = context.requester.facts(context.request_id)
    return orjson.dumps({**facts, "scheduledFunctionId": context.job_id, "authToken": None})


def _audit_log(context: CallContext, args: dict[str, Any]) -> bytes:
    """`now` is the one clock reading of the run, which its record keeps."""
    facts = context.requester.facts(context.request_id)
    values = {**facts, "now": int(context.now_ms), "convexActor": actor_of(context.identity)}
    context.observed.requester |= add_line(context.transaction, args, values)
    context.observed.identity = True  # whoever else asks for the same is audited by a run of their own
    return _NULL


def _write_deployment_audit_log(_context: CallContext, _args: dict[str, Any]) -> bytes:
    raise errors.no_deployment_audit_log()


def _create_function_handle(context: CallContext, args: dict[str, Any]) -> bytes:
    return orjson.dumps(create_handle(context.transaction, args))


def _get_transaction_metrics(context: CallContext, _args: dict[str, Any]) -> bytes:
    return orjson.dumps(context.transaction.budget.metrics())


def _get_snapshot_ts(context: CallContext, _args: dict[str, Any]) -> bytes:
    context.observed.time = True
    return values.dumps(settled(context.transaction.begin_ts))


def _component_argument(context: CallContext, _args: dict[str, Any]) -> bytes:
    """Packages of today have environment variables instead; there never is one of these."""
    if context.component:
        return b"{}"
    raise errors.no_component_arguments()


SYNC_HANDLERS: dict[str, Handler] = {
    "1.0/queryStream": _query_stream,
    "1.0/queryCleanup": _query_cleanup,
    "1.0/db/normalizeId": _normalize_id,
    "1.0/componentArgument": _component_argument,
    "1.0/getSnapshotTs": _get_snapshot_ts,
}

ASYNC_HANDLERS: dict[str, Handler] = {
    "1.0/get": _get,
    "1.0/queryStreamNext": _query_stream_next,
    "1.0/queryPage": _query_page,
    "1.0/count": _count,
    "1.0/insert": _insert,
    "1.0/shallowMerge": _patch,
    "1.0/replace": _replace,
    "1.0/remove": _remove,
    "1.0/schedule": _schedule,
    "1.0/cancel_job": _cancel_job,
    "1.0/getUserIdentity": _get_user_identity,
    "1.0/signJwt": _sign_jwt,
    "1.0/getFunctionMetadata": _get_function_metadata,
    "1.0/getDeploymentMetadata": _get_deployment_metadata,
    "1.0/getRequestMetadata": _get_request_metadata,
    "1.0/auditLog": _audit_log,
    "1.0/writeDeploymentAuditLog": _write_deployment_audit_log,
    "1.0/getTransactionMetrics": _get_transaction_metrics,
    "1.0/createFunctionHandle": _create_function_handle,
    **STORAGE_HANDLERS,
}
