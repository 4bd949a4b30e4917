"""A deployment with a module of Node actions, beside shop.js: the real Node.js, actors in this process."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.backend import FunctionCall, FunctionOutcome
from log.identity import UNKNOWN, Identity

from .action_server import ACTIONS, ActionServer
from .recorded import SHOP

TOOLS = """"use node";
const register = (kind, handler) => Object.assign(() => {}, {
  [`is${kind}`]: true, isPublic: true, exportArgs: () => '{"type":"any"}', exportReturns: () => "null",
  [`invoke${kind}`]: async (requestId, args) =>
    JSON.stringify((await handler(contextOf(requestId), ...JSON.parse(args))) ?? null),
});
const contextOf = (requestId) => {
  const call = async (name, args = {}) =>
    JSON.parse(await Convex.asyncSyscall(`1.0/${name}`, JSON.stringify({ requestId, ...args })));
  const ask = (kind, name, args = {}) => call(`actions/${kind}`, { name, args });
  const stored = (name, args) => Convex.jsSyscall(`storage/${name}`, { requestId, ...args });
  return { requestId, call, ask, stored };
};
const action = (handler) => register("Action", handler);
"""

ECHO = "export const echo = action(async (_ctx, args) => args);"


def needs_node() -> None:
    """Skip, with the reason, where there is no Node.js."""
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")


def node_module(path: str, source: str) -> dict[str, str]:
    return {"path": path, "source": source, "environment": "node"}


class NodeServer(ActionServer):
    """`async with NodeServer(folder, source) as server`: `source` defines the actions of tools.js."""

    def __init__(self, folder: Path, source: str, *others: Any) -> None:
        needs_node()
        super().__init__(folder, "")
        self.settings = replace(
            self.settings, node_folder=folder / "run" / "node", node_packages_folder=folder / "packages"
        )
        self.tools, self.others = TOOLS + source, others

    async def push(self, source: str = SHOP, *others: Any, **notes_indexes: list[str]) -> None:
        await super().push(
            source, node_module("tools.js", self.tools), *self.others, *others, **notes_indexes
        )

    async def push_tools(self, source: str) -> None:
        """The same app with other Node actions."""
        self.tools = TOOLS + source
        await self.push(SHOP + ACTIONS)

    async def act(
        self, name: str, args: dict[str, Any] | None = None, identity: Identity = UNKNOWN
    ) -> FunctionOutcome:
        """An action of tools.js; "module:name" for one of another module."""
        module, _, function = name.rpartition(":")
        path = f"{module or 'tools'}.js:{function}"
        call = FunctionCall(path, orjson.dumps([args or {}]), identity, request_id="0123456789abcdef")
        return await self._runtime.backend.run_action(call)

    @property
    def pids(self) -> list[int]:
        """Of the Node processes there are."""
        pids: list[int] = self._runtime.executor.status()["node_pids"]
        return pids
