"""`document_deltas`: with a snapshot before it, it gives what the database has (spec 02 20)."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from actors.archiver import archive_log
from cluster.stores import open_log_store
from functions.system.import_tables import activate, create_hidden, drop_table
from functions.transaction import Transaction
from log import limits
from log.ids import encode_id

from ..support.stream_deltas import Commit, Writer, applied, as_commits, deltas_after
from ..support.stream_site import StreamSite, document_of, name_of, pages_of, run_site


@pytest.mark.parametrize("round_number", range(6))
def test_a_snapshot_and_the_deltas_after_it_give_what_the_database_has_wherever_commits_fall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, round_number: int
) -> None:
    seed = random.randrange(1 << 32)

    async def scenario(site: StreamSite) -> None:
        await site.push(ledger=True)
        writer = Writer(site, seed)
        rng = writer.rng
        monkeypatch.setattr(limits, "STREAM_PAGE_ROWS_MAX", rng.choice((1, 2, 3, 7, 100)))
        monkeypatch.setattr(limits, "DELTA_RECORDS_READ_MAX", rng.choice((1, 2, 5, 1_000)))
        monkeypatch.setattr(limits, "DELTA_CURSORS_HELD_MAX", rng.choice((1, 2, 100)))
        await writer.write(20)
        snapshot, pages = await pages_of(site, lambda _: writer.write(rng.randrange(3)))
        state = {name_of(shown): document_of(shown) for page in pages for shown in page}
        await writer.write(20)
        left = 20

        async def write_on() -> None:
            nonlocal left
            if left > 0:
                left -= 1
                await writer.write(rng.randrange(3))

        end, found = await deltas_after(site, snapshot, write_on)
        later, found_later = await deltas_after(site, end)
        commits = as_commits(found + found_later)
        assert commits == [commit for commit in writer.commits if commit[0] > snapshot]
        assert applied(state, commits) == await site.everything()
        assert as_commits((await deltas_after(site, 0))[1]) == writer.commits
        assert (await deltas_after(site, later))[1] == []
        middle = rng.choice(writer.commits[:-1])[0]
        for cursor in (middle - 1, middle, middle + 1):
            expected = [commit for commit in writer.commits if commit[0] > cursor]
            assert as_commits((await deltas_after(site, cursor))[1]) == expected

    run_site(tmp_path, scenario)


def test_a_commit_is_never_split_and_one_alone_may_be_larger_than_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(site: StreamSite) -> None:
        start = (await site.ask("list_snapshot"))["snapshot"]
        monkeypatch.setattr(limits, "STREAM_PAGE_ROWS_MAX", 3)
        for size in (2, 2, 5, 1):
            await site.insert("notes", *({"n": float(n)} for n in range(size)))
        sizes = []
        while True:
            page = await site.ask("document_deltas", cursor=start)
            sizes.append(len(page["values"]))
            start = page["cursor"]
            if not page["hasMore"]:
                break
        assert sizes == [4, 5, 1]
        for limit in ("STREAM_PAGE_BYTES_MAX", "DELTA_BYTES_READ_MAX"):
            monkeypatch.setattr(limits, limit, 1)
            await site.insert("notes", {"n": 1.0})
            await site.insert("notes", {"n": 2.0})
            page = await site.ask("document_deltas", cursor=start)
            assert len(page["values"]) == 1 and page["hasMore"]
            start = (await deltas_after(site, start))[0]
            monkeypatch.undo()

    run_site(tmp_path, scenario)


def test_filters_and_format_are_those_asked_for(tmp_path: Path) -> None:
    async def scenario(site: StreamSite) -> None:
        await site.push(ledger=True)
        writer = Writer(site, random.randrange(1 << 32))
        await writer.write(40)
        for asked in (
            {"component": ""},
            {"component": "ledger"},
            {"tableName": "notes"},
            {"tableName": "nowhere"},
        ):
            found = as_commits((await deltas_after(site, 0, **asked))[1])
            expected = [
                (ts, kept)
                for ts, written in writer.commits
                if (
                    kept := {
                        name: document
                        for name, document in written.items()
                        if asked.get("component", name[0]) == name[0]
                        and asked.get("tableName", name[1]) == name[1]
                    }
                )
            ]
            assert found == expected
        await site.insert("sized", {"n": 5})
        for name, shown in (
            ("json", "5"),
            ("export_json", 5),
            ("convex_encoded_json", {"$integer": "BQAAAAAAAAA="}),
        ):
            ((document,),) = ((await deltas_after(site, 0, tableName="sized", format=name))[1],)
            assert document["n"] == shown

    run_site(tmp_path, scenario)


def test_old_commits_are_told_after_a_restart_and_out_of_the_archive_and_refused_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WRITE_WINDOW_SECONDS_MAX", 0)
    monkeypatch.setattr(limits, "ARCHIVE_SEGMENT_BYTES", 5_000)
    seed = random.randrange(1 << 32)
    known: list[Commit] = []
    ends: list[int] = []

    async def write(site: StreamSite) -> None:
        writer = Writer(site, seed + len(known))
        await writer.write(30)
        known.extend(writer.commits)
        ends.append((await deltas_after(site, 0))[0])

    async def all_are_told(site: StreamSite) -> None:
        assert as_commits((await deltas_after(site, 0))[1]) == known
        assert as_commits((await deltas_after(site, known[9][0]))[1]) == known[10:]

    async def only_new_ones_are(site: StreamSite) -> None:
        for cursor in (0, known[9][0]):
            assert await site.refusal("document_deltas", cursor=cursor) == (400, "SnapshotTooOld")
        assert as_commits((await deltas_after(site, ends[0]))[1]) == [
            commit for commit in known if commit[0] > ends[0]
        ]

    async def push_and_write(site: StreamSite) -> None:
        await site.push(ledger=True)
        await write(site)

    run_site(tmp_path, push_and_write)
    run_site(tmp_path, all_are_told)
    store = open_log_store("", tmp_path / "log")
    archived = archive_log(store, tmp_path / "views", ends[0] + 1)
    store.close()
    assert archived.segments > 1
    run_site(tmp_path, all_are_told)
    run_site(tmp_path, write)
    run_site(tmp_path, all_are_told)
    shutil.rmtree(tmp_path / "archive")
    run_site(tmp_path, only_new_ones_are)


def test_what_an_import_puts_in_place_is_refused_and_what_a_deleted_table_held_is_left_out(
    tmp_path: Path,
) -> None:
    async def scenario(site: StreamSite) -> None:
        await site.insert("notes", {"n": 1.0})
        await site.insert("others", {"n": 1.0})
        start = (await site.ask("list_snapshot"))["snapshot"]
        tablet: list[bytes] = []

        def fill(transaction: Transaction) -> None:
            number = transaction.catalog.tables["notes"].number
            hidden = create_hidden(transaction, "notes", number)
            tablet[:] = [hidden.tablet_id]
            document_id = encode_id(number, transaction.new_internal_id())
            transaction.insert_with_id(hidden, document_id, {"n": 2.0})

        await site.write(fill)
        await site.insert("others", {"n": 2.0})
        cursor, found = await deltas_after(site, start)
        assert [(shown["_table"], shown["n"]) for shown in found] == [("others", 2.0)]
        await site.write(lambda tx: activate(tx, frozenset(tablet), must_be_empty=False))
        for begin in (start, cursor):
            assert await site.refusal("document_deltas", cursor=begin) == (400, "TableWasImported")
        assert (await deltas_after(site, cursor, tableName="others"))[1] == []
        page = await site.ask("list_snapshot", tableName="notes")
        assert [shown["n"] for shown in page["values"]] == [2.0]
        assert (await deltas_after(site, page["snapshot"]))[1] == []

        await site.insert("others", {"n": 3.0})
        await site.write(lambda tx: drop_table(tx, tx.catalog.tables["others"]))
        await site.insert("others", {"n": 4.0})
        _, found = await deltas_after(site, page["snapshot"])
        assert [(shown["_table"], shown["n"]) for shown in found] == [("others", 4.0)]

    run_site(tmp_path, scenario)


def test_of_a_log_in_postgresql_deltas_tell_the_same(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    from ..support.postgres import PostgresServer

    async def scenario(site: StreamSite) -> None:
        await site.push(ledger=True)
        writer = Writer(site, random.randrange(1 << 32))
        await writer.write(20)
        assert as_commits((await deltas_after(site, 0))[1]) == writer.commits
        assert as_commits((await deltas_after(site, writer.commits[9][0]))[1]) == writer.commits[10:]

    server = PostgresServer()
    try:
        server.start()
        run_site(tmp_path, scenario, server.url())
    finally:
        server.stop()
        server.remove()


def test_commits_go_on_while_a_page_is_read_and_what_is_not_published_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reading thread waits inside the log until a commit has been acknowledged."""

    async def scenario(site: StreamSite) -> None:
        await site.insert("notes", {"n": 1.0})
        reader = site.core_actor._deltas
        open_log, loop = reader._open_log, asyncio.get_running_loop()

        def open_and_commit() -> Any:
            asyncio.run_coroutine_threadsafe(site.insert("notes", {"n": 2.0}), loop).result(30)
            return open_log()

        monkeypatch.setattr(reader, "_open_log", open_and_commit)
        page = await site.ask("document_deltas", cursor=0)
        assert [shown["n"] for shown in page["values"]] == [1.0]
        monkeypatch.undo()
        assert [shown["n"] for shown in (await deltas_after(site, page["cursor"]))[1]] == [2.0]

    run_site(tmp_path, scenario)


