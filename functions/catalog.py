"""The database's description of itself, decoded: tables, indexes, schemas, modules, environment.

A catalog is folded from the metadata tables of one snapshot and is valid for every snapshot with the same
`catalog_ts` (design D8); executors keep the newest few. It is immutable: a transaction that creates a
table works on a changed copy. There is one of the app, and one of each installed component; system tables
are in all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from functions.components import APP_PATH, COMPONENTS, DEFINITIONS, Component, instances
from functions.indexes import BACKFILLING, DATABASE, ENABLED, Index, index_config, index_of_row
from functions.schema import Schema, parse_schema
from functions.snapshot import SnapshotReader
from functions.system.tables import (
    SYSTEM_TABLE_BY_NAME,
    SYSTEM_TABLES,
    VIRTUAL_NAME_BY_NUMBER,
    SystemTable,
    index_id_of,
    table_row_id,
    tablet_id_of,
)
from functions.validators import Validator, parse_args_validator, parse_returns_validator
from log import values
from log.ids import decode_id
from log.limits import USER_TABLE_NUMBER_FIRST

BY_ID, BY_CREATION_TIME = "by_id", "by_creation_time"
ISOLATE, NODE = "isolate", "node"
"""Where a module runs: in our own runtime, or in a real Node.js."""
BACKEND_STATE = "_backend_state"
NO_STOPS = {"system": "none", "usage_limit": "none", "user": "none"}
PAUSED = "paused"
"""Who may stop functions, and that the user did (spec 04 3.2)."""
CANONICAL_URLS = "_canonical_urls"
CLOUD_URL, SITE_URL = "CONVEX_CLOUD_URL", "CONVEX_SITE_URL"
URL_VARIABLES = {"convexCloud": CLOUD_URL, "convexSite": SITE_URL}
"""The built-in variable that tells functions an address, by what requests to it are called."""
_CREATION_TIME = ("_creationTime",)
_SCAN_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Table:
    """An active table. `indexes` holds every index that writes must maintain, enabled or not; `kept_indexes`
    those of the other kinds."""

    name: str
    number: int
    tablet_id: bytes
    indexes: tuple[Index, ...]
    kept_indexes: tuple[Index, ...] = ()

    @property
    def all_indexes(self) -> tuple[Index, ...]:
        return (*self.indexes, *self.kept_indexes)

    def index(self, name: str) -> Index | None:
        """The enabled index of that name, of whatever kind, else the pending one."""
        found = [index for index in self.all_indexes if index.name == name]
        return next((index for index in found if index.state == ENABLED), found[0] if found else None)

    @property
    def by_id(self) -> Index:
        return self.indexes[0]

    @property
    def is_system(self) -> bool:
        return self.number < USER_TABLE_NUMBER_FIRST


@dataclass(frozen=True, slots=True)
class AnalysedFunction:
    """A registered function, as analysis found it (spec 02 9.1)."""

    name: str
    udf_type: str  # "Query" | "Mutation" | "Action"
    is_public: bool
    args: Validator
    returns: Validator


@dataclass(frozen=True, slots=True)
class Module:
    """A pushed module: where its text is and what analysis found in it."""

    path: str
    sha256: str
    environment: str  # ISOLATE or NODE
    functions: dict[str, AnalysedFunction]  # by export name
    analysis: dict[str, Any]  # as stored: functions, httpRoutes, cronSpecs

    @property
    def is_node(self) -> bool:
        return self.environment == NODE


@dataclass(frozen=True, slots=True)
class PendingSchema:
    """A pushed schema not yet active. state: "pending" | "validated"."""

    row_id: str
    state: str
    schema: Schema


@dataclass(frozen=True, slots=True)
class Catalog:
    """See the module text. `tables` maps names of active tables; `hidden_tables` maps tablet ids of those
    that an import fills, whatever component they are for. `components` has all catalogs of the database, by
    component path. `canonical_urls`: the addresses that an operator set, by their built-in variables."""

    ts: int
    tables: dict[str, Table]
    schema: Schema | None = None
    schema_row_id: str | None = None
    pending_schema: PendingSchema | None = None
    modules: dict[str, Module] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    udf_config: dict[str, Any] | None = None
    tables_by_number: dict[int, Table] = field(default_factory=dict)
    hidden_tables: dict[bytes, Table] = field(default_factory=dict)
    is_paused: bool = False
    canonical_urls: Mapping[str, str] = field(default_factory=dict)
    component: Component = field(default_factory=Component)
    components: Mapping[str, Catalog] = field(default_factory=dict, repr=False)

    def name_of(self, table_number: int) -> str | None:
        """functions.validators.TableNames: what `v.id("name")` is checked against."""
        table = self.tables_by_number.get(table_number)
        if table is None or table.is_system:
            return VIRTUAL_NAME_BY_NUMBER.get(table_number)
        return table.name

    def is_system(self, table_number: int) -> bool:
        return table_number < USER_TABLE_NUMBER_FIRST

    def built_in_variables(self, configured: Mapping[str, str]) -> dict[str, str]:
        """What every function sees: as configured, but for what an operator set (spec 03 5.8)."""
        return {**configured, **self.canonical_urls}

    def cloud_url(self, configured: str) -> str:
        """The address of the API, as functions see it."""
        return self.canonical_urls.get(CLOUD_URL, configured)

    def with_table(self, table: Table) -> Catalog:
        """A copy that also has `table`."""
        return replace(
            self,
            tables={**self.tables, table.name: table},
            tables_by_number={**self.tables_by_number, table.number: table},
        )

    def with_replaced(self, table: Table) -> Catalog:
        """A copy in which `table` has the place of the one of its name, if there is one."""
        replaced = self.tables.get(table.name)
        others = {number: other for number, other in self.tables_by_number.items() if other is not replaced}
        return replace(self, tables_by_number=others).with_table(table)

    def without_pending_schema(self) -> Catalog:
        return replace(self, pending_schema=None)

    def next_user_table_number(self) -> int:
        numbers = (*self.tables_by_number, *(table.number for table in self.hidden_tables.values()))
        taken = [number for number in numbers if number >= USER_TABLE_NUMBER_FIRST]
        return max(taken, default=USER_TABLE_NUMBER_FIRST - 1) + 1

    def every_module(self) -> Iterator[Module]:
        """The modules of all components; a path may come more than once."""
        for catalog in self.everywhere():
            yield from catalog.modules.values()

    @property
    def is_filling(self) -> bool:
        """Whether an index is not whole yet: some of its entries are still to be made."""
        return any(index.state == BACKFILLING for table in self.every_table() for index in table.indexes)

    def of_component(self, path: str) -> Catalog | None:
        """The catalog of a component path, None when nothing was ever installed there."""
        return self if path == self.component.path else self.components.get(path)

    def of_new_component(self, component: Component) -> Catalog:
        """Of one that owns nothing yet."""
        tables = {name: table for name, table in self.tables.items() if table.is_system}
        return Catalog(
            ts=self.ts,
            tables=tables,
            udf_config=self.udf_config,
            tables_by_number={table.number: table for table in tables.values()},
            is_paused=self.is_paused,
            canonical_urls=self.canonical_urls,
            component=component,
            components=self.components,
        )

    def everywhere(self) -> list[Catalog]:
        """This catalog and those of all other components; one that stands alone is the app's."""
        others = (other for other in self.components.values() if other.component.path != self.component.path)
        return [self, *others]

    def at_or_below(self, path: str) -> list[Catalog]:
        """The catalogs of the component of this path and of all below it; all there are for the app's."""
        below = f"{path}/" if path else ""
        found = self.everywhere()
        return [
            each for each in found if each.component.path == path or each.component.path.startswith(below)
        ]

    def every_table(self) -> Iterator[Table]:
        """The active tables of all components, system tables once."""
        yield from self.tables.values()
        for other in self.everywhere()[1:]:
            yield from other.user_tables()

    def user_tables(self) -> list[Table]:
        return sorted(
            (table for table in self.tables.values() if not table.is_system), key=lambda table: table.name
        )


