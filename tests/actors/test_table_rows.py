"""Rows per table and minute, compared with a list of everything that was counted (spec 02 21)."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from actors.table_rows import TableRows
from functions.catalog import Catalog
from functions.transaction import Transaction
from gateway.backend import ROWS_READ, ROWS_WRITTEN

from ..support.action_server import ActionServer, play
from ..support.memory_database import MemoryDatabase
from ..support.recorded import RecordedServer

MINUTE_NS = 60 * 10**9
FIRST = 1_700_000_000 // 60
TABLES = ("notes", "counters", "signatures")
SOURCE = """
export const one = query(({ id }) => call("get", { id }));
export const readThenFail = mutation(async () => {
  await table("notes");
  await insert("notes", { text: "lost" });
  throw new Error("changed my mind");
});
export const act = publicAction(async () => (await ask("query", "notes")).length);
"""


def catalog_with_tables() -> Catalog:
    database = MemoryDatabase()

    def fill(transaction: Transaction) -> None:
        for name in TABLES:
            transaction.insert(name, {})

    database.transact(fill)
    return database.catalog


CATALOG = catalog_with_tables()


def tablet_of(name: str) -> bytes:
    return CATALOG.tables[name].tablet_id


@pytest.mark.parametrize("seed", range(20))
def test_rows_are_found_in_the_minute_in_which_they_were_counted(seed: int) -> None:
    rng, minutes_max = random.Random(seed), 5
    ring, told = TableRows(minutes_max), Counter[tuple[str, int]]()
    newest = now_ns = FIRST * MINUTE_NS
    for _ in range(60):
        now_ns = max(now_ns, newest) + rng.choice((0, 1, MINUTE_NS // 2, MINUTE_NS, 3 * MINUTE_NS))
        newest = now_ns
        now_ns -= rng.choice((0, 0, 0, 2 * MINUTE_NS))  # a clock that stepped back
        names = rng.sample(TABLES, rng.randrange(len(TABLES) + 1))
        rows = {name: rng.randrange(1, 9) for name in names}
        counted_at = max(newest_counted(told), now_ns // MINUTE_NS)
        ring.count({tablet_of(name): number for name, number in rows.items()}, now_ns)
        for name, number in rows.items():
            told[name, counted_at] += number
        kept = newest_counted(told) - minutes_max
        for name in TABLES:
            expected = [
                (minute, number)
                for (of, minute), number in sorted(told.items())
                if of == name and minute > kept
            ]
            assert ring.of_table(CATALOG, "", name) == expected, f"seed {seed}"


def newest_counted(told: Counter[tuple[str, int]]) -> int:
    return max((minute for _name, minute in told), default=-1)


def test_a_full_ring_forgets_its_oldest_minutes_and_takes_no_more_tables_into_the_newest() -> None:
    ring = TableRows(minutes_max=100, entries_max=3)
    notes = tablet_of("notes")
    for minute in range(5):
        ring.count({notes: 1 + minute}, (FIRST + minute) * MINUTE_NS)
    assert ring.of_table(CATALOG, "", "notes") == [(FIRST + 2, 3), (FIRST + 3, 4), (FIRST + 4, 5)]
    ring.count({tablet_of("counters"): 1, b"a": 1, b"b": 1}, (FIRST + 4) * MINUTE_NS)
    ring.count({notes: 1}, (FIRST + 4) * MINUTE_NS)
    assert ring.of_table(CATALOG, "", "notes") == [(FIRST + 4, 6)], "who is in goes on"
    assert ring.of_table(CATALOG, "", "counters") == [(FIRST + 4, 1)]
    assert ring._entries == 3


@pytest.mark.parametrize(("component", "name"), [("", "nowhere"), ("ledger", "notes"), ("", "_tables")])
def test_of_a_table_that_is_none_of_the_apps_nothing_is_told(component: str, name: str) -> None:
    ring, database = TableRows(), CATALOG
    ring.count({table.tablet_id: 1 for table in database.tables.values()}, FIRST * MINUTE_NS)
    assert ring.of_table(database, component, name) == []


# --- on a server ----------------------------------------------------------------------------------------


async def rows_of(server: RecordedServer, metric: str, name: str, component: str = "") -> int:
    """Of all minutes; each of them is one of the last."""
    found: list[Any] = await server._runtime.backend.table_rows(metric, component, name)
    assert all(abs(minute - time.time() // 60) < 10 for minute, _rows in found)
    return sum(rows for _minute, rows in found)


def test_what_functions_read_of_a_table_is_counted_once_whoever_called_them(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        assert await rows_of(server, ROWS_READ, "notes") == 0
        for text in ("a", "bb", "ccc"):
            await server.mutate("note", {"text": text})
        counted = 0
        for run, read in (
            (server.query("notes", {}), 3),
            (server.mutate("readThenFail", {}), 3),
            (server.act("act"), 3),
            (server.query("one", {"id": "no id"}), 0),
        ):
            await run
            counted += read
            assert await rows_of(server, ROWS_READ, "notes") == counted
        assert await rows_of(server, ROWS_READ, "counters") == 0
        await server.mutate("increment", {"name": "a"})
        await server.mutate("increment", {"name": "a"})
        assert await rows_of(server, ROWS_READ, "counters") >= 1
        assert await rows_of(server, ROWS_READ, "notes") == counted

    play(ActionServer(tmp_path, SOURCE), scene)


def test_what_was_committed_into_a_table_is_counted_in_its_component(tmp_path: Path) -> None:
    async def scene() -> None:
        async with RecordedServer(tmp_path) as server:
            await server.push(ledger=True)
            for name in ("ann", "ann", "bob"):
                await server.mutate("post", {"name": name, "text": "x"})
            assert await rows_of(server, ROWS_WRITTEN, "notes") == 3
            assert await rows_of(server, ROWS_WRITTEN, "entries", "ledger") == 3, (
                "what failed came to nothing"
            )
            assert await rows_of(server, ROWS_WRITTEN, "entries") == 0
            read = await rows_of(server, ROWS_READ, "entries", "ledger")
            assert read == 1 + 2 + 3, "what it had written itself, too"

    asyncio.run(scene())
