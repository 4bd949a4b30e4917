"""Function handles, and queries of what a mutation began with, in the real engine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from log.keys import encode_item

from ..support.action_server import ACTIONS, ActionServer, play, value_of
from ..support.recorded import SHOP

SOURCE = """
const handleOf = (name) => call("createFunctionHandle", { name: `shop:${name}` });
const internalMutation = (handler) => register("Mutation", "Internal", handler);
export const hidden = internalMutation(async ({ name }) => run("mutation", "shop:increment", { name }));
export const giveHandle = query(({ name }) => handleOf(name));
export const giveAgain = query(({ handle }) => call("createFunctionHandle", { functionHandle: handle }));
export const callHandle = mutation(({ handle, args }) =>
  call("runUdf", { udfType: "mutation", functionHandle: handle, args }));
export const scheduleHandle = mutation(({ handle, args }) =>
  call("schedule", { functionHandle: handle, args, ts: Date.now() / 1000 }));
export const actHandle = publicAction(async ({ args }) =>
  call("actions/mutation", { functionHandle: await handleOf("hidden"), args }));
export const peek = mutation(async ({ name }) => {
  const look = () => call("runUdf", { udfType: "snapshotQuery", name: "shop:count", args: { name } });
  const before = await look();
  await run("mutation", "shop:increment", { name });
  return [before, await look(), await run("query", "shop:count", { name })];
});
export const peekInQuery = query(() =>
  call("runUdf", { udfType: "snapshotQuery", name: "shop:count", args: { name: "a" } }));
export const peekAnd = mutation(async ({ udfType, name, mine }) => {
  await call("runUdf", { udfType, name: "shop:count", args: { name } });
  return await run("mutation", "shop:increment", { name: mine });
});
"""


async def mutated(server: ActionServer, function: str, **args: Any) -> Any:
    return value_of(await server.mutate(function, args))


async def queried(server: ActionServer, function: str, **args: Any) -> Any:
    return value_of(await server.query(function, args))


def test_a_handle_calls_an_internal_function_from_everywhere(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        handle = await queried(server, "giveHandle", name="hidden")
        assert handle.startswith("function://") and handle.endswith("#shop:hidden")
        assert await queried(server, "giveAgain", handle=handle) == handle
        assert await mutated(server, "callHandle", handle=handle, args={"name": "a"}) == 1
        assert await server.value("actHandle", {"args": {"name": "a"}}) == 2
        await mutated(server, "scheduleHandle", handle=handle, args={"name": "a"})
        while await queried(server, "count", name="a") < 3:
            await asyncio.sleep(0.01)
        bare = handle.partition("#")[0]
        assert await mutated(server, "callHandle", handle=bare, args={"name": "a"}) == 4, (
            "the rest is for readers"
        )

    play(ActionServer(tmp_path, SOURCE), scene)


def test_a_handle_survives_pushes_and_dies_and_lives_with_its_function(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        handle = await queried(server, "giveHandle", name="hidden")
        whole = SHOP + ACTIONS + SOURCE
        await server.push(whole + "export const one = mutation(() => 1);")
        assert await queried(server, "giveHandle", name="hidden") == handle
        await server.push(whole.replace("export const hidden", "const hidden"))
        gone = await server.mutate("callHandle", {"handle": handle, "args": {"name": "a"}})
        assert gone.error is not None and "Function handle not found" in gone.error.message
        missing = await server.query("giveHandle", {"name": "hidden"})
        assert missing.error is not None and "Couldn't resolve api.shop.hidden" in missing.error.message
        await server.push(whole)
        assert await mutated(server, "callHandle", handle=handle, args={"name": "a"}) == 1

    play(ActionServer(tmp_path, SOURCE), scene)


def test_what_is_no_handle_is_refused(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        for handle in ("function://", "function://x#shop:hidden", "shop:hidden", 7, {}):
            refused = await server.mutate("callHandle", {"handle": handle, "args": {}})
            assert refused.error is not None and "Function handle not found" in refused.error.message, handle

    play(ActionServer(tmp_path, SOURCE), scene)


def test_a_stale_query_sees_what_the_mutation_began_with(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        assert await mutated(server, "peek", name="a") == [0, 0, 1]
        assert await mutated(server, "peek", name="a") == [1, 1, 2]
        refused = await server.query("peekInQuery", {})
        assert refused.error is not None
        assert "Cannot call a SnapshotQuery function from a Query function" in refused.error.message

    play(ActionServer(tmp_path, SOURCE), scene)


def test_what_a_stale_query_read_is_not_compared_with_anything(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        await mutated(server, "increment", name="hot")
        stale = await server.reads_of("peekAnd", {"udfType": "snapshotQuery", "name": "hot", "mine": "own"})
        fresh = await server.reads_of("peekAnd", {"udfType": "query", "name": "hot", "mine": "own"})
        hot, own = encode_item("hot"), encode_item("own")
        assert any(start.startswith(own) for _index, start, _end in stale.intervals())
        assert not any(start.startswith(hot) for _index, start, _end in stale.intervals())
        assert any(start.startswith(hot) for _index, start, _end in fresh.intervals())

    play(ActionServer(tmp_path, SOURCE), scene)
