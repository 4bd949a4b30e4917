"""What operators may ask a gateway over its actor socket: why did queries run again?

Messages (method: arguments -> answer):
    why: path | None     -> [[seconds, path, args, ts, source, index id, written key], ...], oldest first
    status:              -> what it counts; the process adds its own facts
"""

from __future__ import annotations

from typing import Any

from actors.runtime import Client
from gateway.server import GatewayServer
from log.errors import internal_server_error


class GatewayQuestions:
    """actors.runtime.Actor for the gateway's process."""

    def __init__(self, gateway: GatewayServer) -> None:
        self._gateway = gateway

    async def handle(self, client: Client, method: str, arguments: tuple[Any, ...]) -> Any:
        if method == "why":
            return self._reasons(*arguments)
        if method == "status":
            core, dropped = self._gateway.core, self._gateway.executions_dropped
            facts = core.facts() if core is not None else {}
            return facts if dropped is None else {**facts, "executions_dropped": dropped}
        raise internal_server_error()

    def disconnected(self, client: Client) -> None:
        """Nothing is kept for a connection."""

    def _reasons(self, path: str | None) -> list[tuple[Any, ...]]:
        if self._gateway.core is None:
            return []  # not serving yet
        return [
            (
                rerun.time_seconds,
                rerun.query.path,
                rerun.query.args,
                rerun.invalidation.ts,
                rerun.invalidation.reason,
                rerun.invalidation.index_id,
                rerun.invalidation.written_key,
            )
            for rerun in self._gateway.core.runner.reruns.newest(path)
        ]
