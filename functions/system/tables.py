"""The system tables: names, numbers and extra indexes (spec 04 3.2), and the ids of a new database.

Every system table has `by_id`, and all but `_index` have `by_creation_time`. Their tablet and index ids
are derived from the numbers, so that they are the same in every log. A table without a writer here is
empty: its feature is not built yet (docs/status.md). New tables and indexes come last in their line: a log
that was begun without them gets them at a start (`bootstrap.py`).
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
    SystemTable(4, "_exports", {"by_state_and_ts": ("state", "start_ts"), "by_requestor": ("requestor",)}),
    SystemTable(5, "_backend_info", {}),
    SystemTable(6, "_udf_config", {}),
    SystemTable(7, "_auth", {}),
    SystemTable(8, "_db", {}),
    SystemTable(9, "_modules", {"by_path": ("path",)}),
    SystemTable(12, "_source_packages", {}),
    SystemTable(13, "_environment_variables", {"by_name": ("name",)}),
    SystemTable(14, "_aws_lambda_versions", {}),
    SystemTable(15, "_deployment_audit_log", {"by_action_and_creation_time": ("action",)}),
    SystemTable(17, "_session_requests", {"by_session_id_and_request_id": ("sessionId", "requestId")}),
    SystemTable(19, "_cron_jobs", {"by_name": ("name",)}),
    SystemTable(20, "_schemas", {"by_state": ("state",)}),
    SystemTable(21, "_cron_job_logs", {"by_name_and_ts": ("name", "ts")}),
    SystemTable(23, "_log_sinks", {}),
    SystemTable(24, "_backend_state", {}),
    SystemTable(25, "_external_deps_packages", {}),
    SystemTable(
        27,
        "_scheduled_jobs",
        {
            "by_next_ts": ("nextTs",),
            "by_completed_ts": ("completedTs",),
            "by_udf_path_and_next_event_ts": ("udfPath", "nextTs"),
        },
    ),
    SystemTable(
        28,
        "_file_storage",
        {"by_storage_id": ("storageId",), "by_storage_key": ("storageKey",)},  # the second is ours
    ),
    SystemTable(29, "_snapshot_imports", {}),
    SystemTable(30, "_index_worker_metadata", {"by_index_doc_id": ("index_id",)}),
    SystemTable(31, "_component_definitions", {}),
    SystemTable(32, "_components", {"by_parent_and_name": ("parent", "name")}),
    SystemTable(33, "_function_handles", {"by_component_path": ("component", "path")}),
    SystemTable(34, "_canonical_urls", {}),
    SystemTable(35, "_cron_next_run", {"by_next_ts": ("nextTs",), "by_cron_job_id": ("cronJobId",)}),
    SystemTable(36, "_index_backfills", {"by_index_id": ("indexId",)}),
    SystemTable(37, "_schema_validation_progress", {"by_schema_id": ("schemaId",)}),
    SystemTable(38, "_scheduled_job_args", {}),
    SystemTable(39, "_audit_log_config", {}),
    SystemTable(40, "_usage_limits", {"by_selector": ("metric", "window", "limitType")}),
    SystemTable(
        41, "_data_sync_progress", {"by_sync_id": ("syncId",), "by_last_updated": ("lastUpdatedMs",)}
    ),
    # Ours: the text of a module by content, so that a push sends and stores only what changed.
    SystemTable(100, "_module_sources", {"by_sha256": ("sha256",)}),
    # Ours: a push between start_push and finish_push, looked up by the id the CLI echoes (spec 02 7).
    SystemTable(101, "_pushes", {}),
    # Ours: which admin keys count no longer, by their ids or by when they were issued.
    SystemTable(102, "_revoked_admin_keys", {}),
)

SYSTEM_TABLE_BY_NAME = {table.name: table for table in SYSTEM_TABLES}

VIRTUAL_NAME_BY_NUMBER = {
    SYSTEM_TABLE_BY_NAME["_scheduled_jobs"].number: "_scheduled_functions",
    SYSTEM_TABLE_BY_NAME["_file_storage"].number: "_storage",
}
"""What user code calls a system table whose ids it may hold (functions/virtual_tables.py)."""

CATALOG_TABLE_NAMES = (
    "_tables",
    "_index",
    "_components",
    "_component_definitions",
    "_udf_config",
    "_auth",
    "_modules",
    "_environment_variables",
    "_schemas",
    "_backend_state",
    "_canonical_urls",
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
