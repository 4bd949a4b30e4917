"""The system tables: names, numbers and extra indexes (spec 04 3.2), and the ids of a new database.

Every system table has `by_id`, and all but `_index` have `by_creation_time`. Their tablet and index ids
are derived from the numbers, so that the first record of every log is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from log.ids import encode_id

SYSTEM_TABLE_NUMBER_BASE = 512


@dataclass(frozen=True, slots=True)
class SystemTable:
    """`indexes` maps a name to its fields, without the trailing `_creationTime` and `_id`."""

    offset: int
    name: str
    indexes: dict[str, tuple[str, ...]]

    @property
    def number(self) -> int:
        return SYSTEM_TABLE_NUMBER_BASE + self.offset


SYSTEM_TABLES = (
    SystemTable(1, "_tables", {"by_name": ("name",)}),
    SystemTable(2, "_index", {}),
    SystemTable(6, "_udf_config", {}),
    SystemTable(7, "_auth", {}),
    SystemTable(9, "_modules", {"by_path": ("path",)}),
    SystemTable(13, "_environment_variables", {"by_name": ("name",)}),
    SystemTable(17, "_session_requests", {"by_session_id_and_request_id": ("sessionId", "requestId")}),
    SystemTable(20, "_schemas", {"by_state": ("state",)}),
    SystemTable(36, "_index_backfills", {"by_index_id": ("indexId",)}),
    SystemTable(37, "_schema_validation_progress", {"by_schema_id": ("schemaId",)}),
    # Ours: the text of a module by content, so that a push sends and stores only what changed.
    SystemTable(100, "_module_sources", {"by_sha256": ("sha256",)}),
    # Ours: a push between start_push and finish_push, looked up by the id the CLI echoes (spec 02 7).
    SystemTable(101, "_pushes", {}),
)

SYSTEM_TABLE_BY_NAME = {table.name: table for table in SYSTEM_TABLES}

CATALOG_TABLE_NAMES = (
    "_tables",
    "_index",
    "_udf_config",
    "_auth",
    "_modules",
    "_environment_variables",
    "_schemas",
)
"""Tables whose every write makes a new catalog (design D8)."""


def tablet_id_of(table: SystemTable) -> bytes:
    return b"tidelog-table" + table.number.to_bytes(3, "big")


def index_id_of(table: SystemTable, position: int) -> bytes:
    """`position` 0 is by_id, 1 by_creation_time, then the extra indexes in order."""
    return b"tidelog-ix" + table.number.to_bytes(3, "big") + position.to_bytes(3, "big")


CATALOG_TABLETS = frozenset(tablet_id_of(SYSTEM_TABLE_BY_NAME[name]) for name in CATALOG_TABLE_NAMES)

TABLES_NUMBER = SYSTEM_TABLE_BY_NAME["_tables"].number
INDEX_NUMBER = SYSTEM_TABLE_BY_NAME["_index"].number
TABLES_TABLET = tablet_id_of(SYSTEM_TABLE_BY_NAME["_tables"])
INDEX_TABLET = tablet_id_of(SYSTEM_TABLE_BY_NAME["_index"])


def table_row_id(tablet_id: bytes) -> str:
    """The public id of the `_tables` row of a tablet: the tablet id is the row's internal id."""
    return encode_id(TABLES_NUMBER, tablet_id)


def index_row_id(index_id: bytes) -> str:
    return encode_id(INDEX_NUMBER, index_id)
