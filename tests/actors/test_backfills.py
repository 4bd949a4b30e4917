"""The core's maintenance among racing writes: filling an index, validating a schema (spec 04 11, T8 and T9).

Each step is let through by hand, with writes before and after it. The dumb way to build an index is to sort
all documents; the dumb way to validate is to look at all of them afterwards.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors import maintenance
from actors.index_shard import IndexShard
from actors.maintenance import Maintenance
from functions.catalog import BACKFILLING, Catalog, Index, PendingSchema, Table
from functions.snapshot import SnapshotReader
from functions.transaction import Transaction
from log import limits, values
from log.keys import index_key

from ..support.core_deployment import CoreDeployment
from ..support.deployment import string_fields, table
from .test_checkpoints import create_index

DOCUMENTS, DOCUMENTS_PER_STEP, BYTES_PER_STEP = 40, 5, 400
KEYS = "abcdefgh"
NEW_INDEX = "by_key"


def run_scene(folder: Path, seed: int, scene: Callable[[CoreDeployment], Awaitable[None]]) -> None:
    async def whole() -> None:
        deployment = CoreDeployment(folder, seed)
        await deployment.open()
        try:
            await scene(deployment)
        finally:
            await deployment.close()

    asyncio.run(whole())


def insert(rng: random.Random, count: int) -> Callable[[Transaction], None]:
    def run(transaction: Transaction) -> None:
        for _ in range(count):
            transaction.insert("things", {"key": rng.choice(KEYS)})

    return run


def write_some(rng: random.Random) -> Callable[[Transaction], None]:
    """Inserts, moves in the new index, changes of another field, deletes."""

    def run(transaction: Transaction) -> None:
        things = transaction.catalog.tables["things"]
        ids = [document["_id"] for document in transaction.all_documents(things)]
        for document_id in rng.sample(ids, min(len(ids), 4)):
            match rng.randrange(3):
                case 0:
                    transaction.delete(things, document_id)
                case 1:
                    transaction.patch(things, document_id, {"key": rng.choice(KEYS)})
                case _:
                    transaction.patch(things, document_id, {"other": str(rng.random())})
        insert(rng, rng.randrange(4))(transaction)

    return run


# --- filling an index ---------------------------------------------------------------------------------


class HeldFilling:
    """Steps of filling wait for a permit while it is held."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_held, self.permits, self.steps = False, 0, 0
        fill_step = IndexShard.fill_step

        def step(shard: IndexShard, table: Table, index: Index) -> bool:
            if self.is_held and self.permits == 0:
                return False
            self.permits -= self.is_held
            self.steps += 1
            return fill_step(shard, table, index)

        monkeypatch.setattr(IndexShard, "fill_step", step)


def index_of(deployment: CoreDeployment) -> tuple[Table, Index]:
    things = deployment.core._shard.catalog().tables["things"]
    index = things.index(NEW_INDEX)
    assert index is not None
    return things, index


async def fill_among_writes(deployment: CoreDeployment, filling: HeldFilling, rng: random.Random) -> int:
    """Returns how many commits came between its steps; one filling in two is interrupted."""
    raced, interrupted_at = 0, rng.choice((None, rng.randrange(2, 6)))
    while index_of(deployment)[1].state == BACKFILLING:
        assert deployment.failures == []
        if raced == interrupted_at:
            interrupted_at = None
            await restart(deployment, filling, drop_views=rng.random() < 0.5)
        await deployment.transact(write_some(rng))
        raced += 1
        filling.permits = 1
        while filling.permits and index_of(deployment)[1].state == BACKFILLING:
            await asyncio.sleep(0)
    return raced


async def restart(deployment: CoreDeployment, filling: HeldFilling, *, drop_views: bool) -> None:
    """A start that has to fill while it replays must not be held."""
    await deployment.close()
    if drop_views:
        shutil.rmtree(deployment.folder / "views")
    filling.is_held = False
    await deployment.open()
    filling.is_held = True


def entries(snapshot: SnapshotReader, index: Index) -> list[tuple[bytes, bytes, int]]:
    rows = snapshot.scan(index.index_id, b"", None, descending=False, limit=10_000)
    return [(row.key, row.document, row.revision_ts) for row in rows]


def built_anew(snapshot: SnapshotReader, table: Table, index: Index) -> list[tuple[bytes, bytes, int]]:
    found = []
    for row in snapshot.scan(table.by_id.index_id, b"", None, descending=False, limit=10_000):
        document: Any = values.loads_canonical(row.document)
        found.append((index_key(index.fields, document, document["_id"]), row.document, row.revision_ts))
    return sorted(found)


