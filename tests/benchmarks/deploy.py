"""Pushes beside calls: `python -m tests.benchmarks.deploy [PUSHES [MODULES]]`. Prints, asserts nothing.

The requests of `npx convex deploy`, without the CLI's own work: each push changes every module. Meanwhile
queries (each of another document, so none is answered from what is kept) go on one after another, and so do
actions: compared is what they take with what they took before.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import httpx

from ..support.action_server import ACTIONS
from ..support.deployment import functions_module, module, push_body, schema_module, table
from ..support.recorded import SHOP
from ..support.server import CONFORMANCE_APP, RunningServer, server_with
from .actions import query_latencies, shown

QUERY, ACTION = "shop:count", "shop:nothing"
APP = SHOP + ACTIONS + "export const nothing = publicAction(async () => null);"
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
    return [module("shop.js", APP), *large]


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


async def measure(server: RunningServer, pushes: int, count: int) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=100) as client:
        pusher = Pusher(server, client)
        first = modules(0, count)
        size_bytes = sum(len(each["source"]) for each in first)
        print(f"{size_bytes / 1e6:.2f} MB in {len(first)} modules of {FUNCTIONS_PER_MODULE} functions")
        await pusher.push(first)
        await query_latencies(client, 2, QUERY)
        idle = await call_latencies(client, IDLE_SECONDS)
        pushing = asyncio.create_task(push_again_and_again(pusher, pushes, count))
        busy: tuple[list[float], list[float]] = [], []
        while not pushing.done():
            for found, more in zip(busy, await call_latencies(client, 0.5), strict=True):
                found += more
        steps = await pushing
    for took in steps:
        each = ", ".join(f"{name} {seconds:.2f}" for name, seconds in took.items())
        print(f"push: {sum(took.values()):.2f} s ({each})")
    for what, before, beside in zip(("queries", "actions"), idle, map(sorted, busy), strict=True):
        print(f"{what}: {shown(before)}; beside pushes {shown(beside)}, the slowest {beside[-1]:.0f} ms")


async def call_latencies(client: httpx.AsyncClient, seconds: float) -> tuple[list[float], list[float]]:
    """Of queries and of actions, side by side."""
    queries = query_latencies(client, seconds, QUERY)
    return await asyncio.gather(queries, query_latencies(client, seconds, ACTION, "action"))


async def push_again_and_again(pusher: Pusher, pushes: int, count: int) -> list[dict[str, float]]:
    steps = []
    for version in range(1, pushes + 1):
        steps.append(await pusher.push(modules(version, count)))
        await asyncio.sleep(PAUSE_SECONDS)
    return steps


def main() -> None:
    given = [int(each) for each in sys.argv[1:]]
    pushes, count = given + [PUSHES, MODULES][len(given) :]
    with server_with(CONFORMANCE_APP) as server:
        asyncio.run(measure(server, pushes, count))


if __name__ == "__main__":
    main()
