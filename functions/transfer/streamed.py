"""What connectors are shown of documents, be it from a snapshot or from the log (spec 02 20). Pure.

A page is a list of documents, each with its component, its table and the ts of the commit that wrote it. The
documents of system tables are in none, nor are those of tables that an import still fills.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from functions.catalog import Catalog, Table
from log.errors import bad_json_body, bad_request, not_supported_yet
from log.result_formats import ENCODED, converted, format_of


@dataclass(frozen=True, slots=True)
class StreamedTable:
    """An active table of an app or a component, and where it is."""

    component: str
    table: Table


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which documents, and in which format; None: of every component, of every table."""

    component: str | None
    table: str | None
    output: str


def wanted_of(body: Mapping[str, Any]) -> Wanted:
    """What a request asks for, checked."""
    if body.get("selection") is not None:
        raise not_supported_yet("Streaming export of a selection")
    component, table = _text(body, "component"), _text(body, "tableName")
    return Wanted(component, table, format_of(body.get("format") or ENCODED))


def int_of(body: Mapping[str, Any], name: str) -> int | None:
    """A timestamp in nanoseconds, if there is one."""
    found = body.get(name)
    if found is not None and (type(found) is not int or not 0 <= found < 1 << 63):
        raise bad_json_body(f"`{name}` must be a timestamp in nanoseconds")
    return found


def streamed_tables(catalog: Catalog, wanted: Wanted) -> dict[bytes, StreamedTable]:
    """The tables that are asked for, by tablet id and in its order. A component must be there; a table need
    not, for it is there only once something was written into it."""
    if wanted.component is not None and catalog.of_component(wanted.component) is None:
        raise bad_request("ComponentNotFound", f"There is no component at the path '{wanted.component}'.")
    found = {
        table.tablet_id: StreamedTable(each.component.path, table)
        for each in catalog.everywhere()
        if wanted.component in (None, each.component.path)
        for table in each.user_tables()
        if wanted.table in (None, table.name)
    }
    return dict(sorted(found.items()))


def shown_document(place: StreamedTable, ts: int, document: bytes, output: str, **marks: bool) -> bytes:
    """JSON text of a document as the commit at `ts` wrote it."""
    return _head(place, ts, marks) + b"," + converted(document, output)[1:]  # it has an `_id`: never empty


def shown_deletion(place: StreamedTable, ts: int, document_id: str) -> bytes:
    """JSON text that says that the document is gone since `ts`."""
    return _head(place, ts, {"_deleted": True}) + b"," + orjson.dumps({"_id": document_id})[1:]


def _head(place: StreamedTable, ts: int, marks: Mapping[str, bool]) -> bytes:
    fields = {"_component": place.component, "_table": place.table.name, "_ts": ts, **marks}
    return orjson.dumps(fields)[:-1]


def _text(body: Mapping[str, Any], name: str) -> str | None:
    found = body.get(name)
    if found is not None and not isinstance(found, str):
        raise bad_json_body(f"`{name}` must be a string")
    return found
