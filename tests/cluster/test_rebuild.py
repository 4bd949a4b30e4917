"""Everything but the log is derived: views deleted, the same bytes come back (design D1)."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from actors.projections.documents import MemoryView
from functions.catalog import Table, load_catalog
from functions.system.tables import CATALOG_TABLETS, table_row_id
from functions.transaction import Transaction
from log.record import CommitBody, RecordKind

from ..support.core_deployment import CoreDeployment, digest_of

DOCUMENTS = 20_000
PER_COMMIT = 100
PREFIX = "shared-prefix-" * 45  # longer than a stored key keeps


def create_indexes(transaction: Transaction) -> None:
    table = transaction.create_table("things")
    for field in ("key", "n"):
        config = {"type": "database", "fields": [field, "_creationTime"], "onDiskState": {"type": "Enabled"}}
        row = {"table_id": table_row_id(table.tablet_id), "descriptor": f"by_{field}", "config": config}
        transaction.insert("_index", row)


def fill(rng: random.Random, count: int, ids: list[str]) -> Callable[[Transaction], None]:
    def run(transaction: Transaction) -> None:
        for _ in range(count):
            key = PREFIX + str(rng.randrange(10**6)) if rng.random() < 0.02 else str(rng.randrange(10**6))
            ids.append(transaction.insert("things", {"key": key, "n": float(rng.randrange(1000))}))

    return run


def churn(rng: random.Random, ids: list[str]) -> Callable[[Transaction], None]:
    """Delete some documents and move the keys of others."""

    def run(transaction: Transaction) -> None:
        table: Table = transaction.catalog.tables["things"]
        for _ in range(PER_COMMIT // 2):
            position = rng.randrange(len(ids))
            if rng.random() < 0.5:
                transaction.delete(table, ids[position])
                ids[position] = ids[-1]
                ids.pop()
            else:
                transaction.patch(table, ids[position], {"key": PREFIX + str(rng.randrange(10**6))})

    return run


def test_views_deleted_and_folded_again_hold_the_same_bytes(tmp_path: Path) -> None:
    seed = 20261125

    async def scenario() -> None:
        deployment, ids = CoreDeployment(tmp_path, seed), []
        rng = deployment.rng
        await deployment.open()
        await deployment.transact(create_indexes)
        for _ in range(DOCUMENTS // PER_COMMIT):
            await deployment.transact(fill(rng, PER_COMMIT, ids))
            if rng.random() < 0.1:
                await deployment.transact(churn(rng, ids))
        before = deployment.digests()
        assert len(before) > 20
        await deployment.close()
        shutil.rmtree(tmp_path / "views")
        await deployment.open()
        assert deployment.core.records_replayed > DOCUMENTS // PER_COMMIT
        assert deployment.digests() == before, seed
        assert twin_digests(tmp_path, deployment) == before, seed
        await deployment.close()

    asyncio.run(scenario())


def twin_digests(folder: Path, deployment: CoreDeployment) -> dict[str, str]:
    """The same digests from the in-memory fold of the same log."""
    view = MemoryView(CATALOG_TABLETS)
    for record in deployment.core.read_log():
        if record.kind is RecordKind.COMMIT:
            view.apply(record.ts, CommitBody.decode(record.body).writes)
    snapshot = view.snapshot(deployment.core.published_ts)
    return {
        f"{table.name}.{index.name}": digest_of(snapshot, index)
        for table in load_catalog(snapshot).tables.values()
        for index in table.indexes
    }
