"""Exports and imports of components: tables and files, to any depth, beside the app's (spec 02 18, 19)."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from functions.system.component_rows import install
from functions.system.deletions import delete_component
from functions.system.exports import request_export
from functions.system.files import FILES, insert_file
from functions.transaction import Transaction
from log import values
from log.blob_store import put_bytes, read_bytes
from log.errors import BackendError
from log.ids import encode_id
from log.limits import COMPONENT_DEPTH_MAX

from ..support.transfer_site import TransferSite, lines, run_site, zipped

FILE = encode_id(540, bytes(range(16)))
PATHS = ["", "a", "a/b", "c"]
TABLES = ["x", "y"]

Content = dict[str, list[dict[str, Any]]]


def install_all(transaction: Transaction) -> None:
    for path in PATHS[1:]:
        install(transaction, path)


async def fill(site: TransferSite, rng: random.Random) -> None:
    """Some rows in every table of every component, and some files of each."""
    scalars: list[Any] = [None, 1.5, 7, b"\xff", "ä", [], {"n": 1}]

    def write(transaction: Transaction) -> None:
        for path in PATHS:
            transaction.enter_component(path)
            for _ in range(rng.randrange(5, 30)):
                transaction.insert(rng.choice(TABLES), {"of": path, "v": rng.choice(scalars)})
            for _ in range(rng.randrange(3)):
                insert_file(transaction, put_bytes(site.blobs, rng.randbytes(500)), "image/png")
        transaction.enter_component("")

    await site.core.transact(write)


async def content_of(site: TransferSite) -> Content:
    tables = {f"{path}:{name}": await site.documents(name, path) for path in PATHS for name in TABLES}
    return {**tables, FILES: await site.documents(FILES)}


async def owners_of_files(site: TransferSite) -> list[str]:
    return sorted(file["owner"] for file in await site.documents(FILES))


async def archive_of(site: TransferSite, path: str = "") -> bytes:
    component_id = (await site.transactions.begin()).transaction.catalog_of(path)
    assert component_id is not None
    row = await site.export(files=True, component_id=component_id.component.namespace)
    assert row["state"] == "completed", row
    return read_bytes(site.blobs, row["zip_object_key"])


@pytest.mark.parametrize("seed", range(4))
def test_everything_comes_back_identical_after_everything_changed(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)

    async def scenario(site: TransferSite) -> None:
        await site.core.transact(install_all)
        await fill(site, rng)
        before, archive = await content_of(site), await archive_of(site)
        await fill(site, rng)
        state = await site.run_import(archive, "replaceAll")
        assert state["state"] == "completed", state
        after = await content_of(site)
        assert all(values.same(after[name], before[name]) for name in before), f"seed {seed}"
        assert state["num_rows_written"] == sum(map(len, before.values())), f"seed {seed}"

    run_site(tmp_path, scenario)


def test_where_components_are_not_installed_yet_they_get_their_rows_and_are_not_mounted(
    tmp_path: Path,
) -> None:
    async def scenario(site: TransferSite) -> None:
        archive = zipped(**{"_components/a/_components/b/x/documents.jsonl": lines({"n": 1.0})})
        assert (await site.run_import(archive, "requireEmpty"))["state"] == "completed"
        assert [row["n"] for row in await site.documents("x", "a/b")] == [1.0]
        catalog = (await site.transactions.begin()).transaction.catalog
        found = {each.component.path: each.component.is_mounted for each in catalog.everywhere()}
        assert found == {"": True, "a": False, "a/b": False}
        again = await site.run_import(archive, "requireEmpty")
        assert "Table x already exists" in again["error_message"]
        await site.core.transact(install_all)  # as a push does that mounts them
        assert [row["n"] for row in await site.documents("x", "a/b")] == [1.0]

    run_site(tmp_path, scenario)


def test_a_file_whose_id_another_component_has_ends_the_import_and_says_so(tmp_path: Path) -> None:
    async def scenario(site: TransferSite) -> None:
        archive = zipped(**{"_storage/documents.jsonl": lines({"_id": FILE}), f"_storage/{FILE}.txt": b"a"})
        await site.core.transact(install_all)
        assert (await site.run_import(archive, "replace"))["state"] == "completed"
        before = await site.documents(FILES)
        state = await site.run_import(archive, "replace", componentPath="a")
        assert (state["state"], state["error_message"]) == (
            "failed",
            f'Hit an error while importing:\nThe _id {FILE} is in table "_storage" twice',
        )
        assert await site.documents(FILES) == before and len(before) == 1

    run_site(tmp_path, scenario)


async def delete_whole(site: TransferSite, component_id: str | None) -> None:
    answer: dict[str, Any] = {"isDone": False}
    while not answer["isDone"]:
        answer = await site.operate(delete_component, componentId=component_id, next=answer.get("next"))


def test_an_export_of_a_component_that_is_deleted_meanwhile_is_none_of_the_app(tmp_path: Path) -> None:
    async def scenario(site: TransferSite) -> None:
        archive = zipped(**{"_components/a/x/documents.jsonl": lines({"n": 1.0})})
        assert (await site.run_import(archive, "requireEmpty"))["state"] == "completed"
        found = (await site.transactions.begin()).transaction.catalog_of("a")
        assert found is not None
        component_id = found.component.namespace
        await site.operate(request_export, includeStorage=False, component=component_id)
        await delete_whole(site, component_id)
        assert await site.exporting.run_next()
        assert (await site.documents("_exports"))[-1]["state"] == "failed"

    run_site(tmp_path, scenario)


@pytest.mark.parametrize("what", ["rows", "appended rows", "files"])
@pytest.mark.parametrize(
    ("source", "is_made_anew"),
    [
        ("begin_import", False),
        ("import_batch", False),
        ("import_batch", True),
        ("complete_import", False),
        ("complete_import", True),
    ],
)
def test_an_import_whose_component_is_deleted_meanwhile_fails_and_says_so(
    tmp_path: Path, what: str, source: str, *, is_made_anew: bool
) -> None:
    async def scenario(site: TransferSite) -> None:
        mode = "append" if what == "appended rows" else "replace"
        archive = zipped(x__documents=lines({"n": 1.0}))
        if what == "files":
            archive = zipped(
                **{"_storage/documents.jsonl": lines({"_id": FILE}), f"_storage/{FILE}.txt": b"a"}
            )
        await site.core.transact(lambda transaction: install(transaction, "a"))
        await site.insert("x", {"of": "the app"})
        found = (await site.transactions.begin()).transaction.catalog_of("a")
        assert found is not None
        component_id = found.component.namespace

        async def delete(committed: str) -> None:
            if committed == f"_system/{source}":
                site.before_commit = None
                await delete_whole(site, component_id)
                if is_made_anew:
                    await site.core.transact(lambda transaction: install(transaction, "a"))

        site.before_commit = delete
        state = await site.run_import(archive, mode, componentPath="a")
        assert state["state"] == "failed"
        assert state["error_message"] == (
            "Hit an error while importing:\nThe component 'a' was deleted while the import was under way."
        )
        catalog = (await site.transactions.begin()).transaction.catalog
        assert not catalog.hidden_tables
        assert [table.name for table in catalog.user_tables()] == ["x"]
        assert await site.documents("x", "a") == [] and await owners_of_files(site) == []

    run_site(tmp_path, scenario)


@pytest.mark.parametrize("source", ["begin_import", "import_batch", "complete_import"])
@pytest.mark.parametrize("target", ["a", "a/new"])
def test_an_import_into_a_component_whose_deletion_is_under_way_fails_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str
) -> None:
    monkeypatch.setattr("functions.system.deletions.COMPONENT_ROWS_READ_PER_STEP", 2)

    async def scenario(site: TransferSite) -> None:
        def fill(transaction: Transaction) -> None:
            install(transaction, "a")
            transaction.enter_component("a")
            for _ in range(7):
                insert_file(transaction, put_bytes(site.blobs, b"old"), None)
            transaction.enter_component("")

        await site.core.transact(fill)
        if target != "a" and source != "begin_import":
            await site.core.transact(lambda transaction: install(transaction, target))
        found = (await site.transactions.begin()).transaction.catalog_of("a")
        assert found is not None
        asked = {"componentId": found.component.namespace}
        answer: dict[str, Any] = {"isDone": False}

        async def begin_deletion(committed: str) -> None:
            if committed == f"_system/{source}":
                site.before_commit = None
                answer.update(await site.operate(delete_component, **asked))
                assert not answer["isDone"]

        site.before_commit = begin_deletion
        names = "/".join(f"_components/{name}" for name in target.split("/"))
        files = {"_storage/documents.jsonl": lines({"_id": FILE}), f"_storage/{FILE}.txt": b"a"}
        archive = zipped(**{f"{names}/{name}": content for name, content in files.items()})
        state = await site.run_import(archive, "append")
        assert (state["state"], "was deleted while" in state["error_message"]) == ("failed", True)
        while not answer["isDone"]:
            answer.update(await site.operate(delete_component, **asked, next=answer["next"]))
        assert await owners_of_files(site) == []
        assert not (await site.transactions.begin()).transaction.catalog.components.get("a")

    run_site(tmp_path, scenario)


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        ("_components/we ird/", "names no component"),
        ("_components//", "names no component"),
        ("_components/a/" * (COMPONENT_DEPTH_MAX + 1), "nested deeper than"),
        ("_components/a/" * 1_000, "nested deeper than"),
    ],
)
def test_components_that_no_push_could_install_are_none_of_an_import(
    tmp_path: Path, folder: str, why: str
) -> None:
    async def scenario(site: TransferSite) -> None:
        archive = zipped(**{f"{folder}x/documents.jsonl": lines({"n": 1.0})})
        assert why in (await site.run_import(archive, "requireEmpty"))["error_message"]
        catalog = (await site.transactions.begin()).transaction.catalog
        assert [each.component.path for each in catalog.everywhere()] == [""]

    run_site(tmp_path, scenario)


def test_replaced_files_are_those_of_the_component_and_others_stay_however_late_they_come(
    tmp_path: Path,
) -> None:
    async def scenario(site: TransferSite) -> None:
        def store(path: str) -> Any:
            def write(transaction: Transaction) -> None:
                transaction.enter_component(path)
                insert_file(transaction, put_bytes(site.blobs, path.encode()), None)
                transaction.enter_component("")

            return write

        await site.core.transact(install_all)
        for path in PATHS:
            await site.core.transact(store(path))
        archive = await archive_of(site, "a")
        await site.core.transact(store("a"))

        async def store_late(source: str) -> None:
            if source == "_system/complete_import":
                site.before_commit = None
                await site.core.transact(store("c"))

        site.before_commit = store_late
        state = await site.run_import(archive, "replace", componentPath="a")
        assert state["state"] == "completed", state
        assert await owners_of_files(site) == ["", "a", "a/b", "c", "c"]

    run_site(tmp_path, scenario)


@pytest.mark.parametrize("seed", range(3))
def test_files_of_others_stay_as_these_leave_them_while_those_of_a_component_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("functions.system.kept_files.FILES_COPIED_PER_STEP", 3)
    rng = random.Random(seed)

    async def scenario(site: TransferSite) -> None:
        def change(transaction: Transaction) -> None:
            table = transaction.catalog.tables[FILES]
            others = [file for file in transaction.all_documents(table) if file["owner"] != "a"]
            if others and rng.random() < 0.4:
                transaction.delete(table, rng.choice(others)["_id"])
            transaction.enter_component(rng.choice(["", "a/b", "c"]))
            insert_file(transaction, put_bytes(site.blobs, rng.randbytes(20)), None)
            transaction.enter_component("")

        await site.core.transact(install_all)
        for _ in range(10):
            await site.core.transact(change)
        heard: list[str] = []
        expected: list[dict[str, Any]] = []

        async def interfere(source: str) -> None:
            nonlocal expected
            heard.append(source)
            if source in ("_system/import_files", "_system/complete_import"):
                await site.core.transact(change)
                expected = await site.documents(FILES)

        files = {"_storage/documents.jsonl": lines({"_id": FILE}), f"_storage/{FILE}.txt": b"a"}
        site.before_commit = interfere
        state = await site.run_import(zipped(**files), "replace", componentPath="a")
        assert state["state"] == "completed", state
        assert heard.count("_system/import_files") >= 3 and heard[-1] == "_system/complete_import"
        found = {file["_id"]: file for file in await site.documents(FILES)}
        assert found.pop(FILE)["owner"] == "a"
        assert list(found.values()) == expected, f"seed {seed}"
        transaction = (await site.transactions.begin()).transaction
        for index in transaction.catalog.tables[FILES].indexes:
            rows = transaction.snapshot.scan(index.index_id, b"", None, descending=False, limit=1_000)
            assert len(rows) == len(expected) + 1, f"seed {seed}: {index.name}"

    run_site(tmp_path, scenario)


def test_what_is_sent_to_a_component_touches_no_other(tmp_path: Path) -> None:
    async def scenario(site: TransferSite) -> None:
        await site.core.transact(install_all)
        await fill(site, random.Random(3))
        before = await content_of(site)
        rows = lines({"n": 2.0})
        state = await site.run_import(rows, format="jsonLines", tableName="x", componentPath="a/b")
        assert state["state"] == "completed", state
        after = await content_of(site)
        assert [row["n"] for row in after.pop("a/b:x")] == [2.0]
        assert all(values.same(after[name], before[name]) for name in after)
        replaced = await site.run_import(rows, "append", format="jsonLines", tableName="y", componentPath="c")
        assert replaced["state"] == "completed", replaced
        assert len(await site.documents("y", "c")) == len(before["c:y"]) + 1

    run_site(tmp_path, scenario)


def test_replacing_all_of_a_component_empties_what_is_below_it_and_nothing_else(tmp_path: Path) -> None:
    async def scenario(site: TransferSite) -> None:
        await site.core.transact(install_all)
        await fill(site, random.Random(5))
        before = await content_of(site)
        state = await site.run_import(zipped(x__documents=lines({"n": 3.0})), "replaceAll", componentPath="a")
        assert state["state"] == "completed", state
        after = await content_of(site)
        assert [row["n"] for row in after["a:x"]] == [3.0]
        assert not after["a:y"] and not after["a/b:x"] and not after["a/b:y"]
        kept = [name for name in before if name.startswith((":", "c:"))]
        assert all(values.same(after[name], before[name]) for name in kept)
        expected = [file["owner"] for file in before[FILES] if file["owner"] in ("", "c")]
        assert await owners_of_files(site) == sorted(expected)

    run_site(tmp_path, scenario)


def test_an_export_of_a_component_has_its_tables_at_the_top_and_its_children_below(tmp_path: Path) -> None:
    async def scenario(site: TransferSite) -> None:
        await site.core.transact(install_all)
        await fill(site, random.Random(7))
        await archive_of(site, "a")
        names = set(site.zip_of((await site.documents("_exports"))[-1]).namelist())
        assert {"x/documents.jsonl", "_components/b/x/documents.jsonl"} <= names
        assert not [name for name in names if name.startswith(("_components/a/", "_components/c/"))]

    run_site(tmp_path, scenario)


def test_a_component_nobody_knows_is_refused(tmp_path: Path) -> None:
    async def scenario(site: TransferSite) -> None:
        with pytest.raises(BackendError) as raised:
            await site.upload(b"", componentPath="nobody")
        assert "Component path 'nobody' not found" in raised.value.message
        with pytest.raises(BackendError) as raised:
            await site.export(component_id="nobody")
        assert raised.value.code == "ComponentNotFound"

    run_site(tmp_path, scenario)
