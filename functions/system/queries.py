"""What the CLI and the dashboard subscribe to: `_system/...` functions over a Transaction (spec 02 17, 21).

They read through the same read sets as user functions, so they are live: the CLI has no polling to fall
back on. Values are Convex values: a number is a float. The transaction is in the component that is asked
about (`operation.enter_asked_component`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from functions.catalog import Catalog, Module, Table
from functions.components import ACTIVE, UNMOUNTED, Component
from functions.indexes import BACKFILLING, DATABASE, ENABLED, Index, named_fields
from functions.pages import PageRequest, read_page
from functions.query import plan_query
from functions.scheduled_jobs import JOBS
from functions.system.files import FILES
from functions.system.operation import Args, SystemContext, argument, enter_component_of_id
from functions.system.schema_changes import user_indexes
from functions.transaction import Transaction
from log import values
from log.ids import InvalidId, decode_id

_ANY_VALIDATOR = {"type": "any"}


# --- tables -----------------------------------------------------------------------------------------


def list_tables(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    """All at once: the names of 10,000 tables fit one page."""
    names = [{"name": table.name} for table in transaction.catalog.user_tables()]
    return {"page": names, "isDone": True, "continueCursor": "end"}


def table_data(transaction: Transaction, args: Args, context: SystemContext) -> Any:
    """One page of a table by creation time; a table that does not exist is empty."""
    order = "desc" if args.get("order") == "desc" else "asc"
    return table_page(transaction, argument(args, "table", str), order, args, context)


def table_page(
    transaction: Transaction, name: str, order: str, args: Args, context: SystemContext
) -> dict[str, Any]:
    """The pagination result that the `paginationOpts` of `args` ask for."""
    source = {"type": "FullTableScan", "tableName": name, "order": order}
    return page_of(transaction, {"source": source, "operators": []}, args, context)


def page_of(
    transaction: Transaction, tree: dict[str, Any], args: Args, context: SystemContext
) -> dict[str, Any]:
    """As `table_page`, of the serialized query `tree`."""
    options = argument(args, "paginationOpts", dict)
    request = PageRequest(
        cursor=options.get("cursor"),
        end_cursor=options.get("endCursor"),
        page_size=int(argument(options, "numItems", float)),
    )
    plan = plan_query(tree, transaction.catalog)
    page = read_page(plan, transaction, request, None, context.codec)
    return values.loads_canonical(page.to_json())  # type: ignore[return-value]


def table_size(transaction: Transaction, args: Args, _context: SystemContext) -> Any:
    table = _user_table(transaction.catalog, args)
    return float(transaction.table_size(table).documents if table is not None else 0)


def size_of_all_tables(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    tables = transaction.catalog.user_tables()
    return float(sum(transaction.table_size(table).documents for table in tables))


def table_shapes(
    transaction: Transaction, body: dict[str, Any], _prepared: None, _context: SystemContext
) -> dict[str, Any]:
    """What the documents of each table look like, as far as that is known: whether there are any."""
    enter_component_of_id(transaction, body.get("component") or "")
    shapes = {}
    for table in transaction.catalog.user_tables():
        scan = transaction.scan(table.by_id, table, b"", None, descending=False)
        shapes[table.name] = {"type": "Never" if scan.next() is None else "Unknown"}
    return shapes


def query_table(transaction: Transaction, args: Args, context: SystemContext) -> Any:
    """A new number whenever the table was written; `convex dev` waits for that after a failed push."""
    table = _user_table(transaction.catalog, args)
    if table is not None:
        transaction.record_read(table.by_id, b"", None)
    return int.from_bytes(context.random_bytes(6), "big") / (1 << 48)


def table_mapping(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    """Of the tables whose ids a document may hold."""
    catalog = transaction.catalog
    tables = [*catalog.user_tables(), catalog.tables[JOBS], catalog.tables[FILES]]
    return {str(table.number): table.name for table in tables}


def table_indexes(transaction: Transaction, args: Args, _context: SystemContext) -> Any:
    """The user's indexes of one table, with how far each is built."""
    if args.get("tableName") is None:
        return None
    return [
        {
            "name": index.name,
            "staged": index.is_staged,
            "fields": _declared_fields(index),
            "backfill": {"state": _backfill_state(index.state)},
        }
        for table, index in user_indexes(transaction.catalog)
        if table.name == args["tableName"]
    ]


