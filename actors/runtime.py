"""Port: how actors reach one another, and the few things they may ask of the world.

Implementations: sockets between processes (cluster/transport.py) and direct calls inside one process
(cluster/local_runtime.py). Messages are `(method, arguments)` of plain msgpack values.

Promises of a connection:
  - calls are answered once or fail with `ConnectionLost`; then the outcome is unknown, and is resolved by
    asking again with the same call id (design D3);
  - what one side pushes arrives in the order it was pushed, and before the answer to a later call.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, Protocol


class ConnectionLost(Exception):
    """The peer went away between question and answer: the outcome is unknown."""


PushHandler = Callable[[str, tuple[Any, ...]], None]


class Peer(Protocol):
    """The client's end of a connection to an actor."""

    async def call(self, method: str, *arguments: Any) -> Any:
        """Ask and wait. A refusal arrives as BackendError, a lost peer as ConnectionLost."""

    def send(self, method: str, *arguments: Any) -> None:
        """Tell without an answer; lost with the connection."""


class Client(Protocol):
    """The actor's end of a connection: whom to push to. Hashable; one per connection."""

    def push(self, event: str, *arguments: Any) -> None: ...


class Actor(Protocol):
    """What a process hosts. `handle` raises BackendError to refuse; any other exception is a defect
    and stops the process that owns the state (design D5)."""

    async def handle(self, client: Client, method: str, arguments: tuple[Any, ...]) -> Any: ...

    def disconnected(self, client: Client) -> None:
        """The connection is gone: forget what was kept for it."""


class Pauses:
    """Named points in the life of an actor where a test may end its process with SIGKILL.

    Armed by `arm(label, passes)`: the process kills itself when it passes `label` for the nth time. In
    production nothing is armed and a pass costs a dictionary lookup.
    """

    BEFORE_SYNC = "before_sync"
    AFTER_SYNC = "after_sync"
    MID_APPLY = "mid_apply"
    AFTER_PUBLISH = "after_publish"
    LABELS = (BEFORE_SYNC, AFTER_SYNC, MID_APPLY, AFTER_PUBLISH)

    def __init__(self) -> None:
        self._passes_left: dict[str, int] = {}

    def arm(self, label: str, passes: int) -> None:
        self._passes_left[label] = passes

    def reach(self, label: str) -> None:
        if not self._passes_left or label not in self._passes_left:
            return
        self._passes_left[label] -= 1
        if self._passes_left[label] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