def test_a_log_that_cannot_be_read_now_is_no_reason_to_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(site: StreamSite) -> None:
        await site.insert("notes", {"n": 1.0})

        def refuse(*_arguments: Any, **_options: Any) -> sqlite3.Connection:
            raise sqlite3.OperationalError("unable to open database file")

        with monkeypatch.context() as patched:
            patched.setattr("log.sqlite_reader.sqlite3.connect", refuse)
            assert (await site.refusal("document_deltas", cursor=0))[1] == "InternalServerError"
        assert len((await deltas_after(site, 0))[1]) == 1

    run_site(tmp_path, scenario)


def test_a_cursor_that_is_missing_malformed_or_not_reached_is_refused(tmp_path: Path) -> None:
    async def scenario(site: StreamSite) -> None:
        end = (await site.ask("list_snapshot"))["snapshot"]
        assert (await site.ask("document_deltas", cursor=end)) == {
            "values": [],
            "cursor": end,
            "hasMore": False,
        }
        for arguments, code in (
            ({}, "BadJsonBody"),
            ({"cursor": "x"}, "BadQueryArgs"),
            ({"cursor": end + 10**12}, "TimestampNotReached"),
            ({"cursor": end, "format": "xml"}, "BadFormat"),
            ({"cursor": end, "component": "nowhere"}, "ComponentNotFound"),
        ):
            assert await site.refusal("document_deltas", **arguments) == (400, code)
        posted = await site.post("document_deltas", {"cursor": end})
        assert posted.json()["cursor"] == end
        for body in ({"cursor": "5"}, {"cursor": end, "selection": {}}):
            assert (await site.post("document_deltas", body)).status_code == 400
        nobody = await site.client.get("document_deltas", params={"cursor": end})
        assert (nobody.status_code, nobody.json()["code"]) == (403, "BadDeployKey")

    run_site(tmp_path, scenario)
