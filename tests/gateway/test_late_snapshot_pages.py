"""Pages of a snapshot that the view no longer knows: deltas tell what was written since (spec 02 20)."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from functions.system.import_tables import activate, create_hidden, drop_table
from functions.transaction import Transaction
from log import limits
from log.ids import encode_id

from ..support.stream_deltas import Writer, applied, as_commits, deltas_after
from ..support.stream_site import Name, StreamSite, document_of, name_of, pages_of, run_site

NOT_IMPORTED = {"tableName": "others"}


async def make_late(site: StreamSite) -> None:
    """No snapshot that was begun before can be read from the view any more."""
    await site.insert("unrelated", {"late": True})
    site.forget_past()


@pytest.mark.parametrize("round_number", range(8))
def test_a_snapshot_and_its_deltas_give_what_the_database_has_whenever_its_moment_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, round_number: int
) -> None:
    seed = random.randrange(1 << 32)

    async def scenario(site: StreamSite) -> None:
        await site.push(ledger=True)
        writer = Writer(site, seed)
        rng = writer.rng
        await site.insert("notes", *({"n": float(n)} for n in range(24)))
        await site.insert("entries", *({"n": float(n)} for n in range(8)), component="ledger")
        writer.live += await site.everything()
        await writer.write(10)
        before = await site.everything()
        monkeypatch.setattr(limits, "STREAM_PAGE_ROWS_MAX", rng.choice((1, 2, 3)))
        monkeypatch.setattr(limits, "STREAM_ROWS_READ_MAX", rng.choice((3, 4, 100)))
        late_after, is_late = rng.randrange(1, 6), False

        async def write_on(page_number: int) -> None:
            nonlocal is_late
            await writer.write(rng.randrange(3))
            if page_number >= late_after:
                await make_late(site)
                is_late = True

        snapshot, pages = await pages_of(site, write_on)
        assert is_late
        told: dict[Name, bytes] = {}
        for shown in (shown for page in pages for shown in page):
            assert shown["_ts"] <= snapshot
            assert name_of(shown) not in told, "a document was told twice"
            told[name_of(shown)] = document_of(shown)
        assert told.items() <= before.items()
        await writer.write(rng.randrange(10))
        commits = as_commits((await deltas_after(site, snapshot))[1])
        changed = {name for _, written in commits for name in written}
        assert before.keys() - told.keys() <= changed
        assert applied(told, commits) == await site.everything()

    run_site(tmp_path, scenario)


def test_what_was_changed_deleted_or_inserted_again_since_is_left_out_and_everything_else_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(site: StreamSite) -> None:
        ids = sorted(await site.insert("notes", *({"n": float(n)} for n in range(6))))
        monkeypatch.setattr(limits, "STREAM_PAGE_ROWS_MAX", 1)

        async def change(page_number: int) -> None:
            if page_number > 1:
                return
            await site.write(lambda tx: tx.patch(tx.catalog.tables["notes"], ids[0], {"changed": True}))
            await site.write(lambda tx: tx.patch(tx.catalog.tables["notes"], ids[1], {"changed": True}))
            for document_id in (ids[2], ids[3]):
                await site.write(lambda tx, gone=document_id: tx.delete(tx.catalog.tables["notes"], gone))  # type: ignore[misc]
            await site.write(
                lambda tx: tx.insert_with_id(tx.catalog.tables["notes"], ids[3], {"again": True})
            )
            await site.insert("notes", {"n": 7.0})
            await make_late(site)

        snapshot, pages = await pages_of(site, change)
        assert [shown["_id"] for page in pages for shown in page] == [ids[0], ids[4], ids[5]]
        deltas = (await deltas_after(site, snapshot, tableName="notes"))[1]
        told = [(shown["_id"], shown["_deleted"]) for shown in deltas]
        deletions = [(ids[2], True), (ids[3], True)]
        assert told[:-1] == [(ids[0], False), (ids[1], False), *deletions, (ids[3], False)]

    run_site(tmp_path, scenario)


def test_of_a_table_created_since_nothing_is_told_and_one_deleted_since_is_gone(tmp_path: Path) -> None:
    async def scenario(site: StreamSite) -> None:
        await site.insert("kept", {"n": 1.0})
        await site.insert("deleted", {"n": 1.0})
        await site.insert("remade", {"n": 1.0})
        snapshot = (await site.ask("list_snapshot"))["snapshot"]
        await site.insert("created", {"n": 2.0})
        await site.write(lambda tx: drop_table(tx, tx.catalog.tables["deleted"]))
        await site.write(lambda tx: drop_table(tx, tx.catalog.tables["remade"]))
        await site.insert("remade", {"n": 2.0})
        early = (await site.ask("list_snapshot", snapshot=snapshot))["values"]
        assert sorted(shown["_table"] for shown in early) == ["deleted", "kept", "remade"]
        await make_late(site)
        late = await site.ask("list_snapshot", snapshot=snapshot)
        assert [(shown["_table"], shown["n"]) for shown in late["values"]] == [("kept", 1.0)]
        assert (late["snapshot"], late["hasMore"], late["cursor"]) == (snapshot, False, None)
        for table in ("created", "deleted", "remade", "nowhere"):
            assert (await site.ask("list_snapshot", snapshot=snapshot, tableName=table))["values"] == []

    run_site(tmp_path, scenario)


def test_where_an_import_has_put_a_table_in_place_since_a_late_page_is_refused(tmp_path: Path) -> None:
    """Its rows may be older than the snapshot, but nobody could see them then."""

    async def scenario(site: StreamSite) -> None:
        await site.insert("notes", {"n": 1.0})
        await site.insert("others", {"n": 1.0})
        tablet: list[bytes] = []

        def fill(transaction: Transaction) -> None:
            number = transaction.catalog.tables["notes"].number
            hidden = create_hidden(transaction, "notes", number)
            tablet[:] = [hidden.tablet_id]
            document_id = encode_id(number, transaction.new_internal_id())
            transaction.insert_with_id(hidden, document_id, {"n": 2.0})

        before_filled = (await site.ask("list_snapshot"))["snapshot"]
        await site.write(fill)
        await site.insert("others", {"n": 2.0})
        filled = (await site.ask("list_snapshot"))["snapshot"]
        await make_late(site)
        late = await site.ask("list_snapshot", snapshot=filled)
        assert sorted(shown["n"] for shown in late["values"]) == [1.0, 1.0, 2.0]
        assert [shown["n"] for shown in late["values"] if shown["_table"] == "notes"] == [1.0]

        await site.write(lambda tx: activate(tx, frozenset(tablet), must_be_empty=False))
        in_place = (await site.ask("list_snapshot"))["snapshot"]
        early = await site.ask("list_snapshot", snapshot=filled, tableName="nowhere")
        assert early["values"] == []
        await make_late(site)
        for snapshot in (before_filled, filled):
            for operation, moment in (("list_snapshot", "snapshot"), ("document_deltas", "cursor")):
                for asked in ({}, {"tableName": "notes"}):
                    refusal = await site.refusal(operation, **{moment: snapshot}, **asked)
                    assert refusal == (400, "TableWasImported"), (operation, asked)
            of_others = await site.ask("list_snapshot", snapshot=snapshot, **NOT_IMPORTED)
            assert len(of_others["values"]) == (1 if snapshot == before_filled else 2)
        notes = (await site.ask("list_snapshot", snapshot=in_place, tableName="notes"))["values"]
        assert [shown["n"] for shown in notes] == [2.0]

    run_site(tmp_path, scenario)


def test_appended_rows_come_with_deltas_and_replaced_ones_refuse_late_pages_and_deltas_alike(
    tmp_path: Path,
) -> None:
    """Imports as operators do them."""

    async def scenario(site: StreamSite) -> None:
        await site.insert("notes", {"n": 1.0})
        await site.insert("others", {"n": 1.0})
        snapshot = (await site.ask("list_snapshot"))["snapshot"]
        await site.import_lines("append", "notes", b'{"n":2}')
        await site.import_lines("append", "new", b'{"n":2}')
        await make_late(site)
        page = await site.ask("list_snapshot", snapshot=snapshot)
        told = {name_of(shown): document_of(shown) for shown in page["values"]}
        assert len(told) == 2
        commits = as_commits((await deltas_after(site, snapshot))[1])
        assert applied(told, commits) == await site.everything()
        for table in ("notes", "newer"):
            await site.import_lines("replace", table, b'{"n":3}')
            await make_late(site)
            for asked in ({}, {"tableName": table}):
                refused = (400, "TableWasImported")
                assert await site.refusal("list_snapshot", snapshot=snapshot, **asked) == refused
                assert await site.refusal("document_deltas", cursor=snapshot, **asked) == refused
            of_others = await site.ask("list_snapshot", snapshot=snapshot, **NOT_IMPORTED)
            assert len(of_others["values"]) == 1
            snapshot = (await site.ask("list_snapshot"))["snapshot"]

    run_site(tmp_path, scenario)


def test_a_page_that_began_before_an_import_and_goes_on_late_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(site: StreamSite) -> None:
        await site.insert("notes", {"n": 1.0}, {"n": 2.0})
        monkeypatch.setattr(limits, "STREAM_PAGE_ROWS_MAX", 1)
        page = await site.ask("list_snapshot")

        def put_in_place(transaction: Transaction) -> None:
            hidden = create_hidden(transaction, "notes", transaction.catalog.tables["notes"].number)
            tablet[:] = [hidden.tablet_id]

        tablet: list[bytes] = []
        await site.write(put_in_place)
        await site.write(lambda tx: activate(tx, frozenset(tablet), must_be_empty=False))
        again = {"cursor": page["cursor"], "snapshot": page["snapshot"]}
        assert len((await site.ask("list_snapshot", **again))["values"]) == 1
        await make_late(site)
        assert await site.refusal("list_snapshot", **again) == (400, "TableWasImported")

    run_site(tmp_path, scenario)


@pytest.mark.parametrize(
    ("limit", "value", "shown_per_page"),
    [("STREAM_ROWS_READ_MAX", 4, [0, 0, 1]), ("STREAM_BYTES_READ_MAX", 1, [0] * 9 + [1])],
)
def test_a_page_reads_a_bounded_number_of_documents_and_bytes_whatever_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, shown_per_page: list[int]
) -> None:
    async def scenario(site: StreamSite) -> None:
        ids = sorted(await site.insert("notes", *({"n": float(n)} for n in range(10))))
        snapshot = (await site.ask("list_snapshot"))["snapshot"]

        def change(transaction: Transaction) -> None:
            for document_id in ids[:-1]:
                transaction.patch(transaction.catalog.tables["notes"], document_id, {"changed": True})

        await site.write(change)
        await make_late(site)
        monkeypatch.setattr(limits, limit, value)
        _, pages = await pages_of(site, snapshot=snapshot, tableName="notes")
        assert [len(page) for page in pages] == shown_per_page

    run_site(tmp_path, scenario)


@pytest.mark.parametrize("is_first_page", [True, False])
def test_a_moment_that_is_lost_between_beginning_and_reading_is_read_in_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_first_page: bool
) -> None:
    """The commit and the pruning fall right behind the beginning."""

    async def scenario(site: StreamSite) -> None:
        ids = await site.insert("notes", {"n": 1.0}, {"n": 2.0})
        snapshot = (await site.ask("list_snapshot"))["snapshot"]
        system = site._runtime.executor._system
        begin, losses_left = system._begin_reading, 4

        async def begin_and_lose(ts: int | None) -> Any:
            nonlocal losses_left
            attempt = await begin(ts)
            if losses_left > 0:
                losses_left -= 1
                changed = {"losses": float(losses_left)}  # another each time: else nothing is written
                await site.write(lambda tx: tx.patch(tx.catalog.tables["notes"], ids[0], changed))
                site.forget_past()
            return attempt

        monkeypatch.setattr(system, "_begin_reading", begin_and_lose)
        page = await site.ask("list_snapshot", snapshot=None if is_first_page else snapshot)
        assert losses_left == 0
        expected = {ids[0]: 0.0, ids[1]: None} if is_first_page else {ids[1]: None}
        assert {shown["_id"]: shown.get("losses") for shown in page["values"]} == expected
        assert (page["snapshot"] > snapshot) is is_first_page

    run_site(tmp_path, scenario)


def test_of_a_moment_before_everything_no_page_tells_anything_and_deltas_tell_all(tmp_path: Path) -> None:
    async def scenario(site: StreamSite) -> None:
        await site.insert("notes", {"n": 1.0})
        await make_late(site)
        page = await site.ask("list_snapshot", snapshot=1)
        assert page == {"values": [], "snapshot": 1, "cursor": None, "hasMore": False}
        commits = as_commits((await deltas_after(site, 1))[1])
        assert applied({}, commits) == await site.everything()

    run_site(tmp_path, scenario)