def is_pause(row: dict[str, Any]) -> bool:
    """Whether this row of `_backend_state` says that no function runs."""
    return bool(row["user"] == PAUSED)


def system_table(definition: SystemTable) -> Table:
    """The table as the first record creates it."""
    indexes = [Index(index_id_of(definition, 0), BY_ID, ())]
    if definition.name != "_index":
        indexes.append(Index(index_id_of(definition, 1), BY_CREATION_TIME, (_CREATION_TIME,)))
    for position, (name, fields) in enumerate(definition.indexes.items(), start=2):
        paths = (*((field_name,) for field_name in fields), _CREATION_TIME)
        indexes.append(Index(index_id_of(definition, position), name, paths))
    return Table(definition.name, definition.number, tablet_id_of(definition), tuple(indexes))


def bootstrap_catalog() -> Catalog:
    """The catalog of an empty database: the system tables and nothing else."""
    tables = {definition.name: system_table(definition) for definition in SYSTEM_TABLES}
    return Catalog(0, tables, tables_by_number={table.number: table for table in tables.values()})


def index_fields(table: Table, index: Index) -> dict[str, Any]:
    """The `_index` row of an index (spec 04 4.5), without system fields."""
    row_id = table_row_id(table.tablet_id)
    return {"table_id": row_id, "descriptor": index.name, "config": index_config(index)}


