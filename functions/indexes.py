"""What an index is, and the `_index` row it is stored as (spec 04 4.1, 4.5).

Three kinds: database indexes are keys that every write maintains; search and vector indexes are kept in
memory by whoever searches (functions/search/), so writes do not touch them and nothing is to be filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from log.ids import decode_id

ENABLED, BACKFILLING, BACKFILLED = "Enabled", "Backfilling", "Backfilled2"
DATABASE, SEARCH, VECTOR = "database", "search", "vector"

_NO_SEGMENTS = {"data_type": "MultiSegment", "segments": []}


@dataclass(frozen=True, slots=True)
class Index:
    """`fields` excludes the trailing id. Of a database index it includes `_creationTime`; of the other kinds
    it is the indexed field and then the filter fields, sorted."""

    index_id: bytes
    name: str
    fields: tuple[tuple[str, ...], ...]
    state: str = ENABLED
    is_staged: bool = False
    row_id: str = ""
    kind: str = DATABASE
    dimensions: int = 0  # of a vector index

    @property
    def field_names(self) -> tuple[str, ...]:
        return tuple(".".join(path) for path in self.fields)


def named_fields(kind: str, names: Sequence[str], dimensions: int) -> dict[str, Any]:
    """What an index is of, as it is called in JSON."""
    if kind == DATABASE:
        return {"fields": list(names)}
    filter_fields = {"filterFields": list(names[1:])}
    if kind == SEARCH:
        return {"searchField": names[0], **filter_fields}
    return {"vectorField": names[0], "dimensions": dimensions, **filter_fields}


def index_config(index: Index) -> dict[str, Any]:
    """`config` of an `_index` row."""
    if index.kind == DATABASE:
        state = _database_state(index.state, index.is_staged)
    elif index.state == ENABLED:
        state = {"state": "snapshotted", "data": _NO_SEGMENTS}
    else:
        state = {"state": "backfilled2", "staged": index.is_staged}
    fields = named_fields(index.kind, index.field_names, index.dimensions)
    return {"type": index.kind, **fields, "onDiskState": state}


def _database_state(state: str, is_staged: bool) -> dict[str, Any]:
    if state == BACKFILLING:
        return {"type": BACKFILLING, "backfillState": {"staged": is_staged}}
    return {"type": BACKFILLED, "staged": is_staged} if state == BACKFILLED else {"type": ENABLED}


def index_of_row(row: dict[str, Any]) -> Index:
    """The index that an `_index` row describes."""
    config = row["config"]
    kind, on_disk = config["type"], config["onDiskState"]
    if kind == DATABASE:
        names, state = config["fields"], on_disk["type"]
    else:
        indexed = config["searchField" if kind == SEARCH else "vectorField"]
        names = [indexed, *config["filterFields"]]
        state = ENABLED if on_disk["state"] == "snapshotted" else BACKFILLED
    return Index(
        index_id=decode_id(row["_id"]).internal_id,
        name=row["descriptor"],
        fields=tuple(tuple(name.split(".")) for name in names),
        state=state,
        is_staged=bool((on_disk.get("backfillState") or on_disk).get("staged", False)),
        row_id=row["_id"],
        kind=kind,
        dimensions=config.get("dimensions", 0),
    )
