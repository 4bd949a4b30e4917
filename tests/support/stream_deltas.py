"""What a connector does with pages of deltas, and a writer that keeps account of what they must tell."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

from functions.transaction import Transaction

from .stream_site import Name, Shown, StreamSite, document_of, name_of

PLACES = [("", "notes"), ("", "counters"), ("ledger", "entries"), ("ledger", "notes")]
Commit = tuple[int, dict[Name, bytes | None]]
"""The model: the ts of a commit, and each document it wrote, or None for one it deleted."""


class Writer:
    """Random commits, and what they did by the plainest account."""

    def __init__(self, site: StreamSite, seed: int) -> None:
        print(f"seed {seed}")
        self.site, self.rng = site, random.Random(seed)
        self.commits: list[Commit] = []
        self.live: list[Name] = []

    async def write(self, count: int = 1) -> None:
        for _ in range(count):
            await self._write_once()

    async def _write_once(self) -> None:
        steps = self.rng.choices(("insert", "patch", "replace", "delete"), k=self.rng.choice((1, 1, 2, 5)))
        seed, before = self.rng.random(), set(self.live)
        written: dict[Name, bytes | None] = {}

        def work(transaction: Transaction) -> None:
            written.clear()
            rng = random.Random(seed)
            touched = [self._step(transaction, rng, step) for step in steps]
            for name in dict.fromkeys(name for name in touched if name is not None):
                transaction.enter_component(name[0])
                row = transaction.get(transaction.catalog.tables[name[1]], name[2])
                if row is not None or name in before:
                    written[name] = row.document if row is not None else None

        ts = await self.site.write(work)
        for name, document in written.items():
            if document is None:
                self.live.remove(name)
            elif name not in before:
                self.live.append(name)
        if written:
            self.commits.append((ts, written))

    def _step(self, transaction: Transaction, rng: random.Random, step: str) -> Name | None:
        if step == "insert" or not self.live:
            component, table = rng.choice(PLACES)
            transaction.enter_component(component)
            fields: dict[str, Any] = {
                "n": rng.randrange(10),
                "x": rng.choice((1.5, float("nan"), "ü", b"\0")),
            }
            return component, table, transaction.insert(table, fields)
        name = rng.choice(self.live)
        transaction.enter_component(name[0])
        table = transaction.catalog.tables[name[1]]
        if transaction.get(table, name[2]) is None:
            return None  # an earlier step has deleted it
        if step == "patch":
            transaction.patch(table, name[2], {"n": rng.randrange(1 << 40)})
        elif step == "replace":
            transaction.replace(table, name[2], {"replaced": rng.random()})
        else:
            transaction.delete(table, name[2])
        return name


async def deltas_after(
    site: StreamSite, cursor: int, between: Callable[[], Awaitable[object]] | None = None, **asked: Any
) -> tuple[int, list[Shown]]:
    """All pages after a cursor, until there is no more."""
    found: list[Shown] = []
    while True:
        page = await site.ask("document_deltas", cursor=cursor, **asked)
        found += page["values"]
        if not page["hasMore"]:
            return page["cursor"], found
        assert page["cursor"] > cursor
        cursor = page["cursor"]
        if between is not None:
            await between()


def as_commits(found: list[Shown]) -> list[Commit]:
    commits: list[Commit] = []
    for shown in found:
        assert shown["_deleted"] in (True, False)
        if not commits or commits[-1][0] != shown["_ts"]:
            commits.append((shown["_ts"], {}))
        assert name_of(shown) not in commits[-1][1], "a document was told twice of one commit"
        if shown["_deleted"]:
            assert set(shown) == {"_component", "_table", "_ts", "_deleted", "_id"}
        commits[-1][1][name_of(shown)] = None if shown["_deleted"] else document_of(shown)
    return commits


def applied(state: dict[Name, bytes], commits: list[Commit]) -> dict[Name, bytes]:
    for _, written in commits:
        for name, document in written.items():
            if document is None:
                state.pop(name, None)
            else:
                state[name] = document
    return state
