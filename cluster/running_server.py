"""The server that runs on a data folder, for commands that ask it something."""

from __future__ import annotations

import asyncio
from typing import Any

from actors.runtime import ConnectionLost
from cluster.data_folder import DataFolder, StartRefused
from cluster.transport import connect

_ANSWER_SECONDS_MAX = 10.0


def ask(folder: DataFolder, secret: bytes, role: str, method: str, *arguments: Any) -> Any:
    """The answer of the actor that has this role; refusals of the server are raised as they are."""
    actors: Any = folder.read_running().get("actors", {})
    if role not in actors:
        raise StartRefused(f"No server runs on {folder.path}.")
    try:
        return asyncio.run(_ask(actors[role]["address"], secret, method, arguments))
    except (ConnectionLost, TimeoutError):
        raise StartRefused("The server does not answer; look at `tidelog status`.") from None


async def _ask(address: tuple[str, int], secret: bytes, method: str, arguments: tuple[Any, ...]) -> Any:
    peer = await connect(*address, secret, lambda *_: None, lambda: None)
    try:
        return await asyncio.wait_for(peer.call(method, *arguments), _ANSWER_SECONDS_MAX)
    finally:
        peer.close()
