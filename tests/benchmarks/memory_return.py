"""Memory after a burst: `python -m tests.benchmarks.memory_return`. Prints, asserts nothing.

A server at rest; then 42 different queries at once, each of a channel of 200 messages, ten times over; then a
push of the same app. Printed: memory of its own (what is no file) of each process at rest, at the end of the
burst, and afterwards until all of them together are back within 1.3 times that, ten minutes at most.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from ..soak.samples import resident_bytes
from ..support.server import CONFORMANCE_APP, RunningServer, copy_app, server_with

MIB = 1 << 20
QUERIES, ROUNDS, MESSAGES = 42, 10, 200
RETURN_SHARE, PATIENCE_SECONDS, LOOK_SECONDS = 1.3, 600, 10


def memory(server: RunningServer) -> dict[str, int]:
    return {role: resident_bytes(int(known["pid"]))[1] for role, known in server.actors().items()}


async def call(client: httpx.AsyncClient, kind: str, path: str, args: dict[str, Any]) -> None:
    body = {"path": path, "args": args, "format": "json"}
    answer = (await client.post(f"/api/{kind}", json=body)).json()
    assert answer["status"] == "success", answer


async def fill(client: httpx.AsyncClient) -> None:
    for number in range(QUERIES):
        sends = ({"channel": f"c{number}", "body": "x" * 1_000} for _ in range(MESSAGES))
        await asyncio.gather(*(call(client, "mutation", "messages:send", each) for each in sends))


async def burst(client: httpx.AsyncClient) -> None:
    for _ in range(ROUNDS):
        names = ({"channel": f"c{number}"} for number in range(QUERIES))
        await asyncio.gather(*(call(client, "query", "messages:list", each) for each in names))
        await call(client, "mutation", "messages:send", {"channel": "c0", "body": "again"})


def shown(found: dict[str, int]) -> str:
    each = ", ".join(f"{role} {size / MIB:.0f}" for role, size in found.items())
    return f"{sum(found.values()) / MIB:.0f} MiB: {each}"


async def measure(server: RunningServer) -> None:
    limits = httpx.Limits(max_connections=QUERIES)
    async with httpx.AsyncClient(base_url=server.url, timeout=120, limits=limits) as client:
        await fill(client)
        await asyncio.sleep(LOOK_SECONDS)
        idle = memory(server)
        print(f"at rest           {shown(idle)}")
        await burst(client)
    with tempfile.TemporaryDirectory() as folder:
        pushed = server.cli(copy_app(CONFORMANCE_APP, Path(folder) / "app"), "deploy", "-y")
        assert pushed.returncode == 0, pushed.stdout
    print(f"after the burst   {shown(memory(server))}")
    started = time.monotonic()
    while time.monotonic() - started < PATIENCE_SECONDS:
        found = memory(server)
        if sum(found.values()) <= RETURN_SHARE * sum(idle.values()):
            break
        await asyncio.sleep(LOOK_SECONDS)
    share = sum(found.values()) / sum(idle.values())
    print(f"{time.monotonic() - started:.0f} s later      {shown(found)}; {share:.2f}x")


def main() -> None:
    with server_with(CONFORMANCE_APP) as server:
        asyncio.run(measure(server))


if __name__ == "__main__":
    main()
