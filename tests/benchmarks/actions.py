"""Actions that wait beside queries: `python -m tests.benchmarks.actions [ACTIONS]`. Prints, asserts nothing.

That many actions, each awaiting a fetch that is answered after five seconds, on a server of their own: what
they take of memory, and what a stream of queries (each of another document) feels of them.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import httpx

from cluster.processes import memory_bytes

from ..support.server import RunningServer, server_with

APP = Path(__file__).parent.parent / "conformance" / "app"
ANSWER_SECONDS = 5
MIB = 1 << 20
ROLE = "slow-executor"


async def answer_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(ANSWER_SECONDS)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nlate")
    await writer.drain()
    writer.close()


async def call(client: httpx.AsyncClient, kind: str, path: str, args: dict[str, object]) -> object:
    answer = await client.post(f"/api/{kind}", json={"path": path, "args": args, "format": "json"})
    return answer.json()["value"]


async def query_latencies(
    client: httpx.AsyncClient, seconds: float, path: str = "messages:count", kind: str = "query"
) -> list[float]:
    """Milliseconds of one query, or action, after another, sorted."""
    found: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.perf_counter()
        await call(client, kind, path, {"name": f"nobody {time.monotonic_ns()}"})
        found.append((time.perf_counter() - started) * 1_000)
        await asyncio.sleep(0.01)
    return sorted(found)


def shown(latencies: list[float]) -> str:
    return f"p50 {latencies[len(latencies) // 2]:.2f} ms, p99 {latencies[int(len(latencies) * 0.99)]:.2f} ms"


async def measure(server: RunningServer, actions: int) -> None:
    peer = await asyncio.start_server(answer_late, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{peer.sockets[0].getsockname()[1]}/"
    limits = httpx.Limits(max_connections=actions + 10)
    async with httpx.AsyncClient(base_url=server.url, timeout=100, limits=limits) as client:
        await query_latencies(client, 2)
        idle = await query_latencies(client, 5)
        pid = server.pid_of(ROLE)
        before, started = memory_bytes(pid), time.monotonic()
        waiting = [
            asyncio.create_task(call(client, "action", "actions:fetches", {"url": url, "body": None}))
            for _ in range(actions)
        ]
        await asyncio.sleep(1.5)
        busy = await query_latencies(client, 3)
        during = memory_bytes(pid)
        answered = sum(value["text"] == "late" for value in await asyncio.gather(*waiting))  # type: ignore[index]
        print(f"{answered} of {actions} actions answered after {time.monotonic() - started:.1f} s")
        print(f"{ROLE}: {before / MIB:.0f} MiB, {during / MIB:.0f} MiB while they wait, ", end="")
        print(f"{memory_bytes(pid) / MIB:.0f} MiB after")
        print(f"queries: {shown(idle)}; while they wait {shown(busy)}")
    peer.close()


def main() -> None:
    with server_with(APP) as server:
        asyncio.run(measure(server, int(sys.argv[1]) if len(sys.argv) > 1 else 200))


if __name__ == "__main__":
    main()
