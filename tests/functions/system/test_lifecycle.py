"""The tables of indexes and schemas: every (state, event) pair, and what the tables promise as wholes."""

from __future__ import annotations

from itertools import product

import pytest

from functions import indexes
from functions.system.lifecycle import (
    EXPORT_TRANSITIONS,
    IMPORT_TRANSITIONS,
    INDEX_TRANSITIONS,
    SCHEMA_TRANSITIONS,
    ExportState,
    IllegalTransition,
    ImportState,
    IndexEvent,
    IndexState,
    SchemaEvent,
    SchemaState,
    TransferEvent,
    next_export_state,
    next_import_state,
    next_index_state,
    next_schema_state,
)


@pytest.mark.parametrize(("state", "event"), list(product(IndexState, IndexEvent)))
def test_every_index_pair_moves_as_the_table_says_or_is_refused_by_name(
    state: IndexState, event: IndexEvent
) -> None:
    expected = INDEX_TRANSITIONS[state].get(event)
    if expected is not None:
        assert next_index_state(state, event) is expected
    else:
        with pytest.raises(IllegalTransition, match=f"{state.name} cannot see {event.name}"):
            next_index_state(state, event)


@pytest.mark.parametrize(("state", "event"), list(product(SchemaState, SchemaEvent)))
def test_every_schema_pair_moves_as_the_table_says_or_is_refused_by_name(
    state: SchemaState, event: SchemaEvent
) -> None:
    expected = SCHEMA_TRANSITIONS[state].get(event)
    if expected is not None:
        assert next_schema_state(state, event) is expected
    else:
        with pytest.raises(IllegalTransition, match=f"{state.name} cannot see {event.name}"):
            next_schema_state(state, event)


def test_an_index_is_enabled_only_after_its_backfill() -> None:
    into_enabled = {
        state for state, moves in INDEX_TRANSITIONS.items() if IndexState.ENABLED in moves.values()
    }
    assert into_enabled == {IndexState.BACKFILLED, IndexState.ENABLED}


def test_every_live_index_can_be_removed_and_no_dropped_one_comes_back() -> None:
    for state in set(IndexState) - {IndexState.DROPPED}:
        assert next_index_state(state, IndexEvent.PUSH_REMOVED_IT) is IndexState.DROPPED
    assert INDEX_TRANSITIONS[IndexState.DROPPED] == {}


def test_a_schema_becomes_active_only_from_validated() -> None:
    into_active = {
        state for state, moves in SCHEMA_TRANSITIONS.items() if SchemaState.ACTIVE in moves.values()
    }
    assert into_active == {SchemaState.VALIDATED}


def test_failed_and_overwritten_schemas_are_final() -> None:
    assert SCHEMA_TRANSITIONS[SchemaState.FAILED] == {}
    assert SCHEMA_TRANSITIONS[SchemaState.OVERWRITTEN] == {}


def test_the_stored_names_of_index_states_are_those_the_catalog_reads() -> None:
    stored = {indexes.BACKFILLING, indexes.BACKFILLED, indexes.ENABLED}
    assert stored == {state.value for state in set(IndexState) - {IndexState.DROPPED}}


@pytest.mark.parametrize("unknown", ["", "enabled", "Backfilled"])
def test_a_state_that_no_table_knows_is_refused(unknown: str) -> None:
    with pytest.raises(ValueError, match="is not a valid"):
        next_index_state(unknown, IndexEvent.PUSH_FINISHED)


@pytest.mark.parametrize(("state", "event"), list(product(ExportState, TransferEvent)))
def test_every_export_pair_moves_as_the_table_says_or_is_refused_by_name(
    state: ExportState, event: TransferEvent
) -> None:
    expected = EXPORT_TRANSITIONS[state].get(event)
    if expected is not None:
        assert next_export_state(state, event) is expected
    else:
        with pytest.raises(IllegalTransition, match=f"{state.name} cannot see {event.name}"):
            next_export_state(state, event)


@pytest.mark.parametrize(("state", "event"), list(product(ImportState, TransferEvent)))
def test_every_import_pair_moves_as_the_table_says_or_is_refused_by_name(
    state: ImportState, event: TransferEvent
) -> None:
    expected = IMPORT_TRANSITIONS[state].get(event)
    if expected is not None:
        assert next_import_state(state, event) is expected
    else:
        with pytest.raises(IllegalTransition, match=f"{state.name} cannot see {event.name}"):
            next_import_state(state, event)


def test_a_transfer_that_has_ended_stays_as_it_is_and_every_other_can_fail_and_be_cancelled() -> None:
    for table in (EXPORT_TRANSITIONS, IMPORT_TRANSITIONS):
        for moves in table.values():
            assert not moves or {TransferEvent.FAILED, TransferEvent.CANCELED} <= moves.keys()


def test_nothing_is_imported_that_was_not_confirmed() -> None:
    into = {state for state, moves in IMPORT_TRANSITIONS.items() if ImportState.IN_PROGRESS in moves.values()}
    assert into == {ImportState.WAITING}
    assert IMPORT_TRANSITIONS[ImportState.WAITING][TransferEvent.CONFIRMED] is ImportState.IN_PROGRESS
