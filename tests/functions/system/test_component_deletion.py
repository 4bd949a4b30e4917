"""A component is deleted in steps, each a transaction, beside everybody who goes on writing (spec 02 21)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from functions import scheduled_jobs
from functions.catalog import Table
from functions.components import COMPONENTS, owner_of
from functions.cron_jobs import replace_crons
from functions.crons import stored_schedule
from functions.function_address import FunctionAddress
from functions.path import parse_function_path
from functions.system.component_rows import install
from functions.system.deletions import delete_component
from functions.system.files import FILES, insert_file
from functions.system.operation import SystemContext
from functions.system.registry import OPERATIONS
from functions.transaction import Transaction
from log.blob_store import StoredBlob
from log.errors import BackendError

from ...support.deployment import Deployment, functions_module

PATHS = ("", "a", "a/b", "a/b/c", "a/d", "ab", "e")
BELOW_A = {"a", "a/b", "a/b/c", "a/d"}
ROWS_PER_STEP = 3
DEFINITIONS = ("_modules", "_schemas", "_cron_jobs")

Kind = tuple[str, str]
"""(owner, "files" | "jobs" | "tables")."""


class World:
    """A deployment whose components own files, jobs and tables, and a count of what each should own."""

    def __init__(self, seed: int = 0) -> None:
        self.deployment, self.rng = Deployment(seed), random.Random(seed)
        self.expected: Counter[Kind] = Counter()
        self.deployment.push(functions_module("m.js", "export const f = mutation();"))
        for path in PATHS[1:]:
            self.within("", lambda transaction, path=path: install(transaction, path))

    def within(self, path: str, write: Callable[[Transaction], Any]) -> Any:
        def run(transaction: Transaction) -> Any:
            transaction.enter_component(path)
            answer = write(transaction)
            transaction.enter_component("")
            return answer

        return self.deployment.database.transact(run)

    def add(self, path: str, kind: str) -> None:
        self.within(path, {"files": store, "jobs": schedule, "tables": self._write_document}[kind])
        self.expected[path, kind] += 1

    def _write_document(self, transaction: Transaction) -> None:
        transaction.insert(f"t{self.rng.getrandbits(40)}", {"n": 1.0})

    def add_some(self, count: int, paths: tuple[str, ...] = PATHS) -> None:
        for _ in range(count):
            self.add(self.rng.choice(paths), self.rng.choice(("files", "jobs", "jobs", "files", "tables")))

    @property
    def found(self) -> Counter[Kind]:
        database = self.deployment.database
        found = Counter((owner_of(row), "files") for row in database.documents(FILES))
        found.update((owner_of(row), "jobs") for row in database.documents(scheduled_jobs.JOBS))
        for catalog in database.catalog.everywhere():
            found[catalog.component.path, "tables"] += len(catalog.user_tables())
        return +found

    @property
    def paths(self) -> set[str]:
        return {catalog.component.path for catalog in self.deployment.database.catalog.everywhere()}

    def id_of(self, path: str) -> str:
        namespace = self.deployment.database.catalog.components[path].component.namespace
        assert namespace is not None
        return namespace

    def step(self, component_id: str, place: Any = None) -> dict[str, Any]:
        body = {"componentId": component_id, "next": place}
        answer: dict[str, Any] = self.deployment.operate("delete_component", body)
        return answer

    def delete(self, path: str, between: Callable[[], None] = lambda: None) -> int:
        """How many steps it took."""
        component_id, steps = self.id_of(path), 1
        answer = self.step(component_id)
        while not answer["isDone"]:
            between()
            answer, steps = self.step(component_id, answer["next"]), steps + 1
            assert steps < 500
        return steps

    def set_state(self, path: str, state: str) -> None:
        row_id = self.id_of(path)
        self.within("", lambda tx: tx.patch(tx.catalog.tables[COMPONENTS], row_id, {"state": state}))


def store(transaction: Transaction) -> str:
    return insert_file(transaction, StoredBlob("key", b"sha", 1), None)


def schedule(transaction: Transaction) -> str:
    callee = FunctionAddress("", parse_function_path("m:f"))
    return scheduled_jobs.schedule(transaction, callee, {}, transaction.now_ns / 1e9)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.system.deletions.COMPONENT_ROWS_READ_PER_STEP", ROWS_PER_STEP)


def events_of(world: World) -> list[str]:
    rows = world.deployment.database.documents("_deployment_audit_log")
    return [row["metadata"]["component"] for row in rows if row["action"] == "delete_component"]


@pytest.mark.parametrize("seed", range(6))
def test_what_is_left_is_what_was_of_others_whatever_these_do_meanwhile(seed: int) -> None:
    world = World(seed)
    world.add_some(40)
    others = tuple(path for path in PATHS if path not in BELOW_A)

    def go_on() -> None:
        if world.rng.random() < 0.3:
            world.add_some(1, others)

    assert world.delete("a", go_on) > 10, f"seed {seed}"
    left = {kind: count for kind, count in world.expected.items() if kind[0] not in BELOW_A}
    assert world.found == left, f"seed {seed}"
    assert world.paths == set(others), f"seed {seed}"
    arguments = world.deployment.database.documents(scheduled_jobs.ARGUMENTS)
    assert len(arguments) == sum(count for (_, kind), count in left.items() if kind == "jobs")
    assert events_of(world) == ["a"], f"seed {seed}"


@pytest.mark.parametrize("seed", range(3))
def test_a_step_deletes_a_bounded_number_and_the_components_row_goes_with_the_event_in_the_last(
    seed: int,
) -> None:
    world = World(seed)
    world.add_some(30)
    before = world.found
    left: list[int] = [before.total()]

    def look() -> None:
        left.append(world.found.total())
        assert left[-2] - left[-1] <= ROWS_PER_STEP, f"seed {seed}"
        assert "a" in world.paths and not events_of(world), f"seed {seed}"
        for path in world.paths - {""}:
            assert path.rpartition("/")[0] in world.paths, f"seed {seed}: the deepest go first"

    world.delete("a", look)
    assert "a" not in world.paths and events_of(world) == ["a"]
    assert len(left) > 5


@pytest.mark.parametrize("steps", [1, 2, 5, 9, 14])
def test_a_deletion_that_was_broken_off_is_asked_for_again_and_ends(steps: int) -> None:
    world = World(seed=7)
    world.add_some(40)
    component_id, place = world.id_of("a"), None
    for _ in range(steps):
        answer = world.step(component_id, place)
        assert not answer["isDone"]
        place = answer["next"]
    world.delete("a")
    assert not {owner for owner, _ in world.found} & BELOW_A
    assert world.paths == set(PATHS) - BELOW_A and events_of(world) == ["a"]


@pytest.mark.parametrize("mounted", ["a", "a/b/c"])
@pytest.mark.parametrize("steps", [0, 1, 6, 12])
def test_one_that_is_mounted_between_two_steps_keeps_what_it_still_has(steps: int, mounted: str) -> None:
    world = World(seed=3)
    world.add_some(40)
    component_id, place = world.id_of("a"), None
    for _ in range(steps):
        place = world.step(component_id, place)["next"]
    world.set_state(mounted, "active")
    before, rows = world.found, world.deployment.database.documents(COMPONENTS)
    for _ in range(2):
        with pytest.raises(BackendError) as raised:
            world.step(component_id, place)
        assert raised.value.code == "ComponentMustBeUnmounted"
    assert world.found == before and world.deployment.database.documents(COMPONENTS) == rows
    world.add(mounted, "files")
    world.add(mounted, "jobs")


@pytest.mark.parametrize("write", [store, schedule])
@pytest.mark.parametrize("path", ["a", "a/d"])
def test_nobody_adds_to_a_component_whose_deletion_has_begun(
    write: Callable[[Transaction], str], path: str
) -> None:
    world = World(seed=5)
    world.add_some(30)
    world.within(path, write)  # unmounted, and not being deleted
    place = world.step(world.id_of("a"))["next"]
    with pytest.raises(BackendError, match=f"The component '{path}' was deleted") as raised:
        world.within(path, write)
    assert raised.value.code == "ComponentNotFound"
    component_id = world.id_of("a")
    while not (answer := world.step(component_id, place))["isDone"]:
        place = answer["next"]
    assert not {owner for owner, _ in world.found} & BELOW_A


def test_who_began_before_the_first_step_loses_to_it() -> None:
    world = World(seed=5)
    world.add_some(30)
    database = world.deployment.database
    begun = database.begin()
    begun.enter_component("a/b")
    store(begun)
    begun.enter_component("")
    world.step(world.id_of("a"))
    with pytest.raises(AssertionError, match=r"(?i)conflict"):
        database.commit(begun)


def test_a_component_that_comes_below_meanwhile_goes_too_with_all_it_got() -> None:
    world = World(seed=9)
    world.add_some(30)
    component_id = world.id_of("a")
    place = world.step(component_id)["next"]
    while place["table"] == FILES:
        place = world.step(component_id, place)["next"]
    world.within("", lambda transaction: install(transaction, "a/late"))
    world.add("a/late", "files")
    world.add("a/late", "tables")
    answer = {"isDone": False, "next": place}
    while not answer["isDone"]:
        answer = world.step(component_id, answer["next"])
    assert world.paths == set(PATHS) - BELOW_A
    assert not {owner for owner, _ in world.found if owner.startswith("a/")}


def test_a_small_component_takes_two_steps_of_which_the_first_only_marks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("functions.system.deletions.COMPONENT_ROWS_READ_PER_STEP", 1_000)
    world = World(seed=2)
    world.add_some(30)
    before = world.found
    assert world.delete("a", lambda: _assert_same(world.found, before)) == 2
    assert world.paths == set(PATHS) - BELOW_A


def _assert_same(found: Counter[Kind], expected: Counter[Kind]) -> None:
    assert found == expected


@pytest.mark.parametrize("rows_per_step", [ROWS_PER_STEP, 1_000])
@pytest.mark.parametrize("kind", ["files", "jobs"])
def test_what_is_committed_between_begin_and_commit_of_the_marking_step_goes_too(
    rows_per_step: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.system.deletions.COMPONENT_ROWS_READ_PER_STEP", rows_per_step)
    world = World(seed=1)
    for _ in range(5):
        world.add("a", kind)
    database, component_id = world.deployment.database, world.id_of("a")
    marking = database.begin()
    body = {"componentId": component_id, "next": None}
    answer = delete_component(marking, body, None, world.deployment.context)
    database.now_ns += 2_000_000
    world.add("a", kind)
    database.commit(marking)
    while not answer["isDone"]:
        answer = world.step(component_id, answer["next"])
    assert world.found == Counter() and "a" not in world.paths


@pytest.mark.parametrize("rows_per_step", [ROWS_PER_STEP, 1_000])
def test_modules_schemas_and_crons_go_with_their_component_and_are_read_once_in_a_step(
    rows_per_step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.system.deletions.COMPONENT_ROWS_READ_PER_STEP", rows_per_step)
    world = World(seed=8)
    for path in PATHS:
        world.within(path, define)
    assert Counter(owners_of_definitions(world)) == {path: 4 for path in PATHS}
    read: Counter[str] = Counter()
    read_all = Transaction.all_documents

    def count(transaction: Transaction, table: Table) -> list[dict[str, Any]]:
        read[table.name] += 1
        return read_all(transaction, table)

    monkeypatch.setattr(Transaction, "all_documents", count)
    component_id, place, steps = world.id_of("a"), None, 0
    while not (answer := world.step(component_id, place))["isDone"]:
        place, steps = answer["next"], steps + 1
        assert max(read[name] for name in DEFINITIONS) <= 1, f"step {steps}"
        read.clear()
    assert [read[name] for name in DEFINITIONS] == [1, 1, 1]
    monkeypatch.undo()
    others = set(PATHS) - BELOW_A
    assert Counter(owners_of_definitions(world)) == {path: 4 for path in others}
    assert len(world.deployment.database.documents("_cron_next_run")) == len(others)
    assert world.paths == others


def define(transaction: Transaction) -> None:
    """Two modules, a schema and a cron of the component that the transaction is in."""
    owned = {"component": transaction.component.namespace}
    for name in ("one", "two"):
        module = {"path": f"{name}.js", "sha256": "0", "environment": "isolate", "analyzeResult": "{}"}
        transaction.insert("_modules", {**module, **owned})
    transaction.insert("_schemas", {"state": {"state": "overwritten"}, "schema": "{}", **owned})
    schedule = stored_schedule("c", {"type": "interval", "seconds": 60})
    spec = {"udfPath": "m.js:f", "udfArgs": "[{}]", "cronSchedule": schedule}
    replace_crons(transaction, [{"identifier": "c", "spec": spec}])


def owners_of_definitions(world: World) -> list[str]:
    database = world.deployment.database
    paths = {each.component.namespace: each.component.path for each in database.catalog.everywhere()}
    shared = [*database.documents("_modules"), *database.documents("_schemas")]
    crons = [owner_of(row) for row in database.documents("_cron_jobs")]
    return [paths[row.get("component")] for row in shared if row.get("path") != "m.js"] + crons


@pytest.mark.parametrize("component_id", ["", "unknown", 7, None])
def test_what_is_no_component_is_refused(component_id: Any) -> None:
    world = World()
    with pytest.raises(BackendError) as raised:
        world.step(component_id)
    assert raised.value.code in ("BadJsonBody", "ComponentNotFound")
    assert world.paths == set(PATHS)


@pytest.mark.parametrize(
    "changes",
    [{"afterKey": "zz"}, {"createdBeforeMs": "soon"}, {"table": "_modules"}, {"table": None}, {"table": []}],
)
def test_a_place_that_no_step_answered_is_refused(changes: dict[str, Any]) -> None:
    world = World(seed=4)
    world.add_some(30)
    component_id = world.id_of("a")
    place = world.step(component_id, world.step(component_id)["next"])["next"]
    assert place.keys() == {"table", "afterKey", "createdBeforeMs"}
    with pytest.raises(BackendError, match="`next` is what the step before answered"):
        world.step(component_id, {**place, **changes})


def test_an_upload_for_a_component_that_is_gone_is_no_file_of_the_app() -> None:
    world = World(seed=6)
    component_id = world.id_of("e")
    world.delete("e")
    body = {"component": component_id, "storageId": "0" * 36, "storageKey": "key", "sha256": "00", "size": 1}

    def upload(transaction: Transaction) -> Any:
        context: SystemContext = world.deployment.context
        return OPERATIONS["store_file"].run(transaction, {**body, "contentType": None}, None, context)

    with pytest.raises(BackendError) as raised:
        world.deployment.database.transact(upload)
    assert raised.value.code == "ComponentNotFound"
    assert world.deployment.database.documents(FILES) == []