def load_catalog(snapshot: SnapshotReader) -> Catalog:
    """Fold the metadata tables of a snapshot: the app's catalog, which knows those of its components."""
    active, hidden = _load_tables(snapshot)
    schemas, modules = _load_schemas(snapshot), _load_modules(snapshot)
    system_tables = {table.name: table for table in active[None].values() if table.is_system}
    environment = {row["name"]: row["value"] for row in _documents(snapshot, "_environment_variables")}
    udf_configs = list(_documents(snapshot, "_udf_config"))
    is_paused = any(is_pause(row) for row in _documents(snapshot, BACKEND_STATE))
    urls = {
        URL_VARIABLES[row["requestDestination"]]: row["url"] for row in _documents(snapshot, CANONICAL_URLS)
    }
    rows, definitions = _documents(snapshot, COMPONENTS), _documents(snapshot, DEFINITIONS)
    catalogs: dict[str, Catalog] = {}
    for component in instances(rows, definitions, environment):
        tables = {**system_tables, **active.get(component.namespace, {})}
        schema = schemas.get(component.namespace, _NO_SCHEMAS)
        catalogs[component.path] = Catalog(
            ts=snapshot.catalog_ts,
            tables=tables,
            schema=schema.active,
            schema_row_id=schema.active_id,
            pending_schema=schema.pending,
            modules=modules.get(component.namespace, {}),
            environment=dict(component.environment),
            udf_config=udf_configs[0] if udf_configs else None,
            tables_by_number={table.number: table for table in tables.values()},
            hidden_tables=hidden,
            is_paused=is_paused,
            canonical_urls=urls,
            component=component,
            components=catalogs,
        )
    return catalogs[APP_PATH]


def _documents(snapshot: SnapshotReader, name: str) -> Iterator[dict[str, Any]]:
    index_id = index_id_of(SYSTEM_TABLE_BY_NAME[name], 0)
    start = b""
    while True:
        rows = snapshot.scan(index_id, start, None, descending=False, limit=_SCAN_ROWS)
        for row in rows:
            yield values.loads_canonical(row.document)  # type: ignore[misc]
        if len(rows) < _SCAN_ROWS:
            return
        start = rows[-1].key + b"\x00"


def _load_tables(
    snapshot: SnapshotReader,
) -> tuple[dict[str | None, dict[str, Table]], dict[bytes, Table]]:
    """The active tables by namespace and name, the hidden ones by tablet id."""
    indexes_by_tablet: dict[bytes, list[Index]] = {}
    for row in _documents(snapshot, "_index"):
        tablet_id = decode_id(row["table_id"]).internal_id
        indexes_by_tablet.setdefault(tablet_id, []).append(index_of_row(row))
    active: dict[str | None, dict[str, Table]] = {None: {}}
    hidden: dict[bytes, Table] = {}
    for row in _documents(snapshot, "_tables"):
        tablet_id = decode_id(row["_id"]).internal_id
        indexes = sorted(indexes_by_tablet.get(tablet_id, ()), key=_index_order)
        maintained = tuple(index for index in indexes if index.kind == DATABASE)
        kept = tuple(index for index in indexes if index.kind != DATABASE)
        table = Table(row["name"], row["number"], tablet_id, maintained, kept)
        if row["state"] == "active":
            namespace = row["namespace"]["id"] if "namespace" in row else None
            active.setdefault(namespace, {})[table.name] = table
        elif row["state"] == "hidden":
            hidden[tablet_id] = table
    return active, hidden


def _index_order(index: Index) -> tuple[int, str, bytes]:
    first = {BY_ID: 0, BY_CREATION_TIME: 1}.get(index.name, 2)
    return first, index.name, index.index_id


@dataclass(slots=True)
class _Schemas:
    """Of one component."""

    active: Schema | None = None
    active_id: str | None = None
    pending: PendingSchema | None = None


_NO_SCHEMAS = _Schemas()


def _load_schemas(snapshot: SnapshotReader) -> dict[str | None, _Schemas]:
    """By namespace."""
    found: dict[str | None, _Schemas] = {}
    for row in _documents(snapshot, "_schemas"):
        state = row["state"]["state"]
        of_component = found.setdefault(row.get("component"), _Schemas())
        if state == "active":
            of_component.active, of_component.active_id = parse_schema(row["schema"]), row["_id"]
        elif state in ("pending", "validated"):
            of_component.pending = PendingSchema(row["_id"], state, parse_schema(row["schema"]))
    return found


def _load_modules(snapshot: SnapshotReader) -> dict[str | None, dict[str, Module]]:
    """By namespace and path."""
    found: dict[str | None, dict[str, Module]] = {}
    for row in _documents(snapshot, "_modules"):
        analysis = orjson.loads(row["analyzeResult"])
        found.setdefault(row.get("component"), {})[row["path"]] = Module(
            path=row["path"],
            sha256=row["sha256"],
            environment=row["environment"],
            functions={
                function["name"]: analysed_function(function) for function in analysis.get("functions", ())
            },
            analysis=analysis,
        )
    return found


def analysed_function(row: dict[str, Any]) -> AnalysedFunction:
    """`args` and `returns` are stored as the validator JSON text the package exported, or null."""
    visibility = row.get("visibility") or {"kind": "public"}
    args, returns = (orjson.loads(text) if text else None for text in (row.get("args"), row.get("returns")))
    return AnalysedFunction(
        name=row["name"],
        udf_type=row["udfType"],
        is_public=visibility["kind"] == "public",
        args=parse_args_validator(args),
        returns=parse_returns_validator(returns),
    )
