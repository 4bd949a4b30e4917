"""`list_snapshot`: each document of one moment, once, whatever is committed between pages (spec 02 20)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from functions.system.import_tables import create_hidden
from functions.transaction import Transaction
from log import limits
from log.ids import encode_id

from ..support.stream_site import Name, Shown, StreamSite, document_of, name_of, run_site

Between = Callable[[], Awaitable[object]]


async def nothing() -> None:
    return None


async def snapshot_of(site: StreamSite, between: Between = nothing, **asked: Any) -> tuple[int, list[Shown]]:
    """All pages of a snapshot; `between` runs after each."""
    page = await site.ask("list_snapshot", **asked)
    found: list[Shown] = page["values"]
    while page["hasMore"]:
        await between()
        page = await site.ask("list_snapshot", **asked, snapshot=page["snapshot"], cursor=page["cursor"])
        assert page["values"]
        found += page["values"]
    assert page["cursor"] is None
    return page["snapshot"], found


def by_name(found: list[Shown]) -> dict[Name, bytes]:
    assert len({name_of(shown) for shown in found}) == len(found), "a document was told twice"
    return {name_of(shown): document_of(shown) for shown in found}


async def fill(site: StreamSite) -> None:
    await site.push(ledger=True)
    await site.insert("notes", *({"text": "x" * n, "n": n, "raw": bytes([n])} for n in range(9)))
    await site.insert("counters", {"name": "a", "count": float("inf")})
    await site.insert("entries", *({"line": float(n)} for n in range(5)), component="ledger")


@pytest.mark.parametrize("rows_max", [1, 2, 3, 64, 65])
def test_a_snapshot_tells_each_document_once_as_it_was_whatever_is_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_max: int
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)

    async def scenario(site: StreamSite) -> None:
        await fill(site)
        before = await site.everything()
        names = list(before)

        async def change() -> None:
            component, table, document_id = rng.choice(names)

            def work(transaction: Transaction) -> None:
                transaction.enter_component(component)
                found = transaction.catalog.tables[table]
                if transaction.get(found, document_id) is None:
                    transaction.insert(table, {"late": True})
                elif rng.random() < 0.5:
                    transaction.patch(found, document_id, {"changed": rng.random()})
                else:
                    transaction.delete(found, document_id)

            await site.write(work)

        monkeypatch.setattr(limits, "STREAM_PAGE_ROWS_MAX", rows_max)
        ts, found = await snapshot_of(site, change)
        assert by_name(found) == before
        assert all(shown["_ts"] <= ts for shown in found)
        assert by_name((await snapshot_of(site))[1]) == await site.everything()

    run_site(tmp_path, scenario)


def test_a_page_ends_behind_the_document_that_fills_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(site: StreamSite) -> None:
        await site.insert("big", *({"text": "x" * 600} for _ in range(5)))
        monkeypatch.setattr(limits, "STREAM_PAGE_BYTES_MAX", 1_000)
        page = await site.ask("list_snapshot")
        assert len(page["values"]) == 2 and page["hasMore"]
        assert len((await snapshot_of(site))[1]) == 5

    run_site(tmp_path, scenario)


def test_component_table_and_format_are_those_asked_for(tmp_path: Path) -> None:
    async def scenario(site: StreamSite) -> None:
        await fill(site)
        everything = await site.everything()
        for asked in (
            {"component": ""},
            {"component": "ledger"},
            {"tableName": "notes"},
            {"tableName": "nowhere"},
        ):
            expected = {
                name: document
                for name, document in everything.items()
                if asked.get("component", name[0]) == name[0] and asked.get("tableName", name[1]) == name[1]
            }
            assert by_name((await snapshot_of(site, **asked))[1]) == expected
        for system_table in ("_tables", "_scheduled_functions", "_scheduled_jobs"):
            assert (await snapshot_of(site, tableName=system_table))[1] == []
        encoded, clean, exported = [
            (await site.ask("list_snapshot", tableName="notes", format=name))["values"][3]
            for name in ("convex_json", "json", "export_json")
        ]
        number = {"$integer": encoded["n"]["$integer"]}
        assert (encoded["n"], clean["n"], exported["n"]) == (number, str(exported["n"]), int(clean["n"]))
        assert encoded["raw"] == {"$bytes": clean["raw"]} == exported["raw"]

    run_site(tmp_path, scenario)


def test_a_table_that_an_import_still_fills_is_not_told(tmp_path: Path) -> None:
    async def scenario(site: StreamSite) -> None:
        def work(transaction: Transaction) -> None:
            hidden = create_hidden(transaction, "notes", 10_001)
            transaction.insert_with_id(hidden, _id(transaction, 10_001), {"text": "hidden"})

        await site.write(work)
        assert (await snapshot_of(site))[1] == []

    run_site(tmp_path, scenario)


def _id(transaction: Transaction, number: int) -> str:
    return encode_id(number, transaction.new_internal_id())


def test_what_cannot_be_meant_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(site: StreamSite) -> None:
        await site.insert("notes", {"n": 1}, {"n": 2})
        monkeypatch.setattr(limits, "STREAM_PAGE_ROWS_MAX", 1)
        page = await site.ask("list_snapshot")
        snapshot, cursor = page["snapshot"], page["cursor"]
        refusals: list[tuple[dict[str, Any], str]] = [
            ({"snapshot": snapshot + 10**12}, "TimestampNotReached"),
            ({"snapshot": snapshot - 1, "cursor": cursor}, "BadJsonBody"),
            ({"snapshot": snapshot, "cursor": cursor, "tableName": "notes"}, "InvalidCursor"),
            ({"cursor": "made up"}, "InvalidCursor"),
            ({"snapshot": "-1"}, "BadQueryArgs"),
            ({"snapshot": "9" * 19}, "BadJsonBody"),
            ({"snapshot": "9" * 20}, "BadQueryArgs"),
            ({"format": "xml"}, "BadFormat"),
            ({"component": "nowhere"}, "ComponentNotFound"),
            ({"selection": "{}"}, "NotSupportedYet"),
        ]
        for arguments, code in refusals:
            assert await site.refusal("list_snapshot", **arguments) == (400, code), arguments
        bodies: list[dict[str, Any]] = [
            {"snapshot": True},
            {"snapshot": 1.5},
            {"cursor": 5},
            {"tableName": 5},
        ]
        for body in bodies:
            answer = await site.post("list_snapshot", body)
            assert (answer.status_code, answer.json()["code"]) == (400, "BadJsonBody"), body
        assert (await site.post("list_snapshot", {"selection": {}})).json()["code"] == "NotSupportedYet"
        posted = await site.post("list_snapshot", {"snapshot": snapshot, "cursor": cursor})
        assert posted.json() == await site.ask("list_snapshot", cursor=cursor)

    run_site(tmp_path, scenario)


@pytest.mark.parametrize(
    "operation",
    ["list_snapshot", "json_schemas", "get_table_column_names", "test_streaming_export_connection"],
)
def test_a_key_that_may_only_read_suffices_and_without_one_nothing_is_told(
    tmp_path: Path, operation: str
) -> None:
    async def scenario(site: StreamSite) -> None:
        assert (await site.request(operation)).status_code == 200
        assert (await site.client.get(operation, params={"adminKey": site.key()})).status_code == 200
        assert (await site.post(operation, {})).status_code == 200
        for method in ("GET", "POST"):
            nobody = await site.client.request(method, operation, content=b"{}")
            assert (nobody.status_code, nobody.json()["code"]) == (403, "BadDeployKey")
            headers = {"Authorization": "Convex of|another"}
            wrong = await site.client.request(method, operation, content=b"{}", headers=headers)
            assert (wrong.status_code, wrong.json()["code"]) == (401, "BadAdminKey")

    run_site(tmp_path, scenario)
