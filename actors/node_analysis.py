"""A Node.js process for one analysis: started, asked, ended (functions.system.node_analysis.NodeAnalyser).

A push is analysed by a process of its own, which no action has run in and none will. Whoever pushes waits on
the thread that asks: system functions are plain Python.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actors.node_folder import write_modules
from actors.node_packages import NodePackageFolders
from actors.node_process import (
    HEADER_BYTES,
    Message,
    end_group,
    find_node,
    frame_length,
    framed,
    parsed,
    spawn,
)
from functions.node_packages import NodePackage
from log.limits import NODE_ANALYSIS_SECONDS_MAX

_TIMED_OUT = f"the modules are not loaded after {NODE_ANALYSIS_SECONDS_MAX} s"
_ENDED = "the process ended while it loaded the modules"


class NodeAnalysis:
    """Starts a process for each analysis, and leaves none."""

    def __init__(self, packages: NodePackageFolders) -> None:
        self._packages = packages

    def analyse(
        self,
        sources: dict[str, str],
        entries: Sequence[str],
        environment: dict[str, str],
        packages: tuple[NodePackage, ...],
    ) -> dict[str, Any]:
        node, installed = find_node(), self._packages.provide(packages)
        with tempfile.TemporaryDirectory(prefix="tidelog-analysis-") as folder:
            write_modules(Path(folder), sources, installed)
            answer = _ask(
                node,
                Path(folder),
                [
                    {"kind": "environment", "variables": environment},
                    {"kind": "analyze", "paths": list(entries)},
                ],
            )
        modules = answer.get("modules")
        return modules if isinstance(modules, dict) else {"failed": answer.get("failed", _failed(_ENDED))}


def _ask(node: str, folder: Path, messages: list[Message]) -> Message:
    """The first message the runner sends, which is its answer: an analysis prints nowhere."""
    (ours_in, theirs_in), (ours_out, theirs_out) = socket.socketpair(), socket.socketpair()
    with ours_in, ours_out:
        with theirs_in, theirs_out:
            process = spawn(node, folder, theirs_in.fileno(), theirs_out.fileno(), subprocess.DEVNULL)
        try:
            ours_in.settimeout(NODE_ANALYSIS_SECONDS_MAX)
            ours_in.sendall(b"".join(map(framed, messages)))
            return _first_message(ours_out, time.monotonic() + NODE_ANALYSIS_SECONDS_MAX)
        except TimeoutError:
            return {"failed": _failed(_TIMED_OUT)}
        except (OSError, ValueError):
            return {"failed": _failed(_ENDED)}
        finally:
            end_group(process)
            process.wait()


def _first_message(channel: socket.socket, deadline: float) -> Message:
    length = frame_length(_read(channel, HEADER_BYTES, deadline))
    return parsed(_read(channel, length, deadline))


def _read(channel: socket.socket, length: int, deadline: float) -> bytes:
    """Exactly so many bytes; TimeoutError after the deadline, ConnectionError at an early end."""
    held = bytearray()
    while len(held) < length:
        seconds_left = deadline - time.monotonic()
        if seconds_left <= 0:
            raise TimeoutError
        channel.settimeout(seconds_left)
        piece = channel.recv(length - len(held))
        if not piece:
            raise ConnectionError
        held += piece
    return bytes(held)


def _failed(message: str) -> dict[str, Any]:
    return {"isError": True, "name": "Error", "message": message, "stack": ""}
