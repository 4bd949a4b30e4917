"""Pushes of a megabyte beside queries: `python -m tests.benchmarks.deploy [PUSHES]`. Prints, asserts nothing.

The requests of `npx convex deploy`, without the CLI's own work: each push changes every module. Meanwhile
queries (each of another document, so none is answered from what is kept) go on one after another: compared is
what they take with what they took before.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import httpx

from ..support.deployment import functions_module, module, push_body, schema_module, table
from ..support.recorded import SHOP
from ..support.server import CONFORMANCE_APP, RunningServer, server_with
from .actions import query_latencies, shown

QUERY = "shop:count"
PUSHES, PAUSE_SECONDS, IDLE_SECONDS = 8, 1.0, 8
MODULES, FUNCTIONS_PER_MODULE = 40, 64
BODY = """
export const f{number} = query();
export function price{number}(order, rates = {{ tax: 0.19, discount: {number} }}) {{
  const lines = order.lines.map((line) => ({{ ...line, net: line.count * line.unit, version: "{version}" }}));
  const net = lines.reduce((sum, line) => sum + line.net, 0);
  if (net > {number}) return {{ lines, net: net * (1 - rates.discount), gross: net * (1 + rates.tax) }};
  return {{ lines, net, gross: net * (1 + rates.tax) }};
}}
"""


def modules(version: int, count: int = MODULES) -> list[Any]:
    code = "".join(BODY.format(number=number, version=version) for number in range(FUNCTIONS_PER_MODULE))
    large = [functions_module(f"m{number}.js", f"// {number}\n{code}") for number in range(count)]
    return [module("shop.js", SHOP), *large]


class Pusher:
    """What the CLI asks, step by step."""

    def __init__(self, server: RunningServer, client: httpx.AsyncClient) -> None:
        self._client, self._key = client, server.admin_key()

    async def push(self, pushed: list[Any]) -> dict[str, float]:
        """Seconds of each step."""
        schema = schema_module(table("counters", by_name=["name"]), validation=False)
        body = push_body(*pushed, schema=schema, adminKey=self._key)
        took: dict[str, float] = {}
        await self._step(took, "evaluate_schema", body)
        started = await self._step(took, "start_push", body)
        change = {"adminKey": self._key, "schemaChange": started["schemaChange"], "timeoutMs": 10_000}
        while (await self._step(took, "wait_for_schema", {**change, "dryRun": False}))["type"] != "complete":
            pass
        finish = {"adminKey": self._key, "startPush": started, "dryRun": False, "message": None}
        await self._step(took, "finish_push", finish)
        return took

    async def _step(self, took: dict[str, float], name: str, body: Any) -> Any:
        began = time.perf_counter()
        answer = await self._client.post(f"/api/deploy2/{name}", json=body)
        answer.raise_for_status()
        took[name] = took.get(name, 0.0) + time.perf_counter() - began
        return answer.json()


async def measure(server: RunningServer, pushes: int) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=100) as client:
        pusher = Pusher(server, client)
        first = modules(0)
        size_bytes = sum(len(each["source"]) for each in first)
        print(f"{size_bytes / 1e6:.2f} MB in {len(first)} modules of {FUNCTIONS_PER_MODULE} functions")
        await pusher.push(first)
        await query_latencies(client, 2, QUERY)
        idle = await query_latencies(client, IDLE_SECONDS, QUERY)
        pushing = asyncio.create_task(push_again_and_again(pusher, pushes))
        busy: list[float] = []
        while not pushing.done():
            busy += await query_latencies(client, 0.5, QUERY)
        steps = await pushing
    for took in steps:
        each = ", ".join(f"{name} {seconds:.2f}" for name, seconds in took.items())
        print(f"push: {sum(took.values()):.2f} s ({each})")
    print(f"queries: {shown(idle)}; beside pushes {shown(sorted(busy))}")


async def push_again_and_again(pusher: Pusher, pushes: int) -> list[dict[str, float]]:
    steps = []
    for version in range(1, pushes + 1):
        steps.append(await pusher.push(modules(version)))
        await asyncio.sleep(PAUSE_SECONDS)
    return steps


def main() -> None:
    pushes = int(sys.argv[1]) if len(sys.argv) > 1 else PUSHES
    with server_with(CONFORMANCE_APP) as server:
        asyncio.run(measure(server, pushes))


if __name__ == "__main__":
    main()
