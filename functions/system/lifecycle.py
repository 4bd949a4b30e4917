"""The lives of indexes, schemas, exports and imports, as tables (spec 04 4.5, 4.6, 8; spec 02 18, 19).

Every stored state changes through one of the functions at the end, whoever writes the row: a push, the
backfill, the validation, a write that breaks a pending schema, an operator, or the worker of a transfer. A
pair the tables do not know is a defect of the caller, not of the developer who pushes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum, auto
from typing import TypeVar


class IllegalTransition(Exception):
    """An event met a state in which it cannot happen."""


class IndexState(StrEnum):
    """`config.onDiskState.type` of an `_index` row. DROPPED is never stored: the row is gone."""

    BACKFILLING = "Backfilling"
    BACKFILLED = "Backfilled2"
    ENABLED = "Enabled"
    DROPPED = "Dropped"


class IndexEvent(Enum):
    """PUSH_FINISHED: a finished push declares the index plainly; PUSH_STAGED_IT: as staged."""

    BACKFILL_COMPLETED = auto()
    PUSH_FINISHED = auto()
    PUSH_STAGED_IT = auto()
    PUSH_REMOVED_IT = auto()


class SchemaState(StrEnum):
    """`state.state` of a `_schemas` row."""

    PENDING = "pending"
    VALIDATED = "validated"
    ACTIVE = "active"
    FAILED = "failed"
    OVERWRITTEN = "overwritten"


class SchemaEvent(Enum):
    """DOCUMENT_VIOLATED_IT: an existing document, or a write made meanwhile, does not match."""

    VALIDATION_COMPLETED = auto()
    DOCUMENT_VIOLATED_IT = auto()
    PUSH_FINISHED = auto()
    PUSH_REPLACED_IT = auto()


class ExportState(StrEnum):
    """`state` of an `_exports` row."""

    REQUESTED = "requested"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


class ImportState(StrEnum):
    """`state.state` of a `_snapshot_imports` row."""

    UPLOADED = "uploaded"
    WAITING = "waiting_for_confirmation"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


class TransferEvent(Enum):
    """What happens to an export or an import. PARSED: an upload was read through; CONFIRMED: by its owner."""

    STARTED = auto()
    PARSED = auto()
    CONFIRMED = auto()
    FINISHED = auto()
    FAILED = auto()
    CANCELED = auto()


INDEX_TRANSITIONS: Mapping[IndexState, Mapping[IndexEvent, IndexState]] = {
    IndexState.BACKFILLING: {
        IndexEvent.BACKFILL_COMPLETED: IndexState.BACKFILLED,
        IndexEvent.PUSH_STAGED_IT: IndexState.BACKFILLING,
        IndexEvent.PUSH_REMOVED_IT: IndexState.DROPPED,
    },
    IndexState.BACKFILLED: {
        IndexEvent.PUSH_FINISHED: IndexState.ENABLED,
        IndexEvent.PUSH_STAGED_IT: IndexState.BACKFILLED,
        IndexEvent.PUSH_REMOVED_IT: IndexState.DROPPED,
    },
    IndexState.ENABLED: {
        IndexEvent.PUSH_FINISHED: IndexState.ENABLED,
        IndexEvent.PUSH_STAGED_IT: IndexState.BACKFILLED,
        IndexEvent.PUSH_REMOVED_IT: IndexState.DROPPED,
    },
    IndexState.DROPPED: {},
}

SCHEMA_TRANSITIONS: Mapping[SchemaState, Mapping[SchemaEvent, SchemaState]] = {
    SchemaState.PENDING: {
        SchemaEvent.VALIDATION_COMPLETED: SchemaState.VALIDATED,
        SchemaEvent.DOCUMENT_VIOLATED_IT: SchemaState.FAILED,
        SchemaEvent.PUSH_REPLACED_IT: SchemaState.OVERWRITTEN,
    },
    SchemaState.VALIDATED: {
        SchemaEvent.DOCUMENT_VIOLATED_IT: SchemaState.FAILED,
        SchemaEvent.PUSH_FINISHED: SchemaState.ACTIVE,
        SchemaEvent.PUSH_REPLACED_IT: SchemaState.OVERWRITTEN,
    },
    SchemaState.ACTIVE: {SchemaEvent.PUSH_REPLACED_IT: SchemaState.OVERWRITTEN},
    SchemaState.FAILED: {},
    SchemaState.OVERWRITTEN: {},
}

EXPORT_TRANSITIONS: Mapping[ExportState, Mapping[TransferEvent, ExportState]] = {
    ExportState.REQUESTED: {
        TransferEvent.STARTED: ExportState.IN_PROGRESS,
        TransferEvent.FAILED: ExportState.FAILED,
        TransferEvent.CANCELED: ExportState.CANCELED,
    },
    ExportState.IN_PROGRESS: {
        TransferEvent.FINISHED: ExportState.COMPLETED,
        TransferEvent.FAILED: ExportState.FAILED,
        TransferEvent.CANCELED: ExportState.CANCELED,
    },
    ExportState.COMPLETED: {},
    ExportState.FAILED: {},
    ExportState.CANCELED: {},
}

IMPORT_TRANSITIONS: Mapping[ImportState, Mapping[TransferEvent, ImportState]] = {
    ImportState.UPLOADED: {
        TransferEvent.PARSED: ImportState.WAITING,
        TransferEvent.FAILED: ImportState.FAILED,
        TransferEvent.CANCELED: ImportState.FAILED,
    },
    ImportState.WAITING: {
        TransferEvent.CONFIRMED: ImportState.IN_PROGRESS,
        TransferEvent.FAILED: ImportState.FAILED,
        TransferEvent.CANCELED: ImportState.FAILED,
    },
    ImportState.IN_PROGRESS: {
        TransferEvent.FINISHED: ImportState.COMPLETED,
        TransferEvent.FAILED: ImportState.FAILED,
        TransferEvent.CANCELED: ImportState.FAILED,
    },
    ImportState.COMPLETED: {},
    ImportState.FAILED: {},
}


def next_index_state(state: str, event: IndexEvent) -> IndexState:
    """What an index that is in `state` becomes by `event`."""
    return _next(INDEX_TRANSITIONS, IndexState(state), event, "an index")


def next_schema_state(state: str, event: SchemaEvent) -> SchemaState:
    """What a schema that is in `state` becomes by `event`."""
    return _next(SCHEMA_TRANSITIONS, SchemaState(state), event, "a schema")


def next_export_state(state: str, event: TransferEvent) -> ExportState:
    """What an export that is in `state` becomes by `event`."""
    return _next(EXPORT_TRANSITIONS, ExportState(state), event, "an export")


def next_import_state(state: str, event: TransferEvent) -> ImportState:
    """What an import that is in `state` becomes by `event`."""
    return _next(IMPORT_TRANSITIONS, ImportState(state), event, "an import")


_State = TypeVar("_State", IndexState, SchemaState, ExportState, ImportState)
_Event = TypeVar("_Event", IndexEvent, SchemaEvent, TransferEvent)


def _next(table: Mapping[_State, Mapping[_Event, _State]], state: _State, event: _Event, what: str) -> _State:
    try:
        return table[state][event]
    except KeyError:
        raise IllegalTransition(f"{what} that is {state.name} cannot see {event.name}") from None
