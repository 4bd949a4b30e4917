"""Starts of the core that were cut short: the next one makes up for them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from actors.core import Core
from functions.transaction import Transaction
from log.record import CommitBody, RecordKind

from ..support.core_deployment import CoreDeployment

SEED = 20261127


class Killed(Exception):
    """Stands for the end of the process at that line."""


async def start_and_die_before_the_first_commit(folder: Path) -> None:
    """The epoch's record is durable by then."""

    async def die(core: Core) -> None:
        raise Killed

    deployment = CoreDeployment(folder, SEED)
    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Core, "_bootstrap", die)
        await deployment.open()
    deployment.core._shard.close(clean=False)


@pytest.mark.parametrize("deaths", [1, 3])
def test_a_start_that_died_between_its_first_two_records_is_made_up_for_by_the_next(
    tmp_path: Path, deaths: int
) -> None:
    async def scene() -> None:
        for _ in range(deaths):
            await start_and_die_before_the_first_commit(tmp_path)
        deployment = CoreDeployment(tmp_path, SEED)
        await deployment.open()
        await deployment.transact(insert)
        before = deployment.digests()
        records = list(deployment.core.read_log())
        await deployment.close()
        commits = [CommitBody.decode(each.body) for each in records if each.kind is RecordKind.COMMIT]
        assert len(records) - len(commits) == deaths + 1, "an epoch for each start"
        assert [body.trace.path for body in commits] == ["_system/bootstrap", "test"]
        await deployment.open()
        assert deployment.digests() == before and "things.by_id" in before
        await deployment.close()

    asyncio.run(scene())


def insert(transaction: Transaction) -> None:
    transaction.insert("things", {})
