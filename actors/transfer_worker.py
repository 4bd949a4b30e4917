"""What export and import have in common: one job at a time, asked for by rows, on the slow executor.

A row says what is to be done, so a worker that is woken looks for the next one, and a process that starts
finds what is left of its predecessor: jobs that were under way end as failed, those that only wait are done.
There is one slow executor in a deployment, hence one worker of each kind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from actors.action_files import Transactions
from functions.transaction import Transaction

_logger = logging.getLogger(__name__)


class Job(Protocol):
    """One kind of transfer."""

    name: str

    def fail_interrupted(self, transaction: Transaction) -> None:
        """End what a lost process had begun."""

    async def run_next(self) -> bool:
        """Do what waits the longest; False: nothing waits."""


class TransferWorker:
    """Runs one kind of job. `start` once there is a core; `wake` when a row may have been written."""

    def __init__(self, job: Job, transactions: Transactions) -> None:
        self._job, self._transactions = job, transactions
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Again after the core was replaced: what runs goes on, and what waits is looked for."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        self.wake()

    def wake(self) -> None:
        self._wanted.set()

    async def stop(self) -> None:
        """What is under way is left as it is; the next start ends it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        name = self._job.name
        is_first = True
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                if is_first:
                    source = f"_system/{name}_interrupted"
                    await transact(self._transactions, source, self._job.fail_interrupted)
                    is_first = False
                while await self._job.run_next():
                    pass
            except Exception:  # a lost core, mostly; the row still says what is to be done
                _logger.exception("the worker of %ss failed; it goes on when it is asked again", name)


async def transact(transactions: Transactions, source: str, work: Callable[[Transaction], Any]) -> None:
    """Commit what `work` does; its answer is dropped."""

    def run(transaction: Transaction) -> bytes:
        work(transaction)
        return b""

    await transactions.transact(source, run)


async def decide(transactions: Transactions, source: str, work: Callable[[Transaction], bool]) -> bool:
    """Commit what `work` does, and answer what it answered."""
    return await transactions.transact(source, lambda transaction: b"1" if work(transaction) else b"") == b"1"
