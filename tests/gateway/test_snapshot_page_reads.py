"""What a page of `list_snapshot` reads of the view: about as much as it shows, in few scans."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from actors.view_reader import ViewSnapshot
from functions.snapshot import Row
from log import limits

from ..support.stream_site import StreamSite, run_site


class Page(NamedTuple):
    shown: int
    read: list[int]
    """How many rows each scan gave."""


async def insert_texts(site: StreamSite, sizes: list[int]) -> set[str]:
    """A document of each size; as many at once as a transaction may write."""
    ids = list[str]()
    while sizes:
        count, total = 0, 0
        while count < min(len(sizes), 1_000) and total + sizes[count] < 8 * limits.MIB:
            total, count = total + sizes[count], count + 1
        ids += await site.insert("notes", *({"text": "x" * size} for size in sizes[:count]))
        sizes = sizes[count:]
    return set(ids)


async def pages_of(site: StreamSite, monkeypatch: pytest.MonkeyPatch) -> tuple[set[str], list[Page]]:
    """The ids that the pages of the table show, and what each page has read of it."""
    scan, read, pages, ids = ViewSnapshot.scan, list[int](), list[Page](), list[str]()
    by_id = site.core_actor._shard.catalog().tables["notes"].by_id.index_id

    def noted(snapshot: ViewSnapshot, index_id: bytes, *bounds: Any, **options: Any) -> list[Row]:
        rows = scan(snapshot, index_id, *bounds, **options)
        if index_id == by_id:
            read.append(len(rows))
        return rows

    monkeypatch.setattr(ViewSnapshot, "scan", noted)
    cursor, has_more = None, True
    while has_more:
        page = await site.ask("list_snapshot", tableName="notes", cursor=cursor)
        cursor, has_more = page["cursor"], page["hasMore"]
        pages.append(Page(len(page["values"]), read.copy()))
        ids += [document["_id"] for document in page["values"]]
        read.clear()
    assert len(set(ids)) == len(ids)
    return set(ids), pages


def is_cheap(page: Page) -> bool:
    return len(page.read) <= 3 and sum(page.read) <= page.shown + 1


@pytest.mark.parametrize(
    ("sizes", "pages_count"),
    [
        ([10] * 2_500, 3),
        ([10] * limits.STREAM_PAGE_ROWS_MAX, 1),
        ([1_000_000] * 24, 5),
        ([100_000] * 90, 3),
        ([], 1),
    ],
)
def test_a_page_reads_what_it_shows_and_one_row_more_in_few_scans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: list[int], pages_count: int
) -> None:
    async def scenario(site: StreamSite) -> None:
        (first,) = await insert_texts(site, [10])
        await site.write(lambda tx: tx.delete(tx.catalog.tables["notes"], first) and None)
        ids = await insert_texts(site, sizes)
        found, pages = await pages_of(site, monkeypatch)
        assert found == ids and len(pages) == pages_count
        assert all(is_cheap(page) for page in pages), pages

    run_site(tmp_path, scenario)


@pytest.mark.parametrize("round_number", range(4))
def test_pages_of_rows_of_any_sizes_show_each_once_and_read_no_more_than_they_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, round_number: int
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)

    async def scenario(site: StreamSite) -> None:
        largest = rng.choice((1_000, 100_000, 900_000))
        sizes = [rng.choice((1, 10, 100, largest)) for _ in range(rng.randrange(1, 100))]
        ids = await insert_texts(site, sizes)
        found, pages = await pages_of(site, monkeypatch)
        assert found == ids
        assert all(is_cheap(page) for page in pages), pages

    run_site(tmp_path, scenario)
