"""The copy of other components' files is exact when it is put in place, whatever these did meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from actors.chain import Attempt, Chain, Done, PendingCall
from actors.projections.documents import MemorySnapshot
from functions.system.component_rows import install
from functions.system.files import FILES, insert_file
from functions.system.import_tables import activate, create_hidden
from functions.system.kept_files import FileReplacement, Kept
from functions.transaction import Transaction
from log.blob_store import StoredBlob
from log.committer import Admitted, CommitRequest
from log.errors import BackendError
from log.read_set import ReadSet
from log.record import CallTrace, CommitBody

from ...support.memory_database import MemoryDatabase

FILES_PER_STEP = 4
OWNERS = frozenset({"a", "c"})
PATHS = ("", "a", "b", "c", "a/b")
Documents = dict[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.system.kept_files.FILES_COPIED_PER_STEP", FILES_PER_STEP)


class World:
    """Files of several components, and an import that replaces those of `OWNERS`."""

    def __init__(self, seed: int, *, must_be_empty: bool = False) -> None:
        self.seed, self.rng = seed, random.Random(seed)
        self.database = MemoryDatabase(seed)
        for path in ("a", "b", "c", "a/b"):
            self.database.transact(lambda transaction, path=path: install(transaction, path))
        number = self.database.catalog.tables[FILES].number
        hidden = self.database.transact(lambda transaction: create_hidden(transaction, FILES, number))
        self.files = FileReplacement(hidden.tablet_id, OWNERS, must_be_empty)
        self.kept = Kept()

    def store(self, path: str) -> str:
        def write(transaction: Transaction) -> str:
            transaction.enter_component(path)
            file_id = insert_file(transaction, StoredBlob(f"{self.rng.random()}", b"sha", 1), None)
            transaction.enter_component("")
            return file_id

        return self.database.transact(write)

    def drop(self, file_id: str) -> None:
        self.database.transact(lambda tx: tx.delete(tx.catalog.tables[FILES], file_id))

    def change(self) -> None:
        """What somebody does, of whatever component."""
        files = list(self.of_table())
        if files and self.rng.random() < 0.5:
            self.drop(self.rng.choice(files))
        else:
            self.store(self.rng.choice(PATHS))

    def write_own(self, fields: dict[str, Any]) -> str:
        """A row of the import itself."""
        row = {"storageId": "s", "storageKey": "own", "sha256": b"", "size": 1, "contentType": None}

        def write(transaction: Transaction) -> str:
            target = transaction.catalog.hidden_tables[self.files.tablet_id]
            return transaction.restore(target, {**row, **fields})

        return self.database.transact(write)

    def step(self) -> int:
        """One step of the copy; how many rows it wrote."""
        transaction = self.database.begin()
        following = self.files.copy_step(transaction, self.kept)
        return self._commit(transaction, following)

    def finish(self) -> int:
        """The table is put in its place; how many rows of files that wrote."""
        transaction = self.begin_finish()
        written = self._commit(transaction, self.kept)
        return written - 1 - 2 * len(self.database.catalog.tables[FILES].indexes)  # of the catalog

    def begin_finish(self) -> Transaction:
        transaction = self.database.begin()
        self.files.finish(transaction, self.kept)
        activate(transaction, frozenset({self.files.tablet_id}), must_be_empty=False)
        return transaction

    def _commit(self, transaction: Transaction, following: Kept) -> int:
        written = len(transaction.commit_body(bytes(16), CallTrace(path="count")).writes)
        self.database.commit(transaction)
        self.kept = following
        return written

    def of_table(self) -> Documents:
        return {row["_id"]: row for row in self.database.documents(FILES)}

    def of_others(self) -> Documents:
        return {name: row for name, row in self.of_table().items() if row["owner"] not in OWNERS}


def run(world: World, between: Callable[[], None]) -> Documents:
    """The files there should be; the import has put its own in place."""
    own = {world.write_own({"owner": world.rng.choice(sorted(OWNERS))}) for _ in range(3)}
    while world.kept.end is not None:
        between()
        world.step()
    between()
    expected = world.of_others()
    world.finish()
    found = world.of_table()
    assert own <= found.keys(), f"seed {world.seed}"
    return expected | {name: found[name] for name in own}


@pytest.mark.parametrize("seed", range(20))
def test_the_copy_is_exact_beside_everybody_who_stores_and_deletes(seed: int) -> None:
    world = World(seed)
    for _ in range(30):
        world.store(world.rng.choice(PATHS))

    def between() -> None:
        for _ in range(world.rng.randrange(6)):
            world.change()

    expected = run(world, between)
    assert world.of_table() == expected, f"seed {seed}"


@pytest.mark.parametrize("seed", range(5))
def test_it_is_exact_too_when_nobody_remembers_what_changed(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemorySnapshot, "changed_keys", lambda *_: None)
    world = World(seed)
    for _ in range(20):
        world.store(world.rng.choice(PATHS))
    expected = run(world, world.change)
    assert world.of_table() == expected, f"seed {seed}"


def test_a_step_and_the_end_write_a_bounded_number_of_rows() -> None:
    world = World(seed=3)
    for _ in range(40):
        world.store(world.rng.choice(PATHS))
    changes, steps = 0, 0
    while world.kept.end is not None:
        assert world.step() <= FILES_PER_STEP + changes
        steps += 1
        changes = 2
        for _ in range(changes):
            world.change()
    assert steps > 8
    assert world.finish() <= changes


def test_a_file_that_comes_while_the_table_is_put_in_place_makes_that_lose() -> None:
    world = World(seed=1)
    for _ in range(10):
        world.store("")
    while world.kept.end is not None:
        world.step()
    finishing = world.begin_finish()
    late = world.store("b")
    with pytest.raises(AssertionError, match=r"(?i)conflict"):
        world.database.commit(finishing)
    world.finish()
    assert late in world.of_table()


def test_a_file_that_has_the_id_of_an_imported_one_ends_the_import() -> None:
    world = World(seed=1)
    taken = world.store("b")
    world.write_own({"owner": "a", "_id": taken})
    with pytest.raises(BackendError, match=f'The _id {taken} is in table "_storage" twice') as raised:
        world.step()
    assert raised.value.code == "DuplicateId"


@pytest.mark.parametrize("change", ["a file that comes", "a file that goes"])
@pytest.mark.parametrize("step", [0, 1])
def test_a_change_that_is_refused_after_a_step_ran_on_top_of_it_leaves_no_trace(
    change: str, step: int
) -> None:
    world = World(seed=1)
    for _ in range(2 * FILES_PER_STEP - 1):
        world.store("b")
    for _ in range(step):
        world.step()

    def refused(attempt: Attempt) -> Done[None]:
        transaction = attempt.transaction
        if change == "a file that comes":
            transaction.enter_component("b")
            insert_file(transaction, StoredBlob("phantom", b"sha", 1), None)
            transaction.enter_component("")
        else:
            transaction.delete(transaction.catalog.tables[FILES], sorted(world.of_table())[0])
        return Done(None, CallTrace(path="refused"))

    asyncio.run(run_on_refused(world, refused))
    while world.kept.end is not None:
        world.step()
    expected = world.of_others()
    assert len(expected) == 2 * FILES_PER_STEP - 1
    world.finish()
    assert world.of_table() == expected


async def run_on_refused(world: World, refused: Callable[[Attempt], Done[None]]) -> None:
    """A step in one chain with a call before it, which the committer then refuses."""
    database = world.database
    snapshot = database.view.snapshot(database.committer.published_ts)
    chain = Chain(snapshot, (), database.catalog, lambda: database.now_ns)
    following: list[Kept] = []

    def step(attempt: Attempt) -> Done[None]:
        following.append(world.files.copy_step(attempt.transaction, world.kept))
        return Done(None, CallTrace(path="copy"))

    assert chain.run(PendingCall(b"1" * 16, refused)) and chain.run(PendingCall(b"2" * 16, step))
    requests = [
        CommitRequest(ReadSet.decode(reads), CommitBody.decode(body), body) for reads, body in chain.proposals
    ]
    decisions = database.committer.propose_chain(requests, database.now_ns, {0})
    assert [isinstance(decision, Admitted) for decision in decisions] == [False, True]
    database._publish()
    world.kept = following[-1]


@pytest.mark.parametrize("is_late", [False, True])
def test_who_must_have_no_files_has_none(*, is_late: bool) -> None:
    world = World(seed=1, must_be_empty=True)
    for _ in range(10):
        world.store("b")
    if not is_late:
        world.store("a")
    with pytest.raises(BackendError) as raised:
        while world.kept.end is not None:
            world.step()
        world.store("c")
        world.finish()
    assert raised.value.code == "TableExists"
    assert (world.kept.end is None) == is_late