def _declared_fields(index: Index) -> Any:
    """A list, or an object for the kinds whose fields have parts of their own."""
    if index.kind == DATABASE:
        return list(index.field_names[:-1])
    return named_fields(index.kind, index.field_names, index.dimensions)


def _backfill_state(state: str) -> str:
    if state == BACKFILLING:
        return "backfilling"
    return "done" if state == ENABLED else "backfilled"


def _user_table(catalog: Catalog, args: Args) -> Table | None:
    table = catalog.tables.get(argument(args, "tableName", str))
    return table if table is not None and not table.is_system else None


# --- documents --------------------------------------------------------------------------------------


def document_by_id(transaction: Transaction, args: Args, _context: SystemContext) -> Any:
    return _document(transaction, argument(args, "id", str))


def documents_by_id(transaction: Transaction, args: Args, _context: SystemContext) -> Any:
    return [_document(transaction, argument(each, "id", str)) for each in argument(args, "ids", list)]


def _document(transaction: Transaction, document_id: str) -> Any:
    try:
        table = transaction.catalog.tables_by_number.get(decode_id(document_id).table_number)
    except InvalidId:
        return None
    if table is None or table.is_system:
        return None
    row = transaction.get(table, document_id)
    return values.loads_canonical(row.document) if row is not None else None


# --- functions and schemas --------------------------------------------------------------------------


def api_spec(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    """Every function, module by module, a module's HTTP routes after its functions."""
    modules = transaction.catalog.modules
    return [entry for path in sorted(modules) for entry in _module_spec(modules[path])]


def _module_spec(module: Module) -> Iterator[dict[str, Any]]:
    for function in module.analysis.get("functions") or ():
        yield {
            "identifier": f"{module.path}:{function['name']}",
            "functionType": function["udfType"],
            "visibility": function["visibility"] or {"kind": "public"},
            "args": _validator(function["args"]),
            "returns": _validator(function["returns"]),
        }
    for each in module.analysis.get("httpRoutes") or ():
        yield {"functionType": "HttpAction", **each["route"]}


def _validator(text: str | None) -> Any:
    return values.decode(orjson.loads(text) if text else _ANY_VALIDATOR)


def schemas(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    """The active schema and the one being validated, as JSON texts; absent where there is none."""
    catalog = transaction.catalog
    pending = catalog.pending_schema
    found = {"active": catalog.schema, "inProgress": pending.schema if pending is not None else None}
    return {name: schema.to_json() for name, schema in found.items() if schema is not None}


def pushed_version(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    return (transaction.catalog.udf_config or {}).get("serverVersion")


def auth_providers(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    return transaction.all_documents(transaction.catalog.tables["_auth"])


# --- environment and deployment ---------------------------------------------------------------------


def environment_variables(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    """The documents, sorted by name."""
    rows = transaction.all_documents(transaction.catalog.tables["_environment_variables"])
    return sorted(rows, key=lambda row: str(row["name"]))


def environment_variable(transaction: Transaction, args: Args, context: SystemContext) -> Any:
    """One variable as functions see it, built-in ones too; None when it is not set."""
    name = argument(args, "name", str)
    value = context.variables_of(transaction.catalog).get(name)
    return {"name": name, "value": value} if value is not None else None


def components(transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    """The app, whose id is the empty path, and what is installed below it."""
    found = sorted((catalog.component for catalog in transaction.catalog.everywhere()), key=_component_path)
    return [_shown_component(component) for component in found]


def _component_path(component: Component) -> str:
    return component.path


def _shown_component(component: Component) -> dict[str, Any]:
    return {
        "id": component.namespace or "",
        "name": component.path.rpartition("/")[2] or None,
        "path": component.path,
        "args": {},
        "httpPrefix": component.http_prefix,
        "state": ACTIVE if component.is_mounted else UNMOUNTED,
    }


def nothing(_transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    """The answer of a list or a state of which there is none yet."""
    return None


def empty_list(_transaction: Transaction, _args: Args, _context: SystemContext) -> Any:
    return []
