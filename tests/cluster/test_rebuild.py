"""Everything but the log is derived: views deleted, the same bytes come back (design D1, spec 04 11, T5)."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from actors.projections.documents import MemoryView
from functions.catalog import Table, load_catalog
from functions.system.tables import CATALOG_TABLETS, table_row_id
from functions.transaction import Transaction
from log.record import CommitBody, RecordKind

from ..support.core_deployment import CoreDeployment, digest_of, digests_of_everything
from ..support.deployment import module
from ..support.recorded import SHOP, RecordedServer

SEED = 20261125
DOCUMENTS = 20_000
PER_COMMIT = 100
CALLS, JOBS = 60, 20
LATER = """
export const later = mutation(async ({ text }) => {
  const ts = Date.now() / 1000 + 86400;
  return await call("schedule", { name: "shop:note", ts, args: { text } });
});
"""
AUTH = module(
    "auth.config.js",
    'export default { providers: [{ domain: process.env.ISSUER, applicationID: "convex" }] };',
)
CRONS = module(
    "crons.js",
    "export default { isCrons: true, export: () => JSON.stringify({ leap: "
    '{ name: "shop:note", args: [{ text: "x" }], schedule: { type: "cron", cron: "0 0 29 2 *" } } }) };',
)
FILLED = {
    "_tables",
    "_index",
    "_schemas",
    "_modules",
    "_module_sources",
    "_udf_config",
    "_environment_variables",
    "_auth",
    "_components",
    "_component_definitions",
    "_cron_jobs",
    "_cron_next_run",
    "_scheduled_jobs",
    "_scheduled_job_args",
    "_session_requests",
    "_function_handles",
    "counters",
    "notes",
    "entries",
}
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

    async def scenario() -> None:
        deployment, ids = CoreDeployment(tmp_path, SEED), []
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
        assert deployment.digests() == before, SEED
        assert twin_digests(tmp_path, deployment) == before, SEED
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


def test_a_whole_deployment_comes_back_from_its_log_alone_and_from_a_checkpoint_in_the_middle(
    tmp_path: Path,
) -> None:
    """Tables, indexes, schemas, modules, variables, providers, crons, jobs, components: byte for byte."""

    async def live() -> dict[str, str]:
        server = RecordedServer(tmp_path)
        rng = random.Random(SEED)
        async with server:
            core = server.core_actor
            server.kinds = {**server.kinds, "post": 2}
            await server.set_variable("ISSUER", "https://issuer.test")
            await server.push(SHOP + LATER, AUTH, CRONS, ledger=True)
            await server.play(rng, CALLS)
            for number in range(JOBS):
                await server.mutate("later", {"text": f"job {number}"})
            await asyncio.get_running_loop().run_in_executor(None, core._shard.take_checkpoint)
            await server.push(SHOP + LATER, AUTH, CRONS, ledger=True, by_text=["text"])
            await server.set_variable("GREETING", "hello")
            await server.play(rng, CALLS)
            return digests_of_everything(core)

    async def recovered() -> tuple[dict[str, str], int]:
        deployment = CoreDeployment(tmp_path, SEED)
        await deployment.open()
        found = digests_of_everything(deployment.core), deployment.core.records_replayed
        await deployment.close()
        return found

    before = asyncio.run(live())
    nothing = hashlib.sha256().hexdigest()
    filled = {name.split(".")[0] for name, digest in before.items() if digest != nothing}
    assert FILLED - filled == set(), "what is compared is there"
    drop_views(tmp_path, keep_checkpoints=True)
    from_checkpoint, tail = asyncio.run(recovered())
    assert from_checkpoint == before, SEED
    drop_views(tmp_path, keep_checkpoints=False)
    from_log, everything = asyncio.run(recovered())
    assert from_log == before, SEED
    assert 0 < tail < everything - JOBS, "the first start went on from the checkpoint"


def drop_views(folder: Path, *, keep_checkpoints: bool) -> None:
    for path in (folder / "views").iterdir():
        if path.name != "checkpoints" or not keep_checkpoints:
            shutil.rmtree(path)