@pytest.mark.parametrize("seed", range(12))
def test_an_index_filled_among_writes_and_restarts_is_one_that_was_built_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    if seed % 2:
        monkeypatch.setattr(limits, "BACKFILL_DOCUMENTS_PER_STEP", DOCUMENTS_PER_STEP)
    else:  # some documents as well
        monkeypatch.setattr(limits, "VIEW_READ_BYTES_PER_STEP", BYTES_PER_STEP)
    filling, rng = HeldFilling(monkeypatch), random.Random(seed)

    async def scene(deployment: CoreDeployment) -> None:
        await deployment.transact(insert(rng, DOCUMENTS))
        filling.is_held = True
        await deployment.transact(create_index)
        raced = await fill_among_writes(deployment, filling, rng)
        assert raced > 1 and filling.steps > 1, seed
        things, index = index_of(deployment)
        filled_ts = deployment.core.published_ts
        for _ in range(3):
            snapshot = deployment.core.view_reader().snapshot(deployment.core.published_ts)
            assert entries(snapshot, index) == built_anew(snapshot, things, index), seed
            await deployment.transact(write_some(rng))
        past = deployment.core.view_reader().snapshot(filled_ts)
        assert entries(past, index) == built_anew(past, things, index), f"{seed}: at the ts it was filled"

    run_scene(tmp_path, seed, scene)


# --- validating a schema ------------------------------------------------------------------------------


class HeldValidation:
    """A validation that has looked at all documents waits before it says what it found."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.has_looked, self.may_settle = asyncio.Event(), asyncio.Event()
        look = Maintenance._first_violation

        async def held(
            maintenance: Maintenance, catalog: Catalog, pending: PendingSchema
        ) -> tuple[str, str] | None:
            found = await look(maintenance, catalog, pending)
            self.has_looked.set()
            await self.may_settle.wait()
            return found

        monkeypatch.setattr(Maintenance, "_first_violation", held)


def submit(transaction: Transaction) -> None:
    """Documents of `things` have a key, and maybe something else."""
    document = string_fields("key")
    document["value"]["other"] = {"fieldType": {"type": "string"}, "optional": True}
    text = json.dumps({"tables": [table("things", document)], "schemaValidation": True})
    transaction.insert("_schemas", {"state": {"state": "pending"}, "schema": text})


def write_without_key(transaction: Transaction) -> None:
    transaction.insert("things", {"other": "no key"})


def schema_row(deployment: CoreDeployment) -> dict[str, Any]:
    core = deployment.core
    rows = core._shard.catalog().tables["_schemas"]
    found = (
        core.view_reader()
        .snapshot(core.published_ts)
        .scan(rows.by_id.index_id, b"", None, descending=False, limit=10)
    )
    (row,) = found
    document: Any = values.loads_canonical(row.document)
    return document


@pytest.mark.parametrize("wrong_before", [False, True])
@pytest.mark.parametrize("wrong_meanwhile", [False, True])
def test_a_schema_is_validated_exactly_when_every_document_matches_those_written_meanwhile_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong_before: bool, wrong_meanwhile: bool
) -> None:
    seed = 20261127
    rng = random.Random(seed)

    async def scene(deployment: CoreDeployment) -> None:
        validation = HeldValidation(monkeypatch)
        await deployment.transact(insert(rng, DOCUMENTS))
        if wrong_before:
            await deployment.transact(write_without_key)
        await deployment.transact(submit)
        await validation.has_looked.wait()
        for _ in range(5):
            await deployment.transact(insert(rng, 3))
        if wrong_meanwhile:
            await deployment.transact(write_without_key)
        validation.may_settle.set()
        while (row := schema_row(deployment))["state"]["state"] == "pending":
            assert deployment.failures == []
            await asyncio.sleep(0.001)
        state = row["state"]
        if not wrong_before and not wrong_meanwhile:
            assert state == {"state": "validated"}, seed
        else:
            start = 'New document in table "things"' if wrong_meanwhile else 'Document with ID "'
            assert state["state"] == "failed" and state["error"].startswith(start), (seed, state)

    run_scene(tmp_path, seed, scene)


@pytest.mark.parametrize("wrong_before", [False, True])
def test_a_validation_may_take_longer_than_replaced_documents_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong_before: bool
) -> None:
    """Between two of its steps something is committed, and what was before that is forgotten."""
    seed = 20261128
    rng = random.Random(seed)
    monkeypatch.setattr(limits, "SCHEMA_VALIDATION_ROWS_PER_STEP", 4)

    async def scene(deployment: CoreDeployment) -> None:
        steps = 0

        async def forget(seconds: float) -> None:
            nonlocal steps
            if seconds > 0:  # between two rounds of the garbage
                return await asyncio.sleep(seconds)
            steps += 1
            await deployment.transact(insert(rng, 1))
            deployment.core._shard._view.prune(deployment.core._shard.applied_ts)

        await deployment.transact(insert(rng, DOCUMENTS))
        if wrong_before:
            await deployment.transact(write_without_key)
        monkeypatch.setattr(maintenance, "asyncio", SimpleNamespace(sleep=forget))
        await deployment.transact(submit)
        while (row := schema_row(deployment))["state"]["state"] == "pending":
            assert deployment.failures == []
            await asyncio.sleep(0.001)
        assert row["state"]["state"] == ("failed" if wrong_before else "validated"), (seed, row)
        assert steps > 1 or wrong_before, seed

    run_scene(tmp_path, seed, scene)
