"""What a Node action costs: `python -m tests.benchmarks.node_actions`. Prints, asserts nothing.

The same small call as a Node action and as an action of the default runtime, one after the other over HTTP,
on a server of their own; then what the processes hold.
"""

from __future__ import annotations

import asyncio
import time

import httpx

from cluster.processes import memory_bytes

from ..support.server import RunningServer, server_with
from .actions import APP, MIB, ROLE, call, shown

CALLS = 300
AT_ONCE = 8


async def latencies(client: httpx.AsyncClient, path: str) -> list[float]:
    """Milliseconds of one call after the other, sorted. Each calls one mutation."""
    found: list[float] = []
    for number in range(CALLS):
        started = time.perf_counter()
        await call(client, "action", path, {"name": f"{path} {number}"})
        found.append((time.perf_counter() - started) * 1_000)
    return sorted(found)


async def measure(server: RunningServer) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=100) as client:
        started = time.perf_counter()
        await call(client, "action", "tools:counted", {"name": "first"})
        print(f"first call: {(time.perf_counter() - started) * 1_000:.0f} ms")
        await call(client, "action", "actions:counted", {"name": "first"})
        node, default = await latencies(client, "tools:counted"), await latencies(client, "actions:counted")
        print(f"Node: {shown(node)}; default runtime: {shown(default)}")
        print(f"ratio of p50: {node[CALLS // 2] / default[CALLS // 2]:.2f}")
        together = [call(client, "action", "tools:counted", {"name": "together"}) for _ in range(AT_ONCE)]
        await asyncio.gather(*together)
    pids = (await asyncio.to_thread(server.ask, ROLE, "status"))["node_pids"]
    sizes = [memory_bytes(pid) // MIB for pid in pids]
    print(f"{len(pids)} processes of {sizes} MiB are left after {AT_ONCE} at once")


def main() -> None:
    with server_with(APP) as server:
        asyncio.run(measure(server))


if __name__ == "__main__":
    main()
