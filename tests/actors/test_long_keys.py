"""Documents whose index key is long, by the whole way: call, commit, view, undo, and a second start."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from log.limits import VIEW_VALUE_BYTES_MAX

from ..support.recorded import RecordedServer

PATIENCE_SECONDS = 60


@pytest.mark.parametrize("characters", [500, VIEW_VALUE_BYTES_MAX, 40_000, 70_000, 1_000_000])
def test_a_text_as_long_as_a_document_may_be_can_be_indexed(tmp_path: Path, characters: int) -> None:
    long, other = {"name": "x" * characters}, {"name": "x" * (characters - 1) + "y"}

    async def scene() -> None:
        async with RecordedServer(tmp_path) as server:
            await server.push()
            first = await server.mutate("increment", long)
            for expected in (b"2.0", b"3.0"):
                assert (await server.mutate("increment", long)).value == expected
            for name, then, now in ((long, b"1.0", b"3.0"), (other, b"0.0", b"0.0")):
                assert (await server.query("count", name, first.ts)).value == then
                assert (await server.query("count", name)).value == now
        async with RecordedServer(tmp_path) as server:
            assert (await server.query("count", long)).value == b"3.0"
            assert (await server.mutate("increment", long)).value == b"4.0"

    asyncio.run(asyncio.wait_for(scene(), PATIENCE_SECONDS))
