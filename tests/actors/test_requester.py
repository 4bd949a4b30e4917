"""`getRequestMetadata` in the real engine: who sent the request, and what records keep of it."""

from __future__ import annotations

from pathlib import Path

import orjson

from log.identity import Requester

from ..support.action_server import ActionServer, play, value_of
from .test_audit import traces

BROWSER = Requester("203.0.113.7", "Browser/1.0")
SOURCE = """
const facts = async () => {
  const { ip, userAgent } = await call("getRequestMetadata", {});
  return [ip, userAgent];
};
export const asks = mutation(async () => { await insert("notes", { text: "asked" }); return await facts(); });
export const asksWithin = mutation(async () => {
  await insert("notes", { text: "outer" });
  return await run("mutation", "shop:asks", {});
});
export const quiet = mutation(async () => { await insert("notes", { text: "quiet" }); });
export const audits = mutation(async ({ name }) => {
  await call("auditLog", { body: { value: { $var: name } }, version: "1.48.0" });
});
export const acts = publicAction(async () => [await facts(), await ask("mutation", "asks")]);
export const plans = mutation(async () => {
  await call("schedule", { name: "shop:noted", args: {}, ts: Date.now() / 1000 });
});
export const noted = mutation(async () => {
  await insert("notes", { text: JSON.stringify(await facts()) });
});
"""


def test_mutations_actions_and_what_they_call_are_told_who_sent_the_request(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        for name in ("asks", "asksWithin"):
            assert value_of(await server.mutate(name, {}, requester=BROWSER)) == list(BROWSER)
            assert value_of(await server.mutate(name, {})) == [None, None], "no client asked"
        assert value_of(await server.act("acts", requester=BROWSER)) == [list(BROWSER), list(BROWSER)]

    play(ActionServer(tmp_path, SOURCE), scene)


def test_a_scheduled_function_has_no_client(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        await server.mutate("plans", {}, requester=BROWSER)
        while b"[null,null]" not in orjson.dumps(value_of(await server.query("notes", {}))):
            pass

    play(ActionServer(tmp_path, SOURCE), scene)


def test_a_record_keeps_who_sent_it_only_if_the_function_asked(tmp_path: Path) -> None:
    async def scene(server: ActionServer) -> None:
        async def kept(function: str, **args: str) -> tuple[str | None, ...]:
            await server.mutate(function, args, requester=BROWSER)
            return traces(server)[-1].requester

        assert await kept("quiet") == ()
        assert await kept("asks") == await kept("asksWithin") == BROWSER
        assert await kept("audits", name="ip") == await kept("audits", name="userAgent") == BROWSER
        assert await kept("audits", name="requestId") == ()

    play(ActionServer(tmp_path, SOURCE), scene)
