"""A large import beside live traffic: `python -m tests.benchmarks.large_import [DOCUMENTS]`. Asserts nothing.

A table of that many documents (a million unless said otherwise) is uploaded in parts, as the CLI does, and
imported with `replace` on a server of its own. Printed: how long it took, the most memory of its own (what is
no file) that each process had before and during, and what one query and one mutation after another felt.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from ..soak.samples import resident_bytes
from ..support.server import CONFORMANCE_APP, RunningServer, server_with

MIB = 1 << 20
PART_BYTES = 5 * MIB
PROBE_SECONDS = 0.02


def parts(documents: int) -> list[bytes]:
    """The upload, a line each: a number, a text, an index key."""
    lines, found, size = [], [], 0
    for number in range(documents):
        line = b'{"name":"row %d","n":%d,"text":"%s"}\n' % (number, number, b"x" * 60)
        lines.append(line)
        size += len(line)
        if size >= PART_BYTES:
            found.append(b"".join(lines))
            lines, size = [], 0
    return [*found, b"".join(lines)] if lines else found


class Traffic:
    """One call after another; milliseconds each."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.queries: list[float] = []
        self.mutations: list[float] = []

    async def run(self) -> None:
        number = 0
        while True:
            number += 1
            name = {"name": f"probe {number % 50}"}
            self.queries.append(await self._call("query", "messages:count", name))
            self.mutations.append(await self._call("mutation", "messages:increment", name))
            await asyncio.sleep(PROBE_SECONDS)

    async def _call(self, kind: str, path: str, args: dict[str, Any]) -> float:
        started = time.perf_counter()
        body = {"path": path, "args": args, "format": "json"}
        answer = (await self._client.post(f"/api/{kind}", json=body)).json()
        assert answer["status"] == "success", answer
        return (time.perf_counter() - started) * 1_000


@asynccontextmanager
async def watched(
    client: httpx.AsyncClient, pids: dict[str, int]
) -> AsyncIterator[tuple[Traffic, dict[str, int]]]:
    """Traffic, and the most memory of each process, while this is entered."""
    traffic, peaks = Traffic(client), dict.fromkeys(pids, 0)

    async def look() -> None:
        while True:
            for role, pid in pids.items():
                peaks[role] = max(peaks[role], resident_bytes(pid)[1])
            await asyncio.sleep(0.1)

    tasks = [asyncio.create_task(traffic.run()), asyncio.create_task(look())]
    try:
        yield traffic, peaks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def upload(client: httpx.AsyncClient, found: list[bytes]) -> str:
    token = (await client.post("/api/import/start_upload")).json()["uploadToken"]
    tokens = []
    for number, part in enumerate(found, start=1):
        where = {"uploadToken": token, "partNumber": str(number)}
        tokens.append((await client.post("/api/import/upload_part", params=where, content=part)).json())
    asked = {"tableName": "imported", "mode": "replace", "format": "jsonLines"}
    body = {"import": asked, "uploadToken": token, "partTokens": tokens}
    answer: str = (await client.post("/api/import/finish_upload", json=body)).json()["importId"]
    return answer


async def state_of(client: httpx.AsyncClient, import_id: str) -> dict[str, Any]:
    body = {"path": "_system/cli/queryImport:default", "args": {"importId": import_id}, "format": "json"}
    answer: dict[str, Any] = (await client.post("/api/query", json=body)).json()["value"]["state"]
    return answer


async def perform(client: httpx.AsyncClient, import_id: str) -> dict[str, Any]:
    while (state := await state_of(client, import_id))["state"] not in ("completed", "failed"):
        if state["state"] == "waiting_for_confirmation":
            await client.post("/api/perform_import", json={"importId": import_id})
        await asyncio.sleep(0.2)
    return state


def shown(latencies: list[float]) -> str:
    found = sorted(latencies)
    return f"p50 {found[len(found) // 2]:.1f} ms, p99 {found[int(len(found) * 0.99)]:.1f} ms ({len(found)})"


async def measure(server: RunningServer, documents: int) -> None:
    found = parts(documents)
    print(f"{documents} documents, {sum(map(len, found)) / MIB:.0f} MiB in {len(found)} parts")
    pids = {role: int(known["pid"]) for role, known in server.actors().items()}
    admin = {"Authorization": f"Convex {server.admin_key()}"}
    async with (
        httpx.AsyncClient(base_url=server.url, timeout=120) as client,
        httpx.AsyncClient(base_url=server.url, timeout=120, headers=admin) as operator,
    ):
        async with watched(client, pids) as (idle, before):
            await asyncio.sleep(10)
        async with watched(client, pids) as (busy, during):
            started = time.monotonic()
            import_id = await upload(operator, found)
            uploaded = time.monotonic()
            state = await perform(operator, import_id)
            ended = time.monotonic()
    print(f"{state['state']}: uploaded in {uploaded - started:.1f} s, read twice and written in ", end="")
    print(f"{ended - uploaded:.1f} s: {documents / (ended - uploaded):,.0f} documents/s")
    for role in pids:
        print(
            f"  {role:<14} {before[role] / MIB:.0f} MiB at most before, {during[role] / MIB:.0f} MiB during"
        )
    print(f"queries: {shown(idle.queries)}; during {shown(busy.queries)}")
    print(f"mutations: {shown(idle.mutations)}; during {shown(busy.mutations)}")


def main() -> None:
    with server_with(CONFORMANCE_APP) as server:
        asyncio.run(measure(server, int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))


if __name__ == "__main__":
    main()
