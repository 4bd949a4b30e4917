"""What an operator of a server does and sees, in a line each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from cluster.processes import ProcessIdentity, end_processes, processes_mentioning
from cluster.ray_runtime import RayRuntime

from ..support.server import RunningServer

TIDELOG = Path(sys.executable).with_name("tidelog")
_ANSWER_SECONDS_MAX = 60
_END_SECONDS = 10.0


def query(server: RunningServer, path: str, **arguments: Any) -> Any:
    return _value(call(server, "query", path, arguments))


def mutation(server: RunningServer, path: str, **arguments: Any) -> Any:
    return _value(call(server, "mutation", path, arguments))


def call(server: RunningServer, kind: str, path: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The answer as the HTTP API gives it, a refusal too."""
    url, body = f"{server.url}/api/{kind}", {"path": path, "args": arguments}
    # Nothing is verified because there is no TLS, and loading certificates takes longer than the call.
    response = httpx.post(url, json=body, timeout=_ANSWER_SECONDS_MAX, verify=False)
    answer: dict[str, Any] = response.json()
    return answer


def _value(answer: dict[str, Any]) -> Any:
    assert answer["status"] == "success", answer
    return answer["value"]


def tidelog(*arguments: str | int | Path) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    return subprocess.run([str(TIDELOG), *map(str, arguments)], capture_output=True, text=True)


def verify(server: RunningServer, *options: str) -> subprocess.CompletedProcess[str]:
    return tidelog("verify", "--data", server.data.path, *options)


def is_gone(server: RunningServer) -> bool:
    """No process names the server's data folder or the session folder of its Ray."""
    return not list(processes_of(server))


def end_what_is_left(server: RunningServer) -> None:
    """After a test, however it ended."""
    end_processes(processes_of(server), term_seconds=_END_SECONDS)


def processes_of(server: RunningServer) -> Iterator[ProcessIdentity]:
    session = RayRuntime(server.data.path).session_folder
    return processes_mentioning(str(server.data.path), str(session))
