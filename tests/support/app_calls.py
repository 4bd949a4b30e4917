"""Calls of the functions of the conformance app on a running server, and waiting for what they begin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from cluster.processes import memory_bytes

from .server import RunningServer

PATIENCE_SECONDS = 60


def call(
    server: RunningServer, kind: str, path: str, args: dict[str, object], key: str | None = None
) -> object:
    """As anybody, or with an admin key."""
    body = {"path": path, "args": args, "format": "json"}
    headers = {"Authorization": f"Convex {key}"} if key is not None else {}
    answer = httpx.post(f"{server.url}/api/{kind}", json=body, headers=headers, timeout=30).json()
    assert answer["status"] == "success", answer
    return answer["value"]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def count(server: RunningServer, name: str) -> float:
    return call(server, "query", "messages:count", {"name": name})  # type: ignore[return-value]


def upload(server: RunningServer, content: Any) -> str:
    address: Any = call(server, "mutation", "files:uploadUrl", {})
    answer = httpx.post(address, content=content, timeout=120)
    assert answer.status_code == 200, answer.text
    storage_id: str = answer.json()["storageId"]
    return storage_id


class PeakMemory:
    """The most a process had while this was entered."""

    def __init__(self, pid: int) -> None:
        self._pid, self._ended = pid, threading.Event()
        self.first_bytes = self.peak_bytes = memory_bytes(pid)

    def __enter__(self) -> PeakMemory:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_failure: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            self.peak_bytes = max(self.peak_bytes, memory_bytes(self._pid))

    @property
    def growth_bytes(self) -> int:
        return self.peak_bytes - self.first_bytes
