"""What pages of the dashboard show of an app: its modules, crons, scheduled functions and files (spec 02 21).

As in `queries.py`, they read through a Transaction and so are live. Rows are shown as they are stored, with
what the page wants to know beside them.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from functions.catalog import Catalog
from functions.cron_jobs import CRONS, LOGS, NEXT_RUNS
from functions.pages import PageRequest, read_page
from functions.path import parse_function_path
from functions.query import plan_query
from functions.scheduled_jobs import ARGUMENTS, BY_NEXT_TS, JOBS, read_arguments
from functions.system.document_filters import parse_filters
from functions.system.files import FILES, find_file, url_of, user_view
from functions.system.operation import Args, SystemContext, argument
from functions.system.queries import page_of
from functions.transaction import Transaction
from log import values
from log.keys import encode_item
from log.limits import DASHBOARD_ROWS_READ_PER_PAGE_MAX

_PENDING_JOBS = b"_system/frontend/paginatedScheduledJobs"  # whose cursors these are
_FIRST_TS = -(2**63)  # behind null, which finished jobs hold


# --- modules ----------------------------------------------------------------------------------------


def modules(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    """[path, what it defines] of each module."""
    return _modules(transaction.catalog)


def modules_of_all_components(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    """[id, its modules] of each component; the id of the app is null here."""
    return [[catalog.component.namespace, _modules(catalog)] for catalog in transaction.catalog.everywhere()]


def _modules(catalog: Catalog) -> list[Any]:
    found = catalog.modules
    return [[path, _module(found[path].analysis)] for path in sorted(found)]


def _module(analysis: dict[str, Any]) -> dict[str, Any]:
    """The package of its source is not kept: texts are documents (docs/decisions/0005)."""
    functions = [
        {
            "name": function["name"],
            "udfType": function["udfType"],
            "visibility": function["visibility"] or {"kind": "public"},
        }
        for function in analysis.get("functions") or ()
    ]
    return {"functions": functions, "sourcePackageId": ""}


def args_validator(transaction: Transaction, args: Args, _context: SystemContext) -> Any:
    """The JSON text that the package exported; None: the function takes anything, or does not exist."""
    path = parse_function_path(argument(args, "function", str))
    module = transaction.catalog.modules.get(path.module)
    for function in module.analysis.get("functions") or () if module is not None else ():
        if function["name"] == path.function:
            return function["args"]
    return None


# --- documents --------------------------------------------------------------------------------------


def document_page(transaction: Transaction, args: Args, context: SystemContext) -> Any:
    """A page of the documents that the filters let through. One that looked through many without finding
    enough ends early, and says where to go on."""
    name, options = argument(args, "table", str), argument(args, "paginationOpts", dict)
    filters = args.get("filters")
    order, is_shown = parse_filters(filters if isinstance(filters, str) else None)
    tree = {"source": {"type": "FullTableScan", "tableName": name, "order": order}, "operators": []}
    plan = plan_query(tree, transaction.catalog)
    if is_shown is not None:
        of_filters = hashlib.sha256(plan.fingerprint + str(filters).encode()).digest()[:16]
        plan = replace(plan, operators=(is_shown,), fingerprint=of_filters)
    request = PageRequest(
        cursor=options.get("cursor"),
        end_cursor=options.get("endCursor"),
        page_size=int(argument(options, "numItems", float)),
        rows_read_max=DASHBOARD_ROWS_READ_PER_PAGE_MAX,
    )
    page = read_page(plan, transaction, request, None, context.codec)
    return values.loads_canonical(page.to_json())


# --- crons and scheduled functions ------------------------------------------------------------------


def cron_jobs(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    """The rows of `_cron_jobs` by name, with the latest run and the next."""
    tables = transaction.catalog.tables
    next_runs = {row["cronJobId"]: row for row in transaction.all_documents(tables[NEXT_RUNS])}
    last_runs = {row["name"]: row for row in _runs_by_time(transaction)}
    crons = sorted(transaction.all_documents(tables[CRONS]), key=lambda row: str(row["name"]))
    return [
        {**cron, "lastRun": last_runs.get(cron["name"]), "nextRun": next_runs.get(cron["_id"])}
        for cron in crons
    ]


def cron_runs(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    """The runs that are still kept, newest first."""
    return _runs_by_time(transaction)[::-1]


def _runs_by_time(transaction: Transaction) -> list[dict[str, Any]]:
    runs = transaction.all_documents(transaction.catalog.tables[LOGS])
    return sorted(runs, key=lambda row: int(row["ts"]))


def pending_jobs(transaction: Transaction, args: Args, context: SystemContext) -> Any:
    """A page of the jobs that are to be run, the next one first; of one function when `udfPath` names it."""
    options, path = argument(args, "paginationOpts", dict), args.get("udfPath")
    count = int(argument(options, "numItems", float))
    canonical = parse_function_path(path).canonical if isinstance(path, str) else None
    start: bytes | None = encode_item(_FIRST_TS)
    if options.get("cursor") is not None:
        position = context.codec.decode(options["cursor"], _PENDING_JOBS)
        start = position + b"\x00" if position is not None else None
    jobs, end = _jobs_from(transaction, start, canonical, count) if start is not None else ([], None)
    cursor = context.codec.encode(end, _PENDING_JOBS)
    return {"page": jobs, "isDone": end is None, "continueCursor": cursor}


def _jobs_from(
    transaction: Transaction, start: bytes, path: str | None, count: int
) -> tuple[list[dict[str, Any]], bytes | None]:
    """The jobs, and the key of the last one read; None when there are no more."""
    table = transaction.catalog.tables[JOBS]
    index = table.index(BY_NEXT_TS)
    assert index is not None
    scan = transaction.scan(index, table, start, None, descending=False)
    jobs: list[dict[str, Any]] = []
    while (row := scan.next()) is not None:
        job: dict[str, Any] = values.loads_canonical(row.document)  # type: ignore[assignment]
        if path in (None, job["udfPath"]):
            jobs.append({**job, "udfArgs": read_arguments(transaction, job)})
            if len(jobs) >= count:
                return jobs, row.key
    return jobs, None


def job_arguments(transaction: Transaction, args: Args, _context: SystemContext) -> Any:
    """The argument array of a job as it is stored, bytes of JSON; None when it is gone."""
    row = transaction.get(transaction.catalog.tables[ARGUMENTS], argument(args, "argsId", str))
    document: Any = values.loads_canonical(row.document) if row is not None else None
    return document["args"] if document is not None else None


# --- files ------------------------------------------------------------------------------------------


def file_count(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    return float(transaction.table_size(transaction.catalog.tables[FILES]).documents)


def file_page(transaction: Transaction, args: Args, context: SystemContext) -> Any:
    """A page of `_storage`, newest first unless `filters` asks for the other order; of those that were stored
    from `minCreationTime` to `maxCreationTime`, where given."""
    filters = args.get("filters") or {}
    order = "asc" if filters.get("order") == "asc" else "desc"
    bounds = [
        {"type": kind, "fieldPath": "_creationTime", "value": filters[name]}
        for kind, name in (("Gte", "minCreationTime"), ("Lte", "maxCreationTime"))
        if isinstance(filters.get(name), float)
    ]
    source = {"type": "IndexRange", "indexName": "_storage.by_creation_time", "range": bounds, "order": order}
    found = page_of(transaction, {"source": source, "operators": []}, args, context)
    return {**found, "page": [_file(transaction, each["_id"], context) for each in found["page"]]}


def can_export_files(_transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    return True


def file_by_id(transaction: Transaction, args: Args, context: SystemContext) -> Any:
    return _file(transaction, argument(args, "storageId", str), context)


def _file(transaction: Transaction, storage_id: str, context: SystemContext) -> dict[str, Any] | None:
    row = find_file(transaction, storage_id, "getFile")
    if row is None:
        return None
    return {**user_view(transaction, row), "url": url_of(transaction, context.cloud_origin, row)}
