"""Mutations that search and write race over a real core: serial where they share a word, free where not."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.ahead_snapshot import AheadSnapshot
from cluster.local_runtime import DirectPeer
from functions.catalog import index_fields
from functions.indexes import SEARCH, Index
from functions.query import QueryStream, plan_query
from functions.transaction import Transaction
from log import values
from log.errors import BackendError
from log.record import CallTrace, CommitBody, DocumentWrite

from ..functions.search.test_text_search import search_tree
from .test_transactor import World, play

TRANSACTORS = 3


async def make_notes(world: World) -> None:
    def make(transaction: Transaction) -> None:
        table = transaction.create_table("notes")
        transaction.insert("_index", index_fields(table, Index(b"", "by_body", (("body",),), kind=SEARCH)))

    await world.run(make)


def found(transaction: Transaction, text: str) -> list[str]:
    """The bodies of the notes a search finds, in the order of their commits."""
    stream = QueryStream(plan_query(search_tree(text), transaction.catalog), transaction)
    rows: list[tuple[int, str]] = []
    while (row := stream.next()) is not None:
        document: Any = values.loads_canonical(row.document)
        rows.append((row.revision_ts, document["body"]))
    return [body for _ts, body in sorted(rows)]


def claim(text: str) -> Callable[[Transaction], bool]:
    """Work that writes a note unless a search finds one; whether it did."""

    def work(transaction: Transaction) -> bool:
        if found(transaction, text):
            return False
        transaction.insert("notes", {"body": text})
        return True

    return work


@pytest.mark.parametrize("seed", range(5))
def test_of_calls_that_claim_a_word_by_searching_for_it_one_gets_it(tmp_path: Path, seed: int) -> None:
    async def scene(world: World) -> None:
        await make_notes(world)
        rng = random.Random(seed)
        asked = rng.choices([f"word{letter}" for letter in "abcdefgh"], k=60)
        claims = (world.run(claim(f"{word} {number}th"), number) for number, word in enumerate(asked))
        got = await asyncio.gather(*claims)
        winners = Counter(word for word, is_mine in zip(asked, got, strict=True) if is_mine)
        assert winners == dict.fromkeys(set(asked), 1), f"seed {seed}"
        written = await world.run(lambda it: found(it, "word"))
        assert sorted(body.split()[0] for body in written) == sorted(set(asked)), f"seed {seed}"
        assert sum(world.transactor(n).conflicts_met for n in range(TRANSACTORS)), "nobody raced"

    play(tmp_path, scene, TRANSACTORS)


@pytest.mark.parametrize("seed", range(5))
def test_a_claim_of_a_prefix_fails_once_a_word_begins_with_it(tmp_path: Path, seed: int) -> None:
    async def scene(world: World) -> None:
        await make_notes(world)
        asked = ["fo", "fox", "foxe", "foxes", "foxesa"] * 5
        random.Random(seed).shuffle(asked)
        await asyncio.gather(*(world.run(claim(word), number) for number, word in enumerate(asked)))
        written = await world.run(lambda it: found(it, "f"))
        assert written == sorted(set(written)), f"seed {seed}: a later word begins an earlier one"
        assert "foxesa" in written, f"seed {seed}"

    play(tmp_path, scene, TRANSACTORS)


def test_calls_that_search_for_other_words_than_are_written_meet_no_conflict(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await make_notes(world)
        assert all(await asyncio.gather(*(world.run(claim(f"{n}word {n}th"), n) for n in range(40))))
        assert not any(world.transactor(n).conflicts_met for n in range(TRANSACTORS))

    play(tmp_path, scene, TRANSACTORS)


def test_who_loses_by_a_word_is_told_the_table_the_index_and_the_word(
    tmp_path: Path,
) -> None:
    async def scene(world: World) -> None:
        await make_notes(world)
        racing = (world.run(claim("fox"), n, attempts_max=1) for n in range(TRANSACTORS))
        ended = await asyncio.gather(*racing, return_exceptions=True)
        refused = [failure for failure in ended if isinstance(failure, BackendError)]
        assert len(refused) == TRANSACTORS - 1, ended
        for failure in refused:
            assert 'written to the "notes" table changed while' in failure.message
            assert (
                'Another call to this mutation changed a document with "fox" in the search index "by_body". '
                in failure.message
            )
        index_id = await world.run(lambda it: it.catalog.tables["notes"].kept_indexes[0].index_id)
        peer = DirectPeer(world.core, lambda event, arguments: None)
        assert await peer.call("index_names", [index_id]) == ("notes.by_body",)

    play(tmp_path, scene, TRANSACTORS)


def test_words_are_entries_of_no_view(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await make_notes(world)
        await world.run(claim("red fox"))
        notes = await world.run(lambda it: it.catalog.tables["notes"])
        (by_body,) = notes.kept_indexes
        base = world.core.view_reader().snapshot(world.core.published_ts)
        assert base.scan(by_body.index_id, b"", None, descending=False, limit=9) == []
        write = DocumentWrite(notes.tablet_id, "d", 0, 2, b"{}", (), ((by_body.index_id, (b"\x10fox\x00",)),))
        ahead = AheadSnapshot(base, [(base.ts + 1, CommitBody(base.ts, b"call", CallTrace(), (write,)))])
        assert ahead.scan(by_body.index_id, b"", None, descending=False, limit=9) == []

    play(tmp_path, scene, 1)
