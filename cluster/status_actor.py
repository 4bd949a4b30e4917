"""What only the process knows of an actor, added to what the actor says of itself: `ping` and `status`."""

from __future__ import annotations

import os
from typing import Any

from actors.runtime import Actor, Client
from cluster.host_config import Address, HostConfig
from cluster.links import stop_process
from cluster.processes import memory_bytes
from cluster.transport import ActorServer

ACTOR_HOST = "127.0.0.1"
"""Where actors listen for one another, wherever clients are listened for: one server is one machine."""


class StatusActor:
    """actors.runtime.Actor around another one. `server` is set once there is one."""

    def __init__(self, actor: Actor, role: str) -> None:
        self._actor, self._role = actor, role
        self._heartbeats = 0
        self.server: ActorServer | None = None

    async def handle(self, client: Client, method: str, arguments: tuple[Any, ...]) -> Any:
        if method == "ping":
            self._heartbeats += 1
            return None
        if method != "status":
            return await self._actor.handle(client, method, arguments)
        facts = await self._actor.handle(client, method, arguments)
        frames_in, frames_out = self.server.frames() if self.server is not None else (0, 0)
        own = {
            "role": self._role,
            "pid": os.getpid(),
            "memory_bytes": memory_bytes(os.getpid()),
            "frames_in": frames_in,
            "frames_out": frames_out,
            "heartbeats": self._heartbeats,  # among frames_in; they come by the clock, whatever else happens
        }
        return {**facts, **own}

    def disconnected(self, client: Client) -> None:
        self._actor.disconnected(client)


async def serve(actor: Actor, config: HostConfig) -> tuple[ActorServer, Address]:
    """Let others ask the actor; returns where."""
    status = StatusActor(actor, config.role)
    server = ActorServer(status, config.instance_secret, stop_process)
    status.server = server
    return server, await server.start(ACTOR_HOST)
